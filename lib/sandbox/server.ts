/**
 * A Kubernetes API for one cluster, embedded: on loopback, with TLS, over HTTP/2 and HTTP/1.1. Small and honest: what it
 * serves behaves as the real one does (test/sandbox/contract.ts), what it cannot do it refuses with 501.
 */
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import { createSecureServer } from "node:http2";
import type { AddressInfo, Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { isFields } from "../util/fields.ts";
import { discovery } from "./discovery.ts";
import type { KubernetesObject } from "./object.ts";
import { jsonPatch, mergePatch, PatchError, strategicMergePatch, UnsupportedPatch } from "./patch.ts";
import { type Issuer, issue, makeCa } from "./pki.ts";
import { decodeProtobuf, ProtobufError } from "./protobuf.ts";
import { apiVersion, RESOURCES, type Resource } from "./resources.ts";
import { isAllowed, REVIEW_GROUP, REVIEWS, type Rule, reviewAccess, type User } from "./rules.ts";
import { fieldSelector, labelSelector } from "./selectors.ts";
import {
  ApiError,
  badRequest,
  conflict,
  forbidden,
  forbiddenPath,
  invalid,
  invalidPatch,
  noSuchPath,
  notFound,
  notImplemented,
  unauthorized,
  unprocessable,
} from "./status.ts";
import { cannotBeHandled, decodeBody, Store } from "./store.ts";
import { DecodeError, decode, unknownFields } from "./validate.ts";

export type { Rule, User };

export interface ApiRequest {
  method: string;
  /** With the query. */
  path: string;
  user: string;
  httpVersion: string;
  /** Parsed JSON; undefined where there is none. */
  body: unknown;
}

export interface ApiAnswer {
  status: number;
  body?: unknown;
  headers?: Record<string, string>;
}

export interface ApiOptions {
  objects?: KubernetesObject[];
  /** Default: one user `admin` with a token, who may do everything. */
  users?: User[];
}

export interface Api {
  /** `https://127.0.0.1:<port>`. */
  url: string;
  /** The CA of the server certificate, and of client certificates. */
  ca: Issuer;
  /** Token of the first user. */
  token: string;
  store: Store;
  /** Every request that was answered, oldest first. */
  requests: (ApiRequest & { status: number })[];
  /**
   * Runs before a request is handled, once the user is known to be allowed it: to wait, to change what is stored
   * (between a client's read and its write), or to answer instead of the server.
   */
  onRequest: ((request: ApiRequest) => ApiAnswer | undefined | Promise<ApiAnswer | undefined>) | undefined;
  /** A client certificate for a user, valid at this API. */
  clientCertificate(user: string): { cert: string; key: string };
  stop(): Promise<void>;
}

const BODY_LIMIT = 3_145_728;
const ANONYMOUS = "system:anonymous";

/** Starts an API on a free port of 127.0.0.1. */
export async function startApi(options: ApiOptions = {}): Promise<Api> {
  const ca = makeCa({ cn: "kubernetes" });
  const certificate = issue(ca, {
    cn: "kube-apiserver",
    dns: ["localhost", "kubernetes.default.svc"],
    ips: ["127.0.0.1"],
    usage: "server",
  });
  const users = options.users ?? [{ name: "admin", token: "admin-token" }];
  const store = new Store();
  for (const name of ["default", "kube-system"]) {
    store.put({ apiVersion: "v1", kind: "Namespace", metadata: { name }, status: { phase: "Active" } });
  }
  for (const object of options.objects ?? []) store.put(object);

  const server = createSecureServer({
    ...certificate,
    allowHTTP1: true,
    ca: ca.cert,
    requestCert: true,
    rejectUnauthorized: false,
  });
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", resolve);
  });

  const api: Api = {
    url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    ca,
    token: users[0]?.token ?? "",
    store,
    requests: [],
    onRequest: undefined,
    clientCertificate: (user) => issue(ca, { cn: user, usage: "client" }),
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
  server.on("request", (request, response) => void serve(api, users, request, response));
  return api;
}

