/** The endpoints and host aliases of a peer. Pure. */

import { formatHostPort, isAddress, parseEndpoint } from "../../util/address.ts";
import { covers } from "../../x509/names.ts";
import { aliasProblem, endpointHostnames, isOwnCache } from "../etcd-config.ts";
import { type Finding, finding, type Place } from "../findings.ts";
import { isLoopbackAddress, isNodeLocal, isPartlyNodeLocal } from "../node-local.ts";
import type { SourcedPeer } from "../peer.ts";
import { MESH_DOMAIN, type Peer } from "../peer.ts";

/** Checks the endpoints and host aliases of a peer, and whether the server certificate covers them. */
export function checkEndpoints(peer: Peer, place: Place): Finding[] {
  if (isOwnCache(peer.endpoints)) return [finding("own-cache", place, {})];
  // Whether this is allowed depends on the reader: see checkNodeLocal.
  if (isNodeLocal(peer.endpoints)) return [];
  const findings: Finding[] = [];
  if (peer.endpoints.length === 0) findings.push(finding("endpoint-invalid", place, {}));
  for (const url of peer.endpoints) {
    if (parseEndpoint(url) === undefined) findings.push(finding("endpoint-invalid", place, { url }));
  }
  const problem = aliasProblem(peer.hostAliases);
  if (problem) findings.push(finding("alias-invalid", place, { problem }));
  const { serverNames } = peer.facts;
  for (const url of peer.endpoints) {
    const endpoint = parseEndpoint(url);
    if (!endpoint) continue;
    const { host } = endpoint;
    if (serverNames && !covers(serverNames, host)) {
      findings.push(finding("endpoint-not-covered", place, { host, names: serverNames.join(", ") }));
    } else if (!serverNames && isAddress(host) && host !== "127.0.0.1" && host !== "::1") {
      findings.push(finding("endpoint-address", place, { host, peer: peer.name, endpoint: formatHostPort(endpoint) }));
    }
  }
  return findings;
}

/**
 * Checks that the peer of a file is not served on the node itself ({@link isNodeLocal}): that endpoint would lead each
 * importer to its own nodes, so it has to be set by `--endpoint`.
 */
export function checkNodeLocal({ peer: { name, endpoints }, source }: SourcedPeer): Finding[] {
  if (!isNodeLocal(endpoints)) return [];
  const port = String(parseEndpoint(endpoints[0] ?? "")?.port ?? "PORT");
  return [finding("endpoint-node-local", { source, key: name }, { peer: name, endpoints: endpoints.join(", "), port })];
}

/**
 * That a name in a peer's endpoints has host aliases that are loopback addresses, or that some of its endpoints are: each
 * node and each pod connects to itself there. It works on one machine, as in a test mesh, so it is a warning, and only
 * commands that look at peers report it.
 */
export function checkLoopbackAddresses({ name, endpoints, hostAliases }: Peer, place: Place): Finding[] {
  const names = endpointHostnames(endpoints);
  const aliased = hostAliases
    .filter(({ hostname }) => names.includes(hostname))
    .map(({ hostname, ips }) => ({ hostname, ips: ips.filter(isLoopbackAddress) }))
    .filter(({ ips }) => ips.length > 0);
  const hosts = aliased.map(({ hostname, ips }) => `${hostname} (${ips.join(", ")})`);
  if (isPartlyNodeLocal(endpoints)) hosts.push(...endpoints.filter((endpoint) => isNodeLocal([endpoint])));
  return hosts.length === 0 ? [] : [finding("loopback-address", place, { peer: name, hosts: hosts.join(", ") })];
}

/**
 * Whether the peer's names can be resolved by the target.
 *
 * @param resolved - names that the target already resolves, by host aliases of a workload or of an existing config.
 */
export function checkAddresses({ peer, source }: SourcedPeer, resolved: ReadonlySet<string>): Finding[] {
  const aliased = new Set(peer.hostAliases.map(({ hostname }) => hostname));
  return endpointHostnames(peer.endpoints)
    .filter((host) => host.toLowerCase().endsWith(`.${MESH_DOMAIN}`) && !aliased.has(host) && !resolved.has(host))
    .map((host) => finding("no-addresses", { source, key: peer.name }, { host }));
}
