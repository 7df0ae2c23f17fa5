import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Cluster } from "../../lib/kube/cluster.ts";
import { type ConnectOptions, meshMembersOf, planConnect } from "../../lib/mesh/connect.ts";
import { planDisconnect } from "../../lib/mesh/disconnect.ts";
import { readMembers } from "../../lib/mesh/member.ts";
import { planRotation } from "../../lib/mesh/rotate.ts";
import { UserError } from "../../lib/util/errors.ts";
import { type JoinedMesh, startJoinedMesh } from "../support/joined-mesh.ts";
import { runChange } from "../support/run-import.ts";
import { OPTIONS } from "../support/targets.ts";

const READ = { resolve: async () => [], forExtract: true };

/** A mesh of which somebody takes parts together, and connects them. */
async function meshOf(t: Parameters<typeof startJoinedMesh>[0], apart: boolean) {
  const mesh = await startJoinedMesh(t, [{}, {}, {}], { apart });
  const connect = async (clusters: readonly Cluster[], how: Partial<ConnectOptions> = {}) => {
    const reading = await readMembers(clusters, { resolve: async () => [], forExtract: true });
    const run = await runChange(planConnect(reading, { skipUnreachable: false, now: new Date(), ...how }));
    assert.deepEqual(run.prepared.findings, []);
    return run;
  };
  return { mesh, connect };
}

const waysOf = (mesh: JoinedMesh, ways: [cluster: string, source?: string][]): Promise<Cluster[]> =>
  Promise.all(ways.map(([cluster, source]) => mesh.connectTo(cluster, source)));

/** The pairs that are configured, as `c1 c2`. */
async function pairsOf(mesh: JoinedMesh): Promise<string[]> {
  const { pairs } = await mesh.status();
  return pairs.filter(({ configured }) => configured).map(({ importer, peer }) => `${importer} ${peer}`);
}

/** What an API server may return for a field, whatever the schema of Kubernetes requires. */
const HOSTILE: unknown[] = [null, 7, "text", [], [null], [7], {}, { a: null }, { a: { b: 7 } }];

/** Returns the paths of all fields of an object. */
function pathsOf(value: unknown, path: (string | number)[] = []): (string | number)[][] {
  if (typeof value !== "object" || value === null) return [path];
  const fields = Array.isArray(value) ? value.map((one, i) => [i, one] as const) : Object.entries(value);
  return [...(path.length > 0 ? [path] : []), ...fields.flatMap(([key, one]) => pathsOf(one, [...path, key]))];
}

function replaceAt(object: object, path: readonly (string | number)[], value: unknown): void {
  const parent = path.slice(0, -1).reduce<object>((one, key) => Reflect.get(one, key), object);
  Reflect.set(parent, path.at(-1) ?? "", value);
}

test("a cluster whose objects violate the schema of Kubernetes stops no other", async (t) => {
  const { mesh } = await meshOf(t, false);
  const clusters = await waysOf(mesh, [["c1"], ["c2"], ["c3"]]);
  const store = mesh.sandbox.clusters.find(({ description }) => description.name === "c2")?.api.store;
  const objects = ["ConfigMap", "Secret", "Deployment", "DaemonSet", "Service", "Node", "Pod"].flatMap(
    (kind) => store?.all(kind) ?? [],
  );
  // The names by which the server finds an object are its own.
  const places = objects.flatMap((object) =>
    pathsOf(object)
      .filter(
        ([first, second]) =>
          first !== "kind" &&
          first !== "apiVersion" &&
          !(
            first === "metadata" &&
            (second === undefined || second === "name" || second === "namespace" || second === "labels")
          ),
      )
      .map((path) => ({ object, path })),
  );
  assert.ok(places.length > 100);
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...places), fc.constantFrom(...HOSTILE), async ({ object, path }, value) => {
      const changed = structuredClone(object);
      replaceAt(changed, path, value);
      store?.put(changed);
      try {
        const status = await mesh.status({}, clusters);
        assert.deepEqual(
          status.clusters.map(({ name }) => name).filter((name) => name !== "c2" && name !== undefined),
          ["c1", "c3"],
        );
        const reading = await readMembers(clusters, READ);
        const { targets } = planConnect(reading, { skipUnreachable: true, now: new Date() });
        const names = targets.map(({ target }) => target.source);
        assert.ok(names.includes("c1") && names.includes("c3"), names.join());
      } finally {
        store?.put(structuredClone(object));
      }
    }),
    { numRuns: 60 },
  );
});

test("two contexts for one cluster are one member", async (t) => {
  const { mesh } = await meshOf(t, true);
  const ways = await waysOf(mesh, [["c1"], ["c2", "again"], ["c2"]]);
  const { members, unreadable, duplicates, warnings } = await readMembers(ways, READ);
  assert.deepEqual([members.map(({ source }) => source), unreadable], [["c1", "again"], []]);
  assert.deepEqual([...duplicates], [["c2", "again"]]);
  assert.deepEqual(warnings, ["skipped context c2: same cluster as context again"]);
});

