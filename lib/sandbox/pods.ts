import type { KubernetesObject } from "./object.ts";

/**
 * The little of a kubelet that a mesh needs: a pod that waits for a ConfigMap or a Secret starts once it is there.
 *
 * @returns the names of the objects that the pod mounts without `optional` and that `exists` doesn't know, as
 * `configmap "x"` or `secret "x"`
 */
export function missingMounts(
  pod: KubernetesObject,
  exists: (kind: "ConfigMap" | "Secret", name: string) => boolean,
): string[] {
  const missing = new Set<string>();
  const check = (kind: "ConfigMap" | "Secret", source: { name?: string; optional?: boolean } | undefined) => {
    if (source?.name && !source.optional && !exists(kind, source.name)) {
      missing.add(`${kind.toLowerCase()} "${source.name}"`);
    }
  };
  for (const volume of pod.spec?.volumes ?? []) {
    check("ConfigMap", volume.configMap);
    check("Secret", volume.secret && { name: volume.secret.secretName, optional: volume.secret.optional });
    for (const source of volume.projected?.sources ?? []) {
      check("ConfigMap", source.configMap);
      check("Secret", source.secret);
    }
  }
  return [...missing];
}

/** The status of a scheduled pod that runs and is ready, or that waits for a volume (`ContainerCreating`). */
export function podStatus(pod: KubernetesObject, running: boolean, since: string): Record<string, unknown> {
  const ready = running ? "True" : "False";
  const condition = (type: string, status: string) => ({ type, status, lastTransitionTime: since });
  const containers: { name: string; image: string }[] = pod.spec.containers;
  return {
    phase: running ? "Running" : "Pending",
    startTime: since,
    ...(running ? { podIP: "10.0.0.10", podIPs: [{ ip: "10.0.0.10" }] } : {}),
    conditions: [
      condition("Initialized", ready),
      condition("Ready", ready),
      condition("ContainersReady", ready),
      condition("PodScheduled", "True"),
    ],
    containerStatuses: containers.map(({ name, image }) => ({
      name,
      image,
      imageID: "",
      ready: running,
      started: running,
      restartCount: 0,
      state: running ? { running: { startedAt: since } } : { waiting: { reason: "ContainerCreating" } },
    })),
  };
}
