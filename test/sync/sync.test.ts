import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import type { V1Node, V1Secret, V1Service } from "@kubernetes/client-node";
import type { Cluster } from "../../lib/kube/cluster.ts";
import type { KubernetesObject } from "../../lib/sandbox/object.ts";
import { createPairing } from "../../lib/sync/pairing.ts";
import { emptyState } from "../../lib/sync/state.ts";
import { StateError } from "../../lib/sync/state-text.ts";
import { UserError } from "../../lib/util/errors.ts";
import { type JoinedMesh, type MemberOptions, startJoinedMesh } from "../support/joined-mesh.ts";
import { MemoryStore, type RunningSync, startSync } from "../support/running-sync.ts";

const THREE: MemberOptions[] = [{ version: "1.20.2" }, { version: "1.18.5" }, { version: "1.16.9" }];
type Stored<T> = T & KubernetesObject;

interface SyncedMesh extends JoinedMesh {
  clusters: Cluster[];
  /** The resource versions of all objects that a sync writes. */
  versions(): string;
  secret(cluster: string, name?: string): Stored<V1Secret> | undefined;
  /** Names of the peers of a cluster. */
  peersOf(cluster: string): string[];
}

async function startMesh(t: TestContext, parts = THREE, options = { apart: true }): Promise<SyncedMesh> {
  const mesh = await startJoinedMesh(t, parts, options);
  const names = mesh.sandbox.clusters.map(({ description }) => description.name);
  const storeOf = (cluster: string) => {
    const found = mesh.sandbox.clusters.find(({ description }) => description.name === cluster);
    assert.ok(found);
    return found.api.store;
  };
  const secret = (cluster: string, name = "cilium-clustermesh") =>
    storeOf(cluster).read("Secret", "kube-system", name) as Stored<V1Secret> | undefined;
  return {
    ...mesh,
    clusters: await Promise.all(names.map((name) => mesh.connectTo(name))),
    versions: () =>
      JSON.stringify(
        names.flatMap((name) =>
          ["Secret", "ConfigMap", "Deployment", "DaemonSet"].flatMap((kind) =>
            storeOf(name)
              .all(kind)
              .map(({ metadata }) => [name, kind, metadata.name, metadata.resourceVersion]),
          ),
        ),
      ),
    secret,
    peersOf: (cluster) => names.filter((name) => secret(cluster)?.data?.[name] !== undefined),
  };
}

const isJoined = ({ peersOf }: SyncedMesh) =>
  JSON.stringify(["c1", "c2", "c3"].map(peersOf)) ===
  JSON.stringify([
    ["c2", "c3"],
    ["c1", "c3"],
    ["c1", "c2"],
  ]);

const heldBy = ({ sync }: RunningSync) => sync.snapshot().state.held;

async function startConnected(
  t: TestContext,
  ...options: Parameters<typeof startSync>[2][]
): Promise<[SyncedMesh, RunningSync]> {
  const mesh = await startMesh(t);
  const sync = await startSync(t, mesh.clusters, ...options);
  await sync.until(() => isJoined(mesh) && heldBy(sync).length === 0, "all clusters are connected");
  return [mesh, sync];
}

test("clusters are connected, and then nothing more is written", async (t) => {
  const [mesh, sync] = await startConnected(t);
  const { pairs } = await mesh.status();
  assert.deepEqual(
    pairs.flatMap(({ findings }) => findings.filter(({ severity }) => severity === "error")),
    [],
  );
  await sync.stop();
  const before = mesh.versions();
  const again = await startSync(t, mesh.clusters, { interval: 50 });
  await again.until(() => again.sync.snapshot().state.counters.reconciliations > 12, "several rounds");
  assert.equal(mesh.versions(), before);
});

/** The secret's entry of a peer, as the given cluster has it. */
function entryOf(mesh: SyncedMesh, cluster: string, peer: string): string {
  const secrets = ["cilium-clustermesh", "cilium-kvstoremesh"].map((name) => mesh.secret(cluster, name)?.data ?? {});
  const keys = secrets.map((data) =>
    Object.entries(data).filter(([key]) => key === peer || key.startsWith(`${peer}.`)),
  );
  return JSON.stringify(keys);
}

