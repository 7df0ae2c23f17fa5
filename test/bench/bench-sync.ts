/**
 * Benchmark of `make bench-sync`: what `sync` costs while nothing changes, and how fast a renewed certificate is everywhere.
 * The embedded clusters are in this process, `sync` is another one, with the heap that it has in a pod of `deploy/sync`. Linux only.
 *
 * SIZES: numbers of clusters; IDLE: seconds; SYNC_ARGS: further flags; SYNC_NODE_OPTIONS: instead of those of a pod.
 */
import { cpus } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { clusterPki } from "../../lib/sandbox/chart.ts";
import { encode } from "../../lib/sandbox/object.ts";
import { type Sandbox, startSandbox } from "../../lib/sandbox/sandbox.ts";
import type { ApiRequest } from "../../lib/sandbox/server.ts";
import { readUsage, type Usage } from "../support/process-usage.ts";
import { run } from "../support/programs.ts";
import { readSyncNodeOptions } from "../support/sync-manifests.ts";
import { type SyncProcess, startSyncProcess } from "../support/sync-process.ts";

// Rarely set by users, and costs about 80 ms per start of Node.
delete process.env.NODE_EXTRA_CA_CERTS;

const SIZES = (process.env.SIZES ?? "30,254").split(",").map(Number);
const IDLE_SECONDS = Number(process.env.IDLE ?? 120);
const SETTLE_SECONDS = 10;
/** Without a request for this time, `sync` has nothing to do. */
const QUIET_SECONDS = SETTLE_SECONDS + 5;
/** The heap of a pod: V8 limits the old generation to half of its 512 MiB. */
const POD_HEAP = `--max-old-space-size=256 ${readSyncNodeOptions()}`;
const { SYNC_NODE_OPTIONS = POD_HEAP, SYNC_ARGS } = process.env;
/** Goals of memory in MB, by the number of clusters. */
const MEMORY_GOALS = new Map([
  [30, 150],
  [254, 400],
]);
const NAMESPACE = "kube-system";

/** Costs of a phase, for one cluster and one minute. */
interface Costs {
  cpuSeconds: number;
  requests: number;
}

interface Result {
  clusters: number;
  /** Seconds of `connect` of all, from nothing. */
  connect: number;
  /** Seconds from the start until nothing was left to do, and their costs. */
  start: number;
  startCpu: number;
  startRequests: number;
  idle: Costs;
  /** With each cluster read once a minute. */
  resync: Costs;
  /** Seconds until the last importer had the certificate of one cluster, and CPU seconds until nothing was left to do. */
  renewed: number;
  renewedCpu: number;
  /** The same after the certificates of all clusters were renewed. */
  allRenewed: number;
  allRenewedCpu: number;
  rest: Usage;
  end: Usage;
}

const results: Result[] = [];
for (const count of SIZES) results.push(await measure(count));

