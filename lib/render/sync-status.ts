/** The state of a `sync`, as a report and as text: its members, what it holds and why, and contested keys. Pure. */
import { countPairs } from "../sync/round.ts";
import { contactLimit } from "../sync/snapshot.ts";
import type { ContestedKey, HeldRecord, ListFailure, MemberRecord, SyncState } from "../sync/state.ts";
import { groupBy } from "../util/group-by.ts";
import { formatAge } from "./age.ts";
import { joinLines, joinRemedy } from "./foreign-text.ts";
import { count, escapeLine, listFirst, type Style } from "./style.ts";
import { type Column, showTable } from "./table.ts";

/** A member with its state: `pending` was not read yet, `absent` has left the list. */
export interface MemberReport extends Omit<MemberRecord, "uid" | "listedSince" | "formerEntry" | "pruneFrom"> {
  state: "reachable" | "unreachable" | "pending" | "absent";
}

/** What `status --sync -o json` prints. */
export interface SyncReport {
  selection: string;
  members: MemberReport[];
  held: HeldRecord[];
  contested: ContestedKey[];
  counters: SyncState["counters"];
  /** Of `--interval`, in seconds. */
  intervalSeconds?: number;
  /** Of `--prune-after`, in seconds. */
  pruneAfterSeconds?: number;
  /** When it was stopped, unless it runs again. */
  stoppedAt?: string;
  /** Set while the members cannot be listed, and the last list is kept. */
  listFailure?: ListFailure;
  /** How many records did not fit into the state. */
  omitted: number;
}

/** Maximum number of rows of each kind without details. */
const MAX_ROWS = 20;

/** Selects what is reported of a state, with texts redacted. */
export function toSyncReport(state: SyncState): SyncReport {
  const { selection, members, held, contested, counters, listFailure, omitted = 0 } = state;
  const { interval, pruneAfter, stoppedAt } = state;
  return {
    selection: joinLines(selection),
    members: members.map(({ uid: _, listedSince: __, formerEntry: ___, pruneFrom: ____, ...member }) => ({
      ...redactTexts(member),
      state: memberStateOf(member),
    })),
    held: held.map(redactTexts),
    contested: contested.map(redactTexts),
    ...{ counters, omitted },
    ...(interval !== undefined && { intervalSeconds: interval / 1000 }),
    ...(pruneAfter !== undefined && { pruneAfterSeconds: pruneAfter / 1000 }),
    ...(stoppedAt !== undefined && { stoppedAt }),
    ...(listFailure && { listFailure: redactTexts(listFailure) }),
  };
}

/**
 * Whether nothing is held, the members could be listed, all were read, and one of them within the {@link contactLimit}, and
 * sync was not stopped.
 */
export function isSettled(report: SyncReport, now: Date): boolean {
  const { members, held, omitted, listFailure, stoppedAt } = report;
  const listed = members.filter(({ state }) => state !== "absent");
  const isComplete = listFailure === undefined && listed.every(({ state }) => state === "reachable");
  return held.length + omitted === 0 && isComplete && stoppedAt === undefined && !isIdle(report, now);
}

export interface ShowSyncOptions {
  now: Date;
  /** Where the state is, such as `configmap/clustermesh-secrets-sync`. */
  where: string;
  /** Prints every row. */
  details: boolean;
}

/** Prints tables of members and contested keys, what is held with its causes and remedies, and a verdict. */
export function showSyncStatus(report: SyncReport, style: Style, options: ShowSyncOptions): string[] {
  const { held, contested, listFailure } = report;
  const { now, where } = options;
  const sections = [
    style.wrap(escapeLine(`sync of ${report.selection}, state in ${where}`)).map(style.dim),
    showMembers(report, style, options),
    listFailure === undefined ? [] : showListFailure(listFailure, style, now),
    showHeld(held, style, options),
    contested.length === 0 ? [] : showContested(contested, style, options),
    showEnd(report, style, now),
    style.wrap(showSyncVerdict(report, style, now)),
  ];
  return sections.filter((lines) => lines.length > 0).flatMap((lines, i) => (i > 0 ? ["", ...lines] : lines));
}

function memberStateOf({ absentSince, error, lastContact }: Omit<MemberRecord, "uid">): MemberReport["state"] {
  if (absentSince !== undefined) return "absent";
  if (error !== undefined) return "unreachable";
  return lastContact === undefined ? "pending" : "reachable";
}

/** Redacts the texts of a record. A remedy keeps its lines, which are commands. */
function redactTexts<T extends object>(record: T): T {
  const redact = (key: string, text: string) =>
    key === "remedy" ? text.split("\n").map(joinRemedy).join("\n") : joinLines(text);
  const entries = Object.entries(record).map(([key, value]) => [
    key,
    typeof value === "string" ? redact(key, value) : value,
  ]);
  return Object.fromEntries(entries) as T;
}

function showListFailure({ since, error }: ListFailure, style: Style, now: Date): string[] {
  const text = escapeLine(
    `the members could not be listed for ${ageOf(since, now)}, so the last list is kept: ${error}`,
  );
  return style.wrap(`${style.red("error")}: ${text}`);
}