async function serve(
  api: Api,
  users: User[],
  request: Http2ServerRequest,
  response: Http2ServerResponse,
): Promise<void> {
  const entry = {
    method: request.method,
    path: request.url,
    user: ANONYMOUS,
    httpVersion: request.httpVersion,
    body: undefined as unknown,
  };
  let answer: ApiAnswer;
  try {
    answer = await handle(api, users, request, entry);
  } catch (error) {
    if (request.stream?.destroyed) return;
    const failure = error instanceof ApiError ? error : new ApiError(500, "InternalError", String(error));
    answer = { status: failure.status.code, body: failure.status };
  }
  api.requests.push({ ...entry, status: answer.status });
  const text = typeof answer.body === "string" ? answer.body : `${JSON.stringify(answer.body ?? {})}\n`;
  response.writeHead(answer.status, {
    "content-type": typeof answer.body === "string" ? "text/plain; charset=utf-8" : "application/json",
    "content-length": Buffer.byteLength(text),
    ...answer.headers,
  });
  response.end(text);
}

async function handle(api: Api, users: User[], request: Http2ServerRequest, entry: ApiRequest): Promise<ApiAnswer> {
  const url = new URL(request.url, api.url);
  const target = parsePath(url.pathname);
  const verb = verbOf(request.method, target?.name, url.searchParams);
  const field = target?.resource
    ? fieldSelector(target.resource, url.searchParams.get("fieldSelector") ?? "")
    : undefined;
  const user = impersonated(users, authenticate(users, request), request);
  entry.user = user.name;
  if (!target?.resource) {
    if (user.name === ANONYMOUS && !/^\/(version|healthz|livez|readyz)$/.test(url.pathname)) {
      throw forbiddenPath(user.name, request.method.toLowerCase(), url.pathname);
    }
  } else {
    const name = target.name ?? (verb === "list" ? field?.name : undefined);
    if (!allowed(user, verb, target.resource, target.namespace, name)) {
      throw forbidden(user.name, verb, target.resource, target.namespace, name);
    }
  }
  const bytes = await readBody(request);
  let type = request.headers["content-type"]?.split(";")[0]?.trim();
  if (bytes.length > 0 || ["POST", "PUT", "PATCH"].includes(request.method)) {
    type = checkContentType(request.method === "PATCH", type);
    entry.body = parseBody(bytes, type);
  }
  const instead = await api.onRequest?.(entry);
  if (instead) return instead;
  if (request.method === "POST" && url.pathname === REVIEWS_PATH) {
    return { status: 201, body: reviewAccess(user, entry.body) };
  }
  if (!target?.resource) {
    if (request.method === "POST" && OTHER_REVIEWS.test(url.pathname)) throw notImplemented(`POST ${url.pathname}`);
    if (request.method !== "GET" || url.pathname === REVIEWS_PATH)
      throw new ApiError(
        405,
        "MethodNotAllowed",
        "the server does not allow this method on the requested resource",
        {},
      );
    const found = discovery(url.pathname);
    if (found === undefined && /^\/(api|apis\/apps|apis\/authorization\.k8s\.io)\//.test(url.pathname))
      throw noSuchPath();
    if (found === undefined) return { status: 404, body: "404 page not found\n" };
    return { status: 200, body: found };
  }
  checkAccept(request.headers.accept);
  const { resource, namespace, name, subresource } = target;
  if (subresource === "status" && !resource.status) throw noSuchPath();
  if (subresource) throw notImplemented(`the subresource ${subresource}`);
  if (resource.namespaced && namespace === undefined && verb !== "list" && verb !== "watch") throw noSuchPath();
  const dryRun = isDryRun(url.searchParams, request.method === "DELETE" ? entry.body : undefined);
  const shown = asksForMetadata(request.headers.accept)
    ? ({ metadata }: KubernetesObject) => ({
        kind: "PartialObjectMetadata",
        apiVersion: "meta.k8s.io/v1",
        metadata,
      })
    : (object: KubernetesObject) => object;
  switch (verb) {
    case "get":
      return {
        status: 200,
        body: shown(api.store.get(resource, namespace, name as string) ?? fail(notFound(resource, name as string))),
      };
    case "list": {
      const query = url.searchParams;
      const label = labelSelector(query.get("labelSelector") ?? "");
      const test = field?.test ?? (() => true);
      const limit = query.get("limit") ?? "0";
      if (!/^\d+$/.test(limit)) throw badRequest(`invalid limit ${limit}`);
      const page = api.store.list(resource, {
        namespace,
        test: (object) => label(object) && test(object),
        selective: Boolean(query.get("labelSelector") || query.get("fieldSelector")),
        limit: Number(limit),
        continue: query.get("continue") || undefined,
      });
      const items = page.items.map(({ apiVersion: _, kind: __, ...rest }) => rest);
      return { status: 200, body: { kind: `${resource.kind}List`, apiVersion: apiVersion(resource), ...page, items } };
    }
    case "create": {
      const check = fieldCheck(resource, "CreateOptions", url.searchParams);
      check.body(entry.body);
      const created = api.store.create(resource, namespace, entry.body, dryRun);
      return { status: 201, body: shown(created), headers: check.warnings() };
    }
    case "update": {
      const check = fieldCheck(resource, "UpdateOptions", url.searchParams);
      check.body(entry.body);
      const next = decodeBody(resource, entry.body);
      const updated = api.store.update(resource, namespace, name as string, () => next, wrongUidOfUpdate, dryRun);
      return { status: 200, body: shown(updated), headers: check.warnings() };
    }
    case "patch": {
      const check = fieldCheck(resource, "PatchOptions", url.searchParams);
      const patch = (current: KubernetesObject) => {
        const result = patched(current, type as string, entry.body);
        check.patched(result);
        return decodePatched(resource, result);
      };
      const updated = api.store.update(resource, namespace, name as string, patch, wrongUidOfPatch, dryRun);
      return { status: 200, body: shown(updated), headers: check.warnings() };
    }
    case "delete": {
      const { preconditions = {} } = (entry.body ?? {}) as {
        preconditions?: { uid?: string; resourceVersion?: string };
      };
      const gone = api.store.delete(resource, namespace, name as string, preconditions, dryRun);
      const details = {
        name,
        ...(resource.group && { group: resource.group }),
        kind: resource.plural,
        uid: gone.metadata.uid,
      };
      return { status: 200, body: { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success", details } };
    }
    default:
      throw notImplemented(verb);
  }
}

function wrongUidOfUpdate(resource: Resource, name: string, uid: string, found: string | undefined): ApiError {
  return conflict(resource, name, `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${found}`);
}

function wrongUidOfPatch(resource: Resource, name: string, uid: string): ApiError {
  const message = `Invalid value: ${JSON.stringify(uid)}: field is immutable`;
  return invalid(resource, name, [{ reason: "FieldValueInvalid", message, field: "metadata.uid" }]);
}

function fail(error: Error): never {
  throw error;
}

interface Target {
  resource: Resource;
  namespace: string | undefined;
  name: string | undefined;
  subresource: string | undefined;
}

/** @returns undefined where the path names no resource that is served */
function parsePath(path: string): Target | undefined {
  const parts = path.split("/").slice(1).map(decodeURIComponent);
  const group =
    parts[0] === "api" && parts[1] === "v1" ? "" : parts[0] === "apis" && parts[2] === "v1" ? parts[1] : undefined;
  const rest = parts.slice(group === "" ? 2 : 3);
  const namespace = group === "" || group === "apps" ? namespaceOf(rest) : undefined;
  const [plural, name, subresource, ...more] = namespace === undefined ? rest : rest.slice(2);
  const resource = RESOURCES.find((candidate) => candidate.group === group && candidate.plural === plural);
  if (!resource || more.length > 0 || name === "" || (namespace !== undefined && !resource.namespaced))
    return undefined;
  return { resource, namespace, name, subresource };
}

/** `namespaces/x` itself, and its subresources, are no objects in a namespace. */
function namespaceOf(parts: string[]): string | undefined {
  return parts[0] === "namespaces" && parts.length > 2 && !["status", "finalize"].includes(parts[2] as string)
    ? parts[1]
    : undefined;
}

function verbOf(method: string, name: string | undefined, query: URLSearchParams): string {
  if (method === "GET" && /^(1|true)$/.test(query.get("watch") ?? "")) return "watch";
  if (method === "GET") return name === undefined ? "list" : "get";
  if (method === "DELETE") return name === undefined ? "deletecollection" : "delete";
  if (method === "POST" && name === undefined) return "create";
  if (method === "PUT" && name !== undefined) return "update";
  if (method === "PATCH" && name !== undefined) return "patch";
  throw new ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {});
}

/** @throws ApiError 401 for a token that is nobody's; who shows none, and no certificate, is anonymous */
function authenticate(users: User[], request: Http2ServerRequest): User {
  const socket = request.socket as TLSSocket;
  const certificate = socket.authorized ? socket.getPeerCertificate() : undefined;
  if (certificate?.subject) {
    const name = [certificate.subject.CN].flat().join();
    return users.find((user) => user.name === name) ?? { name, allow: [] };
  }
  const header = request.headers.authorization;
  if (header === undefined || !/^Bearer\s/i.test(header)) return { name: ANONYMOUS, allow: [] };
  const token = /^Bearer\s+(\S+)$/i.exec(header)?.[1];
  const user = users.find((candidate) => candidate.token !== undefined && candidate.token === token);
  if (!user) throw unauthorized();
  return user;
}

const USERS: Resource = {
  group: "",
  plural: "users",
  singular: "user",
  kind: "User",
  namespaced: false,
  shortNames: [],
  status: false,
};

const REVIEWS_PATH = `/apis/${REVIEW_GROUP}/v1/${REVIEWS}`;
/** What else a real server is asked so: `kubectl auth whoami`, `auth can-i --list`. */
const OTHER_REVIEWS = /^\/apis\/auth(orization|entication)\.k8s\.io\/v1\/\w+reviews$/;

function impersonated(users: User[], user: User, request: Http2ServerRequest): User {
  const name = request.headers["impersonate-user"];
  if (typeof name !== "string") return user;
  if (!allowed(user, "impersonate", USERS, undefined, name))
    throw forbidden(user.name, "impersonate", USERS, undefined, name);
  return users.find((candidate) => candidate.name === name) ?? { name, allow: [] };
}

function allowed(
  user: User,
  verb: string,
  { plural }: Resource,
  namespace: string | undefined,
  name: string | undefined,
): boolean {
  const where = { ...(namespace !== undefined && { namespace }), ...(name !== undefined && { name }) };
  return isAllowed(user, { verb, resource: plural, ...where });
}

async function readBody(request: Http2ServerRequest): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request) {
    length += chunk.length;
    if (length <= BODY_LIMIT) chunks.push(chunk);
  }
  if (length > BODY_LIMIT) {
    throw new ApiError(413, "RequestEntityTooLarge", `Request entity too large: limit is ${BODY_LIMIT}`, {});
  }
  return Buffer.concat(chunks);
}

