/** What is to be said of a cluster so that the chart's objects follow from it. */
import { versionAtLeast } from "../peer/peer.ts";

/** `clustermesh.config.domain`, of which peers have names. */
export const DOMAIN = "mesh.cilium.io";

export interface ClusterDescription {
  name: string;
  /** 0 means "not set up for a mesh". */
  id: number;
  /** Version of chart and images, `"1.18"` or `"1.18.5"`. */
  version: string;
  /** Default: `kube-system`. */
  namespace?: string;
  /** Default: on from 1.16. */
  kvstoremesh?: boolean;
  /** `external` (1.18+) leaves only the kvstoremesh container; the cluster's etcd is then elsewhere. */
  kvstoreMode?: "internal" | "external";
  /** `etcd.endpoints`: the cluster's own etcd, with kvstoreMode external. */
  etcdEndpoints?: string[];
  /** Default: `legacy` up to 1.18, then `migration`. Up to 1.13 there is only `legacy`. */
  authMode?: "legacy" | "migration" | "cluster";
  /** Default: `crd`. */
  identityAllocationMode?: "crd" | "kvstore" | "doublewrite-readkvstore" | "doublewrite-readcrd";
  /** Default: 255. */
  maxConnectedClusters?: 255 | 511;
  /** Default: a NodePort 32379. `false`: the user's own, of another name or not there at all (1.19+). */
  service?: ServiceDescription | false;
  nodes: NodeDescription[];
  /** `clustermesh.config.enabled`: the chart renders the Secrets, host aliases and users of `peers`. */
  configEnabled?: boolean;
  peers?: PeerDescription[];
  /** `clustermesh.disableKubernetesHostAliases` (1.20). */
  disableHostAliases?: boolean;
  /** `tls.caBundle` (1.14+): the object from which workloads take their CA. */
  caBundle?: { kind: "ConfigMap" | "Secret"; name: string; key: string };
  /**
   * The certificates are in no Secret (`tls.auto.enabled=false`): volumes of this CSI driver (`extraVolumes`) bring them,
   * mounted file by file over Cilium's folder. Where there is a {@link caBundle}, the CA comes from there.
   */
  csiDriver?: string;
  /** cert-manager's Secret `cilium-ca` has the CA in `tls.crt`. */
  certManager?: boolean;
  /** MCS API or EndpointSlice synchronization: the operator mounts the Secret too. */
  operatorMountsSecret?: boolean;
  /** Replicas of clustermesh-apiserver, one to a node. Default: 1. */
  replicas?: number;
  /** Default: yes, unless an object that the pod mounts is missing. */
  podReady?: boolean;
  tunnelProtocol?: "vxlan" | "geneve" | "disabled";
  encryption?: "none" | "wireguard" | "ipsec";
  kubeProxyReplacement?: boolean;
  ipv6?: boolean;
  /** Default: `cluster-pool`. */
  ipam?: string;
  /** Default: 10.`id`.0.0/16. */
  clusterPoolCidrs?: string[];
  /** Installed by `helm install`: the release's label and annotations stand on each object. */
  helm?: boolean;
  /** Where images come from; default `quay.io/cilium`. */
  registry?: string;
  /** `sha256:…`, appended to the image tags. */
  digest?: string;
}

export interface ServiceDescription {
  /** Default: NodePort. */
  type?: "NodePort" | "LoadBalancer" | "ClusterIP";
  /** Default: 32379 for a NodePort. */
  nodePort?: number;
  /** What the load balancer got; empty while none is assigned. */
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
  /** Kept by the sandbox; a real API server puts the time of creation. Default: 2026-01-01. */
  created?: Date;
  /** Default: yes. */
  ready?: boolean;
  /** Cordoned. */
  unschedulable?: boolean;
  labels?: Record<string, string>;
}

/** An entry of `clustermesh.config.clusters`. */
export interface PeerDescription {
  name: string;
  /** Without ips, `address` stands in the config. */
  ips?: string[];
  address?: string;
  port: number;
  /** PEM; without certificate and key the cluster's own are taken (1.14+). */
  tls?: { cert: string; key: string; ca?: string };
}

/** A description whose defaults, as the chart of its version has them, are filled in. */
export type Values = ClusterDescription &
  Required<Pick<ClusterDescription, "namespace" | "kvstoremesh" | "kvstoreMode" | "authMode" | "peers">> & {
    /** Whether the chart is at least that version. */
    since: (minimum: string) => boolean;
    /** A release of three numbers. */
    release: string;
  };

/** Fills in the defaults that the chart of this version has. */
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
