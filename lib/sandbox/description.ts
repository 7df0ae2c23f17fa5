/** Input of the chart: a cluster, described by Helm values. */
import { versionAtLeast } from "../peer/peer.ts";

/** `clustermesh.config.domain`: the parent domain of peer names. */
export const DOMAIN = "mesh.cilium.io";

export interface ClusterDescription {
  name: string;
  /** 0: not configured for Cluster Mesh. */
  id: number;
  /** Version of chart and images, such as `1.18` or `1.18.5`. */
  version: string;
  /** Default: `kube-system`. */
  namespace?: string;
  /** Default: enabled since 1.16. */
  kvstoremesh?: boolean;
  /** `external` (1.18+): clustermesh-apiserver runs only kvstoremesh, with an etcd outside the pod. */
  kvstoreMode?: "internal" | "external";
  /** `etcd.endpoints`: the local etcd, with kvstoreMode external. */
  etcdEndpoints?: string[];
  /** Default: `legacy` up to 1.18, then `migration`. Ignored up to 1.13, which has `legacy` only. */
  authMode?: "legacy" | "migration" | "cluster";
  /** Default: `crd`. */
  identityAllocationMode?: "crd" | "kvstore" | "doublewrite-readkvstore" | "doublewrite-readcrd";
  /** Default: 255. */
  maxConnectedClusters?: 255 | 511;
  /** Default: NodePort 32379. `false`: the chart renders no Service (1.19+). */
  service?: ServiceDescription | false;
  nodes: NodeDescription[];
  /** `clustermesh.config.enabled`: the chart renders Secrets, host aliases and users for `peers`. */
  configEnabled?: boolean;
  peers?: PeerDescription[];
  /** `clustermesh.disableKubernetesHostAliases` (1.20). */
  disableHostAliases?: boolean;
  /** `tls.caBundle` (1.14+): the object that holds the CA of the workloads. */
  caBundle?: { kind: "ConfigMap" | "Secret"; name: string; key: string };
  /**
   * CSI driver that provides the certificates instead of Secrets (`tls.auto.enabled=false`, `extraVolumes`), mounted file by
   * file over Cilium's folder. A {@link caBundle} still provides the CA.
   */
  csiDriver?: string;
  /** cert-manager issues certificates: the Secret `cilium-ca` holds the CA in `tls.crt`. */
  certManager?: boolean;
  /** The operator mounts the Secret too, for MCS API or EndpointSlice synchronization. */
  operatorMountsSecret?: boolean;
  /** Replicas of clustermesh-apiserver, spread over the nodes. Default: 1. */
  replicas?: number;
  /** Whether the clustermesh-apiserver pods are ready. Default: true, unless a mounted object is missing. */
  podReady?: boolean;
  tunnelProtocol?: "vxlan" | "geneve" | "disabled";
  encryption?: "none" | "wireguard" | "ipsec";
  kubeProxyReplacement?: boolean;
  ipv6?: boolean;
  /** Default: `cluster-pool`. */
  ipam?: string;
  /** Default: 10.`id`.0.0/16. */
  clusterPoolCidrs?: string[];
  /** Installed by `helm install`: each object has the label and annotations of the release. */
  helm?: boolean;
  /** Image registry. Default: `quay.io/cilium`. */
  registry?: string;
  /** `sha256:…`, appended to the image tags. */
  digest?: string;
}

export interface ServiceDescription {
  /** Default: NodePort. */
  type?: "NodePort" | "LoadBalancer" | "ClusterIP";
  /** Default: 32379 for a NodePort. */
  nodePort?: number;
  /** `status.loadBalancer.ingress`; empty until one is assigned. */
  ingress?: { ip?: string; hostname?: string }[];
  externalTrafficPolicy?: "Cluster" | "Local";
  clusterIP?: string;
  clusterIPs?: string[];
  annotations?: Record<string, string>;
}

export interface NodeDescription {
  name: string;
  internalIPs: string[];
  externalIPs?: string[];
  podCIDRs?: string[];
  /** Creation time; a real API server replaces it. Default: 2026-01-01. */
  created?: Date;
  /** Default: true. */
  ready?: boolean;
  unschedulable?: boolean;
  labels?: Record<string, string>;
}

/** An entry of `clustermesh.config.clusters`. */
export interface PeerDescription {
  name: string;
  /** Without `ips`, the config has `address` as its endpoint. */
  ips?: string[];
  address?: string;
  port: number;
  /** PEM. Default: the local cluster's certificate and key (1.14+). */
  tls?: { cert: string; key: string; ca?: string };
}

/** A description with the chart's defaults for its version. */
export type Values = ClusterDescription &
  Required<Pick<ClusterDescription, "namespace" | "kvstoremesh" | "kvstoreMode" | "authMode" | "peers">> & {
    /** Whether the chart has at least this version. */
    since: (minimum: string) => boolean;
    /** Version in three parts, such as `1.18.5`. */
    release: string;
  };

/** Fills in the chart's defaults for the version of the description. */
export function values(description: ClusterDescription): Values {
  const since = (minimum: string) => versionAtLeast(description.version, minimum) === true;
  return {
    ...description,
    namespace: description.namespace ?? "kube-system",
    kvstoremesh: since("1.14") && (description.kvstoremesh ?? since("1.16")),
    kvstoreMode: since("1.18") ? (description.kvstoreMode ?? "internal") : "internal",
    authMode: since("1.14") ? (description.authMode ?? (since("1.19") ? "migration" : "legacy")) : "legacy",
    peers: description.peers ?? [],
    since,
    release: description.version.split(".").length > 2 ? description.version : `${description.version}.0`,
  };
}
