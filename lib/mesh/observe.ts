/** Looking at a mesh again and again. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Cluster } from "../kube/cluster.ts";
import { type MeshStatus, meshStatus, type StatusOptions } from "./status.ts";

/** How long until it is looked at again, in milliseconds. */
const INTERVAL = 2_000;

/**
 * The state of a mesh, every two seconds, until its consumer has seen enough. Every time is that of its look.
 *
 * @param deadline - a time at which to look too, in milliseconds since 1970.
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
