/** Chooses the endpoint of a cluster: a name covered by its server certificate, and the addresses behind it. */
import type { V1Pod, V1Service, V1ServicePort } from "@kubernetes/client-node";
import { findEtcdPort } from "../cilium/facts.ts";
import type { NodeInfo } from "../cilium/nodes.ts";
import { isPodReady } from "../cilium/waiting.ts";
import { isOwnCache } from "../peer/etcd-config.ts";
import { isLoopbackAddress, isNodeLocal } from "../peer/node-local.ts";
import { type HostAlias, MESH_DOMAIN, meshName } from "../peer/peer.ts";
import { compareAddresses, formatHostPort, isAddress, parseHostPort } from "../util/address.ts";
import { EXIT, UserError } from "../util/errors.ts";
import { truncateLine } from "../util/line.ts";
import { covers } from "../x509/names.ts";

/** Address types of Kubernetes nodes. */
export const ADDRESS_TYPES = ["InternalIP", "ExternalIP", "InternalDNS", "ExternalDNS", "Hostname"] as const;

export type AddressType = (typeof ADDRESS_TYPES)[number];

export interface EndpointSource {
  cluster: string;
  /** Names covered by the server certificate. */
  serverNames: readonly string[];
  /** The names among {@link serverNames} specified by the user, which may be used in the URL. */
  givenNames?: readonly string[];
  /** The Service of the clustermesh-apiserver. Called only if the endpoint depends on it; throws if it cannot be read. */
  service(): V1Service | undefined;
  /** Called only if the endpoint depends on nodes; throws if they cannot be listed. */
  nodes(): readonly NodeInfo[];
  /** The pods of the clustermesh-apiserver. Called only if the endpoint depends on them; throws if they cannot be listed. */
  pods(): readonly V1Pod[];
}

export interface EndpointOptions {
  /** `--endpoint`: `host:port` of a load balancer or proxy, or `ip:port` values, instead of the Service. */
  endpoints: readonly string[];
  /** Maximum number of addresses. */
  addresses: number;
  /** In order of preference. */
  addressTypes: readonly AddressType[];
  /** Use the cluster IP of the Service, in flat networks. */
  clusterIp: boolean;
  /** Resolves a name to its addresses. A rejection counts as no addresses. */
  resolve(name: string): Promise<string[]>;
}

export interface Endpoint {
  endpoints: string[];
  hostAliases: HostAlias[];
  /** Addresses that can change, and similar notices, one line each. */
  warnings: string[];
}

/** The load balancer has no address yet; a later attempt can succeed. */
export class LoadBalancerPendingError extends UserError {
  /** The name of the Service. */
  readonly service: string;
  constructor(service: string) {
    super(`the load balancer of service/${service} has no address yet\n  wait for it with --wait`, EXIT.failed);
    this.service = service;
  }
}

/**
 * Chooses the endpoint of a peer: one URL with a name covered by the server certificate, and host aliases that map the
 * name to addresses. Replicas of the clustermesh-apiserver are independent etcds, so a peer has a single URL for all
 * addresses. The result does not depend on the order of nodes, pods and addresses.
 *
 * @throws UserError (exit code 2 if the options contradict each other, 1 if the cluster has no usable endpoint), and the
 *   errors of the source.
 */
export async function chooseEndpoint(source: EndpointSource, options: EndpointOptions): Promise<Endpoint> {
  const endpoint = await findEndpoint(source, options);
  if (!isNodeLocal(endpoint.endpoints)) return endpoint;
  const message =
    `endpoint ${endpoint.endpoints.join(", ")} is node-local: reachable only from the same node\n` +
    "  pass an external address with --endpoint HOST:PORT";
  throw new UserError(message, options.endpoints.length > 0 ? EXIT.refused : EXIT.failed);
}

async function findEndpoint(source: EndpointSource, options: EndpointOptions): Promise<Endpoint> {
  if (options.endpoints.length > 0) return resolveGivenEndpoint(source, options);
  const service = source.service();
  if (!service) {
    throw new UserError(
      "Service of the clustermesh-apiserver not found\n  pass --service NAME, or --endpoint HOST:PORT",
      EXIT.failed,
    );
  }
  if (options.clusterIp) return buildEndpoint(source, requireClusterIps(service), requirePort(service).port);
  switch (service.spec?.type) {
    case "NodePort":
      return findNodePortEndpoint(source, options, service);
    case "LoadBalancer":
      return findLoadBalancerEndpoint(source, options, service);
    default:
      throw new UserError(
        `${describeService(service)} has type ${truncateLine(service.spec?.type ?? "ClusterIP")}, which is not reachable from ` +
          "other clusters\n  pass --endpoint HOST:PORT, or --cluster-ip in a flat network",
        EXIT.failed,
      );
  }
}

/**
 * Resolves endpoints specified by the user: one `host:port`, or several `ip:port` with the same port.
 *
 * @throws UserError (exit code 2 if they are invalid or contradict each other, 1 if the certificate covers none of their
 *   names, or a name cannot be resolved).
 */
