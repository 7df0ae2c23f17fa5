/** What an import is about to do and what it did, as lines for a person. Pure. */
import { Interrupted, type TargetReport } from "../import/apply.ts";
import type { Change } from "../import/plan/change.ts";
import type { Outcome } from "../import/plan/merge-secret.ts";
import type { Plan } from "../import/plan/plan.ts";
import type { Workload } from "../import/plan/target.ts";
import type { PlannedTarget } from "../import/prepare.ts";
import { shellQuote } from "../util/shell.ts";
import { planColumns } from "./plan-columns.ts";
import { count, enumerate, escapeControlChars, escapeLine, type Style } from "./style.ts";
import { showTable } from "./table.ts";

/** Up to so many clusters have a sentence each; more are a table. */
const MOST_SENTENCES = 3;
/** How many clusters, or names, are listed in a line. */
const MOST_LISTED = 6;
/** How many failures are printed by themselves. */
const MOST_FAILURES = 10;

export interface ShowOptions {
  /** Every cluster and every name, however many there are. */
  details: boolean;
}

/** `deployment/clustermesh-apiserver`, as kubectl names it. */
export function workloadName({ kind, name }: Pick<Workload, "kind" | "name">): string {
  return `${kind.toLowerCase()}/${name}`;
}

/** A change that restarts pods and was in no plan that was shown, before it is made; undefined for one that does not. */
export function announceChange(source: string, change: Change, style: Style): string | undefined {
  if (change.verb !== "json-patch") return undefined;
  const what = `patching ${workloadName(change)} (restarts its pods)`;
  return `${style.bold(escapeLine(source))}: ${what}: adding host aliases for ${escapeLine(enumerate(change.hostnames, MOST_LISTED))}`;
}

const INTENTIONS: readonly (readonly [Outcome, string])[] = [
  ["moved", "moves"],
  ["changed", "changes"],
  ["added", "adds"],
  ["dropped", "removes"],
];

/**
 * What is about to be done to targets, then which workloads restart, and why.
 *
 * @param asked set if agents restart only if a question is answered so.
 */
export function showPlan(
  targets: readonly PlannedTarget[],
  style: Style,
  { details, asked = false }: ShowOptions & { asked?: boolean },
): string[] {
  const changing = targets.filter(({ plan }) => plan.changes.length > 0);
  const lines =
    details || targets.length <= MOST_SENTENCES
      ? changing.flatMap((target) => style.wrap(sentenceOf(target, style)))
      : [...showTable(planColumns(targets, style), style), ...showRemovals(changing, style)];
  const missing = asked ? [] : showMissing(targets, style, { details, named: true });
  return [
    ...lines,
    ...showEndpointChanges(targets, style, details),
    ...showRestarts(targets, style, details, asked ? "if you answer yes" : ""),
    ...missing.flatMap((line) => style.wrap(line)),
  ];
}

/** Of what is about to be done, what restarts pods, removes peers or has them reached elsewhere. */
export function showDisruptions(targets: readonly PlannedTarget[], style: Style, { details }: ShowOptions): string[] {
  const removing = targets.filter(({ plan }) => namesOf(plan, "dropped").length + plan.revoked.length > 0);
  const lines =
    details || targets.length <= MOST_SENTENCES
      ? removing.flatMap((target) => style.wrap(sentenceOf(target, style)))
      : showRemovals(removing, style);
  return [...lines, ...showEndpointChanges(targets, style, details), ...showRestarts(targets, style, details)];
}

function sentenceOf({ source, plan }: PlannedTarget, style: Style): string {
  const parts = INTENTIONS.flatMap(([outcome, verb]) => {
    const names = namesOf(plan, outcome);
    // All that are removed are named: this is what is agreed to.
    return names.length > 0 ? [`${verb} ${enumerate(names, names.length)}`] : [];
  });
  if (plan.granted.length > 0) parts.push(`grants etcd users ${enumerate(plan.granted)}`);
  if (plan.revoked.length > 0) parts.push(`revokes etcd users ${enumerate(plan.revoked)}`);
  const restarting = plan.changes.flatMap((one) => (one.verb === "json-patch" ? [workloadName(one)] : []));
  if (restarting.length > 0) parts.push(`restarts ${enumerate(restarting)}`);
  if (parts.length === 0) parts.push("updates its records");
  return `${style.bold(escapeLine(source))}: ${escapeLine(parts.join("; "))}`;
}

