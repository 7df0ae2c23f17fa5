/**
 * The peers of a target as Helm values of Cilium's chart, `clustermesh.config`. From them the chart renders the config
 * Secrets, the users ConfigMap and the host aliases. Pure.
 */
import type { V1Secret } from "@kubernetes/client-node";
import type { Target } from "../import/plan/target.ts";
import { endpointHostnames, isOwnCache } from "../peer/etcd-config.ts";
import { type Finding, finding } from "../peer/findings.ts";
import { isNodeLocal } from "../peer/node-local.ts";
import {
  AGENTS_SECRET,
  type HostAlias,
  isClusterName,
  KVSTOREMESH_SECRET,
  MESH_DOMAIN,
  type Peer,
  versionAtLeast,
} from "../peer/peer.ts";
import { decodeFiles, type Entry, readEntries } from "../peer/secret.ts";
import { parseEndpoint } from "../util/address.ts";
import { enumerate } from "../util/enumerate.ts";
import type { Manifest } from "./manifest.ts";

/** A cluster in `clustermesh.config.clusters`. Certificates and keys are PEM in base64. */
export interface ClusterValues {
  name?: string;
  ips?: string[];
  address?: string;
  port: number;
  tls?: { cert: string; key: string; caCert?: string };
}

/** Helm values. `clusters` is a list up to Cilium 1.18, and then a mapping by name. */
export interface HelmValues {
  clustermesh: {
    config: { enabled: true; domain?: string; clusters: ClusterValues[] | Record<string, ClusterValues> };
  };
}

/** The values, with findings: errors about peers that the chart cannot configure, and warnings about deprecated fields. */
export interface ValuesResult {
  /** Undefined if there are errors. */
  values: HelmValues | undefined;
  /** Whether the values contain private keys. */
  isPrivate: boolean;
  findings: Finding[];
}

/**
 * Converts the config Secrets of a target to values of the chart of its version.
 *
 * The chart replaces the Secrets, so that the values have to describe every existing peer too.
 *
 * @param objects - the Secrets after a plan.
 */
export function toHelmValues({ source, facts, aliases }: Target, objects: readonly Manifest[]): ValuesResult {
  const findings: Finding[] = [];
  const report = (key: string | undefined, problem: string) => {
    findings.push(finding("values-unsupported", { source, key }, { problem }));
  };
  if (versionAtLeast(facts.version, "1.14") !== true) {
    report(
      undefined,
      `values are rendered for charts since 1.14, and Cilium's version is ${facts.version ?? "unknown"}`,
    );
    return { values: undefined, isPrivate: false, findings };
  }
  const peers: Peer[] = [];
  for (const { name, config, peer, findings: causes } of remoteEntries(objects, source, facts.kvstoreMesh === true)) {
    findings.push(...causes);
    const problem = entryProblem(name, config, peer);
    if (problem !== undefined) report(name, problem);
    else if (peer) peers.push(withWorkloadAliases(peer, aliases));
  }
  const domain = findDomain(peers);
  const clusters = peers.map((peer): [string, ClusterValues] => {
    const problem = locationProblem(peer, domain);
    if (problem !== undefined) report(peer.name, problem);
    if (peer.client !== "importer") {
      findings.push(finding("values-deprecated", { source, key: peer.name }, { peer: peer.name }));
    }
    return [peer.name, { ...toLocation(peer, domain), ...toTls(peer) }];
  });
  const isMapping = versionAtLeast(facts.version, "1.19") === true;
  const config = {
    enabled: true as const,
    ...(domain !== MESH_DOMAIN && { domain }),
    clusters: isMapping ? Object.fromEntries(clusters) : clusters.map(([name, cluster]) => ({ name, ...cluster })),
  };
  const isRefused = findings.some(({ severity }) => severity === "error");
  const isPrivate = peers.some(({ client }) => client !== "importer");
  return { values: isRefused ? undefined : { clustermesh: { config } }, isPrivate, findings };
}

