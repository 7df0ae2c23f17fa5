/**
 * The contract of the sandbox's API: the same cases run against the sandbox and a real kube-apiserver.
 */
import assert from "node:assert/strict";
import { encode, type KubernetesObject } from "../../lib/sandbox/object.ts";

export interface Answer {
  status: number;
  // biome-ignore lint/suspicious/noExplicitAny: bodies have any shape.
  body: any;
  /** The header `warning`. */
  warning?: string | undefined;
}

/** A client with all permissions of an API that holds the objects of {@link DESCRIPTION}. */
export interface Server {
  request(
    method: string,
    path: string,
    body?: unknown,
    contentType?: string,
    headers?: Record<string, string>,
  ): Promise<Answer>;
  /** Starts a watch; resolves when the response begins. */
  watch(path: string, headers?: Record<string, string>): Promise<WatchStream>;
  /** Removes the history before a resourceVersion. Real servers still have it in their caches, except for Events. */
  compact(version: string): Promise<void>;
}

export interface WatchStream {
  status: number;
  contentType: string | undefined;
  /** Returns the next event; undefined after the regular end. Without chunked encoding's last chunk, it rejects. */
  // biome-ignore lint/suspicious/noExplicitAny: objects have any shape.
  next(): Promise<{ type: string; object: any } | undefined>;
  close(): void;
}

export interface Case {
  name: string;
  run(server: Server): Promise<void>;
}

export const NAMESPACE = "contract";
const SECRETS = `/api/v1/namespaces/${NAMESPACE}/secrets`;
const CONFIG_MAPS = `/api/v1/namespaces/${NAMESPACE}/configmaps`;
const DEPLOYMENT = "/apis/apps/v1/namespaces/kube-system/deployments/clustermesh-apiserver";
export const MERGE = "application/merge-patch+json";
const JSON_PATCH = "application/json-patch+json";
const STRATEGIC = "application/strategic-merge-patch+json";
const PROTOBUF = "application/vnd.kubernetes.protobuf";
const REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
const CONFLICT = "the object has been modified; please apply your changes to the latest version and try again";

/** The cluster whose objects each server holds. */
export const DESCRIPTION = {
  name: "contract1",
  id: 1,
  version: "1.20.2",
  nodes: [
    {
      name: "contract-node1",
      internalIPs: ["172.18.9.2", "fd00:9::2"],
      externalIPs: ["192.0.2.9"],
      podCIDRs: ["10.9.0.0/24"],
    },
    { name: "contract-node2", internalIPs: ["172.18.9.3"], ready: false, unschedulable: true, labels: { zone: "b" } },
  ],
  service: { nodePort: 32391 },
};

function secret(name: string, fields: Partial<KubernetesObject> = {}): KubernetesObject {
  const { metadata, ...rest } = fields;
  return { apiVersion: "v1", kind: "Secret", metadata: { ...metadata, name }, ...rest };
}

/** Creates the namespace of the cases. */
export async function prepare(server: Server): Promise<void> {
  const { status } = await server.request("POST", "/api/v1/namespaces", {
    apiVersion: "v1",
    kind: "Namespace",
    metadata: { name: NAMESPACE },
  });
  assert.equal(status, 201);
}

export async function createObject(server: Server, path: string, object: KubernetesObject): Promise<KubernetesObject> {
  const { status, body } = await server.request("POST", path, object, "application/json");
  assert.equal(status, 201, JSON.stringify(body));
  return body;
}

export function assertRefused(
  answer: Answer,
  code: number,
  reason: string | undefined,
  message: string | RegExp,
  details?: unknown,
): void {
  const { kind, apiVersion, status } = answer.body;
  assert.deepEqual(
    { http: answer.status, kind, apiVersion, status, code: answer.body.code, reason: answer.body.reason },
    { http: code, kind: "Status", apiVersion: "v1", status: "Failure", code, reason },
    JSON.stringify(answer.body),
  );
  if (typeof message === "string") assert.equal(answer.body.message, message);
  else assert.match(answer.body.message, message);
  if (details !== undefined) assert.deepEqual(answer.body.details, details);
}

/** Reads all events of a watch that ends. */
export async function readAll(watch: WatchStream) {
  const found: { type: string; object: KubernetesObject }[] = [];
  for (let event = await watch.next(); event; event = await watch.next()) found.push(event);
  return found;
}

/** Encodes a length-delimited protobuf field: an ASCII string, bytes or a message, shorter than 128 bytes. */
function binary(id: number, text: string): string {
  assert.ok(text.length < 128 && id < 16);
  return String.fromCharCode((id << 3) | 2, text.length) + text;
}

/** Encodes an object as a protobuf body. */
function binaryBody(apiVersion: string, kind: string, message: string): string {
  return `k8s\0${binary(1, binary(1, apiVersion) + binary(2, kind))}${binary(2, message)}`;
}

