/** A target: what is known of a cluster that peers are imported into. Plain data, so that planning needs no server. */
import type { V1ConfigMap, V1DaemonSet, V1Deployment, V1HostAlias, V1Secret } from "@kubernetes/client-node";
import type { ExternalSource } from "../../cilium/volumes.ts";
import type { ClusterFacts, HostAlias } from "../../peer/peer.ts";
import type { ParseCache } from "../../util/parse-cache.ts";

/** A workload whose pods resolve the names of remote control planes. */
export interface Workload {
  kind: "Deployment" | "DaemonSet";
  name: string;
  /** `spec.template.spec.hostAliases` as it stands; undefined where there is none. */
  hostAliases: V1HostAlias[] | undefined;
  /** As it stands. */
  object: V1Deployment | V1DaemonSet;
}

export interface CommonFiles {
  /** The CA there (PEM), if it could be read. */
  ca?: string | undefined;
  /** The volume that brings the certificate, where that is no Secret: whose it is, and who signed it, is not known. */
  external?: ExternalSource | undefined;
  /** Whether that volume lists its files; else it is not known whether these are among them. */
  listed?: boolean;
}

export interface Target {
  /** Its context: how it is called in findings. */
  source: string;
  namespace: string;
  /** By which the cluster is known, whatever way leads to it; undefined where it cannot be told. */
  identity?: string | undefined;
  facts: ClusterFacts;
  /** `cilium-clustermesh` as it stands. */
  agentsSecret: V1Secret | undefined;
  /** `cilium-kvstoremesh` as it stands. */
  kvstoremeshSecret: V1Secret | undefined;
  /** `clustermesh-remote-users` as it stands. */
  users: V1ConfigMap | undefined;
  /** Whether a volume of Deployment `clustermesh-apiserver` takes the users ConfigMap. */
  takesUsers: boolean;
  /**
   * The cluster's own `common-etcd-client*` files, where the workload that will use the configs mounts them. Undefined
   * where they are not mounted (up to 1.13).
   */
  common: CommonFiles | undefined;
  /** The same files where the agents mount them, whether KVStoreMesh runs or not. */
  agentsCommon: CommonFiles | undefined;
  /** Whether the agents mount `local-etcd-client*` (1.16+). */
  localMounted: boolean;
  /** The certificate (PEM, without its key) that the cluster shows to others, if it could be read. */
  clientCertificate: string | undefined;
  /** The workloads that read the peers' configs, in the order in which they are to be patched. */
  resolvers: Workload[];
  /** What any of the workloads resolves, also those that no longer read the configs. */
  aliases: HostAlias[];
  /** Holds what was parsed of it, of other targets and of files. */
  cache: ParseCache;
}
