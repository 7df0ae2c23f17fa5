/** The log of `sync`: a line for each event, as text or JSON. Pure. */
import type { Finding } from "../peer/findings.ts";
import { describeManager } from "../sync/contest.ts";
import type { SyncRound } from "../sync/round.ts";
import type { HeldRecord, HoldReason } from "../sync/state.ts";
import type { SyncEvent } from "../sync/sync-event.ts";
import type { PeerChanges } from "../sync/target-changes.ts";
import { enumerate } from "../util/enumerate.ts";
import { formatAge } from "./age.ts";
import { cleanText, joinRemedy } from "./foreign-text.ts";
import { count, escapeLine, listFirst, type Style } from "./style.ts";

export type LogFormat = "text" | "json";

type Level = "info" | "warning" | "error";

/** What a line states. Texts are not escaped yet. */
interface Description {
  level: Level;
  /** Who it is about: an entry or a cluster. */
  subject?: string | undefined;
  /** A sentence without the subject. */
  text: string;
  /** The fields of the line in JSON. */
  fields: Readonly<Record<string, string | number | readonly string[] | undefined>>;
}

type EventOf<Kind extends SyncEvent["kind"]> = Extract<SyncEvent, { kind: Kind }>;

/** Holds that end by themselves in a mesh without faults. */
const WAITS: readonly HoldReason[] = ["address-grace", "ca-order"];