/** Warns if sync was stopped, or may have ended otherwise. */
function showEnd(report: SyncReport, style: Style, now: Date): string[] {
  const { stoppedAt } = report;
  if (stoppedAt === undefined && !isIdle(report, now)) return [];
  const text =
    stoppedAt === undefined
      ? `no member was read within the last ${formatAge(idleLimit(report))}; sync may not be running`
      : `sync was stopped ${ageOf(stoppedAt, now)} ago; nothing is written until it runs again`;
  return style.wrap(`${style.yellow("warning")}: ${text}`);
}

function idleLimit({ intervalSeconds: seconds }: SyncReport): number {
  return contactLimit(seconds === undefined ? {} : { interval: seconds * 1000 });
}

function isIdle(report: SyncReport, now: Date): boolean {
  const { members } = report;
  const contacts = members.map(({ lastContact }) => (lastContact === undefined ? 0 : Date.parse(lastContact)));
  return members.length > 0 && now.getTime() - Math.max(...contacts) > idleLimit(report);
}

/** Returns the span between a time and now; `-` for no time. */
function ageOf(time: string | undefined, now: Date): string {
  return time === undefined ? "-" : formatAge(now.getTime() - Date.parse(time));
}

/** Prints a row for each member, but of many those alone that cannot be read or have left. */
function showMembers(
  { members, pruneAfterSeconds }: SyncReport,
  style: Style,
  { now, details }: ShowSyncOptions,
): string[] {
  if (members.length === 0) return ["no members"];
  const isFolded = !details && members.length > MAX_ROWS;
  const unusual = members.filter(({ state }) => state !== "reachable");
  const shown = isFolded ? unusual.slice(0, MAX_ROWS) : members;
  const notes = shown.flatMap((member) => describeMember(member, pruneAfterSeconds, style, now));
  return [
    ...(shown.length > 0 ? showTable(memberColumns(shown, style, now), style) : []),
    ...(isFolded ? style.wrap(describeHidden(members, shown, now)).map(style.dim) : []),
    ...notes,
  ];
}

function memberColumns(members: readonly MemberReport[], style: Style, now: Date): Column[] {
  const { green, yellow, red, dim } = style;
  const paint = { reachable: green, unreachable: red, pending: yellow, absent: dim };
  const hasNames = members.some(({ entry, cluster }) => cluster !== undefined && cluster !== entry);
  const clusters = members.map(({ cluster = "-" }) => escapeLine(cluster));
  return [
    { title: "MEMBER", cells: members.map(({ entry }) => escapeLine(entry)), paint: style.bold, truncate: "middle" },
    ...(hasNames ? [{ title: "CLUSTER", cells: clusters, truncate: "middle" as const }] : []),
    { title: "ID", cells: members.map(({ id }) => `${id ?? "-"}`), dispensable: 1 },
    { title: "LAST CONTACT", cells: members.map(({ lastContact }) => ageOf(lastContact, now)) },
    {
      title: "STATE",
      cells: members.map(({ state }) => state),
      paint: (cell, row) => paint[members[row]?.state ?? "absent"](cell),
    },
  ];
}

function describeMember(
  { entry, state, error, absentSince, keptBecause, remedy }: MemberReport,
  pruneAfterSeconds: number | undefined,
  style: Style,
  now: Date,
): string[] {
  if (state === "unreachable") {
    return style.wrap(`${style.red("error")}: ${escapeLine(`${entry}: cannot be read: ${error}`)}`);
  }
  if (state !== "absent") return [];
  const left = pruneAfterSeconds && Date.parse(absentSince ?? "") + pruneAfterSeconds * 1000 - now.getTime();
  const removal = left === undefined ? "" : `; removed from the others ${left > 0 ? `in ${formatAge(left)}` : "soon"}`;
  const end = keptBecause === undefined ? removal : `; not pruned: ${keptBecause}`;
  const text = `${entry}: left the list ${ageOf(absentSince, now)} ago${end}`;
  return [
    ...style.wrap(`${keptBecause === undefined ? style.dim("note") : style.yellow("warning")}: ${escapeLine(text)}`),
    ...showRemedy(remedy),
  ];
}

/** Prints a remedy, which is not wrapped, so that its commands can be pasted. */
function showRemedy(remedy: string | undefined): string[] {
  return remedy === undefined ? [] : remedy.split("\n").map((line) => `  ${escapeLine(line)}`);
}

/** Counts the members without a row. */
function describeHidden(members: readonly MemberReport[], shown: readonly MemberReport[], now: Date): string {
  const hidden = members.filter((member) => !shown.includes(member));
  const reachable = hidden.filter(({ state }) => state === "reachable");
  const ages = reachable.map(({ lastContact = "" }) => now.getTime() - Date.parse(lastContact));
  const range =
    ages.length === 0 ? "" : `, last contact ${formatAge(Math.min(...ages))} to ${formatAge(Math.max(...ages))} ago`;
  const others = hidden.length - reachable.length;
  const more = others > 0 ? `; ${count(others, "other")} not listed` : "";
  return `${count(reachable.length, "reachable member")}${range}${more} (--details lists all)`;
}

