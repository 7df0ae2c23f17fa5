/** The addresses at which a cluster is reached, and the name by which its server certificate covers them. */
import type { V1Pod, V1Service, V1ServicePort } from "@kubernetes/client-node";
import { findEtcdPort } from "../cilium/facts.ts";
import type { NodeInfo } from "../cilium/nodes.ts";
import { isPodReady } from "../cilium/waiting.ts";
import { isOwnCache } from "../peer/etcd-config.ts";
import { isLoopbackAddress, isNodeLocal } from "../peer/node-local.ts";
import { type HostAlias, MESH_DOMAIN, meshName } from "../peer/peer.ts";
import { compareAddresses, formatHostPort, isAddress, parseHostPort } from "../util/address.ts";
import { EXIT, UserError } from "../util/errors.ts";
import { covers } from "../x509/names.ts";

/** The types of a node's addresses, as Kubernetes names them. */
export const ADDRESS_TYPES = ["InternalIP", "ExternalIP", "InternalDNS", "ExternalDNS", "Hostname"] as const;

export type AddressType = (typeof ADDRESS_TYPES)[number];

export interface EndpointSource {
  cluster: string;
  /** What the server certificate covers. */
  serverNames: readonly string[];
  /** Those of them that the user says: one of these may stand for the addresses. */
  givenNames?: readonly string[];
  // What follows is asked for only where it is needed, and throws where it may not be read.
  service(): V1Service | undefined;
  nodes(): readonly NodeInfo[];
  /** The clustermesh-apiserver's. */
  pods(): readonly V1Pod[];
}

export interface EndpointOptions {
  /** `--endpoint`: what stands before the cluster, instead of what its Service says. */
  endpoints: readonly string[];
  /** How many addresses at the most. */
  addresses: number;
  /** In the order of preference. */
  addressTypes: readonly AddressType[];
  /** Take the Service's cluster IP, in flat networks. */
  clusterIp: boolean;
  /** The addresses of a name. What it throws counts as none. */
  resolve(name: string): Promise<string[]>;
}

export interface Endpoint {
  endpoints: string[];
  hostAliases: HostAlias[];
  /** What may change later, or is otherwise worth to know, a line each. */
  warnings: string[];
}

/** A load balancer has no address yet: it may be waited for. */
export class LoadBalancerPendingError extends UserError {
  /** What is missing, without a remedy. */
  readonly problem: string;
  constructor(service: string) {
    const problem = `the load balancer of Service ${service} has no address yet`;
    super(`${problem}; --wait waits for it`, EXIT.failed);
    this.problem = problem;
  }
}

/**
 * The endpoint that a peer is to use: one URL with a name that the server certificate covers, and the addresses that
 * the name stands for. Each replica of the clustermesh-apiserver is an etcd of its own, so there is one URL however
 * many addresses there are. The same cluster gives the same endpoint, in whatever order its objects come.
 *
 * @throws UserError, with exit code 2 where the options contradict, and 1 where nothing reaches the cluster.
 */
export async function chooseEndpoint(source: EndpointSource, options: EndpointOptions): Promise<Endpoint> {
  const endpoint = await findEndpoint(source, options);
  if (!isNodeLocal(endpoint.endpoints)) return endpoint;
  const message = `${endpoint.endpoints.join(", ")} is only reachable on the node itself; say --endpoint HOST:PORT`;
  throw new UserError(message, options.endpoints.length > 0 ? EXIT.refused : EXIT.failed);
}

async function findEndpoint(source: EndpointSource, options: EndpointOptions): Promise<Endpoint> {
  if (options.endpoints.length > 0) return resolveGivenEndpoint(source, options);
  const service = source.service();
  if (!service) {
    throw new UserError(
      "there is no Service clustermesh-apiserver; name yours with --service, or say --endpoint HOST:PORT",
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
        `Service ${service.metadata?.name} has type ${service.spec?.type ?? "ClusterIP"}, which other clusters do not ` +
          "reach; say --endpoint HOST:PORT, or --cluster-ip in a flat network",
        EXIT.failed,
      );
  }
}

/**
 * The endpoint for what the user says stands before the cluster: `host:port`, or `ip:port` several times.
 *
 * @throws UserError, with exit code 2 where it contradicts itself, and 1 where the certificate covers nothing of it or
 *   a name does not resolve.
 */