/** Returns the configs that lead to peers, sorted by name: of both Secrets, without the agents' copies. */
function remoteEntries(objects: readonly Manifest[], source: string, kvstoreMesh: boolean): Entry[] {
  const entriesOf = (name: string) => {
    const secret = objects.find(({ metadata }) => metadata.name === name) as V1Secret | undefined;
    return secret ? readEntries(decodeFiles(secret, { source }), {}, source) : [];
  };
  const agents = entriesOf(AGENTS_SECRET).filter(({ config }) => !isOwnCache(config?.endpoints ?? []));
  const entries = new Map(
    [...agents, ...(kvstoreMesh ? entriesOf(KVSTOREMESH_SECRET) : [])].map((one) => [one.name, one]),
  );
  return [...entries.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Adds the host aliases of the workloads: charts before 1.20 write them only there. */
function withWorkloadAliases(peer: Peer, aliases: readonly HostAlias[]): Peer {
  const hostnames = endpointHostnames(peer.endpoints);
  const known = new Set(peer.hostAliases.map(({ hostname }) => hostname));
  const added = aliases.filter(({ hostname }) => hostnames.includes(hostname) && !known.has(hostname));
  return added.length > 0 ? { ...peer, hostAliases: [...peer.hostAliases, ...added] } : peer;
}

/** Returns why the chart cannot write a config. */
function entryProblem(name: string, config: Entry["config"], peer: Peer | undefined): string | undefined {
  if (!config || !peer) return "the existing config is invalid";
  if (!isClusterName(name)) return `invalid cluster name ${JSON.stringify(name)}`;
  if (isNodeLocal(peer.endpoints)) return "the peer is node-local, and the chart would remove it";
  if (config.otherFields.length > 0)
    return `the existing config has unsupported fields: ${config.otherFields.join(", ")}`;
  const [endpoint, ...others] = peer.endpoints;
  if (endpoint === undefined) return "the peer has no endpoint";
  if (others.length > 0) return "the peer has several endpoints";
  if (!parseEndpoint(endpoint)) return `invalid endpoint ${JSON.stringify(endpoint)}`;
  if (peer.ca === "system") return "the peer is verified by the trusted roots of the system";
  return peer.client === "importer" && peer.ca !== "importer"
    ? "the chart ignores a CA without a client certificate"
    : undefined;
}

/** Returns the parent domain of the peers whose host aliases are named after them; that of the chart if there is none. */
function findDomain(peers: readonly Peer[]): string {
  const domains = peers.flatMap(({ name, endpoints, hostAliases }) => {
    const [hostname = ""] = endpointHostnames(endpoints);
    const isAlias = hostAliases.some((alias) => alias.hostname === hostname);
    return isAlias && hostname.startsWith(`${name}.`) ? [hostname.slice(name.length + 1)] : [];
  });
  return domains.find((domain) => domain !== MESH_DOMAIN) ?? MESH_DOMAIN;
}

/** Returns why the host aliases of a peer differ from those that the chart would write. */
function locationProblem({ name, endpoints, hostAliases }: Peer, domain: string): string | undefined {
  if (hostAliases.length === 0) return undefined;
  const [hostname] = endpointHostnames(endpoints);
  const [alias, ...others] = hostAliases;
  if (others.length > 0) {
    const names = enumerate(hostAliases.map((one) => one.hostname));
    return `the chart writes one host alias for each peer, and the peer has those of ${names}`;
  }
  return alias?.hostname === hostname && hostname === `${name}.${domain}`
    ? undefined
    : `the chart resolves only ${name}.${domain}, and the endpoint is ${endpoints.join(", ")}`;
}

/** Returns the address of a peer: that of its host alias, or the host of its endpoint, in brackets if it is IPv6. */
function toLocation({ name, endpoints, hostAliases }: Peer, domain: string): ClusterValues {
  const [url = ""] = endpoints;
  const { host = "", port = 2379 } = parseEndpoint(url) ?? {};
  const ips = hostAliases.find(({ hostname }) => hostname === `${name}.${domain}`)?.ips;
  return ips ? { ips, port } : { address: host.includes(":") ? `[${host}]` : host, port };
}

function toTls({ ca, client }: Peer): Pick<ClusterValues, "tls"> {
  if (client === "importer") return {};
  const encode = (text: string) => Buffer.from(text).toString("base64");
  const { cert, key } = client;
  return {
    tls: { cert: encode(cert), key: encode(key), ...(typeof ca === "object" && { caCert: encode(ca.pem) }) },
  };
}
