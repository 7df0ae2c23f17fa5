/** Bodies of requests, and the forms in which they and the answers may be. */
import type { Http2ServerRequest } from "node:http2";
import { decodeProtobuf, PROTOBUF } from "./protobuf.ts";
import { badRequest, notImplemented, StatusError } from "./status.ts";

const BODY_LIMIT = 3_145_728;
/** The types of patches. */
export const PATCH_TYPES = {
  json: "application/json-patch+json",
  merge: "application/merge-patch+json",
  strategic: "application/strategic-merge-patch+json",
} as const;
const PATCHES: readonly string[] = Object.values(PATCH_TYPES);
const BODIES = ["application/json", PROTOBUF];
/** What a real server reads and this one doesn't. */
const FOREIGN_PATCHES = ["application/apply-patch+yaml", "application/apply-patch+cbor"];
const FOREIGN_BODIES = ["application/yaml"];

/**
 * The body of a request; undefined where there is none.
 *
 * @returns its content, and its type: JSON where none is named
 * @throws StatusError 400, 413, 415, 501 for a form that a real server reads and this one doesn't
 */
export async function readBody(request: Http2ServerRequest): Promise<{ body: unknown; type: string }> {
  const bytes = await readBytes(request);
  const type = request.headers["content-type"]?.split(";")[0]?.trim();
  if (bytes.length === 0 && !["POST", "PUT", "PATCH"].includes(request.method)) return { body: undefined, type: "" };
  const checked = checkContentType(request.method === "PATCH", type);
  return { body: parseBody(bytes, checked), type: checked };
}

async function readBytes(request: Http2ServerRequest): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request) {
    length += chunk.length;
    if (length <= BODY_LIMIT) chunks.push(chunk);
  }
  if (length > BODY_LIMIT) {
    throw new StatusError(413, "RequestEntityTooLarge", `Request entity too large: limit is ${BODY_LIMIT}`, {});
  }
  return Buffer.concat(chunks);
}

function checkContentType(patching: boolean, type = patching ? "" : "application/json"): string {
  if ((patching ? PATCHES : BODIES).includes(type)) return type;
  if ((patching ? FOREIGN_PATCHES : FOREIGN_BODIES).includes(type)) throw notImplemented(`bodies of type ${type}`);
  if (patching) throw new StatusError(415, "UnsupportedMediaType", "415: Unsupported Media Type", {});
  const accepted = ["application/json", ...FOREIGN_BODIES, PROTOBUF].join(", ");
  const message = `the body of the request was in an unknown format - accepted media types include: ${accepted}`;
  throw new StatusError(415, "UnsupportedMediaType", message);
}

function parseBody(bytes: Buffer, type: string): unknown {
  if (type === PROTOBUF) return decodeProtobuf(bytes);
  const text = bytes.toString();
  try {
    return text === "" ? undefined : JSON.parse(text);
  } catch (error) {
    const what = PATCHES.includes(type) ? "error decoding patch" : "couldn't get version/kind; json parse error";
    throw badRequest(`${what}: ${(error as Error).message}`);
  }
}

/** @throws StatusError 406 for an answer in another form than JSON */
export function checkAccept(accept: string | undefined): void {
  if (accept === undefined || /(^|,)\s*(\*\/\*|application\/\*|application\/json)\s*(;(?![^,]*as=)|,|$)/.test(accept))
    return;
  const message = "406: Not Acceptable\n\nAvailable representations: application/json";
  throw new StatusError(406, "NotAcceptable", message, {});
}

/** Whether the first choice is an object's metadata alone, which is served for single objects. */
export function asksForMetadata(accept = ""): boolean {
  return /^\s*application\/json;as=PartialObjectMetadata;v=v1;g=meta\.k8s\.io\s*(,|$)/.test(accept);
}
