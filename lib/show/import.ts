/** What an import did, as lines for a person. Pure. */
import { Interrupted } from "../exchange/apply.ts";
import type { Change } from "../exchange/change.ts";
import type { TargetReport } from "../exchange/import.ts";
import type { Outcome } from "../exchange/merge.ts";
import type { Plan } from "../exchange/plan.ts";
import { enumerate, harmless, inLine, type Style } from "./style.ts";

/** A change that restarts pods, announced before it is made; undefined for one that does not. */
export function announceChange(source: string, change: Change, style: Style): string | undefined {
  if (change.verb !== "json-patch") return undefined;
  const what = `${change.kind} ${change.name} is patched, which restarts its pods`;
  return `${style.bold(inLine(source))}: ${what}: ${inLine(change.reason)}`;
}

/** What is about to be done to a target, said where it is more than adding; undefined where nothing is. */
export function announcePlan(source: string, plan: Plan, style: Style): string | undefined {
  const parts = (["moved", "changed", "added", "dropped"] as const).flatMap((outcome) => {
    const names = namesOf(plan, outcome);
    // All that go are named: this is what is agreed to.
    return names.length > 0 ? [`${INTENTIONS[outcome]} ${enumerate(names, names.length)}`] : [];
  });
  if (plan.granted.length > 0) parts.push(`lets in ${enumerate(plan.granted)}`);
  if (plan.revoked.length > 0) parts.push(`no longer lets in ${enumerate(plan.revoked)}`);
  return parts.length > 0 ? `${style.bold(inLine(source))}: ${inLine(parts.join("; "))}` : undefined;
}

const DONE: Outcome[] = ["added", "moved", "changed", "dropped"];
const INTENTIONS = { moved: "moves", changed: "changes", added: "adds", dropped: "drops" };

function namesOf(plan: Plan, outcome: Outcome): string[] {
  return [...plan.outcomes].filter(([, one]) => one === outcome).map(([name]) => name);
}

/**
 * A line for each target, and what is to be known of it below; last, when what was written takes effect.
 *
 * @param dryRun whether nothing was to be written.
 */
export function showReports(reports: readonly TargetReport[], dryRun: boolean, style: Style): string[] {
  const lines = reports.flatMap((report) => showReport(report, dryRun, style));
  const wroteSecrets = (report: TargetReport) =>
    report.state === "done" && report.writes > 0 && report.plan.changes.some(({ kind }) => kind === "Secret");
  if (reports.some(wroteSecrets)) {
    lines.push(style.dim("kubelet brings the Secrets into the pods within a minute or two; Cilium then connects"));
  }
  return lines;
}

function showReport(report: TargetReport, dryRun: boolean, style: Style): string[] {
  const source = style.bold(inLine(report.source));
  if (report.state === "failed") {
    const undone = report.writes > 0 ? " (some of it is written; run again to complete)" : "";
    const state = report.error instanceof Interrupted ? "" : `${style.red("failed")}: `;
    return [`${source}: ${state}${harmless(report.error.message)}${undone}`];
  }
  const { plan, target, writes } = report;
  const { facts } = target;
  const about = [facts.version ? `Cilium ${facts.version}` : "Cilium", ...(facts.kvstoreMesh ? ["KVStoreMesh"] : [])];
  const parts = (["added", "moved", "changed", "dropped", "held", "unchanged"] as const)
    .map((outcome) => [outcome, namesOf(plan, outcome)] as const)
    .filter(([, names]) => names.length > 0)
    .map(
      ([outcome, names]) => `${DONE.includes(outcome) ? style.green(outcome) : outcome} ${inLine(enumerate(names))}`,
    );
  const head = parts.length > 0 ? parts.join("; ") : plan.skippedSelf ? "nothing but its own file" : "no peers";
  const lines = [`${source} ${style.dim(`(${inLine(about.join(", "))})`)}: ${head}${dryRun ? " (dry run)" : ""}`];
  const note = (text: string) => lines.push(`  ${text}`);
  if (plan.skippedSelf && parts.length > 0) note(inLine(`its own file (${facts.name}) is passed over`));
  if (plan.granted.length > 0) note(inLine(`let in: ${enumerate(plan.granted)}`));
  if (plan.revoked.length > 0) note(inLine(`no longer let in: ${enumerate(plan.revoked)}`));
  for (const [name, endpoint] of plan.remembered) {
    note(inLine(`${name} is reached at ${endpoint}, as --endpoint said; --endpoint ${name}= takes its file's`));
  }
  for (const name of plan.cleaned) {
    note(`removed from Secret ${name}: the annotation of kubectl apply, with private keys in it`);
  }
  for (const { workload, hostnames } of plan.missing) {
    const flag = workload.kind === "DaemonSet" ? "again with --restart-agents" : "again without --no-restarts";
    note(
      `${style.yellow("not yet connecting")}: ${workload.kind} ${workload.name} has no host alias for ` +
        `${inLine(enumerate(hostnames))}; run ${flag} to add it, which restarts its pods`,
    );
  }
  const held = namesOf(plan, "held");
  if (held.length > 0) {
    note(`${inLine(enumerate(held))} stays as it was until then, for the new name would cut what works`);
  }
  if (writes === 0 && !dryRun && plan.outcomes.size > 0 && plan.missing.length === 0)
    note(style.dim("nothing written"));
  return lines;
}