export async function resolveGivenEndpoint(
  source: Pick<EndpointSource, "cluster" | "serverNames">,
  options: Pick<EndpointOptions, "endpoints" | "resolve">,
): Promise<Endpoint> {
  const parsed = options.endpoints.map((text) => {
    const endpoint = parseHostPort(text);
    if (!endpoint) throw new UserError(`--endpoint ${JSON.stringify(text)} is not of the form host:port`, EXIT.refused);
    return endpoint;
  });
  const ports = new Set(parsed.map(({ port }) => port));
  const names = [...new Set(parsed.map(({ host }) => host).filter((host) => !isAddress(host)))];
  const ips = parsed.map(({ host }) => host).filter(isAddress);
  const port = parsed[0]?.port ?? 0;
  if (ports.size > 1) throw new UserError("--endpoint was given with several ports; a peer has one", EXIT.refused);
  if (names.length > 1) throw new UserError("--endpoint was given with several names; a peer has one", EXIT.refused);
  const [name] = names;
  if (name === undefined) return buildEndpoint(source, ips, port);
  if (!covers(source.serverNames, name)) {
    const pinned = await pinAddresses(name, options);
    return buildEndpoint(source, [...ips, ...pinned.ips], port, [pinned.warning]);
  }
  if (ips.length === 0 && name.endsWith(`.${MESH_DOMAIN}`)) {
    throw new UserError(`${name} is in no DNS: add --endpoint IP:${port} for each of its addresses`, EXIT.refused);
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
    throw new UserError(`Service ${service.metadata?.name} has no node port`, EXIT.failed);
  }
  const oldest = [...source.nodes()].sort((a, b) => compareText(a.created, b.created) || compareText(a.name, b.name));
  const isLocal = service.spec?.externalTrafficPolicy === "Local";
  const nodes = isLocal ? selectPodNodes(source, oldest) : oldest.filter((node) => node.eligible);
  const warnings = isLocal ? [LOCAL_POLICY] : [];
  const found: string[] = [];
  for (const node of nodes) {
    if (found.length >= options.addresses) break;
    const addresses = await resolveNodeAddresses(node, options);
    for (const address of addresses.ips) if (!found.includes(address)) found.push(address);
    warnings.push(...addresses.warnings);
  }
  if (found.length === 0) {
    throw new UserError(
      nodes.length === 0
        ? "no node to name: none is ready, schedulable and open to load balancing; say --endpoint HOST:PORT"
        : `no node has an address of type ${options.addressTypes.join(" or ")}; see --address-type`,
      EXIT.failed,
    );
  }
  return buildEndpoint(source, found.slice(0, options.addresses), nodePort, warnings);
}

const LOCAL_POLICY =
  "externalTrafficPolicy is Local: only the nodes of clustermesh-apiserver pods answer, and pods move";

/**
 * With externalTrafficPolicy Local only the nodes of ready pods answer, cordoned or not; while none is ready, those of
 * the pods that are to be.
 */
function selectPodNodes(source: EndpointSource, nodes: NodeInfo[]): NodeInfo[] {
  const pods = source.pods();
  const ready = pods.filter(isPodReady);
  const places = new Set((ready.length > 0 ? ready : pods).map(({ spec }) => spec?.nodeName));
  return nodes.filter(({ name, ready }) => ready && places.has(name));
}

/** All addresses of the first type that a node has any of. */
async function resolveNodeAddresses(
  node: NodeInfo,
  options: EndpointOptions,
): Promise<{ ips: string[]; warnings: string[] }> {
  for (const wanted of options.addressTypes) {
    const values = node.addresses.filter(({ type }) => type === wanted).map(({ address }) => address);
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
    throw new LoadBalancerPendingError(service.metadata?.name ?? "");
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

/** The addresses of a name, as they are now, and a warning that they may change. */
interface PinnedAddresses {
  ips: string[];
  warning: string;
}

async function pinAddresses(name: string, { resolve }: Pick<EndpointOptions, "resolve">): Promise<PinnedAddresses> {
  const found = await resolve(name).catch(() => []);
  const ips = [...new Set(found.filter(isAddress))].sort(compareAddresses);
  if (ips.length === 0) {
    throw new UserError(`${name} does not resolve here; say --endpoint IP:PORT for each of its addresses`, EXIT.failed);
  }
  return { ips, warning: `the addresses of ${name} are taken as they are now, and may change: ${ips.join(", ")}` };
}

/**
 * The URL for addresses: an address that the certificate covers, else a name that it covers, with aliases. A loopback address
 * is never the URL's: it would lead each importer to itself, and only agents there.
 */
function buildEndpoint(
  { cluster, serverNames, givenNames = [] }: Pick<EndpointSource, "cluster" | "serverNames" | "givenNames">,
  addresses: readonly string[],
  port: number,
  warnings: string[] = [],
): Endpoint {
  const ips = [...new Set(addresses)].sort(compareAddresses);
  const url = (host: string) => [`https://${formatHostPort({ host, port })}`];
  const direct = ips.filter((ip) => !isLoopbackAddress(ip) && covers(serverNames, ip));
  const [first] = direct;
  if (ips.length === 1 && first !== undefined) return { endpoints: url(first), hostAliases: [], warnings };
  // Of a wildcard the cluster's name; a name that each cluster has for its own service would lead back to the importer.
  const given = givenNames.map((one) => one.replace(/^\*(?=\.)/, cluster));
  const names = [meshName(cluster), ...given.filter((one) => !isAddress(one) && !isOwnCache(url(one)))];
  const name = names.find((one) => covers(serverNames, one));
  if (name !== undefined) return { endpoints: url(name), hostAliases: toHostAliases(name, ips), warnings };
  if (first !== undefined) return { endpoints: url(first), hostAliases: [], warnings };
  throw new UserError(
    `the server certificate covers neither ${meshName(cluster)} nor ${ips.join(", ")}, only ${serverNames.join(", ")}\n` +
      "  say --endpoint with a name that it covers, or add one by clustermesh.apiserver.tls.server.extraDnsNames",
    EXIT.failed,
  );
}

function toHostAliases(hostname: string, ips: readonly string[]): HostAlias[] {
  return ips.length === 0 ? [] : [{ hostname, ips: [...new Set(ips)].sort(compareAddresses) }];
}

function requireClusterIps({ metadata, spec }: V1Service): string[] {
  const ips = (spec?.clusterIPs ?? [spec?.clusterIP ?? ""]).filter(isAddress);
  if (ips.length === 0) throw new UserError(`Service ${metadata?.name} has no cluster IP`, EXIT.failed);
  return ips;
}

function requirePort(service: V1Service): V1ServicePort {
  const port = findEtcdPort(service);
  if (!port) throw new UserError(`Service ${service.metadata?.name} has no port`, EXIT.failed);
  return port;
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
