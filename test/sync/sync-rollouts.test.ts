/** Restarts of workloads by a sync: one cluster at a time. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import type { Cluster } from "../../lib/kube/cluster.ts";
import type { KubernetesObject } from "../../lib/sandbox/object.ts";
import { type JoinedMesh, type MemberOptions, startJoinedMesh } from "../support/joined-mesh.ts";
import { type RunningOptions, type RunningSync, startSync } from "../support/running-sync.ts";

const NAMES = ["c1", "c2", "c3"];
const OLD: MemberOptions[] = NAMES.map(() => ({ version: "1.18.5" }));
const APISERVER = "clustermesh-apiserver";

interface Rollouts extends RunningSync {
  mesh: JoinedMesh;
  /** The clusters whose Deployment was restarted, in order. */
  restarted(): string[];
  heldTargets(reason: string): string[];
  clusters: Cluster[];
  /** Lists a second cluster with the name of another, and waits until it is found. */
  addDuplicate(cluster: string): Promise<Cluster>;
}

const setAvailable = (mesh: JoinedMesh, cluster: string, isAvailable: boolean) =>
  mesh.change<KubernetesObject>(cluster, "Deployment", APISERVER, (object) => {
    object.status = { ...object.status, availableReplicas: isAvailable ? 1 : 0 };
  });

/** Starts a sync of clusters whose Deployments are not available, so that the first restart does not complete. */
async function startRollouts(t: TestContext, options: RunningOptions = {}): Promise<Rollouts> {
  const mesh = await startJoinedMesh(t, OLD, { apart: true });
  for (const name of NAMES) setAvailable(mesh, name, false);
  const clusters = await Promise.all(NAMES.map((name) => mesh.connectTo(name)));
  const running = await startSync(t, clusters, { interval: 100, ...options });
  const { events, list, sync, until } = running;
  const heldTargets = (reason: string) =>
    sync.snapshot().state.held.flatMap((one) => (one.reason === reason ? [one.target] : []));
  return {
    ...{ ...running, mesh, clusters, heldTargets },
    /** On a busy machine, a cluster that was read late restarts one again that is available. */
    restarted: () => [
      ...new Set(
        events.flatMap((one) =>
          one.kind === "written" && one.object === `deployment/${APISERVER}` ? [one.target] : [],
        ),
      ),
    ],
    addDuplicate: async (cluster) => {
      const other = await startJoinedMesh(t, [{ name: cluster, id: 9, version: "1.20.2" }]);
      const duplicate = await other.connectTo(cluster, "duplicate");
      list([...clusters, duplicate]);
      await until(() => heldTargets("duplicate").includes(cluster), "the duplicate is found");
      return duplicate;
    },
  };
}

const moreRounds = async ({ sync, until }: RunningSync) => {
  const { reconciliations } = sync.snapshot().state.counters;
  await until(() => sync.snapshot().state.counters.reconciliations > reconciliations + 6, "several rounds");
};

test("one Deployment is restarted at a time, the next when the last is available", async (t) => {
  const running = await startRollouts(t);
  const { mesh, restarted, sync, until } = running;
  for (let i = 1; i <= NAMES.length; i++) {
    await until(() => restarted().length === i, `restart ${i}`);
    await moreRounds(running);
    const waiting = sync.snapshot().state.held.filter(({ target }) => !restarted().includes(target));
    const blocker = new RegExp(`until the rollout of deployment/${APISERVER} in ${restarted().at(-1)} \\(started 20`);
    for (const { reason, message } of waiting) assert.match(`${reason} ${message}`, blocker);
    assert.equal(new Set(waiting.map(({ target }) => target)).size, NAMES.length - i);
    assert.equal(restarted().length, i, `none while the last is not available: ${restarted().join(", ")}`);
    setAvailable(mesh, restarted().at(-1) ?? "", true);
  }
  await until(() => sync.snapshot().state.held.length === 0, "nothing is held");
});

test("a cluster whose Deployment restarts is read every --settle, and those that wait less often", async (t) => {
  const hour = 3_600_000;
  const { heldTargets, mesh, restarted, until } = await startRollouts(t, { interval: hour, recheck: hour });
  await until(() => restarted().length === 1 && new Set(heldTargets("restart")).size === 2, "two wait");
  const [holder = ""] = restarted();
  const reads = { holder: 0, others: 0 };
  for (const { api, description } of mesh.sandbox.clusters) {
    api.onRequest = () => {
      reads[description.name === holder ? "holder" : "others"]++;
      return undefined;
    };
  }
  // What was written is read once more.
  await until(() => reads.holder > 300, "it is read several times");
  assert.ok(reads.others < reads.holder / 2, JSON.stringify(reads));
});

test("a rollout completes while its cluster is in conflict with another, whose workloads do not complete it", async (t) => {
  const running = await startRollouts(t);
  const { mesh, restarted, until } = running;
  await until(() => restarted().length === 1, "the first restart");
  const [holder = ""] = restarted();
  await running.addDuplicate(holder);
  await moreRounds(running);
  assert.deepEqual(restarted(), [holder]);
  setAvailable(mesh, holder, true);
  await until(() => restarted().length === 2, "the next restart");
});

test("a rollout ends if its cluster leaves, and another with its name stays", async (t) => {
  const running = await startRollouts(t);
  const { clusters, restarted, until } = running;
  await until(() => restarted().length === 1, "the first restart");
  const [holder = ""] = restarted();
  const duplicate = await running.addDuplicate(holder);
  running.list([...clusters.filter(({ source }) => source !== holder), duplicate]);
  await until(() => restarted().length === 2, "the next restart");
});

test("a rollout that takes too long is reported also if its cluster is away", async (t) => {
  let minutes = 0;
  const { events, mesh, restarted, until } = await startRollouts(t, {
    now: () => new Date(Date.now() + minutes * 60_000),
  });
  await until(() => restarted().length === 1, "the first restart");
  const [holder = ""] = restarted();
  const cluster = mesh.sandbox.clusters.find(({ description }) => description.name === holder);
  assert.ok(cluster);
  cluster.api.onRequest = () => ({ status: 503, body: { kind: "Status", message: "away", code: 503 } });
  await until(() => events.some(({ kind }) => kind === "member-unreachable"), "it is away");
  minutes = 11;
  await until(() => events.some((one) => one.kind === "rollout-stalled" && one.target === holder), "the report");
});