const PROTOBUF = "application/vnd.kubernetes.protobuf";
const STRATEGIC = "application/strategic-merge-patch+json";
const MERGE = "application/merge-patch+json";
const PATCHES = ["application/json-patch+json", MERGE, STRATEGIC];
const BODIES = ["application/json", PROTOBUF];
/** What a real server reads and this one doesn't. */
const FOREIGN_PATCHES = ["application/apply-patch+yaml", "application/apply-patch+cbor"];
const FOREIGN_BODIES = ["application/yaml"];

/** @returns the type; JSON where none is named */
function checkContentType(patching: boolean, type = patching ? "" : "application/json"): string {
  if ((patching ? PATCHES : BODIES).includes(type)) return type;
  if ((patching ? FOREIGN_PATCHES : FOREIGN_BODIES).includes(type)) throw notImplemented(`bodies of type ${type}`);
  if (patching) throw new ApiError(415, "UnsupportedMediaType", "415: Unsupported Media Type", {});
  const accepted = ["application/json", ...FOREIGN_BODIES, PROTOBUF].join(", ");
  const message = `the body of the request was in an unknown format - accepted media types include: ${accepted}`;
  throw new ApiError(415, "UnsupportedMediaType", message);
}

function checkAccept(accept: string | undefined): void {
  if (accept === undefined || /(^|,)\s*(\*\/\*|application\/\*|application\/json)\s*(;(?![^,]*as=)|,|$)/.test(accept))
    return;
  const message = "406: Not Acceptable\n\nAvailable representations: application/json";
  throw new ApiError(406, "NotAcceptable", message, {});
}

