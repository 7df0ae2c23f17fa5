/**
 * The data that clusters exchange. All input is converted to a {@link Peer}, and all output is written from one. Pure.
 */
import type { CertificateFact } from "../x509/expiry.ts";
import type { RemedyTemplate } from "./codes/code.ts";
import type { Layout } from "./layout.ts";

/** A peer and its source. */
export interface SourcedPeer {
  peer: Peer;
  source: string;
  /** Its layout in the file. */
  layout?: Layout | undefined;
  /**
   * Returns the remedy for an expiring certificate, if the caller knows more about its cluster than its file contains.
   */
  remedyFor?: ((certificate: CertificateFact) => RemedyTemplate | string) | undefined;
}

/** A hostname, and the addresses that etcd clients resolve it to (`cilium-host-aliases` in a config, Cilium 1.20+). */
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
 * `ca` is the PEM bundle that verifies the peer's server certificate; `"importer"` is the importer's own CA (the
 * `common-` files of the Helm chart), `"system"` means that the config has none, so Cilium uses the system's trusted
 * roots. `client` is the client certificate; `"importer"` is the importer's own.
 */
export interface Peer {
  /** The peer's `cluster-name`; also the key of its config in the Secret. */
  name: string;
  /** https URLs. */
  endpoints: string[];
  hostAliases: HostAlias[];
  ca: { pem: string } | "importer" | "system";
  client: ClientCertificate | "importer";
  /** The facts about the peer's cluster in the file; empty for files of the old scripts and the charts. */
  facts: ClusterFacts;
}

/**
 * The `authMode` of Cilium's chart, which determines the common name in the client certificate of a cluster: `remote`
 * (legacy, migration) or `remote-<own name>` (cluster).
 */
export type AuthMode = "legacy" | "migration" | "cluster";

/**
 * The facts about a cluster by which checks determine whether two clusters are compatible. Unknown facts are absent,
 * and are not checked.
 */
export interface ClusterFacts {
  name?: string;
  /** `cluster-id`: 1 to 255, or 1 to 511. */
  id?: number;
  /** `max-connected-clusters`: 255 or 511. */
  maxConnectedClusters?: number;
  /** Cilium's version, `major.minor.patch` or `major.minor`. */
  version?: string;
  /** The namespace Cilium runs in. */
  namespace?: string;
  kvstoreMesh?: boolean;
  authMode?: AuthMode;
  /** A few prefixes that cover all pods of the cluster. */
  podCidrs?: string[];
  /** `tunnel` or `native`. */
  routingMode?: string;
  /** `vxlan` or `geneve`; absent with native routing. */
  tunnelProtocol?: string;
  encryption?: "none" | "wireguard" | "ipsec";
  kubeProxyReplacement?: boolean;
  ipFamilies?: ("IPv4" | "IPv6")[];
  /** The node port of Service `clustermesh-apiserver`, if it has one. */
  nodePort?: number;
  /** The DNS names and IPs that the server certificate covers. */
  serverNames?: string[];
  /** The cluster's own CA bundle (PEM, public), which importers compare with theirs if the file has no CA. */
  ca?: string;
  /**
   * Set if an option chose the endpoint at extraction. Importers keep it even if the cluster's Service has another one.
   */
  endpointGiven?: true;
}

/** Names of objects in Cilium's namespace. */
export const AGENTS_SECRET = "cilium-clustermesh";

export const KVSTOREMESH_SECRET = "cilium-kvstoremesh";

export const USERS_CONFIG_MAP = "clustermesh-remote-users";

export const USERS_KEY = "users.yaml";

export const APISERVER = "clustermesh-apiserver";

/** The directory where the agents and the kvstoremesh container mount the configs and their TLS files. */
export const MOUNT_PATH = "/var/lib/cilium/clustermesh/";

/** The names that agents and the chart accept. */
const NAME = /^(?:[a-z0-9][-a-z0-9]{0,30})?[a-z0-9]$/;

/** Whether `name` is a valid cluster name in a mesh: at most 32 characters, and not `default`. */
export function isClusterName(name: string): boolean {
  return NAME.test(name) && name !== "default" && !/^(common|local)-etcd-client/.test(name);
}

/** The domain that the chart's server certificate covers, regardless of `clustermesh.config.domain`. */
export const MESH_DOMAIN = "mesh.cilium.io";

/** Returns the name of a cluster in the chart's server certificate. */
export function meshName(cluster: string): string {
  return `${cluster}.${MESH_DOMAIN}`;
}

/**
 * Compares Cilium versions by major and minor number.
 *
 * @returns whether `version` is at least `minimum` (`"1.19"`); undefined if the version is unknown.
 */
export function versionAtLeast(version: string | undefined, minimum: string): boolean | undefined {
  const parse = (text: string) => /^v?(\d+)\.(\d+)/.exec(text)?.slice(1).map(Number) as [number, number] | undefined;
  const actual = version === undefined ? undefined : parse(version);
  const required = parse(minimum);
  if (!actual || !required) return undefined;
  return actual[0] !== required[0] ? actual[0] > required[0] : actual[1] >= required[1];
}
