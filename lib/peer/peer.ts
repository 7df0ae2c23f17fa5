/**
 * What is exchanged. Everything that comes in becomes a {@link Peer}, and everything that goes out is written from one.
 * Pure.
 */
import type { CertificateFact } from "../x509/expiry.ts";
import type { RemedyTemplate } from "./codes/code.ts";
import type { Layout } from "./layout.ts";

/** A peer and where it came from. */
export interface SourcedPeer {
  peer: Peer;
  source: string;
  /** How it stood in its file. */
  layout?: Layout | undefined;
  /** What to do about a certificate of it that expires, if more is known of its cluster than its file says. */
  remedyFor?: ((certificate: CertificateFact) => RemedyTemplate | string) | undefined;
}

/** A name that clients of a peer's etcd resolve to these addresses (`cilium-host-aliases` in a config, Cilium 1.20+). */
export interface HostAlias {
  hostname: string;
  /** IPv4 and IPv6 addresses without brackets. */
  ips: string[];
}

/** A client certificate (a PEM chain, leaf first) and its private key (PEM). */
export interface ClientCertificate {
  cert: string;
  key: string;
}

/**
 * What one cluster needs to reach the etcd of another.
 *
 * `ca` is the PEM bundle that the peer's server certificate is verified by; `"importer"` says that the importer's own
 * CA serves (the `common-` form of the Helm chart), `"system"` that the config names none, so that Cilium takes the
 * system's roots. `client` is the certificate to come with; `"importer"` stands for the importer's own.
 */
export interface Peer {
  /** The peer's `cluster-name`; also the key of its config in the Secret. */
  name: string;
  /** https URLs. */
  endpoints: string[];
  hostAliases: HostAlias[];
  ca: { pem: string } | "importer" | "system";
  client: ClientCertificate | "importer";
  /** What the file tells of the peer's cluster; empty for files of the old scripts and the charts. */
  facts: ClusterFacts;
}

/** Which certificate a cluster shows to others: CN `remote` (legacy, migration) or `remote-<own name>` (cluster). */
export type AuthMode = "legacy" | "migration" | "cluster";

/**
 * What is to be known of a cluster to judge whether it and another fit together. A field is absent where it is not
 * known; the rules then say nothing of it.
 */
export interface ClusterFacts {
  name?: string;
  /** `cluster-id`: 1 to 255, or to 511. */
  id?: number;
  /** `max-connected-clusters`: 255 or 511. */
  maxConnectedClusters?: number;
  /** Cilium's version, `major.minor.patch` or `major.minor`. */
  version?: string;
  /** The namespace Cilium runs in. */
  namespace?: string;
  kvstoreMesh?: boolean;
  authMode?: AuthMode;
  /** The few prefixes that cover the cluster's pods. */
  podCidrs?: string[];
  /** `tunnel` or `native`. */
  routingMode?: string;
  /** `vxlan` or `geneve`; absent with native routing. */
  tunnelProtocol?: string;
  encryption?: "none" | "wireguard" | "ipsec";
  kubeProxyReplacement?: boolean;
  ipFamilies?: ("IPv4" | "IPv6")[];
  /** The node port of Service `clustermesh-apiserver`, where it has one. */
  nodePort?: number;
  /** The DNS names and IPs that the server certificate covers. */
  serverNames?: string[];
  /** The cluster's own CA bundle (PEM, public): by it an importer compares CAs where a peer comes without one. */
  ca?: string;
  /** Set if the endpoint was chosen at the extraction, so that importers keep it though the cluster itself says another. */
  endpointGiven?: true;
}

/** Names of objects in Cilium's namespace. */
export const AGENTS_SECRET = "cilium-clustermesh";

export const KVSTOREMESH_SECRET = "cilium-kvstoremesh";

export const USERS_CONFIG_MAP = "clustermesh-remote-users";

export const USERS_KEY = "users.yaml";

export const APISERVER = "clustermesh-apiserver";

/** Where the configs and their TLS files are mounted, in the agents and in the kvstoremesh container alike. */
export const MOUNT_PATH = "/var/lib/cilium/clustermesh/";

/** What agents and the chart take as a cluster's name. */
const NAME = /^(?:[a-z0-9][-a-z0-9]{0,30})?[a-z0-9]$/;

/** Whether `name` is one that a cluster of a mesh may have: at most 32 characters, and not `default`. */
export function isClusterName(name: string): boolean {
  return NAME.test(name) && name !== "default" && !/^(common|local)-etcd-client/.test(name);
}

/** The domain that the chart's server certificate covers, whatever `clustermesh.config.domain` says. */
export const MESH_DOMAIN = "mesh.cilium.io";

/** The name by which the chart's certificate knows a cluster. */
export function meshName(cluster: string): string {
  return `${cluster}.${MESH_DOMAIN}`;
}

/**
 * Compares Cilium versions by major and minor number.
 *
 * @returns whether `version` is at least `minimum` (`"1.19"`); undefined where the version is not known.
 */
export function versionAtLeast(version: string | undefined, minimum: string): boolean | undefined {
  const of = (text: string) => /^v?(\d+)\.(\d+)/.exec(text)?.slice(1).map(Number) as [number, number] | undefined;
  const have = version === undefined ? undefined : of(version);
  const want = of(minimum);
  if (!have || !want) return undefined;
  return have[0] !== want[0] ? have[0] > want[0] : have[1] >= want[1];
}
