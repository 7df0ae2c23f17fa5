/** What an import did, as lines for a person. Pure. */

import type { Change } from "../exchange/change.ts";
import type { TargetReport } from "../exchange/import.ts";
import { enumerate, harmless, type Style } from "./style.ts";

/** A change that restarts pods, announced before it is made; undefined for one that does not. */
export function announceChange(source: string, change: Change, style: Style): string | undefined {
  if (change.verb !== "json-patch") return undefined;
  const what = `${change.kind} ${change.name} is patched, which restarts its pods`;
  return `${style.bold(harmless(source))}: ${what}: ${harmless(change.reason)}`;
}

/** A line for each target, and what is to be known of it below; last, when what was written takes effect. */
export function showReports(reports: readonly TargetReport[], style: Style): string[] {
  const lines = reports.flatMap((report) => showReport(report, style));
  const wroteSecrets = (report: TargetReport) =>
    report.state === "done" && report.writes > 0 && report.plan.changes.some(({ kind }) => kind === "Secret");
  if (reports.some(wroteSecrets)) {
    lines.push(style.dim("kubelet brings the Secrets into the pods within a minute or two; Cilium then connects"));
  }
  return lines;
}

function showReport(report: TargetReport, style: Style): string[] {
  const source = style.bold(harmless(report.source));
  if (report.state === "failed") {
    const undone = report.writes > 0 ? " (some of it is written; run again to complete)" : "";
    return [`${source}: ${style.red("failed")}: ${harmless(report.error.message)}${undone}`];
  }
  const { plan, target, writes } = report;
  const { facts } = target;
  const about = [facts.version ? `Cilium ${facts.version}` : "Cilium", ...(facts.kvstoreMesh ? ["KVStoreMesh"] : [])];
  const of = (outcome: string) => [...plan.outcomes].filter(([, one]) => one === outcome).map(([name]) => name);
  const parts = (["added", "changed", "unchanged"] as const)
    .map((outcome) => [outcome, of(outcome)] as const)
    .filter(([, names]) => names.length > 0)
    .map(([outcome, names]) => `${outcome === "unchanged" ? outcome : style.green(outcome)} ${enumerate(names)}`);
  const head = parts.length > 0 ? parts.join("; ") : plan.skippedSelf ? "nothing but its own file" : "no peers";
  const lines = [`${source} ${style.dim(`(${about.join(", ")})`)}: ${head}`];
  const note = (text: string) => lines.push(`  ${text}`);
  if (plan.skippedSelf && parts.length > 0) note(`its own file (${facts.name}) is passed over`);
  if (plan.granted.length > 0) note(`let in: ${enumerate(plan.granted)}`);
  for (const name of plan.cleaned) {
    note(`removed from Secret ${name}: the annotation of kubectl apply, with private keys in it`);
  }
  for (const { workload, hostnames } of plan.missing) {
    const flag = workload.kind === "DaemonSet" ? "again with --restart-agents" : "again without --no-restarts";
    note(
      `${style.yellow("not yet connecting")}: ${workload.kind} ${workload.name} has no host alias for ` +
        `${harmless(enumerate(hostnames))}; import ${flag} to add it, which restarts its pods`,
    );
  }
  if (writes === 0 && plan.outcomes.size > 0 && plan.missing.length === 0) note(style.dim("nothing written"));
  return lines;
}