export async function resolveGivenEndpoint(
  source: Pick<EndpointSource, "cluster" | "serverNames">,
  options: Pick<EndpointOptions, "endpoints" | "resolve">,
): Promise<Endpoint> {
  const parsed = options.endpoints.map((text) => {
    const endpoint = parseHostPort(text);
    if (endpoint) return endpoint;
    throw new UserError(`invalid value ${JSON.stringify(text)} for --endpoint: must be HOST:PORT`, EXIT.refused);
  });
  const ports = new Set(parsed.map(({ port }) => port));
  const names = [...new Set(parsed.map(({ host }) => host).filter((host) => !isAddress(host)))];
  const ips = parsed.map(({ host }) => host).filter(isAddress);
  const port = parsed[0]?.port ?? 0;
  if (ports.size > 1) throw new UserError("all --endpoint values of a peer must have the same port", EXIT.refused);
  if (names.length > 1)
    throw new UserError(
      "only one --endpoint value of a peer can have a host name; the others must be IP:PORT",
      EXIT.refused,
    );
  const [name] = names;
  if (name === undefined) return buildEndpoint(source, ips, port);
  if (!covers(source.serverNames, name)) {
    const pinned = await pinAddresses(name, options);
    return buildEndpoint(source, [...ips, ...pinned.ips], port, [pinned.warning]);
  }
  if (ips.length === 0 && name.endsWith(`.${MESH_DOMAIN}`)) {
    throw new UserError(
      `${name} does not exist in DNS\n  pass --endpoint IP:${port} for each of its addresses`,
      EXIT.refused,
    );
  }
  return {
    endpoints: [`https://${formatHostPort({ host: name, port })}`],
    hostAliases: toHostAliases(name, ips),
    warnings: [],
  };
}

async function findNodePortEndpoint(
  source: EndpointSource,
  options: EndpointOptions,
  service: V1Service,
): Promise<Endpoint> {
  const { nodePort } = requirePort(service);
  if (nodePort === undefined) {
    throw new UserError(`${describeService(service)} has no nodePort`, EXIT.failed);
  }
  const oldest = [...source.nodes()].sort((a, b) => compareText(a.created, b.created) || compareText(a.name, b.name));
  const isLocal = service.spec?.externalTrafficPolicy === "Local";
  const nodes = isLocal ? selectPodNodes(source, oldest) : oldest.filter((node) => node.eligible);
  const warnings = isLocal ? [LOCAL_POLICY_WARNING] : [];
  const ips: string[] = [];
  for (const node of nodes) {
    if (ips.length >= options.addresses) break;
    const resolved = await resolveNodeAddresses(node, options);
    for (const ip of resolved.ips) if (!ips.includes(ip)) ips.push(ip);
    warnings.push(...resolved.warnings);
  }
  if (ips.length === 0) {
    throw new UserError(
      nodes.length === 0
        ? "no eligible nodes: none is ready, schedulable and included in load balancing\n  pass --endpoint HOST:PORT"
        : `no node has an address of type ${options.addressTypes.join(" or ")}\n  pass other types with --address-type`,
      EXIT.failed,
    );
  }
  return buildEndpoint(source, ips.slice(0, options.addresses), nodePort, warnings);
}

const LOCAL_POLICY_WARNING =
  "externalTrafficPolicy is Local: only nodes with a clustermesh-apiserver pod respond, and pods can be rescheduled";

/**
 * Selects the nodes that respond with externalTrafficPolicy Local: those of ready pods, cordoned or not, or of all pods
 * while none is ready.
 */
function selectPodNodes(source: Pick<EndpointSource, "pods">, nodes: NodeInfo[]): NodeInfo[] {
  const pods = source.pods();
  const ready = pods.filter(isPodReady);
  const nodeNames = new Set((ready.length > 0 ? ready : pods).map(({ spec }) => spec?.nodeName));
  return nodes.filter(({ name, ready }) => ready && nodeNames.has(name));
}

/**
 * Returns the addresses at which a Service of type NodePort answers now, whether or not an extraction would choose them:
 * those of ready nodes, cordoned or not, and with externalTrafficPolicy Local only of nodes with a pod of the Service.
 *
 * @throws the errors of the source.
 */
export function findServingAddresses(source: Pick<EndpointSource, "service" | "nodes" | "pods">): string[] {
  const nodes = [...source.nodes()].filter(({ ready }) => ready);
  const isLocal = source.service()?.spec?.externalTrafficPolicy === "Local";
  const serving = isLocal ? selectPodNodes(source, nodes) : nodes;
  const addresses = serving.flatMap((node) => node.addresses.map(({ address }) => address));
  return [...new Set(addresses.filter(isAddress))].sort(compareAddresses);
}

/** Resolves a node's addresses of the first type in `addressTypes` that has any. */
async function resolveNodeAddresses(
  node: NodeInfo,
  options: EndpointOptions,
): Promise<{ ips: string[]; warnings: string[] }> {
  for (const preferred of options.addressTypes) {
    const values = node.addresses.filter(({ type }) => type === preferred).map(({ address }) => address);
    const ips = values.filter(isAddress).sort(compareAddresses);
    const names = values.filter((value) => !isAddress(value));
    const pinned: PinnedAddresses[] = [];
    for (const name of names) pinned.push(await pinAddresses(name, options));
    ips.push(...pinned.flatMap((one) => one.ips));
    if (ips.length > 0) return { ips, warnings: pinned.map(({ warning }) => warning) };
  }
  return { ips: [], warnings: [] };
}

