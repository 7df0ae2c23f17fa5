/** The files that a workload's volumes mount, and the objects that provide them. Pure. */
import type {
  V1DaemonSet,
  V1Deployment,
  V1KeyToPath,
  V1PodSpec,
  V1Volume,
  V1VolumeMount,
} from "@kubernetes/client-node";
import { MOUNT_PATH, USERS_CONFIG_MAP } from "../peer/peer.ts";

/** The object and key that provide a file. */
export interface ObjectSource {
  kind: "Secret" | "ConfigMap";
  object: string;
  key: string;
}

/** A volume provided from outside the Kubernetes API (CSI, Vault agent, the node): only pods can read its files. */
export interface ExternalSource {
  kind: "external";
  /** Name of the volume. */
  volume: string;
  /** Its provider: `CSI driver <name>`, `Vault agent`, or the type of volume (`emptyDir`, `hostPath`, `podCertificate`, …). */
  type: string;
}

export type FileSource = ObjectSource | ExternalSource;

/** Names of the cluster's own TLS files in Cilium's clustermesh directory. */
export const COMMON_NAMES = {
  ca: "common-etcd-client-ca.crt",
  cert: "common-etcd-client.crt",
  key: "common-etcd-client.key",
} as const;

/** Describes an external source for messages: `volume "certs" (CSI driver csi.cert-manager.io)`. */
export function describeExternalSource({ volume, type }: ExternalSource): string {
  return `volume ${JSON.stringify(volume)} (${type})`;
}

/** Cilium's clustermesh directory as one container of a pod mounts it. */
export interface MountedFolder {
  /** Secrets mounted without `items`: each key is a file. */
  secrets: Set<string>;
  /** Files mounted one by one, by name. */
  files: Map<string, FileSource>;
  /** Set if the directory itself is an external volume: its files are unknown. */
  unlisted?: ExternalSource;
}

/** A pod spec, and the pod's annotations, which can request the injection of a Vault agent. */
export interface PodTemplate {
  spec: V1PodSpec | undefined;
  annotations?: Readonly<Record<string, string>> | undefined;
}

/** Returns the pod template of a workload. */
export function podTemplateOf(workload: V1Deployment | V1DaemonSet | undefined): PodTemplate {
  const { spec, metadata } = workload?.spec?.template ?? {};
  return { spec, annotations: metadata?.annotations };
}

/**
 * Finds what a container mounts at Cilium's clustermesh directory. Files mounted one by one (`subPath`) hide those of the
 * volume at that path.
 *
 * @returns undefined if the container does not exist, or mounts no volume at that path.
 */
export function findMountedFolder(template: PodTemplate, container: string): MountedFolder | undefined {
  const mounts = listMounts(template, container);
  const base = mounts.find(({ path }) => `${path}/` === MOUNT_PATH)?.content;
  if (!base) return undefined;
  const folder: MountedFolder = {
    secrets: new Set(base.objects.filter(({ kind }) => kind === "Secret").map(({ object }) => object)),
    files: new Map(base.files),
    ...(base.unlisted && { unlisted: base.unlisted }),
  };
  for (const { path, content } of mounts) {
    const name = path.startsWith(MOUNT_PATH) ? path.slice(MOUNT_PATH.length) : "";
    if (name !== "" && !name.includes("/") && content.file) folder.files.set(name, content.file);
  }
  return folder;
}

/** Finds the source of a file in a directory; undefined if none is known. */
export function findFileSource(folder: MountedFolder | undefined, name: string): FileSource | undefined {
  return folder?.files.get(name) ?? folder?.unlisted;
}

/** Finds the source of the file at an absolute path in one container; undefined if none is known. */
export function findMountedFile(template: PodTemplate, container: string, path: string): FileSource | undefined {
  const mount = listMounts(template, container)
    .filter((one) => path === one.path || path.startsWith(`${one.path}/`))
    .sort((a, b) => b.path.length - a.path.length)[0];
  if (!mount) return undefined;
  return path === mount.path ? mount.content.file : findInContent(mount.content, path.slice(mount.path.length + 1));
}

function findInContent({ files, objects, unlisted }: VolumeContent, path: string): FileSource | undefined {
  // With several objects it is unknown which of them has the key.
  const [only, ...others] = objects;
  return files.get(path) ?? (only && others.length === 0 ? { ...only, key: path } : unlisted);
}

/** The content of a volume, according to the pod spec. */
interface VolumeContent {
  /** Objects mounted without `items`: each key is a file. */
  objects: Omit<ObjectSource, "key">[];
  /** Listed files, by their paths in the volume. */
  files: Map<string, FileSource>;
  /** Set if the files are not listed. */
  unlisted?: ExternalSource | undefined;
  /** Set if a single file is mounted. */
  file?: FileSource | undefined;
}

interface Mount {
  /** Absolute, without a trailing slash. */
  path: string;
  content: VolumeContent;
}