/** Which peers are removed from where: all are named. */
function showRemovals(targets: readonly PlannedTarget[], style: Style): string[] {
  const bySet = groupBy(
    targets.filter(({ plan }) => namesOf(plan, "dropped").length > 0),
    ({ plan }) => namesOf(plan, "dropped").join(", "),
  );
  return [...bySet].flatMap(([names, some]) =>
    style.wrap(`removes ${escapeLine(names)} from ${clusters(some, targets.length, false)}`),
  );
}

/** Which peers are reached elsewhere from then on, where they were and will be, and in which clusters. */
function showEndpointChanges(targets: readonly PlannedTarget[], style: Style, details: boolean): string[] {
  const changes = targets.flatMap(({ source, plan }) =>
    [...plan.endpointChanges].map(([name, { before, after }]) => ({ source, name, change: `${before} → ${after}` })),
  );
  const groups = [...groupBy(changes, ({ name, change }) => JSON.stringify([name, change])).values()];
  const shown = details ? groups : groups.slice(0, MOST_LISTED);
  const more = groups.length - shown.length;
  return [
    ...shown.flatMap((some) => {
      const { name, change } = some[0] as (typeof some)[number];
      const where = clusters(some, targets.length, details);
      return style.wrap(escapeLine(`endpoint of ${name} in ${where}: ${change}`));
    }),
    ...(more > 0 ? [`… and ${count(more, "more endpoint change")}; --details shows all`] : []),
  ];
}

/**
 * Which workloads restart, where and why.
 *
 * @param condition of the restart of agents, to follow the verb.
 */
function showRestarts(
  targets: readonly PlannedTarget[],
  style: Style,
  details: boolean,
  condition = "",
  verb = "restarts",
): string[] {
  const restarts = targets.flatMap(({ source, plan }) =>
    plan.changes.flatMap((change) => (change.verb === "json-patch" ? [{ source, change }] : [])),
  );
  return [...groupBy(restarts, ({ change }) => workloadName(change))].flatMap(([workload, some]) => {
    const { kind } = (some[0] as (typeof some)[number]).change;
    const hostnames = [...new Set(some.flatMap(({ change }) => change.hostnames))];
    const what = kind === "DaemonSet" ? `${workload} (all Cilium agents)` : workload;
    const when = kind === "DaemonSet" && condition !== "" ? ` ${condition}` : "";
    const where = clusters(some, targets.length, details);
    const why = `to add host aliases for ${namesOrCount(hostnames, details)}`;
    return style.wrap(`${style.yellow(escapeLine(what))} ${verb}${when} in ${escapeLine(`${where}, ${why}`)}`);
  });
}

/** The clusters of some, in few words. */
function clusters(some: readonly { source: string }[], all: number, details: boolean): string {
  const names = some.map(({ source }) => source);
  if (details || names.length <= MOST_LISTED) return enumerate(names, names.length);
  return names.length === all ? `all ${all} clusters` : `${names.length} of ${all} clusters`;
}

function namesOrCount(names: readonly string[], details: boolean): string {
  return details || names.length <= MOST_LISTED ? enumerate(names, names.length) : `${names.length} names`;
}

function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) groups.set(keyOf(item), [...(groups.get(keyOf(item)) ?? []), item]);
  return groups;
}

export function namesOf(plan: Plan, outcome: Outcome): string[] {
  return [...plan.outcomes].filter(([, one]) => one === outcome).map(([name]) => name);
}

type Done = Extract<TargetReport, { state: "done" }>;
type Failed = Extract<TargetReport, { state: "failed" }>;

/**
 * What became of each target, and what is to be known of it; last, when what was written takes effect.
 *
 * @param dryRun whether nothing was to be written.
 */
export function showReports(
  reports: readonly TargetReport[],
  style: Style,
  { dryRun, details }: ShowOptions & { dryRun: boolean },
): string[] {
  const lines =
    details || reports.length <= MOST_SENTENCES
      ? reports.flatMap((report) => showReport(report, dryRun, style))
      : showReportTable(reports, dryRun, style);
  if (dryRun) {
    const done = reports.filter((report) => report.state === "done");
    lines.push(...showEndpointChanges(done, style, details));
    lines.push(...showRestarts(done, style, details, "", "would restart"));
  }
  const wroteSecrets = (report: TargetReport) =>
    report.state === "done" && report.writes > 0 && report.plan.changes.some(({ kind }) => kind === "Secret");
  if (!dryRun && reports.some(wroteSecrets)) {
    lines.push(style.dim("Secrets written; pods pick them up within about two minutes"));
  }
  return lines;
}

