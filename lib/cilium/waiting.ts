/** What keeps the clustermesh-apiserver from running, as far as its pods tell. Pure. */
import type { V1Pod } from "@kubernetes/client-node";
import { USERS_CONFIG_MAP } from "../peer/peer.ts";
import { listVolumeObjects } from "./volumes.ts";

/**
 * What it waits for, to follow "it waits": from Cilium 1.19 on, after a default install, for the users ConfigMap.
 *
 * @param hasUsers whether the users ConfigMap is there; undefined where that is not known.
 * @returns undefined where one of its pods is ready.
 */
export function describePendingCause(pods: readonly V1Pod[], hasUsers: boolean | undefined): string | undefined {
  if (pods.some(isPodReady)) return undefined;
  if (pods.length === 0) return "for a first pod: there is none";
  if (isAwaitingFirstImport(pods, hasUsers)) {
    return `for configmap/${USERS_CONFIG_MAP} (created by the first import into this cluster)`;
  }
  const unscheduled = pods
    .flatMap(({ status }) => status?.conditions ?? [])
    .find(({ type, status }) => type === "PodScheduled" && status === "False");
  if (unscheduled) return `to be scheduled: ${unscheduled.message ?? unscheduled.reason ?? "no reason given"}`;
  const held = pods
    .flatMap(({ status }) => [...(status?.initContainerStatuses ?? []), ...(status?.containerStatuses ?? [])])
    .find(({ state }) => state?.waiting?.reason);
  return held ? `for container ${held.name}: ${held.state?.waiting?.reason}` : "to be ready";
}

/** Whether it waits for the first import, as every new cluster does from Cilium 1.19 on. Parameters as above. */
export function isAwaitingFirstImport(pods: readonly V1Pod[], hasUsers: boolean | undefined): boolean {
  const required = pods
    .flatMap(({ spec }) => listVolumeObjects(spec))
    .some((one) => isUsersConfigMap(one) && !one.optional);
  return required && hasUsers === false && !pods.some(isPodReady);
}

const isUsersConfigMap = ({ kind, name }: { kind: string; name: string }) =>
  kind === "ConfigMap" && name === USERS_CONFIG_MAP;

export function isPodReady({ status }: V1Pod): boolean {
  return status?.conditions?.some((one) => one.type === "Ready" && one.status === "True") === true;
}
