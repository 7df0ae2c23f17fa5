/** Reading many clusters at the same time, each once. */
import type { Cluster } from "../kube/cluster.ts";
import { limitConcurrency } from "../util/concurrency.ts";
import { dedupe } from "../util/dedupe.ts";
import { UserError } from "../util/errors.ts";

/** How many clusters are read at a time. */
const MAX_CONCURRENT_READS = 16;

/** A cluster that could not be read. */
export interface ReadFailure {
  source: string;
  error: UserError;
}

/** What was read of clusters, in their order. */
export interface ClusterReadings<T> {
  read: T[];
  failed: ReadFailure[];
  /** The contexts that lead to a cluster that an earlier context leads to, each with that one. */
  repeated: Map<string, string>;
}

/**
 * Reads clusters. A cluster that two contexts lead to is among the results once, by the first context.
 *
 * @param read what is read of one; a UserError that it throws is the failure of this cluster alone.
 * @param identityOf by what a cluster is known, whatever way leads to it ({@link Installation.identity}).
 * @throws what is no UserError.
 */
export async function readClusters<T extends { source: string }>(
  clusters: readonly Cluster[],
  read: (cluster: Cluster) => Promise<T>,
  identityOf: (result: T) => string | undefined,
): Promise<ClusterReadings<T>> {
  const enter = limitConcurrency(MAX_CONCURRENT_READS);
  const results = await Promise.all(
    clusters.map((cluster) =>
      enter(async (): Promise<{ value: T } | { failure: ReadFailure }> => {
        try {
          return { value: await read(cluster) };
        } catch (error) {
          if (!(error instanceof UserError)) throw error;
          cluster.close?.();
          return { failure: { source: cluster.source, error } };
        }
      }),
    ),
  );
  const repeated = new Map<string, string>();
  const once = dedupe(
    results.flatMap((one) => ("value" in one ? [one.value] : [])),
    identityOf,
    (first, other) => repeated.set(other.source, first.source),
  );
  return { read: once, failed: results.flatMap((one) => ("failure" in one ? [one.failure] : [])), repeated };
}