/** Whether the first choice is an object's metadata alone, which is served for single objects. */
function asksForMetadata(accept = ""): boolean {
  return /^\s*application\/json;as=PartialObjectMetadata;v=v1;g=meta\.k8s\.io\s*(,|$)/.test(accept);
}

function parseBody(bytes: Buffer, type: string): unknown {
  if (type === PROTOBUF) return parseProtobuf(bytes);
  const text = bytes.toString();
  try {
    return text === "" ? undefined : JSON.parse(text);
  } catch (error) {
    const what = PATCHES.includes(type) ? "error decoding patch" : "couldn't get version/kind; json parse error";
    throw badRequest(`${what}: ${(error as Error).message}`);
  }
}

function parseProtobuf(bytes: Buffer): unknown {
  try {
    return decodeProtobuf(bytes);
  } catch (error) {
    if (!(error instanceof ProtobufError)) throw error;
    if (error.kind !== undefined) throw notImplemented(`bodies of type ${PROTOBUF} with a ${error.kind}`);
    throw badRequest(`the object provided is unrecognized: ${error.message}`);
  }
}

/** `dryRun=All`, in the query or, for a delete, in the body. */
function isDryRun(query: URLSearchParams, body: unknown): boolean {
  const asked = [...query.getAll("dryRun"), ...((body as { dryRun?: string[] } | undefined)?.dryRun ?? [])];
  const other = asked.find((value) => value !== "All");
  if (other === undefined) return asked.length > 0;
  const message = `Unsupported value: ${JSON.stringify(other)}: supported values: "All"`;
  throw new ApiError(422, "Invalid", `"" is invalid: dryRun: ${message}`, {
    causes: [{ reason: "FieldValueNotSupported", message, field: "dryRun" }],
  });
}