console.log(
  `${cpus().length} cores (${cpus()[0]?.model.trim()}), Node ${process.version} ${SYNC_NODE_OPTIONS}, embedded clusters\n`,
);
const rows: [string, (result: Result) => string][] = [
  ["`connect` of all, from nothing", ({ connect }) => seconds(connect)],
  ["start until idle, with the settle time", ({ start }) => seconds(start)],
  ["CPU of the start", ({ startCpu }) => seconds(startCpu)],
  ["requests of the start, per cluster", ({ startRequests, clusters }) => (startRequests / clusters).toFixed(0)],
  ["idle: CPU per cluster and minute", ({ idle }) => milliseconds(idle.cpuSeconds)],
  ["idle: requests per cluster and minute", ({ idle }) => idle.requests.toFixed(2)],
  ["one reading of a cluster: CPU", ({ idle, resync }) => milliseconds(resync.cpuSeconds - idle.cpuSeconds)],
  ["one reading of a cluster: requests", ({ idle, resync }) => (resync.requests - idle.requests).toFixed(0)],
  ["one certificate renewed: until the last importer has it", ({ renewed }) => seconds(renewed)],
  ["CPU for that", ({ renewedCpu }) => seconds(renewedCpu)],
  ["all certificates renewed: until the last importer has the last", ({ allRenewed }) => seconds(allRenewed)],
  ["CPU for that", ({ allRenewedCpu }) => seconds(allRenewedCpu)],
  ["memory at rest", ({ rest }) => mebibytes(rest.rss)],
  ["memory at the end", ({ end }) => mebibytes(end.rss)],
  ["peak memory", ({ end }) => mebibytes(end.peak)],
];
console.log(`| clusters | ${results.map(({ clusters }) => clusters).join(" | ")} |`);
console.log(`| --- |${results.map(() => " ---: |").join("")}`);
for (const [what, read] of rows) console.log(`| ${what} | ${results.map(read).join(" | ")} |`);
console.log("");
for (const { clusters, connect, renewed, end } of results) {
  const limit = SETTLE_SECONDS + (clusters <= 30 ? 5 : 2 * connect);
  judge(`${clusters} clusters: renewed after ${seconds(renewed)}`, renewed, limit, seconds);
  const memory = MEMORY_GOALS.get(clusters);
  if (memory !== undefined)
    judge(`${clusters} clusters: ${mebibytes(end.peak)}`, end.peak, memory / 1.048576, mebibytes);
}

async function measure(count: number): Promise<Result> {
  const sandbox = await startMesh(count);
  try {
    const began = performance.now();
    const { code, stderr } = await run("clustermesh-secrets", ["connect", "--all-contexts", "--yes"], sandbox);
    const connect = (performance.now() - began) / 1_000;
    if (code !== 0) throw new Error(`connect: exit code ${code}: ${stderr.slice(-2_000)}`);
    const first = await measureChanges(sandbox);
    const resync = await measureResync(sandbox);
    return { clusters: count, connect, ...first, resync };
  } finally {
    await sandbox.stop();
  }
}

async function measureChanges(sandbox: Sandbox): Promise<Omit<Result, "clusters" | "connect" | "resync">> {
  const count = sandbox.clusters.length;
  countRequests(sandbox);
  const began = performance.now();
  const sync = await start(sandbox);
  try {
    const startRequests = await untilQuiet(sandbox);
    const started = (performance.now() - began) / 1_000 - QUIET_SECONDS;
    const startCpu = readUsage(sync.pid).cpu;
    const idle = await measureIdle(sandbox, sync);
    const rest = readUsage(sync.pid);
    const one = await measureRenewal(sandbox, sync, 1);
    const all = await measureRenewal(sandbox, sync, count);
    return {
      ...{ start: started, startCpu, startRequests, idle, rest },
      ...{ renewed: one.seconds, renewedCpu: one.cpu, allRenewed: all.seconds, allRenewedCpu: all.cpu },
      end: readUsage(sync.pid),
    };
  } finally {
    await sync.close();
  }
}

/** Measures the costs of reading each cluster once a minute. */
async function measureResync(sandbox: Sandbox): Promise<Costs> {
  const sync = await start(sandbox, "--interval=1m");
  try {
    // By then, the readings are spread over the interval.
    await sleep(2 * 60_000);
    countRequests(sandbox);
    return await measureIdle(sandbox, sync);
  } finally {
    await sync.close();
  }
}

function start(sandbox: Sandbox, ...args: string[]): Promise<SyncProcess> {
  const further = SYNC_ARGS === undefined ? [] : SYNC_ARGS.split(" ");
  return startSyncProcess(["--all-contexts", "--yes", `--settle=${SETTLE_SECONDS}s`, ...args, ...further], {
    kubeconfig: sandbox.kubeconfig,
    env: { NODE_OPTIONS: SYNC_NODE_OPTIONS },
  });
}

async function measureIdle(sandbox: Sandbox, sync: SyncProcess): Promise<Costs> {
  const before = readUsage(sync.pid).cpu;
  await sleep(IDLE_SECONDS * 1_000);
  const per = (sandbox.clusters.length * IDLE_SECONDS) / 60;
  return { cpuSeconds: (readUsage(sync.pid).cpu - before) / per, requests: countRequests(sandbox) / per };
}

