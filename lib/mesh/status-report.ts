/** The reported state of a mesh: a symmetric finding of two clusters appears once. Pure. */
import { dedupeFindings, type Finding } from "../peer/findings.ts";
import { type Pair, type PairState, stateOf } from "./pairs.ts";
import type { MeshStatus } from "./status.ts";

/** A mesh status for programs. */
export interface MeshReport extends MeshStatus {
  pairs: (Pair & { state: PairState })[];
}

/** Returns all findings of clusters and pairs, each symmetric finding once. */
export function findingsOf({ clusters, pairs }: MeshStatus): Finding[] {
  return dedupeFindings([...clusters, ...pairs].flatMap(({ findings }) => findings));
}

/** Adds the state of each pair, by all of its findings, and keeps each symmetric finding only at its first occurrence. */
export function reportOf(status: MeshStatus): MeshReport {
  const kept = new Set(findingsOf(status));
  const isReported = (one: Finding) => one.clusters === undefined || kept.has(one);
  return {
    ...status,
    clusters: status.clusters.map((cluster) => ({ ...cluster, findings: cluster.findings.filter(isReported) })),
    pairs: status.pairs.map((pair) => ({
      ...pair,
      findings: pair.findings.filter(isReported),
      state: stateOf(pair),
    })),
  };
}