const DESCRIPTIONS: { readonly [Kind in SyncEvent["kind"]]: (event: EventOf<Kind>, clean: Clean) => Description } = {
  started: ({ members, selection }, clean) => ({
    ...{ level: "info", text: `started with ${members} member${members === 1 ? "" : "s"}: ${clean(selection)}` },
    fields: { members, selection },
  }),
  "member-joined": ({ entry, cluster }, clean) => ({
    ...{ level: "info", subject: entry, text: `joined${clusterName(entry, cluster, clean)}` },
    fields: { entry, cluster },
  }),
  "member-left": ({ entry, cluster, keptBecause, pruneAfter, remedy }, clean) => ({
    level: keptBecause === undefined ? "info" : "warning",
    subject: entry,
    text: [
      `left${clusterName(entry, cluster, clean)}`,
      ...(keptBecause === undefined ? [] : [`not pruned: ${clean(keptBecause)}`]),
      ...(pruneAfter === undefined ? [] : [`removed from the others in ${formatAge(pruneAfter)}`]),
      ...(remedy === undefined ? [] : [`its config stays in the others; ${cleanRemedy(remedy)}`]),
    ].join("; "),
    fields: {
      ...{ entry, cluster, keptBecause },
      ...{ pruneAfterSeconds: pruneAfter && Math.round(pruneAfter / 1000), remedy },
    },
  }),
  "member-unreachable": ({ entry, error, retryIn }, clean) => ({
    ...{ level: "warning", subject: entry },
    text: `cannot be read: ${clean(error)}${retryIn === undefined ? "" : `; retrying in ${formatAge(retryIn)}`}`,
    fields: { entry, error, retryInSeconds: retryIn && Math.round(retryIn / 1000) },
  }),
  "member-reachable": ({ entry, cluster }, clean) => ({
    ...{ level: "info", subject: entry, text: `can be read again${clusterName(entry, cluster, clean)}` },
    fields: { entry, cluster },
  }),
  planned: ({ target, ...changes }, clean) => {
    const { added, changed, removed, parts, resetBy } = changes;
    const causes = { ...(parts.length > 0 && { parts }), ...(resetBy.length > 0 && { resetBy }) };
    return {
      ...{ level: "info", subject: target, text: describePeerChanges(changes, clean) },
      fields: { target, added, changed, removed, ...causes },
    };
  },
  written: ({ target, object, peers, removed = [] }, clean) => {
    const kept = peers.filter((name) => !removed.includes(name));
    const parts = [
      ...(kept.length === 0 ? [] : [listFirst(kept.map(clean))]),
      ...(removed.length === 0 ? [] : [`removed ${listFirst(removed.map(clean))}`]),
    ];
    return {
      ...{ level: "info", subject: target },
      text: [`wrote ${clean(object)}`, ...(parts.length === 0 ? [] : [parts.join("; ")])].join(": "),
      fields: { target, object, peers, ...(removed.length > 0 && { removed }) },
    };
  },
  "member-unavailable": ({ entry, cluster, error }, clean) => ({
    ...{ level: "error", subject: entry, text: `other clusters cannot reach it: ${clean(error)}` },
    fields: { entry, cluster, error },
  }),
  "write-failed": ({ target, error }, clean) => ({
    ...{ level: "error", subject: target, text: `cannot be written: ${clean(error)}` },
    fields: { target, error },
  }),
  held: ({ record, peers = [] }, clean) => ({
    level: WAITS.includes(record.reason) ? "info" : "warning",
    subject: record.target,
    text: describeHold(record, peers, clean),
    fields: {
      ...holdFields(record),
      ...(peers.length > 0 && { otherPeers: peers }),
      since: record.since,
      until: record.until,
      remedy: record.remedy,
    },
  }),
  released: ({ target, peer, reason }, clean) => ({
    ...{ level: "info", subject: target, text: `released ${nameHeld(peer, clean)} [${clean(reason)}]` },
    fields: { target, peer, reason },
  }),
  "rollout-stalled": ({ target, workloads, since }, clean) => ({
    ...{ level: "warning", subject: target },
    text: `${listFirst(workloads.map(clean))} ${workloads.length === 1 ? "has not become available since its" : "have not become available since their"} restart at ${formatTime(since)}; no other cluster is restarted`,
    fields: { target, workloads, since: since.toISOString() },
  }),
  finding: ({ target, finding }, clean) => ({
    ...{ level: finding.severity, subject: target, text: describeFinding(finding, clean) },
    fields: { target, ...findingFields(finding) },
  }),
  "watch-restarted": ({ entry, object, reason, error }, clean) => ({
    level: reason === "error" ? "warning" : "info",
    subject: entry,
    text:
      error === undefined
        ? `restarted the watch of ${clean(object)}: ${WATCH_ENDS[reason]}`
        : `the watch of ${clean(object)} ended: ${clean(error)}`,
    fields: { entry, object, reason, error },
  }),
  leading: () => ({ level: "info", text: "leading", fields: {} }),
  standby: ({ holder }, clean) => ({
    ...{ level: "info", text: `on standby${holder === undefined ? "" : `: ${clean(holder)} leads`}` },
    fields: { holder },
  }),
  "state-unreadable": ({ where, error }, clean) => ({
    ...{ level: "error", text: `cannot read the state in ${clean(where)}, so nothing is pruned: ${clean(error)}` },
    fields: { where, error },
  }),
  "events-denied": ({ target, error }, clean) => ({
    ...{ level: "warning", subject: target, text: `no Events are created: ${clean(error)}` },
    fields: { target, error },
  }),
  "state-unsaved": ({ where, error }, clean) => ({
    ...{ level: "error", text: `cannot save the state in ${clean(where)}: ${clean(error)}` },
    fields: { where, error },
  }),
  listening: ({ address }, clean) => ({
    ...{ level: "info", text: `serving /metrics, /healthz and /readyz at ${clean(address)}` },
    fields: { address },
  }),
  "lease-failed": ({ error }, clean) => ({
    ...{ level: "warning", text: `cannot renew the Lease: ${clean(error)}` },
    fields: { error },
  }),
  "names-unknown": ({ names }, clean) => ({
    ...{ level: "warning", text: `no member is named ${enumerate(names.map(clean))}; check --hub and --pairs` },
    fields: { names },
  }),
  "list-failed": ({ error }, clean) => ({
    ...{ level: "error", text: `cannot list the members: ${clean(error)}` },
    fields: { error },
  }),
  "list-recovered": () => ({ level: "info", text: "the members can be listed again", fields: {} }),
  "list-watch-failed": ({ error }, clean) => ({
    ...{ level: "warning", text: `cannot watch the list of members, which is read once an interval: ${clean(error)}` },
    fields: { error },
  }),
  finished: (round) => {
    const { clusters, written, unchanged, failed, held } = round;
    return { level: "info", text: describeRound(round), fields: { clusters, written, unchanged, failed, held } };
  },
  stopping: ({ signal }, clean) => ({
    ...{ level: "info", text: `stopping after the current write: ${clean(signal)}` },
    fields: { signal },
  }),
  stopped: () => ({ level: "info", text: "stopped", fields: {} }),
};

const WATCH_ENDS = { expired: "its resource version expired", error: "connection failed" } as const;

/**
 * Formats an event as one line without a line break. Text starts with the local time; JSON is an object with `time`
 * (RFC 3339), `level`, `event`, the fields of the event, and `message`. Foreign texts are redacted, truncated and escaped.
 */
