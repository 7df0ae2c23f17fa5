/** Other clients that write a target while it is read, planned or written: what they wrote may be newer than what was read. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { V1ConfigMap, V1Secret } from "@kubernetes/client-node";
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
  let last = performance.now();
  c2.onRequest = () => {
    last = performance.now();
    return undefined;
  };
  let isOvertaken = false;
  c1.onRequest = async ({ path }) => {
    if (isOvertaken || !path.includes(SECRET)) return undefined;
    // The reading of the target began before that of its peer ends.
    while (c2.requests.length === 0 || performance.now() - last < 300) await sleep(20);
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
