/** Checks of the endpoints and host aliases of a peer. Pure. */

import { formatHostPort, isAddress, parseEndpoint } from "../../util/address.ts";
import { shellQuote } from "../../util/shell.ts";
import { covers } from "../../x509/names.ts";
import { aliasProblem, endpointHostnames, isOwnCache } from "../etcd-config.ts";
import { type Finding, finding, type Place } from "../findings.ts";
import { isLoopbackAddress, isNodeLocal, isPartlyNodeLocal } from "../node-local.ts";
import type { SourcedPeer } from "../peer.ts";
import { MESH_DOMAIN, type Peer } from "../peer.ts";

/** Checks the endpoints and host aliases of a peer, and whether the server certificate covers them. */
export function checkEndpoints(peer: Peer, place: Place): Finding[] {
  if (isOwnCache(peer.endpoints)) return [finding("own-cache", place, {})];
  // Reported by checkNodeLocal: a target may have such a peer, a file may not.
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
      findings.push(
        finding("endpoint-address", place, { host, peer: shellQuote(peer.name), endpoint: formatHostPort(endpoint) }),
      );
    }
  }
  return findings;
}

/**
 * Checks that the peer of a file is not node-local ({@link isNodeLocal}): each importer would connect to its own nodes, so
 * the endpoint must be set with `--endpoint`.
 */
export function checkNodeLocal({ peer: { name, endpoints }, source }: SourcedPeer): Finding[] {
  if (!isNodeLocal(endpoints)) return [];
  const port = String(parseEndpoint(endpoints[0] ?? "")?.port ?? "PORT");
  const values = { peer: shellQuote(name), endpoints: endpoints.join(", "), port };
  return [finding("endpoint-node-local", { source, key: name }, values)];
}

/**
 * Warns if host aliases of a peer's endpoints, or some of its endpoints, are loopback addresses, at which each node and
 * pod connects to itself. It is not an error, since it works on a single machine, as in a test mesh. Only commands that
 * inspect peers report it.
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
 * Checks that the target can resolve the names of the peer.
 *
 * @param resolved - names that the target already resolves, through host aliases of a workload or an existing config.
 */
export function checkAddresses({ peer, source }: SourcedPeer, resolved: ReadonlySet<string>): Finding[] {
  const aliased = new Set(peer.hostAliases.map(({ hostname }) => hostname));
  return endpointHostnames(peer.endpoints)
    .filter((host) => host.toLowerCase().endsWith(`.${MESH_DOMAIN}`) && !aliased.has(host) && !resolved.has(host))
    .map((host) => finding("no-addresses", { source, key: peer.name }, { host }));
}