export function formatSyncEvent(event: SyncEvent, format: LogFormat, style: Style): string {
  const describe = DESCRIPTIONS[event.kind] as (event: SyncEvent, clean: Clean) => Description;
  const { level, subject, text, fields } = describe(event, cleanText);
  const name = subject === undefined ? undefined : cleanText(subject);
  if (format === "json") {
    return JSON.stringify({
      ...{ time: formatTime(event.time), level, event: event.kind },
      ...Object.fromEntries(Object.entries(fields).map(([key, value]) => [key, cleanField(key, value)])),
      message: name === undefined ? text : `${name}: ${text}`,
    });
  }
  const time = style.dim(event.time.toTimeString().slice(0, 8));
  const prefix = { info: "", warning: `${style.yellow("warning")}: `, error: `${style.red("error")}: ` }[level];
  return `${time} ${prefix}${name === undefined ? "" : `${style.bold(name)}: `}${text}`;
}

/** Formats a message that is not an event as {@link formatSyncEvent} does in JSON, with the event `message`. */
export function formatJsonMessage(time: Date, level: Level, text: string): string {
  return JSON.stringify({ time: formatTime(time), level, event: "message", message: text });
}

/** Makes a foreign text safe to print. */
type Clean = (text: string) => string;

function cleanField(key: string, value: Description["fields"][string]): unknown {
  if (typeof value === "string") return key === "remedy" ? cleanRemedy(value) : cleanText(value);
  return typeof value === "object" ? value.map(cleanText) : value;
}

function cleanRemedy(remedy: string): string {
  return escapeLine(joinRemedy(remedy));
}

/** Formats a time of the process, whose clock is always valid. */
function formatTime(time: Date): string {
  return time.toISOString();
}

/** Names the cluster of an entry if it has another name. */
function clusterName(entry: string, cluster: string | undefined, clean: Clean): string {
  return cluster === undefined || cluster === entry ? "" : ` (cluster ${clean(cluster)})`;
}

function describePeerChanges(
  { added, changed, removed, parts, resetBy }: PeerChanges & { resetBy: readonly string[] },
  clean: Clean,
): string {
  const describe = (verb: string, peers: readonly string[], what = "") =>
    peers.length === 0 ? [] : [`${verb} ${listFirst(peers.map(clean))}${what}`];
  const changes = [
    ...describe("adding", added),
    ...describe("changing", changed, parts.length === 0 ? "" : ` (${parts.join(", ")})`),
    ...describe("removing", removed),
  ];
  const managers = resetBy.map((manager) => clean(describeManager(manager)));
  return `${enumerate(changes)}${managers.length === 0 ? "" : `; reset by ${enumerate(managers)}`}`;
}

function describeRound({ clusters, written, unchanged, failed, held }: SyncRound): string {
  const parts = Object.entries({ written, unchanged, failed }).flatMap(([what, number]) =>
    number === 0 ? [] : [`${number} ${what}`],
  );
  const holds = held === 0 ? "nothing held" : `${count(held, "pair")} held`;
  return `${count(clusters, "cluster")}: ${[...parts, holds].join(", ")}`;
}

function nameHeld(peer: string | undefined, clean: Clean): string {
  return peer === undefined ? "all peers" : `peer ${clean(peer)}`;
}

function describeHold(
  { peer, reason, message, until, remedy }: HeldRecord,
  others: readonly string[],
  clean: Clean,
): string {
  const end = until === undefined ? "" : `, until ${clean(until)}`;
  const advice = remedy === undefined ? "" : `; ${cleanRemedy(remedy)}`;
  const held = others.length === 0 ? nameHeld(peer, clean) : `peers ${listFirst([peer ?? "", ...others].map(clean))}`;
  return `holding ${held}: ${clean(message)}${end} [${clean(reason)}]${advice}`;
}

function holdFields({ target, peer, reason }: HeldRecord): Description["fields"] {
  return { target, peer, reason };
}

function describeFinding({ key, message, code, remedy }: Finding, clean: Clean): string {
  const place = key === undefined ? "" : `(${clean(key)}) `;
  return `${place}${clean(message)} [${code}]${remedy === undefined ? "" : `; ${cleanRemedy(remedy)}`}`;
}

function findingFields({ code, source, key, remedy }: Finding): Description["fields"] {
  return { code, source, key, remedy };
}
