/** What a workload's volumes lay out where: the truth about which object a file comes from. Pure. */
import type { V1PodSpec, V1Volume } from "@kubernetes/client-node";
import { MOUNT_PATH } from "../peer/peer.ts";

/** The object and key that a file comes from. */
export interface FileSource {
  kind: "Secret" | "ConfigMap";
  object: string;
  key: string;
}

/** What the volume at Cilium's folder brings, in one container of a pod. */
export interface MountedFolder {
  /** Secrets that are there whole, each key a file. */
  secrets: Set<string>;
  /** Single files, by their names. */
  files: Map<string, FileSource>;
}

/**
 * What is mounted where Cilium reads the configs of its peers.
 *
 * @returns undefined where the container is not there, or mounts nothing there.
 */
export function mountedFolder(pod: V1PodSpec | undefined, container: string): MountedFolder | undefined {
  const mounts = pod?.containers.find(({ name }) => name === container)?.volumeMounts ?? [];
  const mount = mounts.find(({ mountPath }) => `${mountPath.replace(/\/$/, "")}/` === MOUNT_PATH);
  const volume = pod?.volumes?.find(({ name }) => name === mount?.name);
  if (!volume) return undefined;
  const folder: MountedFolder = { secrets: new Set(), files: new Map() };
  const add = (kind: FileSource["kind"], object: string | undefined, items: V1Items) => {
    if (object === undefined) return;
    if (!items && kind === "Secret") folder.secrets.add(object);
    for (const { key, path } of items ?? []) folder.files.set(path, { kind, object, key });
  };
  add("Secret", volume.secret?.secretName, volume.secret?.items);
  for (const { secret, configMap } of volume.projected?.sources ?? []) {
    add("Secret", secret?.name, secret?.items);
    add("ConfigMap", configMap?.name, configMap?.items);
  }
  return folder;
}

type V1Items = { key: string; path: string }[] | undefined;

/** A ConfigMap or Secret that a pod's volumes take. */
export interface VolumeObject {
  kind: "Secret" | "ConfigMap";
  name: string;
  /** Whether the pod starts without it. */
  optional: boolean;
}

/** All ConfigMaps and Secrets that a pod's volumes take. */
export function volumeObjects(pod: V1PodSpec | undefined): VolumeObject[] {
  return (pod?.volumes ?? []).flatMap(objectsOf);
}

function objectsOf({ secret, configMap, projected }: V1Volume): VolumeObject[] {
  const sources = [
    { secret: secret && { name: secret.secretName, optional: secret.optional }, configMap },
    ...(projected?.sources ?? []),
  ];
  return sources.flatMap((source) => [
    ...(source.secret?.name
      ? [{ kind: "Secret" as const, name: source.secret.name, optional: source.secret.optional === true }]
      : []),
    ...(source.configMap?.name
      ? [{ kind: "ConfigMap" as const, name: source.configMap.name, optional: source.configMap.optional === true }]
      : []),
  ]);
}
