/** Results of an import. Pure. */
import { Interrupted, type TargetReport } from "../import/apply.ts";
import { disruptionsOf } from "../import/plan/disruptions.ts";
import type { Outcome } from "../import/plan/merge-secret.ts";
import type { Plan } from "../import/plan/plan.ts";
import { shellQuote } from "../util/shell.ts";
import {
  groupByValue,
  listClusters,
  MAX_LISTED,
  MAX_SENTENCES,
  peersWithOutcome,
  type ShowOptions,
  showMissingAliases,
  showPeerChanges,
  showRestarts,
} from "./plan.ts";
import { planColumns } from "./plan-columns.ts";
import { count, enumerate, escapeControlChars, escapeLine, indented, type Style } from "./style.ts";
import { showTable } from "./table.ts";

/** Maximum number of failures printed below a table. */
const MAX_FAILURES = 10;

type Done = Extract<TargetReport, { state: "done" }>;

type Failed = Extract<TargetReport, { state: "failed" }>;

interface ReportOptions extends ShowOptions {
  /** Whether nothing was written because of `--dry-run`. */
  dryRun: boolean;
}

/** Describes the result of each target with its notes, and when written Secrets take effect. */
export function showReports(reports: readonly TargetReport[], style: Style, options: ReportOptions): string[] {
  const { dryRun, details } = options;
  const lines =
    details || reports.length <= MAX_SENTENCES
      ? reports.flatMap((report) =>
          report.state === "failed" ? [describeFailure(report, style)] : describeResult(report, dryRun, style),
        )
      : showReportTable(reports, dryRun, style);
  const done = reports.filter((report) => report.state === "done");
  if (dryRun) {
    lines.push(...showPeerChanges(done, style, details), ...showRestarts(done, style, options));
  } else if (
    reports.length > 0 &&
    reports.every(({ writes }) => writes === 0) &&
    done.some(({ plan }) => plan.outcomes.size > 0)
  ) {
    lines.push(style.dim("nothing written"));
  } else if (done.some(({ writes, plan }) => writes > 0 && plan.changes.some(({ kind }) => kind === "Secret"))) {
    lines.push(style.dim("Secrets written; pods pick them up within about two minutes"));
  }
  return lines;
}

const OUTCOME_VERBS: readonly (readonly [Outcome, done: string, planned: string])[] = [
  ["added", "added", "would add"],
  ["moved", "moved to another Secret:", "would move to another Secret:"],
  ["changed", "changed", "would change"],
  ["dropped", "removed", "would remove"],
  ["held", "pending", "pending"],
  ["unchanged", "unchanged", "unchanged"],
];

function describeResult(report: Done, dryRun: boolean, style: Style): string[] {
  const { source, plan, target } = report;
  const { facts } = target;
  const parts = OUTCOME_VERBS.flatMap(([outcome, done, planned]) => {
    const names = peersWithOutcome(plan, outcome);
    if (names.length === 0) return [];
    const verb = dryRun ? planned : done;
    const isChange = outcome !== "unchanged" && outcome !== "held";
    return [`${isChange ? style.green(verb) : verb} ${escapeLine(enumerate(names))}`];
  });
  const notes = plan.skippedSelf ? [escapeLine(`skipped ${facts.name}: same cluster as the target`)] : [];
  const head = parts.length > 0 ? parts.join("; ") : (notes.shift() ?? "no peers");
  const about = [facts.version ? `Cilium ${facts.version}` : "Cilium", ...(facts.kvstoreMesh ? ["KVStoreMesh"] : [])];
  const title = `${style.bold(escapeLine(source))} ${style.dim(`(${escapeLine(about.join(", "))})`)}`;
  const [grants, revokes] = dryRun ? ["would grant", "would revoke"] : ["granted", "revoked"];
  if (plan.granted.length > 0) notes.push(escapeLine(`${grants} etcd users: ${enumerate(plan.granted)}`));
  if (plan.revoked.length > 0) notes.push(escapeLine(`${revokes} etcd users: ${enumerate(plan.revoked)}`));
  const { restarted } = disruptionsOf(plan);
  if (restarted.length > 0 && !dryRun) notes.push(escapeLine(`restarting ${enumerate(restarted)}`));
  const own = showNotes([report], indented(style), { dryRun, details: true, named: false });
  return [
    ...style.wrap(`${title}: ${head}${dryRun ? " (dry run)" : ""}`),
    ...notes.flatMap((line) => style.wrap(`  ${line}`)),
    ...own.map((line) => `  ${line}`),
  ];
}