const RESULTS: readonly (readonly [Outcome, done: string, planned: string])[] = [
  ["added", "added", "would add"],
  ["moved", "moved", "would move"],
  ["changed", "changed", "would change"],
  ["dropped", "removed", "would remove"],
  ["held", "not yet changed", "would not yet change"],
  ["unchanged", "unchanged", "unchanged"],
];

function showReport(report: TargetReport, dryRun: boolean, style: Style): string[] {
  if (report.state === "failed") return [failure(report, style)];
  const { source, plan, target, writes } = report;
  const { facts } = target;
  const about = [facts.version ? `Cilium ${facts.version}` : "Cilium", ...(facts.kvstoreMesh ? ["KVStoreMesh"] : [])];
  const parts = RESULTS.flatMap(([outcome, done, planned]) => {
    const names = namesOf(plan, outcome);
    if (names.length === 0) return [];
    const verb = dryRun ? planned : done;
    const isChange = outcome !== "unchanged" && outcome !== "held";
    return [`${isChange ? style.green(verb) : verb} ${escapeLine(enumerate(names))}`];
  });
  const head = parts.length > 0 ? parts.join("; ") : plan.skippedSelf ? "nothing but its own file" : "no peers";
  const title = `${style.bold(escapeLine(source))} ${style.dim(`(${escapeLine(about.join(", "))})`)}`;
  const notes: string[] = [];
  if (plan.skippedSelf && parts.length > 0) notes.push(`skipped ${facts.name}: same cluster as the target`);
  const [grants, revokes] = dryRun ? ["would grant", "would revoke"] : ["granted", "revoked"];
  if (plan.granted.length > 0) notes.push(`${grants} etcd users: ${enumerate(plan.granted)}`);
  if (plan.revoked.length > 0) notes.push(`${revokes} etcd users: ${enumerate(plan.revoked)}`);
  const own = showNotes([report], style, { dryRun, details: true, named: false });
  if (writes === 0 && !dryRun && plan.outcomes.size > 0 && plan.missing.length === 0) {
    own.push(style.dim("nothing written"));
  }
  return [
    ...style.wrap(`${title}: ${head}${dryRun ? " (dry run)" : ""}`),
    ...[...notes.map(escapeLine), ...own].flatMap((line) => style.wrap(`  ${line}`)),
  ];
}

function failure({ source, error, writes }: Failed, style: Style): string {
  const undone = writes > 0 ? " (partly written; run again to complete)" : "";
  const state = error instanceof Interrupted ? "" : `${style.red("failed")}: `;
  return `${style.bold(escapeLine(source))}: ${state}${escapeControlChars(error.message)}${undone}`;
}

function showReportTable(reports: readonly TargetReport[], dryRun: boolean, style: Style): string[] {
  const done = reports.filter((report) => report.state === "done");
  const failed = reports.filter((report) => report.state === "failed");
  const rows = reports.map((report) =>
    report.state === "done"
      ? { source: report.source, plan: report.plan, version: report.target.facts.version }
      : { source: report.source },
  );
  const columns = [
    ...planColumns(rows, style),
    {
      title: "STATUS",
      cells: reports.map((report) => statusOf(report, dryRun)),
      paint: (cell: string, row: number) => (reports[row]?.state === "failed" ? style.red(cell) : cell),
    },
  ];
  const more = failed.length - MOST_FAILURES;
  return [
    ...showTable(columns, style),
    ...failed.slice(0, MOST_FAILURES).map((report) => failure(report, style)),
    ...(more > 0 ? [`… and ${count(more, "more failure")}; --details shows all`] : []),
    ...showNotes(done, style, { dryRun, details: false, named: true }).flatMap((line) => style.wrap(line)),
  ];
}

function statusOf(report: TargetReport, dryRun: boolean): string {
  if (report.state === "failed") return report.writes > 0 ? "partly written" : "failed";
  if (report.plan.missing.length > 0) return "needs restart";
  if (dryRun) return report.plan.changes.length > 0 ? "would change" : "unchanged";
  return report.writes > 0 ? "written" : "unchanged";
}

