/** Other clients that write a target while it is read, planned or written: what they wrote may be newer than what was read. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { V1ConfigMap, V1Secret, V1Service } from "@kubernetes/client-node";
import type { KubernetesObject } from "../../lib/sandbox/object.ts";
import type { Api, ApiAnswer } from "../../lib/sandbox/server.ts";
import { type JoinedMesh, startJoinedMesh } from "../support/joined-mesh.ts";
import { type RunningSync, startSync } from "../support/running-sync.ts";

const SECRET = "cilium-kvstoremesh";
const USERS = "clustermesh-remote-users";
/** A config that sync would never write. */
const NEWER = "ZW5kcG9pbnRzOiBbaHR0cHM6Ly9uZXdlcjoyMzc5XQo=";

const AWAY: ApiAnswer = { status: 503, body: { kind: "Status", message: "away", code: 503 } };
const isWriteOf = (name: string) => (request: { method: string; path: string }) =>
  request.method === "PATCH" && request.path.includes(`/${name}`);
const isHeld = ({ sync }: RunningSync) => sync.snapshot().state.held.some(({ reason }) => reason === "unreachable");

interface Pair {
  mesh: JoinedMesh;
  /** The target, and its peer. */
  c1: Api;
  c2: Api;
  /** Starts a sync of both. */
  start(options?: Parameters<typeof startSync>[2]): Promise<RunningSync>;
  /** The config of c2 in c1, as another client wrote it, while c2 is away. */
  overtake(): void;
  config(): string | undefined;
}

async function startPair(t: TestContext): Promise<Pair> {
  const mesh = await startJoinedMesh(t, [{ version: "1.20.2" }, { version: "1.20.2" }]);
  const [c1, c2] = mesh.sandbox.clusters.map(({ api }) => api);
  assert.ok(c1 && c2);
  const clusters = await Promise.all(["c1", "c2"].map((name) => mesh.connectTo(name)));
  return {
    ...{ mesh, c1, c2 },
    start: (options) => startSync(t, clusters, { interval: 200, ...options }),
    overtake: () => {
      c2.onRequest = () => AWAY;
      mesh.change<V1Secret & KubernetesObject>("c1", "Secret", SECRET, (secret) => {
        secret.data = { ...secret.data, c2: NEWER };
      });
    },
    config: () => (c1.store.read("Secret", "kube-system", SECRET) as V1Secret | undefined)?.data?.c2,
  };
}

/** Waits until a cluster, which is in this process, was asked for something, and then for nothing more. */
async function untilQuiet({ requests }: Api): Promise<void> {
  let seen = 0;
  for (let quiet = 0; seen === 0 || quiet < 25; quiet++) {
    await sleep(20);
    if (requests.length > seen) quiet = 0;
    seen = requests.length;
  }
}

/** Waits until a peer that was overtaken is held, and is written once it can be read again. */
async function assertReadAgain({ c2, config }: Pair, sync: RunningSync): Promise<void> {
  await sync.until(() => isHeld(sync), "the pair is held");
  assert.equal(config(), NEWER);
  c2.onRequest = undefined;
  await sync.until(() => config() !== NEWER && !isHeld(sync), "read again, and written");
}

test("a config that is written while the target is read for the first time is not overwritten by an older reading", async (t) => {
  const pair = await startPair(t);
  const { mesh, c1, c2, overtake } = pair;
  mesh.rotate("c2");
  let isOvertaken = false;
  c1.onRequest = async ({ path }) => {
    if (isOvertaken || !path.includes(SECRET)) return undefined;
    // The reading of the target began before that of its peer, which ends here.
    await untilQuiet(c2);
    if (!isOvertaken) overtake();
    isOvertaken = true;
    return undefined;
  };
  await assertReadAgain(pair, await pair.start());
});

test("a config that is written between reading and writing is not overwritten by an older reading", async (t) => {
  const pair = await startPair(t);
  const { mesh, c1, overtake } = pair;
  const sync = await pair.start();
  const { reconciliations } = sync.sync.snapshot().state.counters;
  await sync.until(() => sync.sync.snapshot().state.counters.reconciliations > reconciliations + 2, "a round");
  let isOvertaken = false;
  c1.onRequest = (request) => {
    if (!isOvertaken && isWriteOf(SECRET)(request)) {
      isOvertaken = true;
      overtake();
    }
    return undefined;
  };
  mesh.rotate("c2");
  await sync.until(() => isOvertaken, "a write");
  await assertReadAgain(pair, sync);
  assert.deepEqual(
    sync.events.filter(({ kind }) => kind === "write-failed"),
    [],
  );
});

