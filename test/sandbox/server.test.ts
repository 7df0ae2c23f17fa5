import assert from "node:assert/strict";
import { connect } from "node:http2";
import { request as httpsRequest } from "node:https";
import { type TestContext, test } from "node:test";
import type { KubernetesObject } from "../../lib/sandbox/object.ts";
import { type Api, type ApiOptions, startApi } from "../../lib/sandbox/server.ts";

// biome-ignore lint/suspicious/noExplicitAny: bodies have any shape.
type Body = any;

async function api(t: TestContext, options: ApiOptions = {}): Promise<Api> {
  const started = await startApi(options);
  t.after(() => started.stop());
  return started;
}

function ask(
  { url, ca, token }: Api,
  method: string,
  path: string,
  options: { body?: unknown; type?: string; token?: string; cert?: string; key?: string } = {},
): Promise<{ status: number; body: Body }> {
  const { body, type = "application/json", cert, key } = options;
  const authorization = cert ? {} : { authorization: `Bearer ${options.token ?? token}` };
  const text = body === undefined ? undefined : JSON.stringify(body);
  const headers = {
    ...authorization,
    ...(text !== undefined && { "content-type": type, "content-length": Buffer.byteLength(text) }),
  };
  return new Promise((resolve, reject) => {
    const request = httpsRequest(
      new URL(path, url),
      { method, headers, ca: ca.cert, agent: false, ...(cert && { cert, key }) },
      (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk) => chunks.push(chunk));
        response.on("end", () => {
          const answer = Buffer.concat(chunks).toString();
          resolve({
            status: response.statusCode ?? 0,
            body: response.headers["content-type"] === "application/json" ? JSON.parse(answer) : answer,
          });
        });
      },
    );
    request.on("error", reject);
    request.end(text);
  });
}

const MERGE = "application/merge-patch+json";
const STRATEGIC = "application/strategic-merge-patch+json";
const PATH = "/api/v1/namespaces/kube-system/secrets/x";
const NODE = "/api/v1/nodes/n";
const secret = (name = "x"): KubernetesObject => ({
  apiVersion: "v1",
  kind: "Secret",
  metadata: { name, namespace: "kube-system" },
  type: "Opaque",
  data: { a: "YQ==" },
});

test("HTTP/2 serves concurrent requests on one connection", async (t) => {
  const server = await api(t, { objects: [secret()] });
  const session = connect(server.url, { ca: server.ca.cert });
  t.after(() => session.close());
  const statuses = await Promise.all(
    Array.from(
      { length: 20 },
      () =>
        new Promise<number>((resolve, reject) => {
          const stream = session.request({ ":path": PATH, authorization: `Bearer ${server.token}` });
          stream.on("response", (headers) => resolve(headers[":status"] ?? 0));
          stream.on("error", reject);
          stream.resume();
          stream.end();
        }),
    ),
  );
  assert.deepEqual(new Set(statuses), new Set([200]));
  assert.deepEqual(new Set(server.requests.map(({ httpVersion }) => httpVersion)), new Set(["2.0"]));
});

test("unsupported requests are refused with 501 and the name of the feature", async (t) => {
  const node = { apiVersion: "v1", kind: "Node", metadata: { name: "n" } };
  const server = await api(t, { objects: [secret(), node] });
  const pod = { apiVersion: "v1", kind: "Pod", metadata: { name: "p" }, spec: {} };
  for (const [method, path, body, type, message] of [
    ["PATCH", PATH, {}, "application/apply-patch+yaml", /apply-patch/],
    ["PATCH", PATH, { metadata: { finalizers: [] } }, STRATEGIC, /lists in strategic merge patches/],
    ["PATCH", PATH, { data: { $patch: "replace" } }, STRATEGIC, /directives in strategic merge patches/],
    ["PATCH", `${NODE}?fieldValidation=Strict`, {}, STRATEGIC, /field validation of nodes/],
    ["PUT", `${NODE}?fieldValidation=Strict`, {}, undefined, /field validation of nodes/],
    ["POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", {}, undefined, /selfsubjectrulesreviews/],
    ["PUT", "/api/v1/nodes/x/status", {}, undefined, /status/],
    ["POST", "/api/v1/namespaces/kube-system/pods", pod, undefined, /creating pods/],
    ["DELETE", "/api/v1/namespaces/kube-system", undefined, undefined, /namespaces/],
    ["DELETE", "/api/v1/namespaces/kube-system/secrets", undefined, undefined, /deletecollection/],
  ] as const) {
    const answer = await ask(server, method, path, { body, ...(type && { type }) });
    assert.equal(answer.status, 501, `${method} ${path}`);
    assert.equal(answer.body.reason, "NotImplemented");
    assert.match(answer.body.message, message);
  }
});

test("users have the permissions of their rules", async (t) => {
  const server = await api(t, {
    objects: [secret(), secret("y")],
    users: [
      { name: "admin", token: "a" },
      { name: "ci", token: "b", forbid: [{ verb: "get", resource: "secrets", name: "y" }, { verb: "list" }] },
      { name: "reader", token: "c", allow: [{ verb: "get", resource: "secrets", namespace: "kube-system" }] },
    ],
  });
  const status = async (token: string, method: string, path: string, body?: unknown) =>
    (await ask(server, method, path, { token, body, type: MERGE })).status;
  const other = PATH.replace("/x", "/y");
  assert.equal(await status("a", "GET", other), 200);
  assert.equal(await status("b", "GET", PATH), 200);
  assert.equal(await status("b", "GET", other), 403);
  assert.equal(await status("b", "GET", "/api/v1/nodes"), 403);
  assert.equal(await status("b", "PATCH", other, {}), 200);
  assert.equal(await status("c", "GET", other), 200);
  assert.equal(await status("c", "GET", "/api/v1/namespaces/default/secrets/x"), 403);
  assert.equal(await status("c", "PATCH", PATH, {}), 403);
  assert.equal(await status("d", "GET", PATH), 401);
});

