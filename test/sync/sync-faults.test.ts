/** Faults that a sync of months meets: servers that hang, changed lists and names, old and forged states. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { V1ConfigMap, V1Secret } from "@kubernetes/client-node";
import type { Cluster } from "../../lib/kube/cluster.ts";
import { openCluster } from "../../lib/kube/open.ts";
import { FIELD_MANAGER } from "../../lib/peer/annotations.ts";
import type { KubernetesObject } from "../../lib/sandbox/object.ts";
import { emptyState, type MemberRecord } from "../../lib/sync/state.ts";
import { saveUntil } from "../../lib/sync/state-store.ts";
import { TaskScheduler } from "../../lib/sync/task-scheduler.ts";
import { type JoinedMesh, startJoinedMesh } from "../support/joined-mesh.ts";
import { MemoryStore, startSync } from "../support/running-sync.ts";

async function startMesh(t: TestContext, apart = true): Promise<{ mesh: JoinedMesh; clusters: Cluster[] }> {
  const mesh = await startJoinedMesh(t, [{ version: "1.18.5" }, { version: "1.18.5" }, { version: "1.18.5" }], {
    apart,
  });
  return { mesh, clusters: await Promise.all(["c1", "c2", "c3"].map((name) => openClosable(t, mesh, name))) };
}

/** Opens a cluster whose requests have no timeout. */
async function openClosable(
  t: TestContext,
  { sandbox: { kubeconfig } }: JoinedMesh,
  context: string,
): Promise<Cluster> {
  const options = { clientName: FIELD_MANAGER, kubeconfig, context, requestTimeout: 0 };
  let { api } = await openCluster(options);
  const { api: next } = await openCluster(options);
  const close = () => {
    api.close();
    api = next;
  };
  t.after(() => {
    close();
    close();
  });
  return {
    source: context,
    get api() {
      return api;
    },
    close,
  };
}

const apiOf = ({ sandbox }: JoinedMesh, cluster: string) => {
  const found = sandbox.clusters.find(({ description }) => description.name === cluster);
  assert.ok(found);
  return found.api;
};

const peersOf = (mesh: JoinedMesh, cluster: string) => {
  const secret = apiOf(mesh, cluster).store.read("Secret", "kube-system", "cilium-clustermesh");
  const data = (secret as V1Secret | undefined)?.data ?? {};
  return ["c1", "c2", "c3"].filter((name) => data[name] !== undefined);
};

const changeConfig = (mesh: JoinedMesh, cluster: string, name: string) =>
  mesh.change<V1ConfigMap & KubernetesObject>(cluster, "ConfigMap", "cilium-config", (config) => {
    config.data = { ...config.data, "cluster-name": name };
  });

test("a member that does not answer does not delay the end, and is not reported then", async (t) => {
  const { mesh, clusters } = await startMesh(t);
  const { until, stop, events } = await startSync(t, clusters, { interval: 100 });
  let isAsked = false;
  apiOf(mesh, "c2").onRequest = () => {
    isAsked = true;
    return new Promise(() => {});
  };
  await until(() => isAsked, "it is read");
  await stop();
  assert.deepEqual(
    events.filter(({ kind }) => kind === "member-unreachable"),
    [],
  );
});

test("a member that gets other credentials while it is read is read again with these, and not reported", async (t) => {
  const { mesh, clusters } = await startMesh(t);
  const [c1, c2, c3] = clusters as [Cluster, Cluster, Cluster];
  let isClosed = () => {};
  const closed = new Promise<void>((resolve) => {
    isClosed = resolve;
  });
  const old: Cluster = {
    source: "c2",
    revision: "1",
    api: c2.api,
    close: () => {
      c2.close?.();
      isClosed();
    },
  };
  const renewed: Cluster = { ...(await openClosable(t, mesh, "c2")), revision: "2" };
  const { until, events, list, sync } = await startSync(t, [c1, old, c3], { interval: 200 });
  let isReplaced = false;
  apiOf(mesh, "c2").onRequest = async () => {
    if (isReplaced) return undefined;
    isReplaced = true;
    list([c1, renewed, c3]);
    await closed;
    return undefined;
  };
  await until(() => isReplaced, "it is read with the old credentials");
  const { reconciliations } = sync.snapshot().state.counters;
  await until(() => sync.snapshot().state.counters.reconciliations > reconciliations + 6, "several rounds");
  assert.deepEqual(
    events.filter(({ kind }) => kind === "member-unreachable"),
    [],
  );
});

test("a member whose API server is lost is read soon, so that it is known to be unreachable", async (t) => {
  const { mesh, clusters } = await startMesh(t);
  const { until, events } = await startSync(t, clusters);
  await until(() => peersOf(mesh, "c1").length === 2, "all clusters are connected");
  await apiOf(mesh, "c2").stop();
  await until(() => events.some((one) => one.kind === "member-unreachable" && one.entry === "c2"), "it is reported");
});