test("a round reads a target again that somebody else changed, and reports one that is changed again and again", async (t) => {
  const { mesh, c1, start } = await startPair(t);
  const sync = await start({ interval: 600_000, settle: 600_000 });
  let conflicts = 1;
  c1.onRequest = (request) => {
    if (!isWriteOf(SECRET)(request) || conflicts-- <= 0) return undefined;
    mesh.change<V1Secret & KubernetesObject>("c1", "Secret", SECRET, ({ metadata }) => {
      metadata.labels = { ...metadata.labels, touched: String(conflicts) };
    });
    return undefined;
  };
  mesh.rotate("c2");
  assert.equal((await sync.sync.runOnce()).failed, 0);
  assert.ok(conflicts < 1);

  conflicts = Number.POSITIVE_INFINITY;
  mesh.rotate("c2");
  assert.equal((await sync.sync.runOnce()).failed, 1);
  const failure = sync.events.find((one) => one.kind === "write-failed");
  assert.match(failure?.error ?? "", /another client changed the target/);
});

test("users that an upgrade resets are granted again by one write, also to a peer that is away", async (t) => {
  const { mesh, c1, c2, start } = await startPair(t);
  const usersOf = () =>
    (c1.store.read("ConfigMap", "kube-system", USERS) as V1ConfigMap | undefined)?.data?.["users.yaml"] ?? "";
  const granted = usersOf();
  assert.match(granted, /remote-c2/);
  c2.onRequest = () => AWAY;
  mesh.change<V1ConfigMap & KubernetesObject>("c1", "ConfigMap", USERS, (users) => {
    users.data = { "users.yaml": "users: []\n" };
  });
  let writes = 0;
  c1.onRequest = (request) => {
    if (isWriteOf(USERS)(request)) writes++;
    return undefined;
  };
  const { until, sync } = await start();
  await until(() => usersOf() === granted, "granted again");
  const { reconciliations } = sync.snapshot().state.counters;
  await until(() => sync.snapshot().state.counters.reconciliations > reconciliations + 2, "later readings");
  assert.deepEqual([writes, usersOf()], [1, granted]);
  c2.onRequest = undefined;
});

test("a config that is newer than the last extraction of its peer is kept while the peer cannot be extracted", async (t) => {
  const { mesh, c1, config, start } = await startPair(t);
  const sync = await start({ interval: 600_000 });
  const type = (name: string) =>
    mesh.change<V1Service & KubernetesObject>("c2", "Service", "clustermesh-apiserver", ({ spec }) => {
      Object.assign(spec ?? {}, { type: name });
    });
  type("LoadBalancer");
  await sync.until(() => sync.events.some(({ kind }) => kind === "member-unavailable"), "it has no address");
  mesh.change<V1Secret & KubernetesObject>("c1", "Secret", SECRET, (secret) => {
    secret.data = { ...secret.data, c2: NEWER };
  });
  await sync.until(() => isHeld(sync), "the pair is held");
  assert.equal(config(), NEWER);
  const { length } = c1.requests;
  await sleep(500);
  assert.ok(c1.requests.length < length + 50, "it is not read again and again");
  type("NodePort");
  await sync.until(() => config() !== NEWER && !isHeld(sync), "extracted, and written");
});

test("a cluster that is pruned loses its etcd user, also if another client writes the users meanwhile", async (t) => {
  const mesh = await startJoinedMesh(t, [{ version: "1.20.2" }, { version: "1.20.2" }, { version: "1.20.2" }]);
  const clusters = await Promise.all(["c1", "c2", "c3"].map((name) => mesh.connectTo(name)));
  const sync = await startSync(t, clusters, { pruneAfter: 1, interval: 200 });
  const [c1] = mesh.sandbox.clusters.map(({ api }) => api);
  assert.ok(c1);
  const users = () =>
    (c1.store.read("ConfigMap", "kube-system", USERS) as V1ConfigMap | undefined)?.data?.["users.yaml"];
  assert.match(users() ?? "", /remote-c3/);
  let conflicts = 1;
  c1.onRequest = (request) => {
    if (isWriteOf(USERS)(request) && conflicts-- > 0) {
      mesh.change<V1ConfigMap & KubernetesObject>("c1", "ConfigMap", USERS, ({ metadata }) => {
        metadata.labels = { touched: "yes" };
      });
    }
    return undefined;
  };
  sync.list(clusters.slice(0, 2));
  await sync.until(() => conflicts < 1 && !/remote-c3/.test(users() ?? ""), "the user is revoked");
  assert.match(users() ?? "", /remote-c2/);
});

test("a change that the API server refuses as invalid is a failure, and not a conflict", async (t) => {
  const mesh = await startJoinedMesh(t, [{ version: "1.18.5" }, { version: "1.20.2" }], { apart: true });
  const clusters = await Promise.all(["c1", "c2"].map((name) => mesh.connectTo(name)));
  let patches = 0;
  for (const { api } of mesh.sandbox.clusters) {
    api.onRequest = ({ method, path }) => {
      if (method !== "PATCH" || !path.includes("/deployments/")) return undefined;
      patches++;
      return { status: 422, body: { kind: "Status", message: "it is invalid", reason: "Invalid", code: 422 } };
    };
  }
  const sync = await startSync(t, clusters);
  const failure = () => sync.events.find((one) => one.kind === "write-failed");
  await sync.until(() => failure() !== undefined, "the failure");
  assert.equal(patches, 1);
  assert.match(failure()?.error ?? "", /object is invalid \(422\)/);
});
