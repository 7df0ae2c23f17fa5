/**
 * The annotations by which a file of `extract-secret` describes its cluster as a target of imports. Part of schema 1:
 * readers ignore annotations that they do not know. Pure.
 */
import { booleanCodec, type Codec, decodeFacts, encodeFacts, type FactTable, textCodec } from "./codecs.ts";

/** A workload by kind and name. */
export interface WorkloadName {
  kind: "Deployment" | "DaemonSet";
  name: string;
}

/** A volume outside the Kubernetes API that provides the `common-etcd-client*` files. */
export interface FilesVolume {
  name: string;
  /** Its provider, such as `CSI driver csi.cert-manager.io`. */
  type: string;
  /** Whether the pod spec lists its files. */
  listed: boolean;
}

/**
 * Where a workload's `common-etcd-client*` files are read from; `none` if they are not mounted, or do not exist, `unknown`
 * if the workload could not be read.
 */
export type FilesOrigin = "none" | "secret" | "unknown" | FilesVolume;

/** The CA among these files: that in the extracted file, one that cannot be read, or another one. */
export type CommonCa = "file" | "unknown" | { pem: string };

/**
 * What an import reads of a target besides its {@link ClusterFacts} and existing peers. Unknown facts are absent.
 */
export interface TargetFacts {
  /** Whether deployment/clustermesh-apiserver mounts the users ConfigMap. */
  mountsUsers?: boolean;
  /** The workloads that read the peers' configs, in the order of their patches. */
  configReaders?: WorkloadName[];
  /** The `common-etcd-client*` files of the workload that connects to the peers. */
  commonFiles?: FilesOrigin;
  commonCa?: CommonCa;
  /** The same files of the agents, if KVStoreMesh runs and they differ, or are unknown. */
  agentsCommonFiles?: FilesOrigin;
  agentsCommonCa?: CommonCa;
  /** Whether the agents mount `local-etcd-client*`. */
  mountsLocalFiles?: boolean;
  /** The client certificate (PEM, without key) that the cluster presents to its peers, if the file does not contain it. */
  clientCertificate?: string;
}

const KINDS: Readonly<Record<string, WorkloadName["kind"]>> = { deployment: "Deployment", daemonset: "DaemonSet" };

const workloadsCodec: Codec<WorkloadName[]> = {
  write: (value) => value.map(({ kind, name }) => `${kind.toLowerCase()}/${name}`).join(","),
  read: (value) => {
    const parts = value.split(",").filter((part) => part !== "");
    const read = parts.flatMap((part) => {
      const [, kind = "", name = ""] = /^([a-z]+)\/([a-z0-9][-a-z0-9.]*)$/.exec(part) ?? [];
      return Object.hasOwn(KINDS, kind) ? [{ kind: KINDS[kind] as WorkloadName["kind"], name }] : [];
    });
    return read.length === parts.length ? read : undefined;
  },
};

const originCodec: Codec<FilesOrigin> = {
  write: (value) =>
    typeof value === "string"
      ? value
      : ["volume", value.listed ? "listed" : "unlisted", value.name, value.type].join(","),
  read: (value) => {
    if (value === "none" || value === "secret" || value === "unknown") return value;
    const [, listed, name, type] = /^volume,(listed|unlisted),([^,]+),(.+)$/.exec(value) ?? [];
    return name === undefined || type === undefined ? undefined : { name, type, listed: listed === "listed" };
  },
};

/** The name of the case, or the PEM. */
const commonCaCodec: Codec<CommonCa> = {
  write: (value) => (typeof value === "string" ? value : value.pem),
  read: (value) => (value === "file" || value === "unknown" ? value : value === "" ? undefined : { pem: value }),
};

const TARGET_FACTS: FactTable<TargetFacts> = {
  mountsUsers: ["mounts-users", booleanCodec],
  configReaders: ["config-readers", workloadsCodec],
  commonFiles: ["common-files", originCodec],
  commonCa: ["common-ca", commonCaCodec],
  agentsCommonFiles: ["agents-common-files", originCodec],
  agentsCommonCa: ["agents-common-ca", commonCaCodec],
  mountsLocalFiles: ["mounts-local-files", booleanCodec],
  clientCertificate: ["client-certificate", textCodec],
};

/** Formats facts as annotations of a file. */
export function writeTargetFacts(facts: TargetFacts): Record<string, string> {
  return encodeFacts(TARGET_FACTS, facts);
}

/** Reads the facts in a file's annotations. Missing and invalid facts are absent. */
export function readTargetFacts(annotations: Readonly<Record<string, string>>): TargetFacts {
  return decodeFacts(TARGET_FACTS, annotations);
}
