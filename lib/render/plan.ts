/** Planned changes of an import, and the restarts that they need. Pure. */
import { describeObject } from "../import/plan/change.ts";
import { disruptionsOf } from "../import/plan/disruptions.ts";
import type { Outcome } from "../import/plan/merge-secret.ts";
import type { BeforeAfter, Plan } from "../import/plan/plan.ts";
import type { Workload } from "../import/plan/target.ts";
import type { PlannedTarget } from "../import/prepare.ts";
import { planColumns } from "./plan-columns.ts";
import { count, enumerate, escapeLine, type Style } from "./style.ts";
import { showTable } from "./table.ts";

/** Maximum number of clusters described in a sentence each; more are printed as a table. */
export const MAX_SENTENCES = 3;

/** Maximum number of clusters or names listed in a line; more are only counted. */
export const MAX_LISTED = 6;

export interface ShowOptions {
  /** List every cluster and every name. */
  details: boolean;
}

const PLANNED_VERBS: readonly (readonly [Outcome, string])[] = [
  ["moved", "will move to another Secret:"],
  ["changed", "will change"],
  ["added", "will add"],
  ["dropped", "will remove"],
];

/**
 * Describes planned changes: peers and etcd users of each target, changed endpoints and CAs, then restarts and their reason.
 *
 * @param asked - whether agents restart only after a confirmation.
 * @param restarts - how a rerun restarts Deployments.
 */
export function showPlan(
  targets: readonly PlannedTarget[],
  style: Style,
  { details, asked = false, restarts }: ShowOptions & { asked?: boolean; restarts?: string },
): string[] {
  const changing = targets.filter(({ plan }) => plan.changes.length > 0);
  const lines =
    details || targets.length <= MAX_SENTENCES
      ? changing.flatMap((target) => style.wrap(describeTarget(target, style)))
      : [...showTable(planColumns(targets, style), style), ...showRemovals(changing, style)];
  return [
    ...lines,
    ...showPeerChanges(targets, style, details),
    ...showRestarts(targets, style, { details, asked }),
    ...(asked
      ? []
      : showMissingAliases(targets, style, { details, named: true, ...(restarts !== undefined && { restarts }) })),
  ];
}

/** Describes the disruptive part of a plan: removed peers, revoked users, changed endpoints and CAs, and restarts. */
export function showDisruptions(targets: readonly PlannedTarget[], style: Style, { details }: ShowOptions): string[] {
  const removing = targets.filter(({ plan }) => peersWithOutcome(plan, "dropped").length + plan.revoked.length > 0);
  const lines =
    details || targets.length <= MAX_SENTENCES
      ? removing.flatMap((target) => style.wrap(describeTarget(target, style)))
      : showRemovals(removing, style);
  return [...lines, ...showPeerChanges(targets, style, details), ...showRestarts(targets, style, { details })];
}

function describeTarget({ source, plan }: PlannedTarget, style: Style): string {
  const parts = PLANNED_VERBS.flatMap(([outcome, verb]) => {
    const names = peersWithOutcome(plan, outcome);
    // All names: the user confirms removals by this list.
    return names.length > 0 ? [`${verb} ${enumerate(names, names.length)}`] : [];
  });
  if (plan.granted.length > 0) parts.push(`will grant etcd users ${enumerate(plan.granted)}`);
  if (plan.revoked.length > 0) parts.push(`will revoke etcd users ${enumerate(plan.revoked)}`);
  const { restarted } = disruptionsOf(plan);
  if (restarted.length > 0) parts.push(`will restart ${enumerate(restarted)}`);
  if (parts.length === 0) parts.push("will update Secrets, peers unchanged");
  return `${style.bold(escapeLine(source))}: ${escapeLine(parts.join("; "))}`;
}

/** Lists the names of all removed peers, merged for clusters that lose the same ones. */
function showRemovals(targets: readonly PlannedTarget[], style: Style): string[] {
  const removals = groupByValue(targets, (plan) => {
    const names = peersWithOutcome(plan, "dropped");
    return names.length > 0 ? [names.join(", ")] : [];
  });
  return removals.flatMap(({ value: names, sources }) =>
    style.wrap(escapeLine(`will remove ${names} from ${listClusters(sources, targets.length, false)}`)),
  );
}

/** Lists changed endpoints and CAs of peers, before and after, with the clusters that use them. */
export function showPeerChanges(targets: readonly PlannedTarget[], style: Style, details: boolean): string[] {
  return [...showChanges("endpoint", (plan) => plan.endpointChanges), ...showChanges("CA", (plan) => plan.caChanges)];

  function showChanges(subject: string, changesOf: (plan: Plan) => Iterable<[string, BeforeAfter]>): string[] {
    const changes = groupByValue(targets, changesOf);
    const shown = details ? changes : changes.slice(0, MAX_LISTED);
    const more = changes.length - shown.length;
    return [
      ...shown.flatMap(({ value: [name, { before, after }], sources }) => {
        const where = listClusters(sources, targets.length, details);
        return style.wrap(escapeLine(`${subject} of ${name} in ${where}: ${before} → ${after}`));
      }),
      ...(more > 0 ? [`… and ${count(more, `more ${subject} change`)} (use --details to show all)`] : []),
    ];
  }
}

