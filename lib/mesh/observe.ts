/** Repeated checks of a mesh. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Cluster } from "../kube/cluster.ts";
import { type MeshStatus, meshStatus, type StatusOptions } from "./status.ts";

/** Milliseconds between two checks. */
const INTERVAL = 2_000;

/**
 * Yields the state of a mesh every two seconds, until the consumer stops. Each check uses the time at which it starts.
 *
 * @param deadline - the time of an additional check, in milliseconds since 1970.
 * @throws as {@link meshStatus}.
 */
export async function* observeMesh(
  clusters: readonly Cluster[],
  options: Omit<StatusOptions, "now">,
  deadline = Number.POSITIVE_INFINITY,
): AsyncGenerator<MeshStatus, never> {
  for (;;) {
    yield await meshStatus(clusters, { ...options, now: new Date() });
    await sleep(Math.min(INTERVAL, Math.max(0, deadline - Date.now())));
  }
}