function listMounts({ spec, annotations = {} }: PodTemplate, container: string): Mount[] {
  const found = spec?.containers.find(({ name }) => name === container);
  if (!found) return [];
  const mounts = (found.volumeMounts ?? []).flatMap((mount): Mount[] => {
    const volume = spec?.volumes?.find(({ name }) => name === mount.name);
    return volume ? [{ path: mount.mountPath.replace(/\/+$/, ""), content: resolveMountedContent(volume, mount) }] : [];
  });
  const paths = new Set(mounts.map(({ path }) => path));
  return [...mounts, ...listVaultMounts(annotations, container).filter(({ path }) => !paths.has(path))];
}

/** Resolves the part of a volume that a container mounts: all of it, or the file or directory at `subPath`. */
function resolveMountedContent(volume: V1Volume, { subPath, subPathExpr }: V1VolumeMount): VolumeContent {
  const content = parseVolume(volume);
  const { files, unlisted } = content;
  if (subPathExpr) return { objects: [], files: new Map(), file: unlisted, unlisted };
  // A hostPath can be a file.
  if (!subPath) return volume.hostPath ? { ...content, file: unlisted } : content;
  const below = [...files].flatMap(([path, source]): [string, FileSource][] =>
    path.startsWith(`${subPath}/`) ? [[path.slice(subPath.length + 1), source]] : [],
  );
  return { objects: [], files: new Map(below), file: findInContent(content, subPath), unlisted };
}

function parseVolume(volume: V1Volume): VolumeContent {
  const content: VolumeContent = { objects: [], files: new Map() };
  const external = (type: string): ExternalSource => ({ kind: "external", volume: volume.name, type });
  const add = (kind: ObjectSource["kind"], object: string | undefined, items: V1KeyToPath[] | undefined) => {
    if (object === undefined) return;
    if (!items) content.objects.push({ kind, object });
    for (const { key, path } of items ?? []) content.files.set(path, { kind, object, key });
  };
  const { secret, configMap, projected, downwardAPI, csi, name: _, ...others } = volume;
  if (secret) add("Secret", secret.secretName, secret.items);
  else if (configMap) add("ConfigMap", configMap.name, configMap.items);
  else if (projected) {
    for (const { secret, configMap, clusterTrustBundle, podCertificate } of projected.sources ?? []) {
      add("Secret", secret?.name, secret?.items);
      add("ConfigMap", configMap?.name, configMap?.items);
      const { keyPath, certificateChainPath, credentialBundlePath } = podCertificate ?? {};
      for (const path of [keyPath, certificateChainPath, credentialBundlePath]) {
        if (path) content.files.set(path, external("podCertificate"));
      }
      if (clusterTrustBundle) content.files.set(clusterTrustBundle.path, external("clusterTrustBundle"));
    }
  } else if (!downwardAPI) {
    content.unlisted = external(csi ? `CSI driver ${csi.driver}` : (Object.keys(others)[0] ?? "unknown type"));
  }
  return content;
}

/**
 * Lists the mounts that Vault's agent injector adds to a container, according to the annotations
 * `vault.hashicorp.com/secret-volume-path` and `…-path-<secret>`; the default is `/vault/secrets`.
 */
function listVaultMounts(annotations: Readonly<Record<string, string>>, container: string): Mount[] {
  const read = (name: string) => annotations[`vault.hashicorp.com/${name}`];
  if (!/^(?:1|t|true)$/i.test(read("agent-inject") ?? "")) return [];
  const containers = read("agent-inject-containers")?.split(",");
  if (containers && !containers.includes(container)) return [];
  const prefix = "vault.hashicorp.com/secret-volume-path-";
  const paths = Object.keys(annotations).flatMap((key) => (key.startsWith(prefix) ? (annotations[key] ?? []) : []));
  const unlisted: ExternalSource = { kind: "external", volume: "vault-secrets", type: "Vault agent" };
  return [...new Set([read("secret-volume-path") ?? "/vault/secrets", ...paths])].map((path) => ({
    path: path.replace(/\/+$/, ""),
    content: { objects: [], files: new Map(), unlisted },
  }));
}

/** A ConfigMap or Secret mounted by a pod's volumes. */
export interface VolumeObject {
  kind: "Secret" | "ConfigMap";
  name: string;
  /** Whether the pod starts if it does not exist. */
  optional: boolean;
}

/** Whether an object is the ConfigMap with the etcd users of remote clusters. */
export function isUsersConfigMap({ kind, name }: VolumeObject): boolean {
  return kind === "ConfigMap" && name === USERS_CONFIG_MAP;
}

/** Lists the ConfigMaps and Secrets that a pod's volumes mount. */
export function listVolumeObjects(pod: V1PodSpec | undefined): VolumeObject[] {
  return (pod?.volumes ?? []).flatMap(({ secret, configMap, projected }) =>
    [
      { secret: secret && { name: secret.secretName, optional: secret.optional }, configMap },
      ...(projected?.sources ?? []),
    ].flatMap((source) => [
      ...toVolumeObjects("Secret", source.secret),
      ...toVolumeObjects("ConfigMap", source.configMap),
    ]),
  );
}

function toVolumeObjects(
  kind: VolumeObject["kind"],
  source: { name?: string | undefined; optional?: boolean | undefined } | undefined,
): VolumeObject[] {
  return source?.name ? [{ kind, name: source.name, optional: source.optional === true }] : [];
}
