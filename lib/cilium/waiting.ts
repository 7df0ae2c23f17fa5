/** Why the clustermesh-apiserver is not running, according to its pods. Pure. */
import type { V1Pod } from "@kubernetes/client-node";
import { USERS_CONFIG_MAP } from "../peer/peer.ts";
import { isUsersConfigMap, listVolumeObjects } from "./volumes.ts";

/**
 * Describes what the pods are waiting for. After a default install of Cilium 1.19 or later that is the users ConfigMap.
 *
 * @param hasUsers - whether the users ConfigMap exists; undefined if unknown.
 * @returns a phrase that follows "waiting", such as "for …" or "to be …"; undefined if a pod is ready.
 */
export function describePendingCause(pods: readonly V1Pod[], hasUsers: boolean | undefined): string | undefined {
  if (pods.some(isPodReady)) return undefined;
  if (pods.length === 0) return "for the first pod to be created";
  if (isAwaitingFirstImport(pods, hasUsers)) {
    return `for configmap/${USERS_CONFIG_MAP} (created by the first import into this cluster)`;
  }
  const unscheduled = pods
    .flatMap(({ status }) => status?.conditions ?? [])
    .find(({ type, status }) => type === "PodScheduled" && status === "False");
  if (unscheduled) return `to be scheduled: ${unscheduled.message ?? unscheduled.reason ?? "no reason given"}`;
  const waiting = pods
    .flatMap(({ status }) => [...(status?.initContainerStatuses ?? []), ...(status?.containerStatuses ?? [])])
    .find(({ state }) => state?.waiting?.reason);
  return waiting
    ? `for container ${waiting.name}: ${waiting.state?.waiting?.reason}`
    : "for its containers to become ready";
}

/**
 * Whether the pods are waiting for the users ConfigMap, which the first import creates (Cilium 1.19 or later).
 *
 * @param hasUsers - whether the users ConfigMap exists; undefined if unknown.
 */
export function isAwaitingFirstImport(pods: readonly V1Pod[], hasUsers: boolean | undefined): boolean {
  const isRequired = pods
    .flatMap(({ spec }) => listVolumeObjects(spec))
    .some((one) => isUsersConfigMap(one) && !one.optional);
  return isRequired && hasUsers === false && !pods.some(isPodReady);
}

/** Whether the pod's condition `Ready` is `True`. */
export function isPodReady({ status }: V1Pod): boolean {
  return status?.conditions?.some((one) => one.type === "Ready" && one.status === "True") === true;
}