test("an unreachable context is a cluster that cannot be read", async (t) => {
  const { mesh } = await meshOf(t, true);
  const nowhere: Cluster = {
    source: "nowhere",
    get api(): never {
      throw new UserError("context nowhere: there is no\n  such file", 2);
    },
  };
  const { members, unreadable } = await readMembers([nowhere, await mesh.connectTo("c1")], READ);
  assert.deepEqual(
    unreadable.map(({ code, source, message }) => [code, source, message]),
    [["cluster-unreadable", "nowhere", "context nowhere: there is no; such file"]],
  );
  assert.deepEqual(
    members.map(({ source }) => source),
    ["c1"],
  );
});

test("connecting: a cluster that is named twice is connected once, and never with itself", async (t) => {
  const { mesh, connect } = await meshOf(t, true);
  const { reports } = await connect(await waysOf(mesh, [["c1"], ["c2"], ["c2", "again"], ["c3"]]));
  assert.deepEqual(
    reports?.map(({ source, state }) => [source, state]),
    [
      ["c1", "done"],
      ["c2", "done"],
      ["c3", "done"],
    ],
  );
  assert.deepEqual(await pairsOf(mesh), ["c1 c2", "c1 c3", "c2 c1", "c2 c3", "c3 c1", "c3 c2"]);
});

test("connecting: the hub may be named by another of its contexts, and a newcomer too", async (t) => {
  const { mesh, connect } = await meshOf(t, true);
  const star = await waysOf(mesh, [["c1"], ["c2"], ["c3"], ["c1", "again"]]);
  await connect(star, { hub: "again" });
  assert.deepEqual(await pairsOf(mesh), ["c1 c2", "c1 c3", "c2 c1", "c3 c1"]);
  const joining = await waysOf(mesh, [["c3"], ["c2"], ["c3", "again"]]);
  await connect(joining, { joining: new Set(["again"]) });
  assert.deepEqual(await pairsOf(mesh), ["c1 c2", "c1 c3", "c2 c1", "c2 c3", "c3 c1", "c3 c2"]);
});

test("connecting one cluster with itself is refused", async (t) => {
  const { mesh, connect } = await meshOf(t, true);
  await assert.rejects(connect(await waysOf(mesh, [["c1"], ["c1", "again"]])), (error) => {
    assert.ok(error instanceof UserError && error.exitCode === 2, String(error));
    assert.match(error.message, /at least two clusters are required/);
    return true;
  });
});

test("disconnecting: a cluster that is named twice is written once", async (t) => {
  const { mesh } = await meshOf(t, false);
  const ways = await waysOf(mesh, [["c1"], ["c1", "again"], ["c2"]]);
  const reading = await readMembers(ways, { ...READ, forExtract: false });
  const change = planDisconnect(new Set(["c3"]), ways, reading, { skipUnreachable: false });
  assert.deepEqual(change.notes, ["not changed: the peers configured in c3"]);
  const { reports } = await runChange(change, { plan: { ...OPTIONS, remove: new Set(["c3"]) } });
  assert.deepEqual(
    reports?.map(({ source, state }) => [source, state]),
    [
      ["c1", "done"],
      ["c2", "done"],
    ],
  );
  assert.deepEqual(await pairsOf(mesh), ["c1 c2", "c2 c1", "c3 c1", "c3 c2"]);
});

test("peers of a new member are found by the context of their name, even if another of their contexts is read first", async (t) => {
  const { mesh } = await meshOf(t, false);
  const [known, stray, right] = await waysOf(mesh, [["c1"], ["c3", "c2"], ["c3"]]);
  assert.ok(known && stray && right);
  const contexts = new Map([stray, right].map((way) => [way.source, way]));
  const { found, missing } = await meshMembersOf(known, contexts, READ);
  assert.deepEqual([found.map(({ source }) => source), missing], [["c3"], ["c2"]]);
});

test("connect and rotate check a cluster's certificates even if they are written to no importer", async (t) => {
  const expired = { notBefore: new Date(Date.now() - 2 * 86_400_000), notAfter: new Date(Date.now() - 86_400_000) };
  const mesh = await startJoinedMesh(t, [{}, { pki: expired }], { apart: true });
  const reading = await readMembers(await waysOf(mesh, [["c2"]]), READ);
  const importers = await readMembers(await waysOf(mesh, [["c1"]]), { ...READ, forExtract: false });
  const [c2] = reading.members;
  assert.ok(c2);
  const { refused } = await runChange(planRotation(c2, importers, { skipUnreachable: false, now: new Date() }));
  assert.ok(refused.some(({ code, key }) => code === "certificate-expired" && key === "c2"));
});

test("a cluster is connected to again at the next look, with what its context gives then", async (t) => {
  const mesh = await startJoinedMesh(t, [{}], { apart: true });
  const way = await mesh.connectTo("c1");
  let broken = true;
  let closed = 0;
  const cluster: Cluster = {
    source: "c1",
    get api() {
      if (broken) throw new UserError("the plugin failed", 1);
      return way.api;
    },
    close: () => closed++,
  };
  const look = () => mesh.status({}, [cluster]);
  assert.equal((await look()).clusters[0]?.error, "the plugin failed");
  broken = false;
  assert.equal((await look()).clusters[0]?.error, undefined);
  assert.equal(closed, 2);
});
