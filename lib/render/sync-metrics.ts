/** The metrics of `sync`. Pure. */
import type { FindingCode } from "../peer/finding-codes.ts";
import type { SyncedCertificate, SyncSnapshot } from "../sync/snapshot.ts";
import { HOLD_REASONS, type MemberRecord, type SyncState } from "../sync/state.ts";
import { groupBy } from "../util/group-by.ts";
import {
  countSamples,
  expirySamples,
  findingSamples,
  MESH_METRICS,
  type Metric,
  type Sample,
  type UsedCertificate,
} from "./metric.ts";

/** Facts of the running process. */
export interface ProcessFacts {
  /** Version of the program. */
  version: string;
  residentBytes: number;
  /** User and system time. */
  cpuSeconds: number;
  started: Date;
}

/** A member in the list, with what is known about it. */
interface MemberSubject {
  member: MemberRecord;
  /** Labels of the member as an importer. */
  labels: { context: string; cluster: string };
  /** Whether it stands for its cluster: the name is known, and no earlier member has it. */
  isFirst: boolean;
  found: { code: FindingCode }[];
  certificates: SyncedCertificate[];
  held: SyncState["held"];
}

interface SyncSubject {
  snapshot: SyncSnapshot;
  facts: ProcessFacts;
  /** Empty while another process leads: it has the current state, and a sum over both would count twice. */
  members: readonly MemberSubject[];
  /** The codes of all findings: each has a value for every member. */
  codes: Iterable<FindingCode>;
}

/** The metrics, in the order in which they are printed. */
export const SYNC_METRICS: readonly Metric<SyncSubject>[] = [
  {
    name: "clustermesh_sync_build_info",
    help: "Version of the program; always 1.",
    labelNames: ["version"],
    samplesOf: ({ facts: { version } }) => [{ labels: { version }, value: 1 }],
  },
  {
    name: "clustermesh_sync_leader",
    help: "Whether this process writes: it holds the Lease, or needs none.",
    labelNames: [],
    samplesOf: ({ snapshot: { isLeading } }) => [{ labels: {}, value: isLeading }],
  },
  {
    name: "clustermesh_sync_ready",
    help: "Whether the members were listed and the state was loaded, or another process leads.",
    labelNames: [],
    samplesOf: ({ snapshot: { isReady } }) => [{ labels: {}, value: isReady }],
  },
  {
    name: "clustermesh_sync_last_progress_timestamp_seconds",
    help: "Time at which the loop last ended a task or tried to get the Lease.",
    labelNames: [],
    samplesOf: ({ snapshot: { lastProgress } }) => [{ labels: {}, value: toSeconds(lastProgress) }],
  },
  {
    name: "clustermesh_sync_interval_seconds",
    help: "Time after which each member is read again, of --interval.",
    labelNames: [],
    samplesOf: ({ snapshot: { interval } }) => [{ labels: {}, value: interval / 1000 }],
  },
  {
    name: "clustermesh_sync_list_up",
    help: "Whether the members could be listed; if not, the last list is kept.",
    labelNames: [],
    samplesOf: whileLeading(({ snapshot: { state } }) => [{ labels: {}, value: state.listFailure === undefined }]),
  },
  {
    name: "clustermesh_sync_members",
    help: "Members by state; absent ones have left the list and are still peers of others.",
    labelNames: ["state"],
    samplesOf: whileLeading(({ snapshot }) =>
      countSamples({}, "state", ["reachable", "unreachable", "absent"], snapshot.state.members.map(stateOf)),
    ),
  },
  {
    ...MESH_METRICS.up,
    samplesOf: ofMembers(({ member, labels: { context } }) => [{ labels: { context }, value: isUp(member) }]),
  },
  {
    ...MESH_METRICS.info,
    samplesOf: ofMembers(({ member, labels }, { versions }) => {
      const version = versions.get(member.entry) ?? "";
      return isUp(member) ? [{ labels: { ...labels, cluster_id: `${member.id ?? ""}`, version }, value: 1 }] : [];
    }),
  },
  {
    name: "clustermesh_sync_last_contact_timestamp_seconds",
    help: "Time at which a member was last read.",
    labelNames: ["context"],
    samplesOf: ofMembers(({ member: { lastContact }, labels: { context } }) =>
      lastContact === undefined ? [] : [{ labels: { context }, value: Date.parse(lastContact) / 1000 }],
    ),
  },
  {
    ...{ name: "clustermesh_sync_reconciliations_total", type: "counter" },
    help: "Reconciliations of targets since the first start.",
    labelNames: [],
    samplesOf: whileLeading(({ snapshot: { state } }) => [{ labels: {}, value: state.counters.reconciliations }]),
  },
  {
    ...{ name: "clustermesh_sync_writes_total", type: "counter" },
    help: "Objects of the cluster that were written since the first start.",
    labelNames: ["context", "cluster"],
    samplesOf: ofClusters(({ labels }, { counters }) => [{ labels, value: countOf(counters.writes, labels.cluster) }]),
  },
  {
    ...{ name: "clustermesh_sync_errors_total", type: "counter" },
    help: "Reads and writes of the cluster that failed since the first start.",
    labelNames: ["context", "cluster"],
    samplesOf: ofClusters(({ labels }, { counters }) => [{ labels, value: countOf(counters.errors, labels.cluster) }]),
  },
  {
    ...{ name: "clustermesh_sync_watch_restarts_total", type: "counter" },
    help: "Watches of the member that ended other than by their timeout since the process started.",
    labelNames: ["context"],
    samplesOf: (subject) =>
      ofMembers(({ labels: { context } }) => [
        { labels: { context }, value: countOf(subject.snapshot.watchRestarts, context) },
      ])(subject),
  },
  {
    name: "clustermesh_sync_held_pairs",
    help: "Peers of the cluster that are held, by reason; a cluster that is held as a whole counts once.",
    labelNames: ["context", "cluster", "reason"],
    samplesOf: ofClusters(({ labels, held }) => {
      const reasons = held.map(({ reason }) => reason);
      return countSamples(labels, "reason", HOLD_REASONS, reasons);
    }),
  },
  {
    name: "clustermesh_sync_held_since_timestamp_seconds",
    help: "Time since which the first of the held peers of the cluster has been held, by reason.",
    labelNames: ["context", "cluster", "reason"],
    samplesOf: ofClusters(({ labels, held }) =>
      [...groupBy(held, ({ reason }) => reason)].map(([reason, records]) => ({
        labels: { ...labels, reason },
        value: records.reduce((first, { since }) => Math.min(first, Date.parse(since)), Infinity) / 1000,
      })),
    ),
  },
  {
    ...MESH_METRICS.expiry,
    samplesOf: ofClusters(({ labels, certificates }) =>
      [...groupBy(certificates, ({ peer = "" }) => peer)].flatMap(([peer, some]) =>
        expirySamples(peer === "" ? labels : { ...labels, peer }, some.map(toUsed)),
      ),
    ),
  },
  {
    ...MESH_METRICS.findings,
    // All codes of 254 clusters would be 25,000 series at every scrape.
    samplesOf: ({ members, codes }) =>
      members.flatMap(({ isFirst, member, labels: { context }, found }) =>
        isFirst ? findingSamples({ context }, found, isUp(member) ? codes : []) : [],
      ),
  },
  {
    name: "process_resident_memory_bytes",
    help: "Resident memory size in bytes.",
    labelNames: [],
    samplesOf: ({ facts: { residentBytes } }) => [{ labels: {}, value: residentBytes }],
  },
  {
    ...{ name: "process_cpu_seconds_total", type: "counter" },
    help: "Total user and system CPU time spent in seconds.",
    labelNames: [],
    samplesOf: ({ facts: { cpuSeconds } }) => [{ labels: {}, value: cpuSeconds }],
  },
  {
    name: "process_start_time_seconds",
    help: "Start time of the process since unix epoch in seconds.",
    labelNames: [],
    samplesOf: ({ facts: { started } }) => [{ labels: {}, value: toSeconds(started) }],
  },
];