async function findLoadBalancerEndpoint(
  source: EndpointSource,
  options: EndpointOptions,
  service: V1Service,
): Promise<Endpoint> {
  const { port } = requirePort(service);
  const ingress = service.status?.loadBalancer?.ingress ?? [];
  const names = ingress.flatMap(({ hostname }) => (hostname ? [hostname] : [])).sort();
  const ips = ingress.flatMap(({ ip }) => (ip ? [ip] : []));
  if (names.length + ips.length === 0) {
    throw new LoadBalancerPendingError(truncateLine(service.metadata?.name ?? ""));
  }
  const covered = names.find((name) => covers(source.serverNames, name));
  if (covered !== undefined) {
    return { endpoints: [`https://${covered}:${port}`], hostAliases: toHostAliases(covered, ips), warnings: [] };
  }
  const pinned = ips.length > 0 ? [] : await Promise.all(names.map((name) => pinAddresses(name, options)));
  const all = [...new Set([...ips, ...pinned.flatMap((one) => one.ips)])].sort(compareAddresses);
  const warnings = pinned.map(({ warning }) => warning);
  return buildEndpoint(source, all.slice(0, options.addresses), port, warnings);
}

/** The current addresses of a name, and a warning that they can change. */
interface PinnedAddresses {
  ips: string[];
  warning: string;
}

async function pinAddresses(name: string, { resolve }: Pick<EndpointOptions, "resolve">): Promise<PinnedAddresses> {
  const found = await resolve(name).catch(() => []);
  const ips = [...new Set(found.filter(isAddress))].sort(compareAddresses);
  if (ips.length === 0) {
    throw new UserError(
      `cannot resolve ${truncateLine(name)} on this machine\n  pass --endpoint IP:PORT for each of its addresses`,
      EXIT.failed,
    );
  }
  return { ips, warning: `using the current addresses of ${name}, which can change: ${ips.join(", ")}` };
}

/**
 * Builds the endpoint for addresses. The URL contains the address, if there is only one and the certificate covers it, else
 * a covered name with host aliases, else a covered address. A loopback address is never used in the URL: importers would
 * connect to themselves.
 */
function buildEndpoint(
  { cluster, serverNames, givenNames = [] }: Pick<EndpointSource, "cluster" | "serverNames" | "givenNames">,
  addresses: readonly string[],
  port: number,
  warnings: string[] = [],
): Endpoint {
  const ips = [...new Set(addresses)].sort(compareAddresses);
  const url = (host: string) => [`https://${formatHostPort({ host, port })}`];
  const coveredIps = ips.filter((ip) => !isLoopbackAddress(ip) && covers(serverNames, ip));
  const [coveredIp] = coveredIps;
  if (ips.length === 1 && coveredIp !== undefined) return { endpoints: url(coveredIp), hostAliases: [], warnings };
  // A wildcard is replaced by the cluster's name. The name of the local Service is omitted: it exists in every cluster.
  const given = givenNames.map((one) => one.replace(/^\*(?=\.)/, cluster));
  const names = [meshName(cluster), ...given.filter((one) => !isAddress(one) && !isOwnCache(url(one)))];
  const name = names.find((one) => covers(serverNames, one));
  if (name !== undefined) return { endpoints: url(name), hostAliases: toHostAliases(name, ips), warnings };
  if (coveredIp !== undefined) return { endpoints: url(coveredIp), hostAliases: [], warnings };
  throw new UserError(
    `the server certificate covers neither ${meshName(cluster)} nor ${truncateLine(ips.join(", "))}, only ` +
      `${truncateLine(serverNames.join(", "))}\n` +
      "  pass --endpoint with a covered name, or add one with the Helm value clustermesh.apiserver.tls.server.extraDnsNames",
    EXIT.failed,
  );
}

function toHostAliases(hostname: string, ips: readonly string[]): HostAlias[] {
  return ips.length === 0 ? [] : [{ hostname, ips: [...new Set(ips)].sort(compareAddresses) }];
}

function requireClusterIps(service: V1Service): string[] {
  const { clusterIPs, clusterIP = "" } = service.spec ?? {};
  const ips = (clusterIPs ?? [clusterIP]).filter(isAddress);
  if (ips.length === 0) throw new UserError(`${describeService(service)} has no cluster IP`, EXIT.failed);
  return ips;
}

/** Names a Service in messages. The API server is not trusted to return the name that it was asked for. */
function describeService({ metadata }: V1Service): string {
  return `service/${truncateLine(metadata?.name ?? "")}`;
}

function requirePort(service: V1Service): V1ServicePort {
  const port = findEtcdPort(service);
  if (!port) throw new UserError(`${describeService(service)} has no ports`, EXIT.failed);
  return port;
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
