/**
 * `make soak`: two replicas of `sync` for an hour (SOAK_MINUTES), while clusters change and their API servers fail at random.
 * After each phase everything is mended, has to converge within one interval, and is checked. Prints a line for each phase, with
 * counts, CPU and memory; the exit code is 1 if anything was violated. SEED repeats the choices. Linux only.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { startFaultyMesh } from "../support/faulty-mesh.ts";
import { MeshChanges } from "../support/mesh-changes.ts";
import { MeshFaults } from "../support/mesh-faults.ts";
import { readUsage } from "../support/process-usage.ts";
import { chooseSeed, createRandom } from "../support/random.ts";
import { waitFor } from "../support/real-process.ts";
import { type SyncProcess, startSyncProcess } from "../support/sync-process.ts";
import { format, OBJECTS } from "../support/sync-scene.ts";

const MINUTES = Number(process.env.SOAK_MINUTES ?? 60);
const CLUSTERS = 6;
const INTERVAL_SECONDS = 30;
const SETTLE_SECONDS = 1;
/** A replica that does not work is replaced in less. */
const TAKEOVER_SECONDS = 30;
/** For reading all clusters on a busy machine. */
const SLACK_SECONDS = 20;
const USERS = ["first", "second"];

const random = createRandom(chooseSeed());
const violations: string[] = [];
const mesh = await startFaultyMesh({ clusters: CLUSTERS, users: USERS });
try {
  await mesh.connect();
  await soak();
} finally {
  await mesh.stop();
}
console.log(
  violations.length === 0 ? "\nno violation" : `\n${violations.length} violations:\n${violations.join("\n")}`,
);
process.exitCode = violations.length === 0 ? 0 : 1;

async function soak(): Promise<void> {
  const changes = new MeshChanges(mesh, random);
  const faults = new MeshFaults(mesh, random);
  const replicas = await Promise.all(USERS.map(startReplica));
  try {
    console.log(`SEED=${random.seed}, ${CLUSTERS} clusters, --interval=${INTERVAL_SECONDS}s, ${MINUTES} minutes\n`);
    console.log(
      "| minute | changes | faults | writes | justified | watches restarted | converged | CPU, 1st | RSS, 1st | RSS, 2nd |",
    );
    console.log("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    const started = performance.now();
    const minute = () => (performance.now() - started) / 60_000;
    let cpu = 0;
    while (minute() < MINUTES && violations.length === 0) {
      const began = performance.now();
      await disturb(changes, faults, replicas);
      const converged = await untilConverged();
      const writes = checkWrites(changes);
      violations.push(...mesh.violations());
      for (const replica of replicas) checkProcess(replica);
      if (replicas.some(({ isRunning }) => !isRunning)) break;
      const [first, second] = replicas.map(({ pid }) => readUsage(pid));
      if (!first || !second) throw new Error("two replicas were started");
      const perMinute = (first.cpu - cpu) / ((performance.now() - began) / 60_000);
      cpu = first.cpu;
      console.log(
        `| ${minute().toFixed(0)} | ${sum(changes.made)} | ${sum(faults.injected)} | ${writes.made} | ${writes.justified} | ` +
          `${replicas.reduce((count, { events }) => count + events.filter(({ event }) => event === "watch-restarted").length, 0)} | ` +
          `${converged.toFixed(1)} s | ${perMinute.toFixed(2)} s/min | ${first.rss.toFixed(0)} MiB | ${second.rss.toFixed(0)} MiB |`,
      );
    }
    console.log(`\nchanges: ${format(changes.made)}\nfaults: ${format(faults.injected)}`);
    for (const [i, { events }] of replicas.entries()) {
      const counts = new Map<string, number>();
      for (const { event } of events) counts.set(event, (counts.get(event) ?? 0) + 1);
      console.log(`events of replica ${i + 1}: ${format(counts)}`);
    }
  } finally {
    await Promise.all(replicas.map((replica) => replica.close()));
  }
}

function startReplica(user: string): Promise<SyncProcess> {
  const state = ["--state=cluster", "--state-context=c1", "--state-namespace=default"];
  const timing = [`--settle=${SETTLE_SECONDS}s`, `--interval=${INTERVAL_SECONDS}s`, "--address-grace=2s"];
  const others = ["--yes", "--fight-limit=100000", "--request-timeout=10s"];
  return startSyncProcess(["--all-contexts", ...state, ...timing, ...others], { kubeconfig: mesh.kubeconfigOf(user) });
}

/** Changes the clusters and injects faults for a minute or two, and ends all faults. */
async function disturb(
  changes: MeshChanges,
  faults: MeshFaults,
  [first, second]: readonly SyncProcess[],
): Promise<void> {
  const until = performance.now() + (60 + random.below(60)) * 1_000;
  const replicaFault = random.below(6);
  if (replicaFault === 0) await second?.stop("SIGKILL");
  if (replicaFault === 1) await second?.stop("SIGTERM");
  // Long enough for the other one to take over.
  if (replicaFault === 2) first?.signal("SIGSTOP");
  while (performance.now() < until) {
    if (random.below(3) === 0) await faults.injectOne(USERS);
    else changes.makeOne();
    // Some faults last until the next one of the same cluster: minutes.
    await sleep(random.below(6_000));
  }
  first?.signal("SIGCONT");
  if (second?.isRunning === false) second.start();
  await faults.mend();
}

/** Waits until the clusters are as `connect` would make them; returns the seconds until then. */
async function untilConverged(): Promise<number> {
  const began = performance.now();
  let differences: string | undefined;
  const isConverged = async () => {
    differences = await mesh.findDifferences();
    return differences === undefined;
  };
  const most = 1.1 * INTERVAL_SECONDS + SETTLE_SECONDS + TAKEOVER_SECONDS + SLACK_SECONDS;
  await waitFor("convergence", isConverged, { timeoutMs: most * 1_000 }).catch(() => {
    violations.push(`not converged ${most.toFixed(0)} s after the last fault: ${differences?.slice(0, 2_000)}`);
  });
  return (performance.now() - began) / 1_000;
}

function checkWrites(changes: MeshChanges): { made: number; justified: number } {
  const total = { made: 0, justified: 0 };
  for (const cluster of mesh.clusters) {
    for (const object of OBJECTS) {
      const made = USERS.reduce((count, user) => count + (cluster.ledger.writesOf(user).get(object) ?? 0), 0);
      const justified = changes.justified(cluster, object);
      if (made > justified) violations.push(`${cluster.name}: ${made} writes of ${object}, ${justified} justified`);
      total.made += made;
      total.justified += justified;
    }
  }
  return total;
}

function checkProcess(sync: SyncProcess): void {
  if (!sync.isRunning) violations.push(`a replica ended: ${sync.output}`);
  const bug = sync.events.find(({ event, message }) => event === "state-unreadable" || /unexpected|bug/.test(message));
  if (bug) violations.push(`${bug.event}: ${bug.message}`);
}

function sum(counts: ReadonlyMap<string, number>): number {
  return [...counts.values()].reduce((total, count) => total + count, 0);
}