test("renewed certificates and another port reach all importers", async (t) => {
  const [mesh, { until }] = await startConnected(t);
  const before = entryOf(mesh, "c1", "c2");
  mesh.rotate("c2");
  await until(() => entryOf(mesh, "c1", "c2") !== before && entryOf(mesh, "c3", "c2") !== before, "new certificates");
  mesh.change<Stored<V1Service>>("c2", "Service", "clustermesh-apiserver", ({ spec }) => {
    for (const port of spec?.ports ?? []) port.nodePort = 31_000;
  });
  const hasPort = (cluster: string) => {
    const data = mesh.secret(cluster, "cilium-kvstoremesh")?.data?.c2 ?? "";
    return Buffer.from(data, "base64").toString().includes(":31000");
  };
  await until(() => hasPort("c1") && hasPort("c3"), "the new port");
});

test("the address of a cordoned node stays, and that of a node that is not ready is replaced", async (t) => {
  const [mesh, { until, sync }] = await startConnected(t, { interval: 200 });
  const configOf = (cluster: string) =>
    Buffer.from(mesh.secret(cluster, "cilium-kvstoremesh")?.data?.c2 ?? "", "base64").toString();
  const before = configOf("c1");
  assert.ok(before.includes("172.18.2.1") && before.includes("172.18.2.2"));
  const { reconciliations } = sync.snapshot().state.counters;
  mesh.change<Stored<V1Node>>("c2", "Node", "c2-node1", (node) => {
    node.spec = { ...node.spec, unschedulable: true };
  });
  // The status of nodes is not watched: each cluster is read and planned twice.
  await until(() => sync.snapshot().state.counters.reconciliations > reconciliations + 9, "all are planned again");
  assert.equal(configOf("c1"), before);
  mesh.change<Stored<V1Node>>("c2", "Node", "c2-node1", ({ status }) => {
    for (const condition of status?.conditions ?? []) condition.status = "Unknown";
  });
  await until(() => !configOf("c1").includes("172.18.2.1"), "the address is replaced");
  assert.ok(configOf("c1").includes("172.18.2.2"));
});

test("a peer that somebody else removed is added again", async (t) => {
  const [mesh, { until }] = await startConnected(t);
  mesh.change<Stored<V1Secret>>("c1", "Secret", "cilium-kvstoremesh", ({ data }) => delete data?.c2);
  assert.deepEqual(mesh.secret("c1", "cilium-kvstoremesh")?.data?.c2, undefined);
  await until(() => mesh.secret("c1", "cilium-kvstoremesh")?.data?.c2 !== undefined, "the peer is back");
});

test("a cluster that is added to the list joins, and one that leaves it stays configured", async (t) => {
  const mesh = await startMesh(t);
  const [c1, c2, c3] = mesh.clusters as [Cluster, Cluster, Cluster];
  const { until, list, events, sync } = await startSync(t, [c1, c2]);
  await until(() => mesh.peersOf("c1").includes("c2"), "the first two are connected");
  assert.deepEqual(mesh.peersOf("c3"), []);
  list(mesh.clusters);
  await until(() => isJoined(mesh), "the third joins");
  assert.ok(events.some((one) => one.kind === "member-joined" && one.entry === "c3"));
  list([c1, c2]);
  await until(() => events.some((one) => one.kind === "member-left" && one.entry === "c3"), "the third leaves");
  const { reconciliations } = sync.snapshot().state.counters;
  mesh.rotate("c2");
  await until(() => sync.snapshot().state.counters.reconciliations > reconciliations + 1, "another change is written");
  assert.deepEqual(mesh.peersOf("c1"), ["c2", "c3"]);
  void c3;
});

