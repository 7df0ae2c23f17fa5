import assert from "node:assert/strict";
import { test } from "node:test";
import {
  ApiError,
  configMaps,
  deployments,
  KubernetesApi,
  nodes,
  pods,
  type Resource,
  secrets,
} from "../../lib/kube/api.ts";
import type { Request, Response } from "../../lib/kube/transport/transport.ts";
import { describeCluster, startCluster } from "../support/cluster.ts";

type Answer = [status: number, body: unknown];

/** An API whose server responds as `answer` returns; `requests` are those it received. */
function apiOf(answer: (request: Request) => Answer) {
  const requests: Request[] = [];
  const transport = {
    async request(request: Request): Promise<Response> {
      requests.push(request);
      const [status, body] = answer(request);
      return { status, headers: {}, body: typeof body === "string" ? body : JSON.stringify(body) };
    },
    stream: () => Promise.reject(new Error("unexpected stream")),
    close() {},
  };
  return {
    api: new KubernetesApi(transport, { context: "prod", flags: "--context prod --as jane", fieldManager: "me" }),
    requests,
  };
}

const status = (code: number, reason: string, message: string, others: object = {}): Answer => [
  code,
  { kind: "Status", apiVersion: "v1", status: "Failure", metadata: {}, reason, message, code, ...others },
];

async function errorOf(promise: Promise<unknown>): Promise<ApiError> {
  const error = await promise.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof ApiError, String(error));
  assert.equal(error.exitCode, 1);
  for (const text of [error.message, error.stack ?? "", JSON.stringify(error)]) assert.ok(!text.includes("SECRET"));
  return error;
}

async function all<T extends object>(pages: AsyncGenerator<T[]>): Promise<T[]> {
  const items: T[] = [];
  for await (const page of pages) items.push(...page);
  return items;
}

const forbidden = (user: string, what: string) =>
  status(403, "Forbidden", `${what} is forbidden: User "${user}" cannot do it at the cluster scope`);

test("each resource has its path", async () => {
  const { api, requests } = apiOf(() => [200, { metadata: { name: "x" } }]);
  await api.get(secrets, "kube-system", "x");
  await api.get(deployments, "my ns", "a/b");
  await all(api.list(nodes));
  await all(api.list(pods, { namespace: "n", labelSelector: "k8s-app=x,y", fieldSelector: "metadata.name=z" }));
  assert.deepEqual(
    requests.map(({ method, path }) => `${method} ${path}`),
    [
      "GET /api/v1/namespaces/kube-system/secrets/x",
      "GET /apis/apps/v1/namespaces/my%20ns/deployments/a%2Fb",
      "GET /api/v1/nodes?limit=500",
      "GET /api/v1/namespaces/n/pods?limit=500&labelSelector=k8s-app%3Dx%2Cy&fieldSelector=metadata.name%3Dz",
    ],
  );
});

test("writes send the field manager and dryRun", async () => {
  const { api, requests } = apiOf(() => [200, {}]);
  await api.create(secrets, "n", { metadata: { name: "x" } });
  await api.mergePatch(secrets, "n", "x", { data: { a: null } }, { dryRun: true });
  await api.jsonPatch(deployments, "n", "x", [{ op: "remove", path: "/a" }]);
  const [create, merge, json] = requests;
  assert.equal(create?.path, "/api/v1/namespaces/n/secrets?fieldManager=me");
  assert.equal(create?.method, "POST");
  assert.equal(create?.contentType, "application/json");
  assert.deepEqual(JSON.parse(create?.body ?? ""), { metadata: { name: "x" } });
  assert.equal(merge?.path, "/api/v1/namespaces/n/secrets/x?fieldManager=me&dryRun=All");
  assert.equal(merge?.method, "PATCH");
  assert.equal(merge?.contentType, "application/merge-patch+json");
  assert.equal(json?.contentType, "application/json-patch+json");
  assert.deepEqual(JSON.parse(json?.body ?? ""), [{ op: "remove", path: "/a" }]);
});