test("a certificate that was issued a moment ago is written", async (t) => {
  const { mesh, clusters } = await startMesh(t);
  const { until, events } = await startSync(t, clusters, { interval: 300 });
  await until(() => peersOf(mesh, "c1").length === 2, "all clusters are connected");
  const certificate = () => {
    const secret = apiOf(mesh, "c1").store.read("Secret", "kube-system", "cilium-kvstoremesh");
    return (secret as V1Secret | undefined)?.data?.["c2.etcd-client.crt"];
  };
  const before = certificate();
  const issuer = mesh.sandbox.clusters.find(({ description }) => description.name === "c2")?.pki.ca;
  // Times of certificates have whole seconds.
  await sleep(1_100);
  mesh.rotate("c2", { ...(issuer && { ca: issuer }), notBefore: new Date() });
  await until(() => certificate() !== before, "it is written");
  assert.deepEqual(
    events.filter((one) => one.kind === "held" && one.record.reason === "check"),
    [],
  );
});

test("holds of targets that have left, or have another name, end", async (t) => {
  const { mesh, clusters } = await startMesh(t);
  const store = new MemoryStore();
  const hold = { peer: "c1", reason: "check", since: "2026-01-01T00:00:00Z", message: "held" } as const;
  store.state = { ...emptyState("test"), held: [{ ...hold, target: "left-while-we-were-down" }] };
  const { until, sync } = await startSync(t, clusters, { store, interval: 100 });
  const targets = () => sync.snapshot().state.held.map(({ target }) => target);
  assert.ok(!targets().includes("left-while-we-were-down"));
  changeConfig(mesh, "c3", "c2");
  await until(() => targets().includes("c2"), "two clusters have one name");
  changeConfig(mesh, "c3", "default");
  await until(() => targets().includes("default"), "it is refused as a target");
  changeConfig(mesh, "c3", "c4");
  await until(() => !targets().includes("default"), "the hold of its last name ends");
});

test("two clusters with one name are reported once", async (t) => {
  const { mesh, clusters } = await startMesh(t);
  changeConfig(mesh, "c3", "c2");
  const { until, sync, events } = await startSync(t, clusters, { interval: 50 });
  await until(() => sync.snapshot().state.counters.reconciliations > 30, "several rounds");
  assert.equal(events.filter((one) => one.kind === "held" && one.record.reason === "duplicate").length, 1);
});

test("a state that names other clusters as absent removes no peer that this tool has not written for them", async (t) => {
  const { mesh, clusters } = await startMesh(t, false);
  assert.deepEqual(peersOf(mesh, "c1"), ["c2", "c3"]);
  const absent: MemberRecord = { entry: "x", cluster: "c3", absentSince: "2026-01-01T00:00:00Z" };
  const listed = ["c1", "c2"].map((entry): MemberRecord => ({ entry, listedSince: "2025-01-01T00:00:00Z" }));
  const store = new MemoryStore();
  store.state = { ...emptyState("test"), members: [...listed, { ...absent, id: 99 }] };
  const first = await startSync(t, clusters.slice(0, 2), { store, interval: 50, pruneAfter: 1 });
  await first.until(() => first.sync.snapshot().state.counters.reconciliations > 12, "several rounds");
  assert.deepEqual(peersOf(mesh, "c1"), ["c2", "c3"]);
  await first.stop();
  store.state = { ...emptyState("test"), members: [...listed, { ...absent, id: 3 }] };
  const again = await Promise.all(["c1", "c2"].map((name) => mesh.connectTo(name)));
  const second = await startSync(t, again, { store, interval: 50, pruneAfter: 1 });
  await second.until(() => peersOf(mesh, "c1").join() === "c2", "the cluster that was written is removed");
});

test("a state is not saved after another process may have begun to", async () => {
  const store = new MemoryStore();
  const lost = new AbortController();
  const guarded = saveUntil(store, lost.signal);
  await guarded.save(emptyState("ours"));
  lost.abort();
  await guarded.save(emptyState("outdated"));
  assert.equal(store.state?.selection, "ours");
});

test("a key that is removed while its task runs, and scheduled again, has one task at a time", async () => {
  let running = 0;
  let most = 0;
  let end = () => {};
  const scheduler = new TaskScheduler(
    async () => {
      most = Math.max(most, ++running);
      await new Promise<void>((resolve) => {
        end = resolve;
      });
      running--;
    },
    { limit: 16, signal: new AbortController().signal },
  );
  scheduler.schedule("a", 0);
  scheduler.remove("a");
  scheduler.schedule("a", 0);
  const idle = scheduler.idle();
  end();
  await new Promise((resolve) => setImmediate(resolve));
  end();
  await idle;
  assert.equal(most, 1);
});
