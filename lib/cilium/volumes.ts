/** What a workload's volumes lay out where: the truth about which object a file comes from. Pure. */
import type {
  V1DaemonSet,
  V1Deployment,
  V1KeyToPath,
  V1PodSpec,
  V1Volume,
  V1VolumeMount,
} from "@kubernetes/client-node";
import { MOUNT_PATH } from "../peer/peer.ts";

/** The object and key that a file comes from. */
export interface ObjectSource {
  kind: "Secret" | "ConfigMap";
  object: string;
  key: string;
}

/** A volume whose files come from outside the Kubernetes API (CSI, a Vault agent, the node), so that only pods see them. */
export interface ExternalSource {
  kind: "external";
  /** Name of the volume. */
  volume: string;
  /** What fills it: `CSI driver <name>`, `Vault agent`, or the type of volume (`emptyDir`, `hostPath`, `podCertificate`, …). */
  type: string;
}

export type FileSource = ObjectSource | ExternalSource;

/** The cluster's own files beside the configs of its peers, by their names in Cilium's folder. */
export const COMMON_NAMES = {
  ca: "common-etcd-client-ca.crt",
  cert: "common-etcd-client.crt",
  key: "common-etcd-client.key",
} as const;

/** Names an external source in a message: `volume "certs" (CSI driver csi.cert-manager.io)`. */
export function describeExternalSource({ volume, type }: ExternalSource): string {
  return `volume ${JSON.stringify(volume)} (${type})`;
}

/** What the volume at Cilium's folder brings, in one container of a pod. */
export interface MountedFolder {
  /** Secrets that are there whole, each key a file. */
  secrets: Set<string>;
  /** Single files, by their names. */
  files: Map<string, FileSource>;
  /** Set where the folder itself is an external volume: which files that holds is not known. */
  unlisted?: ExternalSource;
}

/** A pod spec, and the annotations of the pod: by these a Vault agent is injected, with a volume for its files. */
export interface PodTemplate {
  spec: V1PodSpec | undefined;
  annotations?: Readonly<Record<string, string>> | undefined;
}

/** The pod template of a workload. */
export function podTemplateOf(workload: V1Deployment | V1DaemonSet | undefined): PodTemplate {
  const { spec, metadata } = workload?.spec?.template ?? {};
  return { spec, annotations: metadata?.annotations };
}

/**
 * What is mounted where Cilium reads the configs of its peers. Files that are mounted one by one (`subPath`) lie over
 * those of the volume below.
 *
 * @returns undefined where the container is not there, or mounts nothing there.
 */
export function findMountedFolder(template: PodTemplate, container: string): MountedFolder | undefined {
  const mounts = listMounts(template, container);
  const base = mounts.find(({ path }) => `${path}/` === MOUNT_PATH)?.content;
  if (!base) return undefined;
  const folder: MountedFolder = {
    secrets: new Set(base.whole.filter(({ kind }) => kind === "Secret").map(({ object }) => object)),
    files: new Map(base.files),
    ...(base.unlisted && { unlisted: base.unlisted }),
  };
  for (const { path, content } of mounts) {
    const name = path.startsWith(MOUNT_PATH) ? path.slice(MOUNT_PATH.length) : "";
    if (name !== "" && !name.includes("/") && content.file) folder.files.set(name, content.file);
  }
  return folder;
}

/** Where a file of a folder comes from; undefined where nothing is known to bring it. */
export function findFileSource(folder: MountedFolder | undefined, name: string): FileSource | undefined {
  return folder?.files.get(name) ?? folder?.unlisted;
}

/** Where the file at an absolute path comes from in one container; undefined where nothing is known to bring it. */
export function findMountedFile(template: PodTemplate, container: string, path: string): FileSource | undefined {
  const over = listMounts(template, container)
    .filter((mount) => path === mount.path || path.startsWith(`${mount.path}/`))
    .sort((a, b) => b.path.length - a.path.length)[0];
  if (!over) return undefined;
  if (path === over.path) return over.content.file;
  const inside = path.slice(over.path.length + 1);
  const { files, whole, unlisted } = over.content;
  // Of several objects that are there whole only one has the key, and nobody knows which.
  const [only, ...others] = whole;
  const found = only && others.length === 0 ? { ...only, key: inside } : undefined;
  return files.get(inside) ?? found ?? unlisted;
}