/** Renews the client certificates of the first clusters, and waits until all have been written to all others. */
async function measureRenewal(
  sandbox: Sandbox,
  sync: SyncProcess,
  count: number,
): Promise<{ seconds: number; cpu: number }> {
  const cpu = readUsage(sync.pid).cpu;
  const renewed = sandbox.clusters.slice(0, count).map(({ description, pki, api }) => {
    const { remote } = clusterPki(description, { ca: pki.ca, key: "ec" });
    const secret = api.store.read("Secret", NAMESPACE, "clustermesh-apiserver-remote-cert");
    if (!secret) throw new Error(`${description.name} has no certificate`);
    return { name: description.name, api, secret, crt: encode({ crt: remote.cert }).crt, key: remote.key };
  });
  const began = performance.now();
  for (const { api, secret, crt, key } of renewed) {
    api.store.put({ ...secret, data: { ...secret.data, ...encode({ "tls.key": key }), "tls.crt": crt } });
  }
  const waiting = new Set(sandbox.clusters.map(({ description: { name } }) => name));
  const writesAtCheck = new Map<string, number>();
  while (waiting.size > 0) {
    await sleep(100);
    for (const { description, api } of sandbox.clusters) {
      const { name } = description;
      if (!waiting.has(name)) continue;
      // Reading copies the Secret, and the clusters share this process, so one is checked only after another write.
      const writes = api.requests.filter(({ method }) => method === "PATCH").length;
      if (writesAtCheck.get(name) === writes) continue;
      writesAtCheck.set(name, writes);
      const data = api.store.read("Secret", NAMESPACE, "cilium-kvstoremesh")?.data ?? {};
      const isDone = renewed.every((one) => one.name === name || data[`${one.name}.etcd-client.crt`] === one.crt);
      if (isDone) waiting.delete(name);
    }
    if (!sync.isRunning) throw new Error(`sync ended: ${sync.output}`);
  }
  const taken = (performance.now() - began) / 1_000;
  await untilQuiet(sandbox);
  return { seconds: taken, cpu: readUsage(sync.pid).cpu - cpu };
}

/** Waits until nothing is read or written; returns the number of requests until then. Some of many watches start at any time. */
async function untilQuiet(sandbox: Sandbox): Promise<number> {
  let count = 0;
  for (let quiet = 0; quiet < QUIET_SECONDS; quiet++) {
    await sleep(1_000);
    const since = takeRequests(sandbox);
    count += since.length;
    if (since.some(({ path }) => !path.includes("watch=true"))) quiet = 0;
  }
  return count;
}

/** Returns the number of requests since the last call. */
function countRequests(sandbox: Sandbox): number {
  return takeRequests(sandbox).length;
}

function takeRequests({ clusters }: Sandbox): ApiRequest[] {
  return clusters.flatMap(({ api }) => api.requests.splice(0));
}

function startMesh(count: number): Promise<Sandbox> {
  const clusters = Array.from({ length: count }, (_, i) => {
    const [id, name] = [i + 1, `cluster${i + 1}`];
    const nodes = [{ name: `${name}-node`, internalIPs: [`172.18.${id}.2`], podCIDRs: [`10.${id}.0.0/24`] }];
    const clusterPoolCidrs = [`10.${id}.0.0/16`];
    const description = { name, id, version: "1.20.2", nodes, clusterPoolCidrs, service: { nodePort: 30_000 + id } };
    return { description, pki: { key: "ec" as const } };
  });
  return startSandbox({ clusters });
}

function judge(what: string, value: number, most: number, show: (value: number) => string): void {
  console.log(`${what}; goal: at most ${show(most)}${value > most ? ": MISSED" : ""}`);
}

function seconds(value: number): string {
  return `${value.toFixed(1)} s`;
}

function milliseconds(value: number): string {
  return `${(value * 1_000).toFixed(1)} ms`;
}

function mebibytes(value: number): string {
  return `${value.toFixed(0)} MiB`;
}