test("a list is read in pages; an expired list is continued at the current version, once in a row", async () => {
  const page = (names: string[], token?: string): Answer => [
    200,
    { items: names.map((name) => ({ metadata: { name } })), metadata: { ...(token && { continue: token }) } },
  ];
  const gone = (token?: string) =>
    status(410, "Expired", "too old", { metadata: { ...(token && { continue: token }) } });
  const answers: Answer[] = [page(["a", "b"], "1"), page([], "2"), gone("3"), page(["c"], "4"), gone("5"), page(["d"])];
  const { api, requests } = apiOf(() => answers.shift() ?? [500, {}]);
  const items = await all(api.list(nodes));
  assert.deepEqual(
    items.map(({ metadata }) => metadata?.name),
    ["a", "b", "c", "d"],
  );
  const tokens = requests.map(({ path }) => new URLSearchParams(path.split("?")[1]).get("continue"));
  assert.deepEqual(tokens, [null, "1", "2", "3", "4", "5"]);
  assert.equal((await errorOf(all(apiOf(() => gone()).api.list(nodes)))).status, 410);
  assert.equal((await errorOf(all(apiOf(() => gone("x")).api.list(nodes)))).status, 410);
  assert.deepEqual(await all(apiOf(() => [200, { items: null }]).api.list(nodes)), []);
});

test("a missing object is undefined; a 404 from anything but an API server is an error", async () => {
  const missing = apiOf(() => status(404, "NotFound", 'secrets "x" not found')).api;
  assert.equal(await missing.get(secrets, "n", "x"), undefined);
  assert.equal((await errorOf(missing.mergePatch(secrets, "n", "x", {}))).status, 404);
  const rancher = apiOf(() => [404, { type: "error", message: "cluster not found" }]).api;
  assert.match(
    (await errorOf(rancher.get(secrets, "n", "x"))).message,
    /cannot get secret\/x .*: cluster not found \(404\)/,
  );
  for (const body of ["404 page not found", "", "null", '"x"', "<html>"]) {
    for (const code of [200, 404]) {
      const { message } = await errorOf(apiOf(() => [code, body]).api.get(secrets, "n", "x"));
      const cause = `response is not JSON; check that the server is a Kubernetes API server (${code})`;
      assert.equal(message, `context "prod": cannot get secret/x in namespace n: ${cause}`);
    }
  }
});

test("a 403 names the missing permission, the user and a command that checks it", async () => {
  const { api } = apiOf(() => forbidden("jane", "it"));
  const list = <T extends object>(resource: Resource<T>, namespace?: string) =>
    all(api.list(resource, namespace === undefined ? {} : { namespace }));
  const cases: [Promise<unknown>, string, string][] = [
    [api.get(secrets, "kube-system", "x"), "get secret/x in namespace kube-system", "get secrets/x -n kube-system"],
    [api.mergePatch(secrets, "n", "x", {}), "patch secret/x in namespace n", "patch secrets/x -n n"],
    [
      api.create(configMaps, "n", { metadata: { name: "x" } }),
      "create configmap/x in namespace n",
      "create configmaps -n n",
    ],
    [api.jsonPatch(deployments, "n", "x", []), "patch deployment/x in namespace n", "patch deployments.apps/x -n n"],
    [list(pods), "list pods in all namespaces", "list pods -A"],
    [list(pods, "n"), "list pods in namespace n", "list pods -n n"],
    [list(nodes), "list nodes", "list nodes"],
  ];
  for (const [call, what, check] of cases) {
    const error = await errorOf(call);
    const command = `kubectl auth can-i ${check} --context prod --as jane`;
    assert.equal(error.message, `context "prod": not allowed to ${what} as jane\n  check with: ${command}`);
    assert.equal(error.status, 403);
    assert.equal(error.reason, "Forbidden");
  }
  const mute = await errorOf(apiOf(() => [403, {}]).api.get(secrets, "n", "x"));
  assert.match(mute.message, /^context "prod": not allowed to get secret\/x in namespace n\n/);
});

test("a 403 of admission or quota is not reported as a missing permission", async () => {
  const webhook = 'admission webhook "validate.example.com" denied the request: value SECRET is bad';
  const quota = 'secrets "x" is forbidden: exceeded quota: q, SECRET';
  const cases: [string, Resource<object>, RegExp][] = [
    [
      webhook,
      secrets,
      /^context "prod": cannot patch secret\/x in namespace n: denied by admission webhook "validate\.example\.com" \(403\)$/,
    ],
    [quota, secrets, /cannot patch secret\/x in namespace n: denied by admission control \(403\)$/],
    ["exceeded quota", deployments, /cannot patch deployment\/x in namespace n: exceeded quota \(403\)$/],
  ];
  for (const [message, resource, expected] of cases) {
    const { api } = apiOf(() => status(403, "Forbidden", message));
    assert.match((await errorOf(api.mergePatch(resource, "n", "x", {}))).message, expected);
  }
});