/**
 * What is to be known besides of targets, each thing once.
 *
 * @param named whether the clusters are named, if there may be several.
 */
function showNotes(
  reports: readonly Done[],
  style: Style,
  { dryRun, details, named }: ShowOptions & { dryRun: boolean; named: boolean },
): string[] {
  const inClusters = (some: readonly { source: string }[]) =>
    named ? ` in ${escapeLine(clusters(some, reports.length, details))}` : "";
  const lines: string[] = [];
  const remembered = reports.flatMap(({ source, plan }) =>
    [...plan.remembered].map(([name, endpoint]) => ({ source, name, endpoint })),
  );
  for (const [, some] of groupBy(remembered, ({ name, endpoint }) => JSON.stringify([name, endpoint]))) {
    const { name, endpoint } = some[0] as (typeof some)[number];
    const reset = `--endpoint ${name}= takes its file's`;
    lines.push(
      `${escapeLine(`${name} is reached at ${endpoint}`)}${inClusters(some)}, as --endpoint said; ${escapeLine(reset)}`,
    );
  }
  const given = reports.flatMap(({ source, plan }) =>
    [...plan.keptEndpoints].map(([name, endpoint]) => ({ source, name, endpoint })),
  );
  for (const [, some] of groupBy(given, ({ name, endpoint }) => JSON.stringify([name, endpoint]))) {
    const { name, endpoint } = some[0] as (typeof some)[number];
    lines.push(
      `${escapeLine(`${name} is reached at ${endpoint}`)}${inClusters(some)}, as given when it was extracted; ` +
        `to take its own: import-secrets --endpoint ${escapeLine(name)}= FILE`,
    );
  }
  const kept = reports.flatMap(({ source, plan }) => plan.kept.map((name) => ({ source, name })));
  for (const [name, some] of groupBy(kept, (one) => one.name)) {
    const from =
      some.length > MOST_LISTED && !details
        ? "--from CONTEXT"
        : some.map((one) => `--from ${shellQuote(one.source)}`).join(" ");
    lines.push(
      `${dryRun ? "would keep" : "kept"} ${escapeLine(name)}${inClusters(some)}: only reachable from a node; to remove it:`,
    );
    lines.push(`  clustermesh-secrets disconnect ${escapeLine(`${name} ${from}`)}`);
  }
  const cleaned = reports.flatMap(({ source, plan }) => plan.cleaned.map((name) => ({ source, name })));
  for (const [name, some] of groupBy(cleaned, (one) => one.name)) {
    const what = "the annotation of kubectl apply, with private keys in it";
    lines.push(`${dryRun ? "would remove" : "removed"} from Secret ${escapeLine(name)}${inClusters(some)}: ${what}`);
  }
  lines.push(...showMissing(reports, style, { details, named }));
  const held = reports.flatMap(({ source, plan }) => namesOf(plan, "held").map((name) => ({ source, name })));
  if (held.length > 0) {
    const names = [...new Set(held.map(({ name }) => name))];
    const some = [...new Map(held.map((one) => [one.source, one])).values()];
    const what = escapeLine(enumerate(names, details ? names.length : MOST_LISTED));
    lines.push(
      `not changed before that restart${inClusters(some)}: ${what}, which works by the name that resolves now`,
    );
  }
  return lines;
}

/** Which workloads do not resolve all names yet, and how they will. */
function showMissing(
  targets: readonly PlannedTarget[],
  style: Style,
  { details, named }: ShowOptions & { named: boolean },
): string[] {
  const missing = targets.flatMap(({ source, plan }) => plan.missing.map((one) => ({ source, ...one })));
  return [...groupBy(missing, ({ workload }) => workloadName(workload))].flatMap(([name, some]) => {
    const hostnames = [...new Set(some.flatMap((one) => one.hostnames))];
    const flag = some[0]?.workload.kind === "DaemonSet" ? "with --restart-agents" : "without --no-restarts";
    const where = named ? ` in ${clusters(some, targets.length, details)}` : "";
    const lacks = escapeLine(`${name} has no host alias for ${namesOrCount(hostnames, details)}${where}`);
    return [
      `${style.yellow("not connecting yet")}: ${lacks}`,
      `  run again ${flag} to add ${hostnames.length === 1 ? "it" : "them"}, which restarts its pods`,
    ];
  });
}