export const CASES: Case[] = [
  {
    name: "discovery lists the served resources",
    async run({ request }) {
      assert.deepEqual((await request("GET", "/api")).body.versions, ["v1"]);
      const groups = (await request("GET", "/apis")).body.groups as { name: string; preferredVersion: unknown }[];
      assert.deepEqual(groups.find(({ name }) => name === "apps")?.preferredVersion, {
        groupVersion: "apps/v1",
        version: "v1",
      });
      assert.equal((await request("GET", "/apis/apps")).body.kind, "APIGroup");
      for (const [path, names] of [
        ["/api/v1", ["configmaps", "namespaces", "nodes", "pods", "secrets", "services"]],
        ["/apis/apps/v1", ["daemonsets", "deployments"]],
      ] as const) {
        const { body } = await request("GET", path);
        assert.equal(body.kind, "APIResourceList");
        for (const name of names) {
          const entry = body.resources.find((resource: { name: string }) => resource.name === name);
          assert.equal(entry.namespaced, !["namespaces", "nodes"].includes(name), name);
          for (const verb of ["get", "list", "patch", "update", "delete"]) assert.ok(entry.verbs.includes(verb), verb);
        }
      }
      const reviews = (await request("GET", "/apis/authorization.k8s.io/v1")).body.resources;
      const review = reviews.find(({ name }: { name: string }) => name === "selfsubjectaccessreviews");
      assert.deepEqual([review.kind, review.namespaced, review.verbs], ["SelfSubjectAccessReview", false, ["create"]]);
      assert.match((await request("GET", "/version")).body.gitVersion, /^v1\.\d+\.\d+/);
      assert.equal((await request("GET", "/healthz")).body, "ok");
      for (const path of [
        "/api/v1/foos",
        "/api/v2",
        "/apis/apps/v2",
        "/apis/none.example/v1/foos",
        "/nothing",
        `${SECRETS}/x/status`,
      ]) {
        assert.equal((await request("GET", path)).status, 404, path);
      }
    },
  },
  {
    name: "create sets metadata, and get returns the created object",
    async run({ request }) {
      const given = secret("created", {
        metadata: { name: "", labels: { a: "b" }, annotations: { c: "d" } },
        data: encode({ x: "y" }),
      });
      const { status, body } = await request("POST", SECRETS, given, "application/json");
      assert.equal(status, 201);
      assert.equal(body.type, "Opaque");
      assert.deepEqual(body.data, { x: "eQ==" });
      const { name, namespace, labels, annotations, uid, resourceVersion, creationTimestamp, generation } =
        body.metadata;
      assert.deepEqual(
        { name, namespace, labels, annotations },
        { name: "created", namespace: NAMESPACE, labels: { a: "b" }, annotations: { c: "d" } },
      );
      assert.match(uid, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
      assert.match(resourceVersion, /^[1-9]\d*$/);
      assert.match(creationTimestamp, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
      assert.equal(generation, undefined);
      const got = await request("GET", `${SECRETS}/created`);
      assert.equal(got.status, 200);
      assert.deepEqual(withoutManagedFields(got.body), withoutManagedFields(body));
    },
  },
  {
    name: "stringData is merged into data and takes precedence; empty maps are omitted",
    async run(server) {
      const body = await createObject(
        server,
        SECRETS,
        secret("folded", { data: encode({ a: "old", b: "kept" }), stringData: { a: "new" } }),
      );
      assert.deepEqual(body.data, encode({ a: "new", b: "kept" }));
      assert.equal("stringData" in body, false);
      const patched = await server.request(
        "PATCH",
        `${SECRETS}/folded`,
        { stringData: { c: "d" }, data: { b: null } },
        MERGE,
      );
      assert.deepEqual(patched.body.data, encode({ a: "new", c: "d" }));
      const empty = await createObject(
        server,
        SECRETS,
        secret("empty", { metadata: { name: "", labels: {}, annotations: {} }, data: {} }),
      );
      assert.deepEqual(
        [empty.data, empty.metadata.labels, empty.metadata.annotations],
        [undefined, undefined, undefined],
      );
    },
  },
  {
    name: "create refuses an existing name, a missing or different namespace, and a resourceVersion",
    async run(server) {
      const { request } = server;
      await createObject(server, SECRETS, secret("twice"));
      assertRefused(
        await request("POST", SECRETS, secret("twice")),
        409,
        "AlreadyExists",
        'secrets "twice" already exists',
        {
          name: "twice",
          kind: "secrets",
        },
      );
      assertRefused(
        await request("POST", "/api/v1/namespaces/nowhere/secrets", secret("x")),
        404,
        "NotFound",
        'namespaces "nowhere" not found',
        { name: "nowhere", kind: "namespaces" },
      );
      assertRefused(
        await request("POST", SECRETS, secret("x", { metadata: { name: "x", namespace: "default" } })),
        400,
        "BadRequest",
        "the namespace of the provided object does not match the namespace sent on the request",
      );
      const versioned = await request("POST", SECRETS, secret("x", { metadata: { name: "x", resourceVersion: "1" } }));
      assertRefused(versioned, 500, undefined, "resourceVersion should not be set on objects to be created");
    },
  },
  {
    name: "names are required or generated, and validated",
    async run(server) {
      const nameless = { apiVersion: "v1", kind: "Secret", metadata: {} };
      assertRefused(
        await server.request("POST", SECRETS, nameless),
        422,
        "Invalid",
        'Secret "" is invalid: metadata.name: Required value: name or generateName is required',
      );
      const { body } = await server.request("POST", SECRETS, { ...nameless, metadata: { generateName: "made-" } });
      assert.match(body.metadata.name, /^made-[a-z0-9]{5}$/);
      const wrong = await server.request("POST", SECRETS, secret("Upper_case"));
      assertRefused(
        wrong,
        422,
        "Invalid",
        /^Secret "Upper_case" is invalid: metadata\.name: Invalid value: "Upper_case": a lowercase RFC 1123 subdomain/,
      );
      assert.deepEqual(wrong.body.details.causes[0].field, "metadata.name");
    },
  },
  {
    name: "create refuses bodies of another kind and invalid JSON, and accepts one without kind",
    async run({ request }) {
      assert.equal(
        (await request("POST", SECRETS, { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "x" } })).status,
        400,
      );
      assert.equal(
        (await request("POST", SECRETS, { apiVersion: "v2", kind: "Secret", metadata: { name: "x" } })).status,
        400,
      );
      assertRefused(await request("POST", SECRETS, "{", "application/json"), 400, "BadRequest", /./);
      assert.equal((await request("POST", SECRETS, { metadata: { name: "kindless" } })).status, 201);
    },
  },
  {
    name: "values of the wrong type and invalid base64 are refused",
    async run(server) {
      const { request } = server;
      assertRefused(
        await request("POST", SECRETS, secret("bad", { data: { a: "%%%" } })),
        400,
        "BadRequest",
        /^Secret in version "v1" cannot be handled as a Secret: illegal base64 data at input byte 0/,
      );
      assert.equal((await request("POST", SECRETS, secret("bad", { data: { a: "YQ" } }))).status, 400);
      assert.equal((await request("POST", SECRETS, secret("bad", { data: { a: 1 } }))).status, 400);
      assert.equal((await request("POST", SECRETS, secret("bad", { data: [] }))).status, 400);
      await createObject(server, SECRETS, secret("broken", { data: { a: "YWJj\nZGVm" } }));
      const patched = await request("PATCH", `${SECRETS}/broken`, { data: { b: "%%%" } }, MERGE);
      // The message repeats the whole object: clients must not print it.
      assertRefused(
        patched,
        422,
        "Invalid",
        /^ "" is invalid: patch: Invalid value: ".*YWJj.*": .*illegal base64 data at input byte 0/,
      );
      assert.equal((await request("PATCH", `${SECRETS}/broken`, { data: { b: 1 } }, MERGE)).status, 422);
      assert.equal((await request("GET", `${SECRETS}/bad`)).status, 404);
    },
  },
  {
    name: "data keys and Secret types are validated",
    async run(server) {
      const { request } = server;
      for (const [path, kind] of [
        [SECRETS, "Secret"],
        [CONFIG_MAPS, "ConfigMap"],
      ] as const) {
        const answer = await request("POST", path, {
          apiVersion: "v1",
          kind,
          metadata: { name: "keys" },
          data: { "a/b": "YQ==" },
        });
        assertRefused(
          answer,
          422,
          "Invalid",
          new RegExp(`^${kind} "keys" is invalid: data\\[a/b\\]: Invalid value: "a/b": a valid config key`),
        );
      }
      const tls = await request(
        "POST",
        SECRETS,
        secret("tls", { type: "kubernetes.io/tls", data: encode({ "tls.crt": "x" }) }),
      );
      assertRefused(tls, 422, "Invalid", 'Secret "tls" is invalid: data[tls.key]: Required value', {
        name: "tls",
        kind: "Secret",
        causes: [{ reason: "FieldValueRequired", message: "Required value", field: "data[tls.key]" }],
      });
      await createObject(server, SECRETS, secret("typed"));
      const retyped = await request("PATCH", `${SECRETS}/typed`, { type: "example.com/other" }, MERGE);
      assertRefused(retyped, 422, "Invalid", /type: Invalid value: "example\.com\/other": field is immutable/);
    },
  },
  {
    name: "annotation keys, label keys and label values are validated; unknown fields are dropped",
    async run({ request }) {
      const metadata = { name: "labelled", labels: { "a b": "c", d: "e f" }, annotations: { "g/h/i": "j" } };
      const answer = await request("POST", SECRETS, secret("labelled", { metadata }));
      // kube-apiserver validates labels in random order.
      assertRefused(
        answer,
        422,
        "Invalid",
        /^Secret "labelled" is invalid: \[metadata\.labels: Invalid value: "(a b|e f)": /,
      );
      const fields = answer.body.details.causes.map(({ field }: { field: string }) => field);
      assert.deepEqual(fields, ["metadata.labels", "metadata.labels", "metadata.annotations"]);
      const right = { name: "", labels: { "x.example/A_b.c": "" }, annotations: { "x.example/a": "any thing, 😀" } };
      const { status, body } = await request("POST", SECRETS, secret("labelled", { metadata: right, unknown: 1 }));
      assert.equal(status, 201);
      assert.deepEqual([body.metadata.annotations, body.unknown], [right.annotations, undefined]);
    },
  },
  {
    name: "data of immutable Secrets cannot be changed",
    async run(server) {
      await createObject(server, SECRETS, secret("fixed", { immutable: true, data: encode({ a: "b" }) }));
      const path = `${SECRETS}/fixed`;
      const changed = await server.request("PATCH", path, { data: encode({ a: "c" }) }, MERGE);
      assertRefused(
        changed,
        422,
        "Invalid",
        'Secret "fixed" is invalid: data: Forbidden: field is immutable when `immutable` is set',
      );
      assert.equal((await server.request("PATCH", path, { immutable: false }, MERGE)).status, 422);
      assert.equal((await server.request("PATCH", path, { metadata: { labels: { a: "b" } } }, MERGE)).status, 200);
    },
  },
  {
    name: "missing objects are not found; lists of missing namespaces are empty",
    async run({ request }) {
      assertRefused(await request("GET", `${SECRETS}/none`), 404, "NotFound", 'secrets "none" not found', {
        name: "none",
        kind: "secrets",
      });
      assertRefused(
        await request("GET", `/apis/apps/v1/namespaces/${NAMESPACE}/deployments/none`),
        404,
        "NotFound",
        'deployments.apps "none" not found',
        {
          name: "none",
          group: "apps",
          kind: "deployments",
        },
      );
      const { status, body } = await request("GET", "/api/v1/namespaces/nowhere/secrets");
      assert.equal(status, 200);
      assert.deepEqual(body.items, []);
      for (const method of ["PATCH", "PUT", "DELETE"]) {
        const body = method === "DELETE" ? undefined : method === "PUT" ? secret("none") : { data: {} };
        const answer = await request(method, `${SECRETS}/none`, body, method === "PATCH" ? MERGE : "application/json");
        assertRefused(answer, 404, "NotFound", 'secrets "none" not found');
      }
    },
  },
  {
    name: "list sorts by name and supports selectors",
    async run(server) {
      const { request } = server;
      for (const [name, labels] of Object.entries<Record<string, string>>({
        "list-c": { app: "c", tier: "x" },
        "list-a": { app: "a" },
        "list-b": { app: "b", tier: "y" },
      })) {
        await createObject(server, CONFIG_MAPS, {
          apiVersion: "v1",
          kind: "ConfigMap",
          metadata: { name, labels: { ...labels, set: "list" } },
        });
      }
      const names = async (query: string, path = CONFIG_MAPS) => {
        const { status, body } = await request("GET", `${path}?${query}`);
        assert.equal(status, 200, JSON.stringify(body));
        assert.equal(body.kind, "ConfigMapList");
        assert.equal(body.apiVersion, "v1");
        assert.match(body.metadata.resourceVersion, /^\d+$/);
        for (const item of body.items) assert.equal("kind" in item, false);
        return body.items.map((item: KubernetesObject) => item.metadata.name.replace("list-", "")).join("");
      };
      const label = (selector: string) => names(`labelSelector=${encodeURIComponent(`set=list,${selector}`)}`);
      assert.equal(await names("labelSelector=set%3Dlist"), "abc");
      assert.equal(await names("labelSelector=set%3Dlist", "/api/v1/configmaps"), "abc");
      assert.equal(await label("app=a"), "a");
      assert.equal(await label("app==a"), "a");
      assert.equal(await label("app!=a"), "bc");
      assert.equal(await label("tier!=x"), "ab");
      assert.equal(await label("app in (a, c)"), "ac");
      assert.equal(await label("tier notin (x)"), "ab");
      assert.equal(await label("tier"), "bc");
      assert.equal(await label("!tier"), "a");
      assert.equal(await label("app in (a,b),tier=y"), "b");
      assert.equal(await names("fieldSelector=metadata.name%3Dlist-b"), "b");
      assert.equal(
        await names(`fieldSelector=metadata.name%3Dlist-b,metadata.namespace%3D${NAMESPACE}`, "/api/v1/configmaps"),
        "b",
      );
      assert.equal(await names("fieldSelector=metadata.name!%3Dlist-b&labelSelector=set%3Dlist"), "ac");
      assert.equal((await request("GET", `${CONFIG_MAPS}?fieldSelector=data.x%3Dy`)).status, 400);
      assert.equal((await request("GET", `${CONFIG_MAPS}?labelSelector=a%3D%3D%3Db`)).status, 400);
    },
  },
  {
    name: "list supports pagination",
    async run(server) {
      const { request } = server;
      const names = ["page-1", "page-2", "page-3", "page-4", "page-5"];
      for (const name of names)
        await createObject(server, "/api/v1/namespaces/default/configmaps", {
          apiVersion: "v1",
          kind: "ConfigMap",
          metadata: { name, labels: { set: name === "page-5" ? "other" : "page" } },
        });
      const path = "/api/v1/namespaces/default/configmaps";
      const seen: string[] = [];
      const remaining: unknown[] = [];
      let next = "";
      do {
        const { status, body } = await request(
          "GET",
          `${path}?limit=2${next && `&continue=${encodeURIComponent(next)}`}`,
        );
        assert.equal(status, 200);
        seen.push(...body.items.map((item: KubernetesObject) => item.metadata.name));
        remaining.push(body.metadata.remainingItemCount);
        next = body.metadata.continue ?? "";
        assert.ok(body.items.length <= 2);
      } while (next);
      assert.deepEqual(
        seen.filter((name) => name.startsWith("page-")),
        names,
      );
      assert.deepEqual(remaining, [seen.length - 2, ...remaining.slice(1, -1), undefined]);
      const selected = await request("GET", `${path}?limit=3&labelSelector=set%3Dpage`);
      assert.equal(selected.body.items.length, 3);
      assert.equal(selected.body.metadata.remainingItemCount, undefined);
      const rest = await request(
        "GET",
        `${path}?limit=3&labelSelector=set%3Dpage&continue=${encodeURIComponent(selected.body.metadata.continue)}`,
      );
      assert.deepEqual(
        rest.body.items.map((item: KubernetesObject) => item.metadata.name),
        ["page-4"],
      );
      assert.equal(rest.body.metadata.continue ?? "", "");
      assert.equal((await request("GET", `${path}?limit=2&continue=nonsense`)).status, 400);
    },
  },
  {
    name: "merge patch changes the given fields only; an unchanged object keeps its resourceVersion",
    async run(server) {
      const { request } = server;
      const before = await createObject(
        server,
        SECRETS,
        secret("merged", {
          metadata: { name: "", annotations: { "a/b": "c", d: "e" } },
          data: encode({ x: "1", y: "2" }),
        }),
      );
      const path = `${SECRETS}/merged`;
      const after = await request(
        "PATCH",
        path,
        { data: { x: null, ...encode({ z: "3" }) }, metadata: { annotations: { d: null } } },
        MERGE,
      );
      assert.equal(after.status, 200);
      assert.deepEqual(after.body.data, encode({ y: "2", z: "3" }));
      assert.deepEqual(after.body.metadata.annotations, { "a/b": "c" });
      assert.equal(after.body.metadata.uid, before.metadata.uid);
      assert.equal(after.body.metadata.creationTimestamp, before.metadata.creationTimestamp);
      assert.ok(Number(after.body.metadata.resourceVersion) > Number(before.metadata.resourceVersion));
      const same = await request("PATCH", path, { data: encode({ y: "2" }) }, MERGE);
      assert.equal(same.body.metadata.resourceVersion, after.body.metadata.resourceVersion);
      const ignored = await request("PATCH", path, { metadata: { creationTimestamp: "2001-01-01T00:00:00Z" } }, MERGE);
      assert.equal(ignored.body.metadata.creationTimestamp, before.metadata.creationTimestamp);
    },
  },
  {
    name: "merge patch with a stale resourceVersion is a conflict",
    async run(server) {
      const { request } = server;
      const { metadata } = await createObject(server, SECRETS, secret("versioned"));
      const path = `${SECRETS}/versioned`;
      const patch = (a: string, fields: object) => ({ data: encode({ a }), metadata: fields });
      const first = await request("PATCH", path, patch("1", { resourceVersion: metadata.resourceVersion }), MERGE);
      assert.equal(first.status, 200);
      for (const query of ["", "?dryRun=All"]) {
        assertRefused(
          await request("PATCH", path + query, patch("2", { resourceVersion: metadata.resourceVersion }), MERGE),
          409,
          "Conflict",
          `Operation cannot be fulfilled on secrets "versioned": ${CONFLICT}`,
          { name: "versioned", kind: "secrets" },
        );
      }
      assert.equal((await request("PATCH", path, patch("3", {}), MERGE)).status, 200);
      assertRefused(
        await request("PATCH", path, patch("4", { uid: "00000000-0000-4000-8000-000000000000" }), MERGE),
        422,
        "Invalid",
        /^Secret "versioned" is invalid: metadata\.uid: Invalid value: "00000000-0000-4000-8000-000000000000": field is immutable$/,
      );
      assertRefused(
        await request("PATCH", path, { metadata: { resourceVersion: "nonsense" } }, MERGE),
        500,
        undefined,
        'strconv.ParseUint: parsing "nonsense": invalid syntax',
      );
      assertRefused(
        await request("PATCH", path, { metadata: { name: "renamed" } }, MERGE),
        400,
        "BadRequest",
        "the name of the object (renamed) does not match the name on the URL (versioned)",
      );
      assertRefused(
        await request("PATCH", path, { metadata: { namespace: "default" } }, MERGE),
        400,
        "BadRequest",
        /namespace of the (provided )?object/,
      );
      assertRefused(await request("PATCH", path, "[]", MERGE), 400, "BadRequest", /./);
      const { body } = await request("GET", path);
      assert.deepEqual(body.data, encode({ a: "3" }));
    },
  },
  {
    name: "one of several concurrent writers with the same resourceVersion succeeds, and one of two creators",
    async run(server) {
      const { metadata } = await createObject(server, SECRETS, secret("raced"));
      const patches = await Promise.all(
        ["a", "b", "c"].map((key) =>
          server.request(
            "PATCH",
            `${SECRETS}/raced`,
            { metadata: { resourceVersion: metadata.resourceVersion }, data: encode({ [key]: key }) },
            MERGE,
          ),
        ),
      );
      assert.deepEqual(patches.map(({ status }) => status).sort(), [200, 409, 409]);
      const creates = await Promise.all(["a", "b"].map(() => server.request("POST", SECRETS, secret("raced2"))));
      assert.deepEqual(creates.map(({ status }) => status).sort(), [201, 409]);
    },
  },
  {
    name: "JSON patch applies all operations, or none if one fails",
    async run(server) {
      const { request } = server;
      await createObject(
        server,
        SECRETS,
        secret("operated", { metadata: { name: "", annotations: { "a/b": "d" } }, data: encode({ x: "1" }) }),
      );
      const path = `${SECRETS}/operated`;
      const patch = (...operations: object[]) => request("PATCH", path, operations, JSON_PATCH);
      const { status, body } = await patch(
        { op: "test", path: "/metadata/annotations/a~1b", value: "d" },
        { op: "replace", path: "/metadata/annotations/a~1b", value: "e" },
        { op: "add", path: "/data/y", value: "Mg==" },
        { op: "copy", from: "/data/x", path: "/data/z" },
        { op: "move", from: "/data/x", path: "/data/w" },
        { op: "remove", path: "/data/y" },
        { op: "add", path: "/metadata/finalizers", value: ["example.com/b"] },
        { op: "add", path: "/metadata/finalizers/0", value: "example.com/a" },
        { op: "add", path: "/metadata/finalizers/-", value: "example.com/c" },
        { op: "test", path: "/metadata/finalizers", value: ["example.com/a", "example.com/b", "example.com/c"] },
        { op: "remove", path: "/metadata/finalizers" },
      );
      assert.equal(status, 200, JSON.stringify(body));
      assert.deepEqual(body.data, encode({ w: "1", z: "1" }));
      assert.deepEqual(body.metadata.annotations, { "a/b": "e" });
      const message = "the server rejected our request due to an error in our request";
      for (const operation of [
        { op: "test", path: "/data/w", value: "other" },
        { op: "test", path: "/data/missing", value: "x" },
        { op: "remove", path: "/data/missing" },
        { op: "replace", path: "/metadata/missing/deep", value: "x" },
        { op: "test", path: "/missing/deep", value: null },
        { op: "test", path: "/data/w", value: null },
        { op: "add", path: "/missing/deep", value: "x" },
      ]) {
        const answer = await patch({ op: "add", path: "/data/never", value: "eA==" }, operation);
        assertRefused(answer, 422, "Invalid", message);
      }
      const free = await patch(
        { op: "test", path: "/data/free", value: null },
        { op: "replace", path: "/data/free", value: "eA==" },
        { op: "test", path: "/data/free", value: "eA==" },
        { op: "remove", path: "/data/free" },
      );
      assert.equal(free.status, 200, JSON.stringify(free.body));
      const stale = await patch({ op: "replace", path: "/metadata/resourceVersion", value: "1" });
      assertRefused(stale, 409, "Conflict", `Operation cannot be fulfilled on secrets "operated": ${CONFLICT}`);
      assert.equal((await request("PATCH", path, {}, JSON_PATCH)).status, 400);
      assert.deepEqual((await request("GET", path)).body.data, encode({ w: "1", z: "1" }));
    },
  },
  {
    name: "replace requires the current resourceVersion, or none",
    async run(server) {
      const { request } = server;
      const first = await createObject(server, SECRETS, secret("replaced", { data: encode({ a: "1" }) }));
      const path = `${SECRETS}/replaced`;
      const uid = "00000000-0000-4000-8000-000000000000";
      assertRefused(
        await request("PUT", path, secret("replaced", { metadata: { name: "", uid } })),
        409,
        "Conflict",
        /^Operation cannot be fulfilled on secrets "replaced": .*Precondition failed: UID in precondition: 00000000-0000-4000-8000-000000000000, UID in object meta: /,
      );
      const next = await request("PUT", path, { ...first, data: encode({ b: "2" }) });
      assert.equal(next.status, 200);
      assert.deepEqual(next.body.data, encode({ b: "2" }));
      assertRefused(
        await request("PUT", path, { ...first, data: encode({ c: "3" }) }),
        409,
        "Conflict",
        `Operation cannot be fulfilled on secrets "replaced": ${CONFLICT}`,
      );
      assert.equal((await request("PUT", path, secret("replaced", { data: encode({ d: "4" }) }))).status, 200);
      assertRefused(
        await request("PUT", path, secret("other")),
        400,
        "BadRequest",
        "the name of the object (other) does not match the name on the URL (replaced)",
      );
      const { body } = await request("GET", path);
      assert.deepEqual(body.data, encode({ d: "4" }));
      assert.equal(body.metadata.uid, first.metadata.uid);
    },
  },
  {
    name: "dry run returns the result and writes nothing",
    async run(server) {
      const { request } = server;
      const dry = await request("POST", `${SECRETS}?dryRun=All`, secret("dry", { stringData: { a: "b" } }));
      assert.equal(dry.status, 201);
      assert.deepEqual(dry.body.data, encode({ a: "b" }));
      assert.equal((await request("GET", `${SECRETS}/dry`)).status, 404);
      const before = await createObject(server, SECRETS, secret("dry"));
      assertRefused(
        await request("POST", `${SECRETS}?dryRun=All`, secret("dry")),
        409,
        "AlreadyExists",
        'secrets "dry" already exists',
      );
      const patched = await request("PATCH", `${SECRETS}/dry?dryRun=All`, { data: encode({ a: "b" }) }, MERGE);
      assert.deepEqual(patched.body.data, encode({ a: "b" }));
      assert.equal((await request("DELETE", `${SECRETS}/dry?dryRun=All`)).status, 200);
      assert.equal(
        (await request("DELETE", `${SECRETS}/dry`, { kind: "DeleteOptions", apiVersion: "v1", dryRun: ["All"] }))
          .status,
        200,
      );
      const after = await request("GET", `${SECRETS}/dry`);
      assert.deepEqual(withoutManagedFields(after.body), withoutManagedFields(before));
      const message = 'Unsupported value: ["Some"]: supported values: "All"';
      const path = `${SECRETS}/dry`;
      for (const [kind, answer] of [
        ["PatchOptions", await request("PATCH", `${path}?dryRun=Some`, {}, MERGE)],
        ["DeleteOptions", await request("DELETE", `${path}?dryRun=Some`)],
        ["DeleteOptions", await request("DELETE", path, { dryRun: ["Some"] })],
      ] as const) {
        assertRefused(answer, 422, "Invalid", `${kind}.meta.k8s.io "" is invalid: dryRun: ${message}`, {
          group: "meta.k8s.io",
          kind,
          causes: [{ reason: "FieldValueNotSupported", message, field: "dryRun" }],
        });
      }
      // With a body, the query of a delete is ignored.
      assert.equal((await request("DELETE", `${path}?dryRun=All`, {})).status, 200);
      assert.equal((await request("GET", path)).status, 404);
    },
  },
  {
    name: "data and annotations have size limits, exact to the byte",
    async run(server) {
      const { request } = server;
      const bytes = (length: number) => Buffer.alloc(length, 120).toString("base64");
      const limit = 1_048_576;
      const message = "Too long: may not be more than 1048576 bytes";
      const over = { a: bytes(limit - 1), b: bytes(2) };
      assertRefused(
        await request("POST", SECRETS, secret("large", { data: over })),
        422,
        "Invalid",
        `Secret "large" is invalid: data: ${message}`,
        {
          name: "large",
          kind: "Secret",
          causes: [{ reason: "FieldValueTooLong", message, field: "data" }],
        },
      );
      await createObject(server, SECRETS, secret("large", { data: { ...over, b: bytes(1) } }));
      assertRefused(
        await request("PATCH", `${SECRETS}/large`, { data: { c: bytes(1) } }, MERGE),
        422,
        "Invalid",
        /Too long/,
      );
      const map = (length: number) => ({
        apiVersion: "v1",
        kind: "ConfigMap",
        metadata: { name: "large" },
        data: { a: "x".repeat(length) },
      });
      assertRefused(
        await request("POST", CONFIG_MAPS, map(limit + 1)),
        422,
        "Invalid",
        new RegExp(`^ConfigMap "large" is invalid: .*${message}$`),
      );
      assert.equal((await request("POST", CONFIG_MAPS, map(limit))).status, 201);
      const annotated = (length: number) => ({
        metadata: { annotations: { "example.com/a": "x".repeat(length - 13) } },
      });
      const annotations = await request("PATCH", `${SECRETS}/large`, annotated(262_145), MERGE);
      assertRefused(
        annotations,
        422,
        "Invalid",
        'Secret "large" is invalid: metadata.annotations: Too long: may not be more than 262144 bytes',
      );
      assert.equal((await request("PATCH", `${SECRETS}/large`, annotated(262_144), MERGE)).status, 200);
    },
  },
  {
    name: "request bodies are limited to 3 MiB",
    async run({ request }) {
      const { status } = await request("POST", CONFIG_MAPS, {
        data: { a: "x".repeat(3_200_000) },
        metadata: { name: "huge" },
      });
      assert.equal(status, 413);
    },
  },
  {
    name: "delete checks preconditions",
    async run(server) {
      const { request } = server;
      const { metadata } = await createObject(server, SECRETS, secret("deleted"));
      const path = `${SECRETS}/deleted`;
      const { uid, resourceVersion } = metadata;
      const other = "00000000-0000-4000-8000-000000000000";
      for (const [preconditions, why] of [
        [
          { uid: other },
          `UID in the precondition (${other}) does not match the UID in record (${uid}). The object might have been deleted and then recreated`,
        ],
        [
          { resourceVersion: "1" },
          `ResourceVersion in the precondition (1) does not match the ResourceVersion in record (${resourceVersion}). The object might have been modified`,
        ],
      ]) {
        const answer = await request("DELETE", path, { preconditions });
        assertRefused(answer, 409, "Conflict", `Operation cannot be fulfilled on Secret "deleted": the ${why}`, {
          name: "deleted",
          kind: "Secret",
        });
      }
      const { status, body } = await request("DELETE", path, { preconditions: { uid: metadata.uid } });
      assert.equal(status, 200);
      assert.deepEqual([body.kind, body.status], ["Status", "Success"]);
      assert.deepEqual(body.details, { name: "deleted", kind: "secrets", uid: metadata.uid });
      assertRefused(await request("DELETE", path), 404, "NotFound", 'secrets "deleted" not found');
      const again = await createObject(server, SECRETS, secret("deleted"));
      assert.notEqual(again.metadata.uid, metadata.uid);
    },
  },
  {
    name: "OpenAPI declares dry run and field validation for the patch of each kind",
    async run({ request }) {
      // kube-apiserver omits the content type of this document.
      const { body } = await request("GET", "/openapi/v3");
      const { paths } = typeof body === "string" ? JSON.parse(body) : body;
      for (const [version, path, kind] of [
        ["api/v1", "/api/v1/namespaces/{namespace}/configmaps/{name}", "ConfigMap"],
        ["api/v1", "/api/v1/namespaces/{name}", "Namespace"],
        ["apis/apps/v1", "/apis/apps/v1/namespaces/{namespace}/deployments/{name}", "Deployment"],
      ] as const) {
        const document = (await request("GET", paths[version].serverRelativeURL)).body;
        assert.equal(document.openapi, "3.0.0");
        const { patch } = document.paths[path];
        const group = version === "api/v1" ? "" : "apps";
        assert.deepEqual(patch["x-kubernetes-group-version-kind"], { group, version: "v1", kind });
        const queries = patch.parameters.filter((one: { in: string }) => one.in === "query");
        const names: string[] = queries.map((one: { name: string }) => one.name);
        for (const name of ["dryRun", "fieldManager", "fieldValidation"]) assert.ok(names.includes(name), name);
      }
    },
  },
  {
    name: "strategic merge patch merges maps and deletes keys with null",
    async run(server) {
      const { request } = server;
      const path = `${CONFIG_MAPS}/strategic`;
      const metadata = { name: "strategic", labels: { a: "b" } };
      const map = { apiVersion: "v1", kind: "ConfigMap", metadata, data: { x: "1", y: "2" } };
      const { metadata: before } = await createObject(server, CONFIG_MAPS, map);
      const patch = { metadata: { labels: null, annotations: { c: "d" } }, data: { x: null, z: "3" } };
      const { status, body } = await request("PATCH", path, patch, STRATEGIC);
      assert.equal(status, 200);
      assert.deepEqual(body.data, { y: "2", z: "3" });
      assert.deepEqual([body.metadata.labels, body.metadata.annotations], [undefined, { c: "d" }]);
      const stale = { metadata: { resourceVersion: before.resourceVersion }, data: { x: "1" } };
      assert.equal((await request("PATCH", path, stale, STRATEGIC)).status, 409);
      assert.equal((await request("PATCH", path, [], STRATEGIC)).status, 400);
      assert.equal((await request("PATCH", path, { data: "x" }, STRATEGIC)).status, 422);
      const dry = await request("PATCH", `${path}?dryRun=All`, { data: { dry: "run" } }, STRATEGIC);
      assert.equal(dry.body.data.dry, "run");
      assert.deepEqual((await request("GET", path)).body.data, { y: "2", z: "3" });
    },
  },
  {
    name: "unknown fields are refused with Strict, else dropped, with a warning unless Ignore",
    async run({ request }) {
      const wrong = { dataa: { a: "b" }, data: { c: "d" } };
      const object = (name: string) => ({ apiVersion: "v1", kind: "ConfigMap", metadata: { name, foo: 1 }, ...wrong });
      const found = 'strict decoding error: unknown field "metadata.foo", unknown field "dataa"';
      const message = `ConfigMap in version "v1" cannot be handled as a ConfigMap: ${found}`;
      assertRefused(
        await request("POST", `${CONFIG_MAPS}?fieldValidation=Strict`, object("fields")),
        400,
        "BadRequest",
        message,
      );
      for (const how of ["", "?fieldValidation=Warn", "?fieldValidation=Ignore"]) {
        const name = `fields${how.toLowerCase().replace(/^.*=/, "-")}`;
        const { status, body, warning } = await request("POST", `${CONFIG_MAPS}${how}`, object(name));
        assert.equal(status, 201);
        assert.deepEqual([body.dataa, body.metadata.foo, body.data], [undefined, undefined, { c: "d" }]);
        const warnings = '299 - "unknown field \\"metadata.foo\\"", 299 - "unknown field \\"dataa\\""';
        assert.equal(warning, how.endsWith("Ignore") ? undefined : warnings);
      }
      const path = `${CONFIG_MAPS}/fields`;
      const put = await request("PUT", `${path}?fieldValidation=Strict`, object("fields"));
      assertRefused(put, 400, "BadRequest", message);
      for (const type of [STRATEGIC, MERGE]) {
        const patch = await request(
          "PATCH",
          `${path}?fieldValidation=Strict`,
          { ...wrong, metadata: { foo: 1 } },
          type,
        );
        const sorted = /strict decoding error: unknown field "dataa", unknown field "metadata\.foo"$/;
        assertRefused(patch, 422, "Invalid", sorted);
        const { status, body, warning } = await request("PATCH", path, { dataa: {} }, type);
        assert.deepEqual([status, body.dataa, warning], [200, undefined, '299 - "unknown field \\"dataa\\""']);
      }
      const other = await request("POST", `${CONFIG_MAPS}?fieldValidation=Foo`, object("fields-foo"));
      const unsupported = 'Unsupported value: "Foo": supported values: "", "Ignore", "Strict", "Warn"';
      const why = `CreateOptions.meta.k8s.io "" is invalid: fieldValidation: ${unsupported}`;
      assertRefused(other, 422, "Invalid", why, {
        group: "meta.k8s.io",
        kind: "CreateOptions",
        causes: [{ reason: "FieldValueNotSupported", message: unsupported, field: "fieldValidation" }],
      });
    },
  },
  {
    name: "access reviews report permissions",
    async run({ request }) {
      const attributes = { verb: "get", resource: "secrets", namespace: NAMESPACE };
      const review = (spec: unknown, user?: string) =>
        request("POST", REVIEWS, { spec }, undefined, user === undefined ? {} : { "impersonate-user": user });
      for (const spec of [
        { resourceAttributes: attributes },
        { resourceAttributes: { verb: "*", resource: "*" } },
        { resourceAttributes: { verb: "get", resource: "foos", group: "x.example", name: "y" } },
        { nonResourceAttributes: { path: "/x", verb: "get" } },
      ]) {
        for (const [user, allowed] of [
          [undefined, true],
          ["nobody", false],
        ] as const) {
          const { status, body } = await review(spec, user);
          assert.equal(status, 201);
          assert.deepEqual(
            [body.kind, body.apiVersion, body.spec, body.status],
            ["SelfSubjectAccessReview", "authorization.k8s.io/v1", spec, { allowed }],
          );
        }
      }
      const one = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
      const message = `.authorization.k8s.io "" is invalid: spec.resourceAttributes: Invalid value: null: ${one}`;
      assertRefused(await review({}), 422, "Invalid", message);
      const both = await review({ resourceAttributes: attributes, nonResourceAttributes: { path: "/x" } });
      assertRefused(both, 422, "Invalid", /cannot be specified in combination with resourceAttributes$/);
      const foo = await request("POST", REVIEWS, { apiVersion: "authorization.k8s.io/v1", kind: "Foo" });
      assertRefused(
        foo,
        400,
        "BadRequest",
        /^Foo in version "v1" cannot be handled as a SelfSubjectAccessReview: no kind "Foo"/,
      );
      assertRefused(await request("GET", REVIEWS), 405, "MethodNotAllowed", /does not allow this method/);
    },
  },
  {
    name: "protobuf bodies are accepted for built-in kinds",
    async run({ request }) {
      const metadata = binary(1, binary(1, "binary-map") + binary(3, "") + binary(12, binary(1, "a") + binary(2, "b")));
      const entry = (key: string, value: string) => binary(2, binary(1, key) + binary(2, value));
      const map = await request(
        "POST",
        CONFIG_MAPS,
        binaryBody("v1", "ConfigMap", metadata + entry("x", "1") + entry("empty", "")),
        PROTOBUF,
      );
      assert.equal(map.status, 201, JSON.stringify(map.body));
      assert.deepEqual(map.body.data, { x: "1", empty: "" });
      assert.deepEqual([map.body.metadata.name, map.body.metadata.annotations], ["binary-map", { a: "b" }]);
      const named = binary(1, binary(1, "binary-secret"));
      const text = binary(4, binary(1, "y") + binary(2, "2"));
      const message = named + entry("x", "1") + binary(3, "example.com/x") + text;
      const stored = await request("POST", SECRETS, binaryBody("v1", "Secret", message), PROTOBUF);
      assert.deepEqual([stored.body.type, stored.body.data], ["example.com/x", encode({ x: "1", y: "2" })]);
      const attributes = binary(1, NAMESPACE) + binary(2, "get") + binary(5, "secrets");
      const review = binaryBody("authorization.k8s.io/v1", "SelfSubjectAccessReview", binary(2, binary(1, attributes)));
      const { status, body } = await request("POST", REVIEWS, review, PROTOBUF);
      assert.deepEqual([status, body.status], [201, { allowed: true }]);
      assert.deepEqual(body.spec.resourceAttributes, { namespace: NAMESPACE, verb: "get", resource: "secrets" });
      for (const garbage of ["garbage", "k8s\0garbage", ""]) {
        assertRefused(await request("POST", CONFIG_MAPS, garbage, PROTOBUF), 400, "BadRequest", /./);
      }
      const patch = await request("PATCH", `${SECRETS}/binary-secret`, binaryBody("v1", "Secret", named), PROTOBUF);
      assertRefused(patch, 415, "UnsupportedMediaType", "415: Unsupported Media Type");
    },
  },
  {
    name: "unknown content types are refused",
    async run({ request }) {
      for (const type of ["application/json", "text/plain"]) {
        const answer = await request("PATCH", `${SECRETS}/x`, {}, type);
        assertRefused(answer, 415, "UnsupportedMediaType", "415: Unsupported Media Type", {});
      }
      for (const [method, path] of [
        ["POST", SECRETS],
        ["PUT", `${SECRETS}/x`],
      ] as const) {
        const message =
          "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf";
        assertRefused(await request(method, path, {}, "text/plain"), 415, "UnsupportedMediaType", message);
      }
      const accept = await request("GET", SECRETS, undefined, undefined, { accept: "text/csv" });
      assert.equal(accept.status, 406);
    },
  },
  {
    name: "PartialObjectMetadata is returned if it is preferred",
    async run({ request }) {
      const accept = { accept: "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,application/json" };
      const object = secret("partial", { data: { a: "YQ==" } });
      const created = await request("POST", SECRETS, object, undefined, accept);
      const patch = { metadata: { labels: { a: "b" } } };
      const patched = await request("PATCH", `${SECRETS}/partial`, patch, "application/merge-patch+json", accept);
      const got = await request("GET", `${SECRETS}/partial`, undefined, undefined, accept);
      for (const { body } of [created, patched, got]) {
        assert.deepEqual([body.kind, body.apiVersion], ["PartialObjectMetadata", "meta.k8s.io/v1"]);
        assert.deepEqual(Object.keys(body).sort(), ["apiVersion", "kind", "metadata"]);
        assert.equal(body.metadata.name, "partial");
      }
      assert.deepEqual([created.status, patched.status, got.status], [201, 200, 200]);
      assert.notEqual(patched.body.metadata.resourceVersion, created.body.metadata.resourceVersion);
      assert.equal(got.body.metadata.resourceVersion, patched.body.metadata.resourceVersion);
      assert.deepEqual((await request("GET", `${SECRETS}/partial`)).body.data, { a: "YQ==" });
      assert.equal((await request("GET", `${SECRETS}/nowhere`, undefined, undefined, accept)).body.kind, "Status");
    },
  },
  {
    name: "unknown tokens get 401, and missing permissions 403 with verb, object and namespace",
    async run({ request }) {
      assertRefused(
        await request("GET", `${SECRETS}/x`, undefined, undefined, { authorization: "Bearer wrong" }),
        401,
        "Unauthorized",
        "Unauthorized",
      );
      const asNobody = (method: string, path: string, body?: unknown, type?: string) =>
        request(method, path, body, type, { "impersonate-user": "nobody" });
      const where = `in the namespace "${NAMESPACE}"`;
      const cannot = (verb: string, resource = "secrets", group = "") =>
        `User "nobody" cannot ${verb} resource "${resource}" in API group "${group}"`;
      assertRefused(
        await asNobody("GET", `${SECRETS}/x`),
        403,
        "Forbidden",
        `secrets "x" is forbidden: ${cannot("get")} ${where}`,
        {
          name: "x",
          kind: "secrets",
        },
      );
      assertRefused(
        await asNobody("GET", SECRETS),
        403,
        "Forbidden",
        `secrets is forbidden: ${cannot("list")} ${where}`,
        {
          kind: "secrets",
        },
      );
      assertRefused(
        await asNobody("GET", `${SECRETS}?fieldSelector=metadata.name%3Dx`),
        403,
        "Forbidden",
        `secrets "x" is forbidden: ${cannot("list")} ${where}`,
      );
      assertRefused(
        await asNobody("POST", SECRETS, secret("x")),
        403,
        "Forbidden",
        `secrets is forbidden: ${cannot("create")} ${where}`,
      );
      assertRefused(
        await asNobody("PATCH", `${SECRETS}/x`, {}, MERGE),
        403,
        "Forbidden",
        `secrets "x" is forbidden: ${cannot("patch")} ${where}`,
      );
      assertRefused(
        await asNobody("PUT", `${SECRETS}/x`, secret("x")),
        403,
        "Forbidden",
        `secrets "x" is forbidden: ${cannot("update")} ${where}`,
      );
      assertRefused(
        await asNobody("DELETE", `${SECRETS}/x`),
        403,
        "Forbidden",
        `secrets "x" is forbidden: ${cannot("delete")} ${where}`,
      );
      assertRefused(
        await asNobody("GET", "/api/v1/nodes"),
        403,
        "Forbidden",
        `nodes is forbidden: ${cannot("list", "nodes")} at the cluster scope`,
      );
      assertRefused(
        await asNobody("GET", "/apis/apps/v1/deployments?labelSelector=a"),
        403,
        "Forbidden",
        `deployments.apps is forbidden: ${cannot("list", "deployments", "apps")} at the cluster scope`,
        { group: "apps", kind: "deployments" },
      );
      const anonymous = await request("GET", `${SECRETS}/x`, undefined, undefined, { authorization: "" });
      assertRefused(
        anonymous,
        403,
        "Forbidden",
        `secrets "x" is forbidden: User "system:anonymous" cannot get resource "secrets" in API group "" ${where}`,
      );
      assert.equal((await request("GET", "/version", undefined, undefined, { authorization: "" })).status, 200);
      assert.equal((await request("GET", "/api", undefined, undefined, { authorization: "" })).status, 403);
      assert.equal((await asNobody("GET", "/api")).status, 200);
    },
  },
  {
    name: "workloads: changes of the spec increment the generation, and patches ignore the status",
    async run({ request }) {
      const before = await request("GET", DEPLOYMENT);
      assert.equal(before.status, 200);
      assert.equal(before.body.metadata.generation, 1);
      const path = "/spec/template/spec/hostAliases";
      const list = [{ ip: "192.0.2.1", hostnames: ["cluster2.mesh.cilium.io"] }];
      const added = await request("PATCH", DEPLOYMENT, [{ op: "add", path, value: list }], JSON_PATCH);
      assert.equal(added.status, 200, JSON.stringify(added.body));
      assert.deepEqual(added.body.spec.template.spec.hostAliases, list);
      assert.equal(added.body.metadata.generation, 2);
      const outdated = [
        { op: "test", path, value: [] },
        { op: "replace", path, value: [] },
      ];
      assertRefused(await request("PATCH", DEPLOYMENT, outdated, JSON_PATCH), 422, "Invalid", /rejected our request/);
      const right = [
        { op: "test", path, value: list },
        { op: "replace", path, value: [...list, { ip: "192.0.2.2", hostnames: ["x.example"] }] },
      ];
      assert.equal((await request("PATCH", DEPLOYMENT, right, JSON_PATCH)).body.metadata.generation, 3);
      const labelled = await request("PATCH", DEPLOYMENT, { metadata: { labels: { a: "b" } } }, MERGE);
      assert.equal(labelled.body.metadata.generation, 3);
      const status = await request("PATCH", DEPLOYMENT, { status: { readyReplicas: 7 } }, MERGE);
      assert.equal(status.status, 200);
      assert.equal(status.body.status?.readyReplicas, labelled.body.status?.readyReplicas);
      assert.equal(status.body.metadata.resourceVersion, labelled.body.metadata.resourceVersion);
    },
  },
  {
    name: "the objects of a cluster are served as the chart rendered them",
    async run({ request }) {
      const pods = await request("GET", "/api/v1/pods?labelSelector=k8s-app%3Dclustermesh-apiserver");
      assert.equal(pods.body.items.length, 1);
      const [pod] = pods.body.items;
      assert.equal(pod.spec.nodeName, "contract-node1");
      assert.equal(pod.status.phase, "Pending");
      assert.equal(pod.status.containerStatuses[0].state.waiting.reason, "ContainerCreating");
      const on = await request("GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dcontract-node2");
      assert.deepEqual(on.body.items, []);
      const { body } = await request("GET", "/api/v1/nodes");
      const [first, second] = body.items.filter((node: KubernetesObject) => node.metadata.name.startsWith("contract-"));
      assert.deepEqual(first.status.addresses, [
        { type: "InternalIP", address: "172.18.9.2" },
        { type: "InternalIP", address: "fd00:9::2" },
        { type: "ExternalIP", address: "192.0.2.9" },
        { type: "Hostname", address: "contract-node1" },
      ]);
      assert.deepEqual(first.spec.podCIDRs, ["10.9.0.0/24"]);
      assert.equal(second.spec.unschedulable, true);
      assert.equal(second.status.conditions.find(({ type }: { type: string }) => type === "Ready").status, "False");
      const service = await request("GET", "/api/v1/namespaces/kube-system/services/clustermesh-apiserver");
      assert.deepEqual([service.body.spec.type, service.body.spec.ports[0].nodePort], ["NodePort", 32391]);
      const daemonSet = await request("GET", "/apis/apps/v1/namespaces/kube-system/daemonsets/cilium");
      const volume = daemonSet.body.spec.template.spec.volumes.find(
        ({ name }: { name: string }) => name === "clustermesh-secrets",
      );
      assert.deepEqual(
        volume.projected.sources.map((source: { secret: { name: string; optional: boolean } }) => [
          source.secret.name,
          source.secret.optional,
        ]),
        [
          ["cilium-clustermesh", true],
          ["clustermesh-apiserver-remote-cert", true],
          ["clustermesh-apiserver-local-cert", true],
        ],
      );
    },
  },
];

export function withoutManagedFields(object: KubernetesObject): KubernetesObject {
  const { managedFields: _, ...metadata } = object.metadata;
  return { ...object, metadata } as KubernetesObject;
}