/**
 * Lists workloads that restart, with their clusters and the missing host aliases.
 *
 * @param asked - whether agents restart only after a confirmation.
 * @param dryRun - whether nothing is written.
 */
export function showRestarts(
  targets: readonly PlannedTarget[],
  style: Style,
  { details, asked = false, dryRun = false }: ShowOptions & { asked?: boolean; dryRun?: boolean },
): string[] {
  const restarts = targets.flatMap(({ source, plan }) =>
    plan.changes.flatMap((change) =>
      change.verb === "json-patch" ? [{ source, workload: change, hostnames: change.hostnames }] : [],
    ),
  );
  return groupByWorkload(restarts).flatMap(({ workload, sources, hostnames }) => {
    const areAgents = workload.kind === "DaemonSet";
    const what = style.yellow(
      escapeLine(describeObject(workload.kind, workload.name) + (areAgents ? " (all Cilium agents)" : "")),
    );
    const where = listClusters(sources, targets.length, details) + (areAgents && asked ? ", if confirmed," : "");
    const why = `to add host aliases for ${listNames(hostnames, details)}`;
    return style.wrap(`${dryRun ? "would restart" : "will restart"} ${what} in ${escapeLine(`${where} ${why}`)}`);
  });
}

/**
 * Lists workloads that lack host aliases, with the flag that adds them.
 *
 * @param named - whether to name the clusters.
 */
export function showMissingAliases(
  targets: readonly PlannedTarget[],
  style: Style,
  { details, named, restarts = "without --no-restarts" }: ShowOptions & { named: boolean; restarts?: string },
): string[] {
  const missing = targets.flatMap(({ source, plan }) => plan.missing.map((one) => ({ source, ...one })));
  return groupByWorkload(missing).flatMap(({ workload, sources, hostnames, isOutdated }) => {
    const flag = workload.kind === "DaemonSet" ? "with --restart-agents" : restarts;
    const where = named ? ` in ${listClusters(sources, targets.length, details)}` : "";
    const isOne = hostnames.length === 1;
    const lack = isOutdated ? "has outdated host aliases" : isOne ? "has no host alias" : "has no host aliases";
    const what = `${describeObject(workload.kind, workload.name)} ${lack} for ${listNames(hostnames, details)}${where}`;
    const fix = isOutdated ? "update them" : `add ${isOne ? "it" : "them"}`;
    const label = isOutdated ? "restart needed" : "not connecting yet";
    return [
      ...style.wrap(`${style.yellow(label)}: ${escapeLine(what)}`),
      ...style.wrap(`  rerun ${flag} to ${fix} (restarts its pods)`),
    ];
  });
}

interface WorkloadHostnames {
  workload: Pick<Workload, "kind" | "name">;
  hostnames: readonly string[];
  isOutdated?: boolean;
}

/** Merges the entries of each workload across clusters, those with outdated host aliases separately. */
function groupByWorkload(
  entries: readonly (WorkloadHostnames & { source: string })[],
): (WorkloadHostnames & { sources: string[] })[] {
  const groups = new Map<string, WorkloadHostnames & { sources: string[] }>();
  for (const { source, workload, hostnames, isOutdated = false } of entries) {
    const key = `${describeObject(workload.kind, workload.name)} ${isOutdated}`;
    const { sources = [], hostnames: others = [] } = groups.get(key) ?? {};
    const all = [...new Set([...others, ...hostnames])];
    groups.set(key, { workload, hostnames: all, isOutdated, sources: [...sources, source] });
  }
  return [...groups.values()];
}

/** Lists clusters by name, or counts them if there are more than {@link MAX_LISTED}. */
export function listClusters(sources: readonly string[], total: number, details: boolean): string {
  if (details || sources.length <= MAX_LISTED) return enumerate(sources, sources.length);
  return sources.length === total ? `all ${total} clusters` : `${sources.length} of ${total} clusters`;
}

function listNames(names: readonly string[], details: boolean): string {
  return details || names.length <= MAX_LISTED ? enumerate(names, names.length) : `${names.length} names`;
}

/**
 * Groups the clusters of all plans by value; a plan can have several values.
 *
 * @param valuesOf - values of one plan, as JSON data.
 * @returns values in order of appearance, each with the contexts of its clusters.
 */
export function groupByValue<T>(
  targets: readonly PlannedTarget[],
  valuesOf: (plan: Plan) => Iterable<T>,
): { value: T; sources: string[] }[] {
  const groups = new Map<string, { value: T; sources: string[] }>();
  for (const { source, plan } of targets) {
    for (const value of valuesOf(plan)) {
      const key = JSON.stringify(value);
      const group = groups.get(key) ?? { value, sources: [] };
      group.sources.push(source);
      groups.set(key, group);
    }
  }
  return [...groups.values()];
}

/** Returns the names of a plan's peers with an outcome. */
export function peersWithOutcome(plan: Plan, outcome: Outcome): string[] {
  return [...plan.outcomes].filter(([, one]) => one === outcome).map(([name]) => name);
}
