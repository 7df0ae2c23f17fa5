/**
 * An embedded Kubernetes API for one cluster: on loopback, with TLS, over HTTP/2 and HTTP/1.1. It behaves as kube-apiserver
 * (test/sandbox/contract.ts), and responds with 501 to requests that it does not implement.
 */
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import { createSecureServer } from "node:http2";
import type { AddressInfo } from "node:net";
import { ANONYMOUS, authenticate, checkAccess, type Rule, reviewAccess, type User } from "./access.ts";
import { readBody } from "./bodies.ts";
import { discovery } from "./discovery.ts";
import type { HistoryLimits } from "./history.ts";
import { list } from "./lists.ts";
import type { KubernetesObject } from "./object.ts";
import { handleObject } from "./objects.ts";
import { parsePath, verbOf } from "./paths.ts";
import { type Issuer, issue, makeCa } from "./pki.ts";
import { checkRepresentation, negotiate } from "./representations.ts";
import { apiVersion, REVIEW_RESOURCE, STORED_GROUPS } from "./resources.ts";
import { fieldSelector } from "./selectors.ts";
import { trackSockets } from "./sockets.ts";
import { forbiddenPath, methodNotAllowed, noSuchPath, notImplemented, StatusError } from "./status.ts";
import { Store } from "./store.ts";
import { type EventStream, watch } from "./watch.ts";

export type { Rule, User };

export interface ApiRequest {
  method: string;
  /** Including the query. */
  path: string;
  user: string;
  httpVersion: string;
  /** Parsed; undefined for a request without a body. */
  body: unknown;
}

export interface ApiAnswer {
  status: number;
  body?: unknown;
  headers?: Record<string, string>;
}

export interface ApiOptions {
  objects?: KubernetesObject[];
  /** Default: one user `admin` with all permissions. */
  users?: User[];
  /** Limits of the history that watches can start from. */
  history?: Partial<HistoryLimits>;
}

export interface Api {
  /** `https://127.0.0.1:<port>`. */
  url: string;
  /** Issuer of the server certificate and of client certificates. */
  ca: Issuer;
  /** Token of the first user. */
  token: string;
  store: Store;
  /** All handled requests, oldest first. */
  requests: (ApiRequest & { status: number })[];
  /**
   * Hook that runs after authorization and before a request is handled: it may delay the request, change stored objects
   * (between a client's read and write), or return a response that replaces the server's.
   */
  onRequest: ((request: ApiRequest) => ApiAnswer | undefined | Promise<ApiAnswer | undefined>) | undefined;
  /** Issues a client certificate for a user. */
  clientCertificate(user: string): { cert: string; key: string };
  /** Closes the server and its connections. */
  stop(): Promise<void>;
}

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
  const store = new Store(options.history);
  for (const name of ["default", "kube-system"]) {
    store.put({ apiVersion: "v1", kind: "Namespace", metadata: { name }, status: { phase: "Active" } });
  }
  for (const object of options.objects ?? []) store.put(object);
  store.history.compact();

  const server = createSecureServer({
    ...certificate,
    allowHTTP1: true,
    ca: ca.cert,
    requestCert: true,
    rejectUnauthorized: false,
  });
  const destroySockets = trackSockets(server);
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
        destroySockets();
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
  const { method, url: path, httpVersion } = request;
  const entry: ApiRequest = { method, path, httpVersion, user: ANONYMOUS, body: undefined };
  let answer: ApiAnswer | EventStream;
  try {
    answer = await handle(api, users, request, entry);
  } catch (error) {
    if (request.stream?.destroyed) return;
    const failure = error instanceof StatusError ? error : new StatusError(500, "InternalError", String(error));
    answer = { status: failure.code, body: failure.status };
  }
  api.requests.push({ ...entry, status: typeof answer === "function" ? 200 : answer.status });
  if (typeof answer === "function") return isClosed(response) ? undefined : answer(response);
  const isText = typeof answer.body === "string";
  const text = isText ? String(answer.body) : `${JSON.stringify(answer.body ?? {})}\n`;
  response.writeHead(answer.status, {
    "content-type": isText ? "text/plain; charset=utf-8" : "application/json",
    "content-length": Buffer.byteLength(text),
    ...answer.headers,
  });
  response.end(text);
}

function isClosed(response: Http2ServerResponse): boolean {
  const { stream, destroyed } = response as { stream?: { destroyed: boolean }; destroyed?: boolean };
  return stream?.destroyed ?? destroyed === true;
}

/** @param entry - the log entry, to which the user and the body are added */
async function handle(
  api: Api,
  users: User[],
  request: Http2ServerRequest,
  entry: ApiRequest,
): Promise<ApiAnswer | EventStream> {
  const { pathname, searchParams: query } = new URL(request.url, api.url);
  const target = parsePath(pathname);
  const verb = verbOf(request.method, target?.name, query);
  const field = target && fieldSelector(target.resource, query.get("fieldSelector") ?? "");
  const user = authenticate(users, request);
  entry.user = user.name;
  if (target) {
    const { resource, namespace, name = verb === "list" || verb === "watch" ? field?.name : undefined } = target;
    checkAccess(user, verb, { resource, namespace, name });
  } else if (user.name === ANONYMOUS && !/^\/(version|healthz|livez|readyz)$/.test(pathname)) {
    throw forbiddenPath(user.name, request.method.toLowerCase(), pathname);
  }
  const { body, type } = await readBody(request);
  entry.body = body;
  const replacement = await api.onRequest?.(entry);
  if (replacement) return replacement;
  if (!target || !field) return handlePath(user, request.method, pathname, entry.body);
  const representation = negotiate(request.headers.accept);
  checkRepresentation(verb, target.resource, representation);
  const { resource, namespace, subresource } = target;
  if (subresource === "status" && !resource.status) throw noSuchPath();
  if (subresource) throw notImplemented(`subresource ${subresource}`);
  if (resource.namespaced && namespace === undefined && verb !== "list" && verb !== "watch") throw noSuchPath();
  if (verb === "list") return { status: 200, body: list(api.store, target, query, field, representation) };
  if (verb === "watch") return watch(api.store, target, query, field, representation);
  return handleObject(api.store, verb, { user, target, query, type, body: entry.body, representation });
}

const REVIEWS_PATH = `/apis/${apiVersion(REVIEW_RESOURCE)}/${REVIEW_RESOURCE.plural}`;
/** Paths below which anything else is not found. */
const SERVED_GROUPS = [
  "/api/",
  ...[...STORED_GROUPS, REVIEW_RESOURCE.group].filter(Boolean).map((group) => `/apis/${group}/`),
];
/** Used by `kubectl auth whoami` and `auth can-i --list`. */
const OTHER_REVIEWS = /^\/apis\/auth(orization|entication)\.k8s\.io\/v1\/\w+reviews$/;

/** Handles requests that do not address a stored object. */
function handlePath(user: User, method: string, path: string, body: unknown): ApiAnswer {
  if (method === "POST" && path === REVIEWS_PATH) return { status: 201, body: reviewAccess(user, body) };
  if (method === "POST" && OTHER_REVIEWS.test(path)) throw notImplemented(`POST ${path}`);
  if (method !== "GET" || path === REVIEWS_PATH) throw methodNotAllowed();
  const document = discovery(path);
  if (document !== undefined) return { status: 200, body: document };
  if (SERVED_GROUPS.some((root) => path.startsWith(root))) throw noSuchPath();
  return { status: 404, body: "404 page not found\n" };
}
