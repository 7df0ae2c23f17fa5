/** Request bodies. */
import type { Http2ServerRequest } from "node:http2";
import { decodeProtobuf, PROTOBUF } from "./protobuf.ts";
import { badRequest, notImplemented, StatusError } from "./status.ts";

const BODY_LIMIT = 3_145_728;
/** Media types of patches. */
export const PATCH_TYPES = {
  json: "application/json-patch+json",
  merge: "application/merge-patch+json",
  strategic: "application/strategic-merge-patch+json",
} as const;
const PATCHES: readonly string[] = Object.values(PATCH_TYPES);
const BODIES = ["application/json", PROTOBUF];
/** Media types that kube-apiserver accepts and the sandbox does not. */
const UNSUPPORTED_PATCHES = ["application/apply-patch+yaml", "application/apply-patch+cbor"];
const UNSUPPORTED_BODIES = ["application/yaml"];

/**
 * Reads and parses the body of a request.
 *
 * @returns the content, undefined for an empty body, and the media type, JSON by default
 * @throws StatusError 400, 413, 415, 501 for a media type that only kube-apiserver accepts
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

function checkContentType(isPatch: boolean, type = isPatch ? "" : "application/json"): string {
  if ((isPatch ? PATCHES : BODIES).includes(type)) return type;
  if ((isPatch ? UNSUPPORTED_PATCHES : UNSUPPORTED_BODIES).includes(type)) throw notImplemented(`content type ${type}`);
  if (isPatch) throw new StatusError(415, "UnsupportedMediaType", "415: Unsupported Media Type", {});
  const accepted = ["application/json", ...UNSUPPORTED_BODIES, PROTOBUF].join(", ");
  const message = `the body of the request was in an unknown format - accepted media types include: ${accepted}`;
  throw new StatusError(415, "UnsupportedMediaType", message);
}

function parseBody(bytes: Buffer, type: string): unknown {
  if (type === PROTOBUF) return decodeProtobuf(bytes);
  const text = bytes.toString();
  try {
    return text === "" ? undefined : JSON.parse(text);
  } catch (error) {
    const context = PATCHES.includes(type) ? "error decoding patch" : "couldn't get version/kind; json parse error";
    throw badRequest(`${context}: ${(error as Error).message}`);
  }
}
