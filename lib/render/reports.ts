/** Renders the reports of an import as text. Pure. */
import { Interrupted, type TargetReport } from "../import/apply.ts";
import type { Outcome } from "../import/plan/merge-secret.ts";
import { shellQuote } from "../util/shell.ts";
import {
  clusters,
  groupBy,
  MOST_LISTED,
  MOST_SENTENCES,
  peersWithOutcome,
  type ShowOptions,
  showEndpointChanges,
  showMissing,
  showRestarts,
} from "./plan.ts";
import { planColumns } from "./plan-columns.ts";
import { count, enumerate, escapeControlChars, escapeLine, type Style } from "./style.ts";
import { showTable } from "./table.ts";

/** The maximum number of failures that are printed individually. */
const MOST_FAILURES = 10;

type Done = Extract<TargetReport, { state: "done" }>;

type Failed = Extract<TargetReport, { state: "failed" }>;

/**
 * Renders the outcome and the notes of each target, then when the written changes take effect.
 *
 * @param dryRun - whether the run was a dry run.
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
    const names = peersWithOutcome(plan, outcome);
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
 * Renders further notes about targets, without repetitions.
 *
 * @param named - whether to name the clusters; required if there can be several.
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
    [...plan.keptOverrides].map(([name, endpoint]) => ({ source, name, endpoint })),
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
  const held = reports.flatMap(({ source, plan }) => peersWithOutcome(plan, "held").map((name) => ({ source, name })));
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