test("rejected credentials, conflicts and server errors are described", async () => {
  const messageOf = async (answer: Answer) =>
    (await errorOf(apiOf(() => answer).api.mergePatch(secrets, "n", "x", {}))).message;
  const refused = 'context "prod": the API server rejected the credentials (401)';
  assert.equal(await messageOf(status(401, "Unauthorized", "Unauthorized")), refused);
  const conflict = status(409, "Conflict", "the object has been modified\nline 2");
  assert.match(
    await messageOf(conflict),
    /cannot patch secret\/x in namespace n: the object has been modified \(409\)$/,
  );
  assert.match(await messageOf([500, {}]), /no reason given \(500\)$/);
  assert.match(
    await messageOf([500, { message: { a: 1 }, reason: 7, details: 8, metadata: null }]),
    /no reason given \(500\)$/,
  );
  assert.match(await messageOf(status(500, "InternalError", "x".repeat(1000))), /x{300} \(500\)$/);
});

test("errors about a Secret contain the invalid fields, never a value", async () => {
  const causes = [
    { reason: "FieldValueInvalid", message: 'Invalid value: "SECRET"', field: "data[a b]" },
    { reason: "FieldValueForbidden", message: "Forbidden: field is immutable when `immutable` is set", field: "data" },
    { reason: "FieldValueTooLong", message: "Too long: may not be more than 1048576 bytes", field: "data" },
  ];
  const messageOf = async (answer: Answer) => (await errorOf(apiOf(() => answer).api.create(secrets, "n", {}))).message;
  const invalid = status(422, "Invalid", 'Secret "x" is invalid: data[a b]: Invalid value: "SECRET"', {
    details: { causes },
  });
  assert.match(
    await messageOf(invalid),
    /object is invalid: data\[a b\]; data: Forbidden: field is immutable .*; data: Too long: may not/,
  );
  const decoding =
    "json: illegal base64 data at input byte 4, error found in #10 byte of ...|SECRET|..., bigger context";
  assert.match(await messageOf(status(400, "BadRequest", decoding)), /object is invalid \(400\)/);
  assert.match(await messageOf(status(422, "Invalid", "SECRET")), /object is invalid \(422\)/);
  assert.match(await messageOf([422, { details: { causes: [{}, { field: 7 }] } }]), /object is invalid \(422\)/);
});

test("reads, writes, dry runs and conflicts work against the sandbox", async (t) => {
  const { api, server } = await startCluster(t, describeCluster());
  const data = (secret: { data?: Record<string, string> } | undefined) => secret?.data;
  const create = () =>
    api.create(secrets, "kube-system", { metadata: { name: "mine" }, data: { a: "QQ==", b: "Qg==" } });
  await api.create(secrets, "kube-system", { metadata: { name: "mine" } }, { dryRun: true });
  assert.equal(await api.get(secrets, "kube-system", "mine"), undefined);
  const made = await create();
  assert.equal((await errorOf(create())).reason, "AlreadyExists");
  const patch = { metadata: { resourceVersion: made.metadata?.resourceVersion }, data: { a: null, c: "Qw==" } };
  const patched = await api.mergePatch(secrets, "kube-system", "mine", patch);
  assert.deepEqual(data(patched), { b: "Qg==", c: "Qw==" });
  assert.equal((await errorOf(api.mergePatch(secrets, "kube-system", "mine", patch))).status, 409);
  const failing = [{ op: "test", path: "/data/b", value: "no" }];
  assert.equal((await errorOf(api.jsonPatch(secrets, "kube-system", "mine", failing))).status, 422);
  assert.deepEqual(data(await api.get(secrets, "kube-system", "mine")), data(patched));
  const found = await all(api.list(nodes, { fieldSelector: "metadata.name=node1" }));
  assert.deepEqual(
    found.map(({ metadata }) => metadata?.name),
    ["node1"],
  );
  const managers = server.store.read("Secret", "kube-system", "mine");
  assert.ok(managers);
  assert.equal((await all(api.list(deployments, { namespace: "kube-system" }))).length > 0, true);
});
