/** What one round over all members has led to. Pure. */
import type { SyncState } from "./state.ts";

/** Numbers of clusters. Each is written, unchanged or failed. */
export interface SyncRound {
  clusters: number;
  written: number;
  unchanged: number;
  /** Those that could not be read, extracted or written. */
  failed: number;
  /** The number of pairs that are held; a cluster that is held as a whole counts once. */
  held: number;
}

/**
 * Sums up a round.
 *
 * @param targets - the clusters by their names as targets, and whether they failed. A cluster may have several entries.
 * @param before - the written objects of each cluster before the round.
 */
export function summarizeRound(
  targets: readonly { target: string; isFailed: boolean }[],
  before: SyncState["counters"]["writes"],
  { held, counters }: Pick<SyncState, "held" | "counters">,
): SyncRound {
  const names = new Set(targets.map(({ target }) => target));
  const failed = new Set(targets.flatMap(({ target, isFailed }) => (isFailed ? [target] : [])));
  const writes = new Map(Object.entries(before));
  const written = Object.entries(counters.writes).filter(
    ([name, count]) => names.has(name) && !failed.has(name) && count > (writes.get(name) ?? 0),
  ).length;
  const unchanged = names.size - failed.size - written;
  return { clusters: names.size, written, unchanged, failed: failed.size, held: countPairs(held) };
}

/** Counts the pairs that are held, each once whatever its causes; a cluster that is held as a whole counts once. */
export function countPairs(held: SyncState["held"]): number {
  return new Set(held.map(({ target, peer }) => JSON.stringify([target, peer]))).size;
}