test("a cluster that has left is removed from the others after --prune-after, but not with more than half of the list", async (t) => {
  const mesh = await startMesh(t);
  const { until, list, events, sync } = await startSync(t, mesh.clusters, { pruneAfter: 300 });
  await until(() => isJoined(mesh), "all clusters are connected");
  list(mesh.clusters.slice(0, 2));
  await until(() => mesh.peersOf("c1").join() === "c2" && mesh.peersOf("c2").join() === "c1", "the third is removed");
  list(mesh.clusters.slice(0, 1));
  await until(() => events.some((one) => one.kind === "member-left" && one.entry === "c2"), "the second leaves");
  const removed = events.filter((one) => one.kind === "written" && one.removed?.join() === "c3");
  assert.ok(removed.length >= 2, "the removed peer is named");
  assert.deepEqual([...sync.snapshot().versions.values()], ["1.20.2"]);
  const left = events.find((one) => one.kind === "member-left" && one.entry === "c2");
  assert.match((left?.kind === "member-left" && left.keptBecause) || "", /members left the list at once/);
});

test("a cluster that was pruned and then connected by hand stays, also where another is pruned later", async (t) => {
  const mesh = await startMesh(t);
  const store = new MemoryStore();
  const c2 = mesh.sandbox.clusters.find(({ description }) => description.name === "c2");
  assert.ok(c2);
  const first = await startSync(t, mesh.clusters, { pruneAfter: 300, store });
  await first.until(() => isJoined(mesh), "all clusters are connected");
  c2.api.onRequest = () => ({ status: 503, body: { kind: "Status", message: "away", code: 503 } });
  first.list(mesh.clusters.slice(0, 2));
  const isPruned = () => first.sync.snapshot().state.members.some(({ pruneFrom }) => pruneFrom?.join() === "c2");
  await first.until(isPruned, "the third is removed from the first");
  assert.deepEqual(mesh.peersOf("c1"), ["c2"]);
  await first.stop();
  await mesh.exchange("c3", "c1");
  c2.api.onRequest = undefined;
  const second = await startSync(t, mesh.clusters.slice(0, 2), { pruneAfter: 300, store, interval: 100 });
  await second.until(() => mesh.peersOf("c2").join() === "c1", "the third is removed from the second");
  await mesh.exchange("c3", "c2");
  const { reconciliations } = second.sync.snapshot().state.counters;
  await second.until(() => second.sync.snapshot().state.counters.reconciliations > reconciliations + 6, "more rounds");
  assert.deepEqual(["c1", "c2"].map(mesh.peersOf), [
    ["c2", "c3"],
    ["c1", "c3"],
  ]);
});

test("a cluster that is away does not hold up the others, and is connected when it is back", async (t) => {
  const mesh = await startMesh(t);
  const c3 = mesh.sandbox.clusters.find(({ description }) => description.name === "c3");
  assert.ok(c3);
  c3.api.onRequest = () => ({ status: 503, body: { kind: "Status", message: "away", code: 503 } });
  const sync = await startSync(t, mesh.clusters, { interval: 200 });
  await sync.until(() => mesh.peersOf("c1").join() === "c2" && mesh.peersOf("c2").join() === "c1", "the others");
  assert.equal(sync.events.filter(({ kind }) => kind === "member-unreachable").length, 1, "reported once");
  c3.api.onRequest = undefined;
  await sync.until(() => isJoined(mesh), "the third is connected");
  assert.ok(sync.events.some((one) => one.kind === "member-reachable" && one.entry === "c3"));
});

test("two ways to a cluster are one, and two clusters with one name or id are held", async (t) => {
  const mesh = await startMesh(t, [{ version: "1.20.2" }, { version: "1.18.5" }, { version: "1.16.9", id: 2 }]);
  const again = await mesh.connectTo("c1", "another-way-to-c1");
  const { until, sync } = await startSync(t, [...mesh.clusters, again]);
  await until(() => heldBy({ sync } as RunningSync).length === 2, "both are held");
  const held = sync.snapshot().state.held.map(({ target, peer, reason }) => [target, peer, reason]);
  assert.deepEqual(held.sort(), [
    ["c2", undefined, "duplicate"],
    ["c3", undefined, "duplicate"],
  ]);
  assert.deepEqual(["c1", "c2", "c3"].map(mesh.peersOf), [[], [], []]);
});

