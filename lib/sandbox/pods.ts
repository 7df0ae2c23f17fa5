import type { KubernetesObject } from "./object.ts";

/**
 * Returns the ConfigMaps and Secrets that keep a pod in `ContainerCreating`: mounted, not `optional`, and missing by
 * `exists`.
 *
 * @returns objects as `configmap/x` or `secret/x`
 */
export function missingMounts(
  pod: KubernetesObject,
  exists: (kind: "ConfigMap" | "Secret", name: string) => boolean,
): string[] {
  const missing = new Set<string>();
  const check = (kind: "ConfigMap" | "Secret", source: { name?: string; optional?: boolean } | undefined) => {
    if (source?.name && !source.optional && !exists(kind, source.name)) {
      missing.add(`${kind.toLowerCase()}/${source.name}`);
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

/**
 * Returns the status of a scheduled pod.
 *
 * @param running - false: the pod waits for a volume (`ContainerCreating`)
 * @param since - RFC 3339
 */
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