/** Groups a snapshot by member, without those that have left the list. */
export function toSyncSubject(snapshot: SyncSnapshot, facts: ProcessFacts): SyncSubject {
  if (!snapshot.isLeading) return { snapshot, facts, members: [], codes: [] };
  const findings = groupBy(snapshot.findings, ({ target }) => target);
  const certificates = groupBy(snapshot.certificates, ({ cluster }) => cluster);
  const held = groupBy(snapshot.state.held, ({ target }) => target);
  const seen = new Set<string>();
  const members = snapshot.state.members
    .filter(({ absentSince }) => absentSince === undefined)
    .map((member): MemberSubject => {
      const { entry, cluster = "" } = member;
      const isFirst = cluster !== "" && !seen.has(cluster);
      seen.add(cluster);
      const known = { found: findings.get(cluster) ?? [], certificates: certificates.get(cluster) ?? [] };
      return { member, labels: { context: entry, cluster }, isFirst, ...known, held: held.get(cluster) ?? [] };
    });
  const codes = new Set(members.flatMap(({ isFirst, found }) => (isFirst ? found.map(({ code }) => code) : [])));
  return { snapshot, facts, members, codes: [...codes].sort() };
}

type SamplesOf = Metric<SyncSubject>["samplesOf"];

/** Collects the values of a metric for all members. */
function ofMembers(samplesOf: (member: MemberSubject, snapshot: SyncSnapshot) => Sample[]): SamplesOf {
  return ({ members, snapshot }) => members.flatMap((member) => samplesOf(member, snapshot));
}

function whileLeading(samplesOf: SamplesOf): SamplesOf {
  return (subject) => (subject.snapshot.isLeading ? samplesOf(subject) : []);
}

/** Collects the values of a metric for all members that stand for a cluster. */
function ofClusters(samplesOf: (member: MemberSubject, state: SyncState) => Sample[]): SamplesOf {
  return ({ members, snapshot }) =>
    members.flatMap((member) => (member.isFirst ? samplesOf(member, snapshot.state) : []));
}

/** Returns a counter by name; the name may be that of a property of every object. */
function countOf(counts: Readonly<Record<string, number>>, name: string): number {
  return Object.hasOwn(counts, name) ? (counts[name] ?? 0) : 0;
}

function isUp({ error }: MemberRecord): boolean {
  return error === undefined;
}

function stateOf(member: MemberRecord): "reachable" | "unreachable" | "absent" {
  if (member.absentSince !== undefined) return "absent";
  return isUp(member) ? "reachable" : "unreachable";
}

function toUsed({ use, expires }: SyncedCertificate): UsedCertificate {
  return { use, expiresAt: expires.toISOString() };
}

function toSeconds(time: Date): number {
  return time.getTime() / 1000;
}