test("if the first of two ways to a cluster fails, the second is used, also by a pair that names the first", async (t) => {
  const mesh = await startMesh(t);
  const [, c2, c3] = mesh.clusters as [Cluster, Cluster, Cluster];
  const c1 = await mesh.connectTo("c1", "ctx-c1");
  const sync = await startSync(t, [c1, c2, c3, await mesh.connectTo("c1", "c1-again")], {
    interval: 300,
    pairing: createPairing({
      pairs: [
        ["c2", "c3"],
        ["*", "ctx-c1"],
      ],
    }),
  });
  await sync.until(() => isJoined(mesh), "all clusters are connected");
  const get = c1.api.get;
  c1.api.get = async () => {
    throw new UserError("away", 1);
  };
  await sync.until(() => sync.events.some(({ kind }) => kind === "member-unreachable"), "the first way fails");
  const before = [entryOf(mesh, "c2", "c1"), entryOf(mesh, "c1", "c2")];
  for (const name of ["c1", "c2"]) mesh.rotate(name);
  const isWritten = () => entryOf(mesh, "c2", "c1") !== before[0] && entryOf(mesh, "c1", "c2") !== before[1];
  await sync.until(isWritten, "its certificates reach the others, and theirs reach it");
  c1.api.get = get;
  await sync.until(() => sync.events.some(({ kind }) => kind === "member-reachable"), "the first way is back");
  assert.equal(sync.events.filter(({ kind }) => kind === "member-unreachable").length, 1);
});

test("a key that another field manager resets again and again is left alone for a while; other keys are not", async (t) => {
  const [mesh, { until, sync, events }] = await startConnected(t);
  const rival = (time: number) => {
    mesh.change<Stored<V1Secret>>("c1", "Secret", "cilium-kvstoremesh", (secret) => {
      secret.data = { ...secret.data, c2: Buffer.from("endpoints: [https://wrong:2379]\n").toString("base64") };
      const entry = {
        manager: "rival",
        operation: "Update",
        fieldsType: "FieldsV1",
        fieldsV1: { "f:data": { "f:c2": {} } },
      };
      secret.metadata.managedFields = [
        ...(secret.metadata.managedFields ?? []),
        { ...entry, time: new Date(Date.now() + time).toISOString() } as never,
      ];
    });
  };
  const config = () => Buffer.from(mesh.secret("c1", "cilium-kvstoremesh")?.data?.c2 ?? "", "base64").toString();
  const isHeld = () => heldBy({ sync } as RunningSync).some(({ reason }) => reason === "contested");
  for (let i = 0; !isHeld() && i < 10; i++) {
    rival(i);
    await until(() => isHeld() || !config().includes("wrong"), "the reset is answered");
  }
  const [hold] = heldBy({ sync } as RunningSync).filter(({ reason }) => reason === "contested");
  assert.match(hold?.message ?? "", /"rival" keeps resetting c2 of secret\/cilium-kvstoremesh/);
  assert.equal(
    hold?.remedy,
    "kubectl --context c1 --namespace kube-system get secret/cilium-kvstoremesh --output jsonpath='{.metadata.managedFields}'",
  );
  assert.match(config(), /wrong/);
  assert.ok(events.some((one) => one.kind === "held" && one.record.reason === "contested"));
  const before = entryOf(mesh, "c1", "c3");
  mesh.rotate("c3");
  await until(() => entryOf(mesh, "c1", "c3") !== before, "another peer is still written");
  assert.match(config(), /wrong/);
});

