/** A `sync` of clusters that change and fail, and what has to hold for it. */
import assert from "node:assert/strict";
import type { TestContext } from "node:test";
import { type FaultyMesh, startFaultyMesh } from "./faulty-mesh.ts";
import { MeshChanges } from "./mesh-changes.ts";
import { MeshFaults } from "./mesh-faults.ts";
import { createRandom } from "./random.ts";
import { waitFor } from "./real-process.ts";
import { type LoggedEvent, type SyncProcess, startSyncProcess } from "./sync-process.ts";

const SETTLE_MS = 300;
const INTERVAL_MS = 5_000;
const FLAGS = [
  "--yes",
  `--settle=${SETTLE_MS}ms`,
  `--interval=${INTERVAL_MS}ms`,
  "--address-grace=1s",
  "--request-timeout=3s",
  // The hand that edits peers and users is the same each time.
  "--fight-limit=1000",
];
/** The objects that sync writes to connect a cluster. */
export const OBJECTS = [
  "secrets/cilium-clustermesh",
  "secrets/cilium-kvstoremesh",
  "configmaps/clustermesh-remote-users",
];

export interface Scene {
  mesh: FaultyMesh;
  changes: MeshChanges;
  faults: MeshFaults;
  /** Starts a sync through the relays, by default of all contexts, and waits until it works. */
  sync(user: string, args?: readonly string[], env?: NodeJS.ProcessEnv): Promise<SyncProcess>;
  /** Waits until the clusters are as `connect` would make them; returns the seconds until then. */
  untilConverged(): Promise<number>;
  /** Waits for convergence, which may take one interval, and the time of 15 connects, because the machine may be busy. */
  untilConvergedInTime(): Promise<number>;
  /** Asserts that no peer was withdrawn or damaged, and that each object was written as often as changes justify. */
  assertCareful(...users: string[]): void;
}

/** Starts clusters that are connected with each other. All is stopped after the test. */
export async function startScene(
  t: TestContext,
  clusters: number,
  { users, seed }: { users: readonly string[]; seed: number },
): Promise<Scene> {
  const mesh = await startFaultyMesh({ clusters, users });
  const syncs: SyncProcess[] = [];
  t.after(async () => {
    await Promise.all(syncs.map((sync) => sync.close()));
    await mesh.stop();
  });
  const random = createRandom(seed);
  const changes = new MeshChanges(mesh, random);
  const started = performance.now();
  await mesh.connect();
  const connectMs = performance.now() - started;
  const logs = () => syncs.map(({ events, output }) => [...events.slice(-60).map(showEvent), output].join("\n"));
  const untilConverged = async () => {
    const begun = performance.now();
    let differences: string | undefined;
    const isConverged = async () => {
      differences = await mesh.findDifferences();
      return differences === undefined;
    };
    await waitFor("convergence", isConverged, { timeoutMs: 90_000 }).catch((error) => {
      throw new Error([error.message, differences, ...logs()].join("\n--- "));
    });
    return (performance.now() - begun) / 1_000;
  };
  return {
    mesh,
    changes,
    faults: new MeshFaults(mesh, random),
    sync: async (user, args = ["--all-contexts"], env = {}) => {
      const kubeconfig = mesh.kubeconfigOf(user);
      const sync = await startSyncProcess([...args, ...FLAGS], { kubeconfig, env, limitMs: 120_000 });
      syncs.push(sync);
      await sync.until("start", ({ event }) => event === "started" || event === "standby");
      return sync;
    },
    untilConverged,
    untilConvergedInTime: async () => {
      const seconds = await untilConverged();
      const most = (1.1 * INTERVAL_MS + SETTLE_MS + 15 * connectMs) / 1_000;
      if (seconds > most)
        throw new Error([`converged after ${seconds} s, at most ${most} s`, ...logs()].join("\n--- "));
      return seconds;
    },
    assertCareful: (...writers) => {
      assert.deepEqual(mesh.violations(), []);
      const rows = mesh.clusters.flatMap((cluster) =>
        OBJECTS.map((object) => ({
          object: `${cluster.name} ${object}`,
          count: writers.reduce((sum, user) => sum + (cluster.ledger.writesOf(user).get(object) ?? 0), 0),
          most: changes.justified(cluster, object),
        })),
      );
      t.diagnostic(`changes: ${format(changes.made)}`);
      const counts = rows.map(({ object, count, most }) => `${object} ${count} of ${most}`);
      t.diagnostic(`writes, of those justified: ${counts.join(", ")}`);
      for (const { object, count, most } of rows) {
        assert.ok(count <= most, `${object}: ${count} writes, ${most} justified by changes`);
      }
    },
  };
}

function showEvent({ time, event, message }: LoggedEvent): string {
  return `${time} ${event} ${message}`;
}

export function format(counts: ReadonlyMap<string, number>): string {
  return [...counts].map(([what, count]) => `${what} ${count}`).join(", ") || "none";
}

/** @throws AssertionError if a sync ended, or reported an error that no fault explains. */
export function assertHealthy(...syncs: SyncProcess[]): void {
  for (const sync of syncs) {
    assert.ok(sync.isRunning, `sync ended: ${sync.output}`);
    const bug = sync.events.find(
      ({ event, message }) => event === "state-unreadable" || /unexpected|bug/.test(message),
    );
    assert.equal(bug, undefined);
    assert.equal(sync.output, "");
  }
}
