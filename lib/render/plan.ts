import type { Outcome } from "../import/plan/merge-secret.ts";
import type { Plan } from "../import/plan/plan.ts";
import type { Workload } from "../import/plan/target.ts";
import type { PlannedTarget } from "../import/prepare.ts";
import { planColumns } from "./plan-columns.ts";
import { count, enumerate, escapeLine, type Style } from "./style.ts";
import { showTable } from "./table.ts";

/** Up to so many clusters have a sentence each; more are a table. */
export const MOST_SENTENCES = 3;

/** How many clusters, or names, are listed in a line. */
export const MOST_LISTED = 6;

export interface ShowOptions {
  /** Every cluster and every name, however many there are. */
  details: boolean;
}

/** `deployment/clustermesh-apiserver`, as kubectl names it. */
function workloadName({ kind, name }: Pick<Workload, "kind" | "name">): string {
  return `${kind.toLowerCase()}/${name}`;
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
 * @param asked - set if agents restart only if a question is answered so.
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
  const removing = targets.filter(({ plan }) => peersWithOutcome(plan, "dropped").length + plan.revoked.length > 0);
  const lines =
    details || targets.length <= MOST_SENTENCES
      ? removing.flatMap((target) => style.wrap(sentenceOf(target, style)))
      : showRemovals(removing, style);
  return [...lines, ...showEndpointChanges(targets, style, details), ...showRestarts(targets, style, details)];
}

function sentenceOf({ source, plan }: PlannedTarget, style: Style): string {
  const parts = INTENTIONS.flatMap(([outcome, verb]) => {
    const names = peersWithOutcome(plan, outcome);
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
    targets.filter(({ plan }) => peersWithOutcome(plan, "dropped").length > 0),
    ({ plan }) => peersWithOutcome(plan, "dropped").join(", "),
  );
  return [...bySet].flatMap(([names, some]) =>
    style.wrap(`removes ${escapeLine(names)} from ${clusters(some, targets.length, false)}`),
  );
}

/** Which peers are reached elsewhere from then on, where they were and will be, and in which clusters. */
export function showEndpointChanges(targets: readonly PlannedTarget[], style: Style, details: boolean): string[] {
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
 * @param condition - of the restart of agents, to follow the verb.
 */
export function showRestarts(
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
export function clusters(some: readonly { source: string }[], all: number, details: boolean): string {
  const names = some.map(({ source }) => source);
  if (details || names.length <= MOST_LISTED) return enumerate(names, names.length);
  return names.length === all ? `all ${all} clusters` : `${names.length} of ${all} clusters`;
}

function namesOrCount(names: readonly string[], details: boolean): string {
  return details || names.length <= MOST_LISTED ? enumerate(names, names.length) : `${names.length} names`;
}

/** Groups items by a key; the groups are in the order of their first items. */
export function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) groups.set(keyOf(item), [...(groups.get(keyOf(item)) ?? []), item]);
  return groups;
}

/** Returns the names of the peers whose import has this outcome. */
export function peersWithOutcome(plan: Plan, outcome: Outcome): string[] {
  return [...plan.outcomes].filter(([, one]) => one === outcome).map(([name]) => name);
}

/** Which workloads do not resolve all names yet, and how they will. */
export function showMissing(
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