/**
 * What is done with fields that the kind does not have, by the query's `fieldValidation`: refused (Strict), warned of (Warn,
 * the default) or ignored.
 *
 * @param options the kind of the query, for errors.
 * @throws ApiError 422 for another value, 501 for Strict of a kind whose fields are not known here.
 */
function fieldCheck(resource: Resource, options: string, query: URLSearchParams) {
  const how = query.get("fieldValidation") || "Warn";
  if (!["Strict", "Warn", "Ignore"].includes(how)) {
    const group = "meta.k8s.io";
    const message = `Unsupported value: ${JSON.stringify(how)}: supported values: "", "Ignore", "Strict", "Warn"`;
    throw new ApiError(422, "Invalid", `${options}.${group} "" is invalid: fieldValidation: ${message}`, {
      group,
      kind: options,
      causes: [{ reason: "FieldValueNotSupported", message, field: "fieldValidation" }],
    });
  }
  const found: string[] = [];
  const check = (object: unknown, refusal: (why: string) => ApiError, sorted: boolean) => {
    const unknown = unknownFields(resource, object);
    if (unknown === undefined && how === "Strict") {
      throw notImplemented(`which fields ${resource.plural} have; kubectl's --validate=false does not ask for it`);
    }
    const fields = (sorted ? unknown?.sort() : unknown)?.map((field) => `unknown field ${JSON.stringify(field)}`) ?? [];
    if (how === "Strict" && fields.length > 0) throw refusal(`strict decoding error: ${fields.join(", ")}`);
    if (how === "Warn") found.push(...fields);
  };
  return {
    body: (object: unknown) => check(object, (why) => badRequest(cannotBeHandled(resource, why)), false),
    patched: (object: unknown) => check(object, (why) => invalidPatch(object, why), true),
    /** As headers of the answer. */
    warnings: (): Record<string, string> =>
      found.length === 0 ? {} : { warning: found.map((text) => `299 - ${JSON.stringify(text)}`).join(", ") },
  };
}

function patched(current: KubernetesObject, type: string, patch: unknown): unknown {
  const apply = type === STRATEGIC ? strategicMergePatch : type === MERGE ? mergePatch : jsonPatch;
  if (apply === jsonPatch ? !Array.isArray(patch) : !isFields(patch)) throw badRequest("error decoding patch");
  try {
    return apply(current, patch);
  } catch (error) {
    if (error instanceof UnsupportedPatch) throw notImplemented(error.message);
    if (error instanceof PatchError) throw unprocessable();
    throw badRequest(`error decoding patch: ${(error as Error).message}`);
  }
}

function decodePatched(resource: Resource, result: unknown): KubernetesObject {
  try {
    return decode(resource, result);
  } catch (error) {
    if (error instanceof DecodeError) throw invalidPatch(result, error.message);
    throw error;
  }
}