/** Held pairs with the same cause: some peers of one target, or one peer of several targets. */
interface HeldGroup {
  record: HeldRecord;
  targets: string[];
  /** Empty if the whole target is held. */
  peers: string[];
  /** The first time. */
  since: string;
}

function groupHeld(held: readonly HeldRecord[]): HeldGroup[] {
  const causeOf = ({ reason, message, remedy, until }: HeldRecord) => [reason, message, remedy, until];
  const peersOf = (records: readonly HeldRecord[]) => records.flatMap(({ peer }) => peer ?? []);
  const ofTargets = groupBy(held, (one) => JSON.stringify([one.target, one.peer === undefined, causeOf(one)]));
  const joined = groupBy(ofTargets.values(), (records) =>
    JSON.stringify([peersOf(records), ...records.slice(0, 1).map(causeOf)]),
  );
  return [...joined.values()].flatMap((groups) => {
    const [record, ...others] = groups.flat();
    if (!record) return [];
    const isEarlier = (one: string, other: string) => Date.parse(one) < Date.parse(other);
    const since = others.reduce((first, one) => (isEarlier(one.since, first) ? one.since : first), record.since);
    return { record, targets: groups.flatMap(([one]) => one?.target ?? []), peers: peersOf(groups[0] ?? []), since };
  });
}

function showHeld(held: readonly HeldRecord[], style: Style, { now, details }: ShowSyncOptions): string[] {
  const groups = groupHeld(held);
  const shown = details ? groups : groups.slice(0, MAX_ROWS);
  const hidden = groups
    .slice(shown.length)
    .map(({ record, targets, peers }) => ({ ...record, pairs: targets.length * Math.max(1, peers.length) }));
  const reasons = [...new Set(hidden.map(({ reason }) => reason))].map((one) => {
    const pairs = hidden.filter(({ reason }) => reason === one).reduce((sum, group) => sum + group.pairs, 0);
    return `${pairs.toLocaleString("en")} ${one}`;
  });
  return [
    ...shown.flatMap((group) => describeGroup(group, style, now)),
    ...(hidden.length > 0
      ? style.wrap(`… and more held pairs: ${reasons.join(", ")} (--details lists all)`).map(style.dim)
      : []),
  ];
}

function describeGroup({ record, targets, peers, since }: HeldGroup, style: Style, now: Date): string[] {
  const { reason, message, until, remedy } = record;
  const what = peers.length === 0 ? "all peers" : `${peers.length === 1 ? "peer" : "peers"} ${listFirst(peers)}`;
  const left = until === undefined ? 0 : Date.parse(until) - now.getTime();
  const end = left > 0 ? `, for another ${formatAge(left)}` : "";
  const text = escapeLine(`${listFirst(targets)}: ${what} held for ${ageOf(since, now)}${end}: ${message}`);
  return [
    ...style.wrap(`${style.yellow("warning")}: ${text} ${style.dim(`[${escapeLine(reason)}]`)}`),
    ...showRemedy(remedy),
  ];
}

function showContested(keys: readonly ContestedKey[], style: Style, { now, details }: ShowSyncOptions): string[] {
  const shown = details ? keys : keys.slice(0, MAX_ROWS);
  const hidden = keys.length - shown.length;
  const cellsOf = (field: "target" | "object" | "key" | "manager") => shown.map((one) => escapeLine(one[field]));
  const pauses = shown.map(({ until }) => {
    const left = until === undefined ? 0 : Date.parse(until) - now.getTime();
    return left > 0 ? formatAge(left) : "-";
  });
  return [
    ...showTable(
      [
        { title: "TARGET", cells: cellsOf("target"), truncate: "middle" },
        { title: "CONTESTED KEY", cells: cellsOf("key"), truncate: "middle" },
        { title: "OBJECT", cells: cellsOf("object"), truncate: "middle", dispensable: 1 },
        { title: "RESET BY", cells: cellsOf("manager"), truncate: "middle" },
        { title: "RESETS", cells: shown.map(({ resets }) => `${resets.length}`) },
        { title: "PAUSE", cells: pauses },
      ],
      style,
    ),
    ...(hidden > 0 ? [style.dim(`… and ${count(hidden, "more contested key")} (--details lists all)`)] : []),
  ];
}

function showSyncVerdict(report: SyncReport, style: Style, now: Date): string {
  const { members, held, omitted } = report;
  const states = (["unreachable", "pending", "absent"] as const).flatMap((state) => {
    const number = members.filter((member) => member.state === state).length;
    return number === 0 ? [] : [`${number} ${state}`];
  });
  const size = `${count(members.length, "member")}${states.length > 0 ? ` (${states.join(", ")})` : ""}`;
  const pairs = countPairs(held) + omitted;
  const verdict = pairs === 0 ? "nothing held" : `${count(pairs, "pair")} held`;
  return `${style.bold(size)}, ${(isSettled(report, now) ? style.green : style.red)(verdict)}`;
}