test("access reviews apply the rules, wildcards included", async (t) => {
  const server = await api(t, {
    users: [
      { name: "admin", token: "a" },
      { name: "ci", token: "b", forbid: [{ verb: "get", resource: "secrets", name: "y" }] },
      { name: "reader", token: "c", allow: [{ verb: "get", resource: "secrets", namespace: "kube-system" }] },
    ],
  });
  const isAllowed = async (token: string, resourceAttributes: Record<string, string>) => {
    const path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    return (await ask(server, "POST", path, { token, body: { spec: { resourceAttributes } } })).body.status.allowed;
  };
  const secrets = { verb: "get", resource: "secrets" };
  assert.equal(await isAllowed("a", { verb: "*", resource: "*" }), true);
  assert.equal(await isAllowed("b", secrets), true);
  assert.equal(await isAllowed("b", { ...secrets, name: "y" }), false);
  assert.equal(await isAllowed("b", { verb: "*", resource: "*", name: "y" }), false);
  assert.equal(await isAllowed("b", { verb: "list", resource: "foos" }), true);
  assert.equal(await isAllowed("c", { ...secrets, namespace: "kube-system" }), true);
  assert.equal(await isAllowed("c", { ...secrets, namespace: "default" }), false);
  assert.equal(await isAllowed("c", secrets), false);
  assert.equal(await isAllowed("c", { ...secrets, verb: "*", namespace: "kube-system" }), false);
});

test("a client certificate authenticates its user unless another CA issued it", async (t) => {
  const server = await api(t, {
    objects: [secret()],
    users: [{ name: "admin", token: "a" }, { name: "by-certificate" }],
  });
  const stranger = await api(t);
  assert.equal((await ask(server, "GET", PATH, server.clientCertificate("by-certificate"))).status, 200);
  const unknown = await ask(server, "GET", PATH, server.clientCertificate("unknown"));
  assert.match(unknown.body.message, /User "unknown" cannot get/);
  const foreign = await ask(server, "GET", PATH, stranger.clientCertificate("by-certificate"));
  assert.match(foreign.body.message, /User "system:anonymous" cannot get/);
});

test("onRequest can delay a request, replace its answer, or modify stored objects", async (t) => {
  const server = await api(t, { objects: [secret()] });
  const { metadata } = (await ask(server, "GET", PATH)).body;
  server.onRequest = ({ method }) => {
    if (method === "PATCH") server.store.put({ ...secret(), data: { b: "Yg==" } });
    return undefined;
  };
  const body = { metadata: { resourceVersion: metadata.resourceVersion }, data: { c: "Yw==" } };
  assert.equal((await ask(server, "PATCH", PATH, { body, type: MERGE })).status, 409);
  const after = (await ask(server, "GET", PATH)).body;
  assert.deepEqual(after.data, { b: "Yg==" });
  assert.equal(after.metadata.uid, metadata.uid);
  server.onRequest = async () => ({ status: 429, body: { kind: "Status" }, headers: { "retry-after": "1" } });
  assert.equal((await ask(server, "GET", PATH)).status, 429);
  assert.deepEqual(
    server.requests.map(({ method, path, user, status }) => [method, path, user, status]),
    [
      ["GET", PATH, "admin", 200],
      ["PATCH", PATH, "admin", 409],
      ["GET", PATH, "admin", 200],
      ["GET", PATH, "admin", 429],
    ],
  );
  assert.deepEqual(server.requests[1]?.body, body);
});

test("a pending pod starts once the last mounted object is created", async (t) => {
  const pod = (name: string, phase: string): KubernetesObject => ({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: "kube-system" },
    spec: {
      containers: [{ name: "c", image: "i" }],
      volumes: [
        { name: "users", configMap: { name: "clustermesh-remote-users" } },
        {
          name: "tls",
          projected: { sources: [{ secret: { name: "tls" } }, { secret: { name: "may", optional: true } }] },
        },
      ],
    },
    status: { phase },
  });
  const failed = pod("failed", "Failed");
  const server = await api(t, { objects: [pod("waiting", "Pending"), failed] });
  const phase = async (name = "waiting") =>
    (await ask(server, "GET", `/api/v1/namespaces/kube-system/pods/${name}`)).body.status.phase;
  const users = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "clustermesh-remote-users" } };
  const create = (path: string, body: unknown) =>
    ask(server, "POST", `/api/v1/namespaces/kube-system/${path}`, { body });
  assert.equal((await create("configmaps?dryRun=All", users)).status, 201);
  assert.equal((await create("configmaps", users)).status, 201);
  assert.equal(await phase(), "Pending");
  await create("secrets", secret("unrelated"));
  assert.equal(await phase(), "Pending");
  await create("secrets", secret("tls"));
  const { body } = await ask(server, "GET", "/api/v1/namespaces/kube-system/pods/waiting");
  assert.equal(body.status.phase, "Running");
  assert.equal(body.status.conditions.find(({ type }: { type: string }) => type === "Ready").status, "True");
  assert.equal(await phase("failed"), "Failed");
});

test("stop closes open connections and the listener", async () => {
  const server = await startApi();
  const session = connect(server.url, { ca: server.ca.cert });
  session.on("error", () => {});
  await new Promise((resolve) => session.once("connect", resolve));
  const closed = new Promise((resolve) => session.once("close", resolve));
  await server.stop();
  await closed;
  await assert.rejects(ask(server, "GET", "/version"), { code: "ECONNREFUSED" });
});