function describeFailure({ source, error, writes }: Failed, style: Style): string {
  const mark = error instanceof Interrupted ? "" : `${style.red("error")}: `;
  const progress = writes > 0 ? " (partly written; rerun to complete)" : "";
  return `${mark}${style.bold(escapeLine(source))}: ${escapeControlChars(error.message)}${progress}`;
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
  const more = failed.length - MAX_FAILURES;
  return [
    ...showTable(columns, style),
    ...failed.slice(0, MAX_FAILURES).map((report) => describeFailure(report, style)),
    ...(more > 0 ? [`… and ${count(more, "more failure")} (use --details to show all)`] : []),
    ...showNotes(done, style, { dryRun, details: false, named: true }),
  ];
}

function statusOf(report: TargetReport, dryRun: boolean): string {
  if (report.state === "failed") return report.writes > 0 ? "partly written" : "failed";
  if (report.plan.missing.length > 0) return "needs restart";
  const { changes } = report.plan;
  if (dryRun) return changes.length > 0 ? "would change" : "unchanged";
  if (report.writes === 0) return "unchanged";
  return changes.length > 0 && changes.every(({ verb }) => verb === "json-patch") ? "restarting" : "written";
}

/**
 * Describes overridden endpoints, kept peers, removed annotations, missing host aliases and pending changes. Equal notes of
 * several targets are merged. Commands are not wrapped, so that they can be pasted.
 *
 * @param named - whether to name the clusters.
 */
function showNotes(
  reports: readonly Done[],
  style: Style,
  { dryRun, details, named }: ReportOptions & { named: boolean },
): string[] {
  const inClusters = (sources: readonly string[]) =>
    named ? ` in ${listClusters(sources, reports.length, details)}` : "";
  const wrap = (line: string) => style.wrap(escapeLine(line));
  const describeOverrides = (overridesOf: (plan: Plan) => ReadonlyMap<string, string>, origin: string) =>
    groupByValue(reports, overridesOf).flatMap(({ value: [name, endpoint], sources }) => [
      ...wrap(`endpoint of ${name}${inClusters(sources)}: ${endpoint}, set ${origin}; to reset it:`),
      escapeLine(
        `  import-secrets ${contextFlags("--context", sources, details)} --endpoint ${shellQuote(`${name}=`)} FILE`,
      ),
    ]);
  const keeps = dryRun ? "would keep" : "kept";
  const kept = groupByValue(reports, (plan) => plan.kept).flatMap(({ value: name, sources }) => {
    return [
      ...wrap(`${keeps} ${name}${inClusters(sources)}: node-local; to remove it:`),
      escapeLine(`  clustermesh-secrets disconnect ${shellQuote(name)} ${contextFlags("--from", sources, details)}`),
    ];
  });
  const removes = dryRun ? "would remove" : "removed";
  const cleaned = groupByValue(reports, (plan) => plan.cleaned).flatMap(({ value: name, sources }) =>
    wrap(
      `${removes} kubectl's last-applied annotation, which contains private keys, from secret/${name}${inClusters(sources)}`,
    ),
  );
  const held = groupByValue(reports, (plan) => peersWithOutcome(plan, "held"));
  const names = held.map(({ value }) => value);
  const pending =
    `pending until pods restart with the new host aliases${inClusters([...new Set(held.flatMap(({ sources }) => sources))])}: ` +
    `${enumerate(names, details ? names.length : MAX_LISTED)} (still connected by the current hostname)`;
  return [
    ...describeOverrides((plan) => plan.keptOverrides, "by an earlier --endpoint"),
    ...describeOverrides((plan) => plan.keptEndpoints, "at extraction"),
    ...kept,
    ...cleaned,
    ...showMissingAliases(reports, style, { details, named }),
    ...(held.length > 0 ? wrap(pending) : []),
  ];
}

/** Formats a flag with each context, or with a placeholder if there are more than {@link MAX_LISTED}. */
function contextFlags(flag: string, sources: readonly string[], details: boolean): string {
  const contexts = sources.length > MAX_LISTED && !details ? ["CONTEXT"] : sources.map(shellQuote);
  return contexts.map((context) => `${flag} ${context}`).join(" ");
}
