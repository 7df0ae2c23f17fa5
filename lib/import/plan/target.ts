/** A target: the state of a cluster that peers are imported into. Plain data, so that planning needs no API server. */
import type { V1ConfigMap, V1DaemonSet, V1Deployment, V1HostAlias, V1Secret } from "@kubernetes/client-node";
import type { CommonFiles } from "../../cilium/config-readers.ts";
import type { ClusterFacts, HostAlias } from "../../peer/peer.ts";
import type { ParseCache } from "../../util/parse-cache.ts";

/** A workload whose pods resolve the names of remote control planes. */
export interface Workload {
  kind: "Deployment" | "DaemonSet";
  name: string;
  /** The current `spec.template.spec.hostAliases`. */
  hostAliases: V1HostAlias[] | undefined;
  /** The current object. */
  object: V1Deployment | V1DaemonSet;
}

/** A cluster that peers are imported into. */
export interface Target {
  /** Its kubeconfig context, which names it in findings. */
  source: string;
  namespace: string;
  /** An identity of the cluster that is the same through all contexts; undefined if unknown. */
  identity?: string | undefined;
  facts: ClusterFacts;
  /** The current `cilium-clustermesh`. */
  agentsSecret: V1Secret | undefined;
  /** The current `cilium-kvstoremesh`. */
  kvstoremeshSecret: V1Secret | undefined;
  /** The current `clustermesh-remote-users`. */
  users: V1ConfigMap | undefined;
  /** Whether deployment/clustermesh-apiserver mounts the users ConfigMap. */
  takesUsers: boolean;
  /**
   * The files as mounted by the workload that reads the configs. Undefined if they are not mounted (Cilium up to 1.13).
   */
  common: CommonFiles | undefined;
  /** The files as mounted by the agents, with or without KVStoreMesh. */
  agentsCommon: CommonFiles | undefined;
  /** Whether the agents mount `local-etcd-client*` (Cilium 1.16 and later). */
  localMounted: boolean;
  /** The client certificate (PEM, without key) that the cluster presents to its peers, if it is readable. */
  clientCertificate: string | undefined;
  /** The workloads that read the peers' configs, in the order of their patches. */
  resolvers: Workload[];
  /** The host aliases of all workloads, including workloads that no longer read the configs. */
  aliases: HostAlias[];
  /** Parsed values, shared with other targets and files. */
  cache: ParseCache;
}
