/** Reads many clusters concurrently, each only once. */
import type { Cluster } from "../kube/cluster.ts";
import { limitConcurrency } from "../util/concurrency.ts";
import { dedupe } from "../util/dedupe.ts";
import { toReadError, type UserError } from "../util/errors.ts";

const MAX_CONCURRENT_READS = 16;

/** A cluster that could not be read. */
export interface ReadFailure {
  source: string;
  error: UserError;
}

/** Results in the order of the clusters. */
export interface ClusterReadings<T> {
  read: T[];
  failed: ReadFailure[];
  /** Contexts whose cluster is already read through an earlier context, mapped to that context. */
  repeated: Map<string, string>;
}

/**
 * Reads clusters concurrently. The results contain a cluster with several contexts once, under its first context.
 *
 * @param read - reads one cluster. An error is recorded as the failure of that cluster, which is then closed.
 * @param identityOf - the identity of a cluster, independent of the context ({@link Installation.identity}).
 */
export async function readClusters<T extends { source: string }>(
  clusters: readonly Cluster[],
  read: (cluster: Cluster) => Promise<T>,
  identityOf: (result: T) => string | undefined,
): Promise<ClusterReadings<T>> {
  const limit = limitConcurrency(MAX_CONCURRENT_READS);
  const results = await Promise.all(
    clusters.map((cluster) =>
      limit(async (): Promise<{ value: T } | { failure: ReadFailure }> => {
        try {
          return { value: await read(cluster) };
        } catch (error) {
          cluster.close?.();
          return { failure: { source: cluster.source, error: toReadError(error) } };
        }
      }),
    ),
  );
  const repeated = new Map<string, string>();
  const unique = dedupe(
    results.flatMap((one) => ("value" in one ? [one.value] : [])),
    identityOf,
    (first, other) => repeated.set(other.source, first.source),
  );
  return { read: unique, failed: results.flatMap((one) => ("failure" in one ? [one.failure] : [])), repeated };
}