test("a changed config of a peer is not overwritten by an old reading of that peer", async (t) => {
  const [mesh, { until, sync }] = await startConnected(t, { interval: 300 });
  const c2 = mesh.sandbox.clusters.find(({ description }) => description.name === "c2");
  assert.ok(c2);
  c2.api.onRequest = () => ({ status: 503, body: { kind: "Status", message: "away", code: 503 } });
  mesh.rotate("c2");

  const written = "ZW5kcG9pbnRzOiBbaHR0cHM6Ly9uZXdlcjoyMzc5XQo=";
  mesh.change<Stored<V1Secret>>("c1", "Secret", "cilium-kvstoremesh", (secret) => {
    secret.data = { ...secret.data, c2: written };
  });
  const isHeld = () => heldBy({ sync } as RunningSync).some(({ reason }) => reason === "unreachable");
  await until(isHeld, "the pair is held");
  const [hold] = heldBy({ sync } as RunningSync);
  assert.equal(hold?.message, "the config of c2 may have changed since c2 was last read, and c2 cannot be read now");
  assert.equal(mesh.secret("c1", "cilium-kvstoremesh")?.data?.c2, written);
  c2.api.onRequest = undefined;
  await until(
    () => mesh.secret("c1", "cilium-kvstoremesh")?.data?.c2 !== written && !isHeld(),
    "read again, and written",
  );
});

test("a cluster without an address is reported once, fails a single round, and its importers keep its config", async (t) => {
  const [mesh, sync] = await startConnected(t);
  const before = entryOf(mesh, "c1", "c2");
  mesh.change<Stored<V1Service>>("c2", "Service", "clustermesh-apiserver", ({ spec }) => {
    Object.assign(spec ?? {}, { type: "LoadBalancer" });
  });
  await sync.until(() => sync.events.some(({ kind }) => kind === "member-unavailable"), "the event");
  const { failed } = await sync.sync.runOnce();
  assert.deepEqual([failed, entryOf(mesh, "c1", "c2")], [1, before]);
  assert.equal(sync.events.filter(({ kind }) => kind === "member-unavailable").length, 1);
});

test("clusters that restart nothing do not hold up the restart of another", async (t) => {
  const mesh = await startMesh(t, [{ version: "1.18.5" }, { version: "1.20.2" }, { version: "1.20.2" }]);
  const { until, events } = await startSync(t, mesh.clusters);
  await until(() => isJoined(mesh), "all clusters are connected");
  const restarted = "deployment/clustermesh-apiserver";
  await until(() => events.some((one) => one.kind === "written" && one.object === restarted), "a restart");
  assert.deepEqual(
    events.filter(({ kind }) => kind === "held"),
    [],
  );
});

test("without the state nothing is removed, and the state of another selection is not used", async (t) => {
  const mesh = await startMesh(t);
  const store = new MemoryStore();
  store.failures = [new StateError("not JSON")];
  const sync = await startSync(t, mesh.clusters, { pruneAfter: 1, store });
  await sync.until(() => isJoined(mesh), "all clusters are connected");
  assert.ok(sync.events.some(({ kind }) => kind === "state-unreadable"));
  sync.list(mesh.clusters.slice(0, 2));
  await sync.until(() => sync.events.some(({ kind }) => kind === "member-left"), "the third leaves");
  const { reconciliations } = sync.sync.snapshot().state.counters;
  mesh.rotate("c1");
  await sync.until(() => sync.sync.snapshot().state.counters.reconciliations > reconciliations + 2, "other changes");
  assert.deepEqual(mesh.peersOf("c1"), ["c2", "c3"]);
});

test("the state of a store that does not answer at first is kept", async (t) => {
  const mesh = await startMesh(t);
  const store = new MemoryStore();
  const absentSince = "2026-01-01T00:00:00.000Z";
  store.state = { ...emptyState("test"), members: [{ entry: "gone", cluster: "gone", absentSince }] };
  store.failures = [new UserError("429", 1)];
  const { sync, events } = await startSync(t, mesh.clusters, { store });
  assert.ok(!events.some(({ kind }) => kind === "state-unreadable"));
  assert.equal(sync.snapshot().state.members.find(({ entry }) => entry === "gone")?.absentSince, absentSince);
});
