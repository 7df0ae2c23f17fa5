/** What tables of clusters state about each cluster, and the verdict about the mesh. Pure. */
import { stateOf } from "../mesh/pairs.ts";
import type { ClusterStatus, MeshStatus } from "../mesh/status.ts";
import { countGroups, type FindingGroup } from "./finding-groups.ts";
import { groupByImporter } from "./mesh-matrix.ts";
import { count } from "./style.ts";

/** Whether something is healthy, healthy with warnings, or unhealthy. */
export type Health = "ok" | "warning" | "error";

/** The verdict about a mesh: `3 clusters`, `unhealthy: 1 error, 0 warnings`. */
export interface MeshVerdict {
  size: string;
  verdict: string;
  health: Health;
}

/** Returns the verdict about a mesh; merged findings count once. */
export function judgeHealth({ clusters }: MeshStatus, groups: readonly FindingGroup[]): MeshVerdict {
  const found = countGroups(groups);
  const [errors, warnings] = [count(found.error, "error"), count(found.warning, "warning")];
  const unreadable = clusters.filter(({ error }) => error !== undefined).length;
  const size = `${count(clusters.length, "cluster")}${unreadable > 0 ? ` (${unreadable} unreadable)` : ""}`;
  if (found.error > 0) return { size, verdict: `unhealthy: ${errors}, ${warnings}`, health: "error" };
  return found.warning > 0
    ? { size, verdict: `healthy, with ${warnings}`, health: "warning" }
    : { size, verdict: "healthy", health: "ok" };
}

/** Returns whether KVStoreMesh is enabled; `-` if unknown. */
export function kvstoreMeshOf({ kvstoreMesh }: ClusterStatus): string {
  return kvstoreMesh === undefined ? "-" : kvstoreMesh ? "yes" : "no";
}

/** Returns the number of ready containers of clustermesh-apiserver, and of all; `-` if the cluster cannot be read. */
export function readyOf({ pods, error }: ClusterStatus): string {
  if (error !== undefined) return "-";
  const containers = pods.flatMap((pod) => pod.containers);
  return `${containers.filter(({ ready }) => ready).length}/${containers.length}`;
}

/** The state of a cluster: `2 errors`. */
export interface ClusterVerdict {
  verdict: string;
  health: Health;
}

/**
 * Returns the number of errors or warnings of each cluster and its peers. Merged findings count once, as in the total; a
 * finding about several clusters counts for each.
 */
export function judgeClusters({ clusters, pairs }: MeshStatus, groups: readonly FindingGroup[]): ClusterVerdict[] {
  const byImporter = groupByImporter(pairs);
  const groupOf = new Map(groups.flatMap((group) => group.findings.map((one) => [one, group] as const)));
  const symmetric = groupSymmetric(groups);
  return clusters.map(({ source, name = source, findings, error, waitingFor }) => {
    const ownPairs = [...(byImporter.get(source)?.values() ?? [])];
    const ownGroups = new Set(symmetric.get(name));
    for (const one of [...findings, ...ownPairs.flatMap((pair) => pair.findings)]) {
      const group = groupOf.get(one);
      if (group) ownGroups.add(group);
    }
    const { error: errors, warning: warnings } = countGroups([...ownGroups]);
    const down = ownPairs.filter((pair) => stateOf(pair) === "error").length;
    const isBad = errors + down > 0 || waitingFor !== undefined;
    const health = isBad ? "error" : warnings > 0 ? "warning" : "ok";
    if (error !== undefined) return { verdict: "unreadable", health };
    if (waitingFor !== undefined) return { verdict: "not running", health };
    if (errors > 0) return { verdict: count(errors, "error"), health };
    // The finding about a peer that is not running belongs to the peer's row.
    if (down > 0) return { verdict: `${count(down, "peer")} down`, health };
    return { verdict: warnings > 0 ? count(warnings, "warning") : "healthy", health };
  });
}

/** Returns the groups of symmetric findings by the names of their clusters. */
function groupSymmetric(groups: readonly FindingGroup[]): Map<string, Set<FindingGroup>> {
  const byCluster = new Map<string, Set<FindingGroup>>();
  for (const group of groups) {
    for (const name of group.findings.flatMap(({ clusters = [] }) => clusters)) {
      byCluster.set(name, (byCluster.get(name) ?? new Set()).add(group));
    }
  }
  return byCluster;
}
