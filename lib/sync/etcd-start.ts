/** Since when the etcds of a cluster have their CA file. Pure. */
import type { V1Pod } from "@kubernetes/client-node";

/** The kubelet updates mounted Secrets and ConfigMaps within this time. In milliseconds. */
const MOUNT_DELAY_MS = 120_000;

/**
 * Returns a time from which on every running etcd of a cluster has read its CA file, which it does once, when it starts.
 * A new pod mounts what is current after its start. A container that is restarted within its pod may read a mounted file
 * that is up to two minutes old.
 *
 * @param pods - those of the clustermesh-apiserver, also terminating ones: they serve until they end.
 * @returns undefined if no etcd runs.
 */
export function findEtcdStart(pods: readonly V1Pod[]): Date | undefined {
  const times = pods.flatMap(({ status }) => {
    const etcd = status?.containerStatuses?.find(({ name }) => name === "etcd");
    const mounted = toTime(status?.startTime);
    const started = toTime(etcd?.state?.running?.startedAt);
    if (!etcd || started === undefined) return [];
    if (mounted === undefined) return [started - MOUNT_DELAY_MS];
    return [etcd.restartCount > 0 ? Math.max(mounted, started - MOUNT_DELAY_MS) : mounted];
  });
  return times.length > 0 ? new Date(Math.min(...times)) : undefined;
}

/** A string at runtime: nothing converts it to the declared Date. */
function toTime(value: Date | undefined): number | undefined {
  const time = value === undefined ? Number.NaN : new Date(value).getTime();
  return Number.isNaN(time) ? undefined : time;
}