/** What a volume holds, as far as its pod spec tells. */
interface Content {
  /** Objects that are there whole, each key a file. */
  whole: Omit<ObjectSource, "key">[];
  /** Files that are listed, by their paths in the volume. */
  files: Map<string, FileSource>;
  /** Set where the files are not listed. */
  unlisted?: ExternalSource | undefined;
  /** Set where what is mounted is one file. */
  file?: FileSource | undefined;
}

interface Mount {
  /** Absolute, without a slash at its end. */
  path: string;
  content: Content;
}

function listMounts({ spec, annotations = {} }: PodTemplate, container: string): Mount[] {
  const found = spec?.containers.find(({ name }) => name === container);
  if (!found) return [];
  const mounts = (found.volumeMounts ?? []).flatMap((mount): Mount[] => {
    const volume = spec?.volumes?.find(({ name }) => name === mount.name);
    return volume ? [{ path: mount.mountPath.replace(/\/+$/, ""), content: resolveMountedContent(volume, mount) }] : [];
  });
  const taken = new Set(mounts.map(({ path }) => path));
  return [...mounts, ...listVaultMounts(annotations, container).filter(({ path }) => !taken.has(path))];
}

/** What a container sees of a volume: all of it, or what stands at `subPath`. */
function resolveMountedContent(volume: V1Volume, { subPath, subPathExpr }: V1VolumeMount): Content {
  const content = parseVolume(volume);
  const { whole, files, unlisted } = content;
  if (subPathExpr) return { whole: [], files: new Map(), file: unlisted, unlisted };
  // A path of the node may be that of a file.
  if (!subPath) return volume.hostPath ? { ...content, file: unlisted } : content;
  const [only, ...others] = whole;
  const below = [...files].flatMap(([path, source]): [string, FileSource][] =>
    path.startsWith(`${subPath}/`) ? [[path.slice(subPath.length + 1), source]] : [],
  );
  const file = files.get(subPath) ?? (only && others.length === 0 ? { ...only, key: subPath } : unlisted);
  return { whole: [], files: new Map(below), file, unlisted };
}

function parseVolume(volume: V1Volume): Content {
  const content: Content = { whole: [], files: new Map() };
  const external = (type: string): ExternalSource => ({ kind: "external", volume: volume.name, type });
  const add = (kind: ObjectSource["kind"], object: string | undefined, items: V1KeyToPath[] | undefined) => {
    if (object === undefined) return;
    if (!items) content.whole.push({ kind, object });
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
 * The volumes that Vault's agent injector adds to a container: one for each path that the annotations
 * `vault.hashicorp.com/secret-volume-path` (or `…-path-<secret>`) name, `/vault/secrets` where none does.
 */
function listVaultMounts(annotations: Readonly<Record<string, string>>, container: string): Mount[] {
  const vault = (name: string) => annotations[`vault.hashicorp.com/${name}`];
  if (!/^(?:1|t|true)$/i.test(vault("agent-inject") ?? "")) return [];
  const only = vault("agent-inject-containers")?.split(",");
  if (only && !only.includes(container)) return [];
  const own = "vault.hashicorp.com/secret-volume-path-";
  const paths = Object.keys(annotations).flatMap((key) => (key.startsWith(own) ? (annotations[key] ?? []) : []));
  const unlisted: ExternalSource = { kind: "external", volume: "vault-secrets", type: "Vault agent" };
  return [...new Set([vault("secret-volume-path") ?? "/vault/secrets", ...paths])].map((path) => ({
    path: path.replace(/\/+$/, ""),
    content: { whole: [], files: new Map(), unlisted },
  }));
}

/** A ConfigMap or Secret that a pod's volumes take. */
export interface VolumeObject {
  kind: "Secret" | "ConfigMap";
  name: string;
  /** Whether the pod starts without it. */
  optional: boolean;
}

/** All ConfigMaps and Secrets that a pod's volumes take. */
export function listVolumeObjects(pod: V1PodSpec | undefined): VolumeObject[] {
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
