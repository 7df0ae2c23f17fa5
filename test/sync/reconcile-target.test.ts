import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import type { MemberView } from "../../lib/sync/member-view.ts";
import { readForSync } from "../../lib/sync/read-member.ts";
import { type SyncTarget, TargetReconciler } from "../../lib/sync/reconcile-target.ts";
import { StateKeeper } from "../../lib/sync/state-keeper.ts";
import { ParseCache } from "../../lib/util/parse-cache.ts";
import { startJoinedMesh } from "../support/joined-mesh.ts";
import { MemoryStore, SYNC_OPTIONS } from "../support/running-sync.ts";

/** A reconciler, and a target `c1` with a peer that it lacks. */
async function prepare(t: TestContext) {
  const { connectTo, sandbox } = await startJoinedMesh(t, [{}, {}], { apart: true });
  const now = () => new Date();
  const read = async (name: string) => {
    const { api } = await connectTo(name);
    return readForSync(api, name, { addresses: 3, resolve: async () => [], cache: new ParseCache(), now: now() });
  };
  const [{ member, view }, { view: other }] = [await read("c1"), await read("c2")];
  const ports = { emit: () => {}, now };
  const { signal } = new AbortController();
  const keeper = await StateKeeper.load("test", { store: new MemoryStore(), ...ports, interval: 1 }, signal);
  const toTarget = (entry: string, others: MemberView[], writes: boolean): SyncTarget => ({
    ...{
      member,
      target: "c1",
      uid: view.uid,
      names: { entry, cluster: "c1" },
      namesOf: () => ({ entry: "c2", cluster: "c2" }),
      others,
      unreadable: new Set(),
      watch: undefined,
      writes,
    },
  });
  return {
    api: sandbox.clusters[0]?.api,
    reconciler: new TargetReconciler(SYNC_OPTIONS, ports, keeper, signal),
    toTarget,
    other,
  };
}

test("a target that is held after it was planned is not part of the preview", async (t) => {
  const { reconciler, toTarget, other } = await prepare(t);
  await reconciler.reconcile(toTarget("c1", [other], false));
  reconciler.hold("c1", { kind: "conflict", shared: "cluster-name", other: "c3", message: "another cluster" });
  assert.deepEqual(reconciler.takePlanned(), []);
  await reconciler.reconcile(toTarget("c1", [other], false));
  reconciler.hold("c1", { kind: "same", other: "c1-again", message: "the same cluster" });
  assert.equal(reconciler.takePlanned().length, 1);
});

test("a write is under way until it ends, whatever a second way to the cluster does meanwhile", async (t) => {
  const { api, reconciler, toTarget, other } = await prepare(t);
  assert.ok(api);
  let release = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  let isAsked = () => {};
  const asked = new Promise<void>((resolve) => {
    isAsked = resolve;
  });
  api.onRequest = async ({ method }) => {
    if (method === "GET") return undefined;
    isAsked();
    await held;
    return undefined;
  };
  const writing = reconciler.reconcile(toTarget("c1", [other], true));
  await asked;
  await reconciler.reconcile(toTarget("c1-again", [], false));
  assert.deepEqual(
    ["c1", "c1-again"].map((entry) => reconciler.isWriting(entry)),
    [true, false],
  );
  release();
  await writing;
  assert.equal(reconciler.isWriting("c1"), false);
});
