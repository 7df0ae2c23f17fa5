/**
 * The endpoint by which a target reaches a peer: from the peer's file, from `--endpoint`, or from the existing config. An
 * endpoint that was set by `--endpoint` of an import or of an extraction applies until it is changed or reset. Pure.
 */

import { chartServerNames } from "../../cilium/server-names.ts";
import { resolveGivenEndpoint } from "../../extract/endpoint.ts";
import { endpointHostnames } from "../../peer/etcd-config.ts";
import { isNodeLocal, isPartlyNodeLocal } from "../../peer/node-local.ts";
import { type HostAlias, type Peer, versionAtLeast } from "../../peer/peer.ts";
import { formatHostPort, isAddress, parseHostPort } from "../../util/address.ts";
import { EXIT, UserError } from "../../util/errors.ts";
import { truncateLine } from "../../util/line.ts";
import { covers } from "../../x509/names.ts";
import { type ExistingConfig, secretHolding } from "./existing.ts";
import type { Target } from "./target.ts";

/** A resolved value of `--endpoint NAME=…`. */
export interface EndpointOverride {
  /** The value as typed; several endpoints are separated by commas. */
  text: string;
  endpoints: string[];
  hostAliases: HostAlias[];
}

/**
 * Resolves the value of `--endpoint` for a peer, by the same rules as an extraction. If the names of the peer's server
 * certificate are unknown, the host names of the peer's endpoints and the chart's default names are used. A loopback
 * address, such as that of a tunnel on each node, is written unchanged and makes the peer node-local.
 *
 * @param given - endpoints as `host:port` or `ip:port`.
 * @param resolve - returns the addresses of a host name.
 * @returns the override, and in `warnings` a line for each host name whose current addresses are stored.
 * @throws UserError as {@link resolveGivenEndpoint}, and with exit code 2 if loopback addresses are mixed with others or the
 *   peer's certificate does not cover them.
 */
export async function resolveOverride(
  { name, endpoints, facts }: Peer,
  given: readonly string[],
  resolve: (name: string) => Promise<string[]>,
): Promise<EndpointOverride & { warnings: string[] }> {
  const defaultNames = () => [
    ...endpointHostnames(endpoints),
    ...chartServerNames({ namespace: "kube-system", ...facts }),
  ];
  const source = { cluster: name, serverNames: facts.serverNames ?? defaultNames() };
  const text = given.join(",");
  if (isNodeLocal(given)) {
    return { text, endpoints: nodeLocalUrls(name, source.serverNames, given), hostAliases: [], warnings: [] };
  }
  const hasOnlyAddresses = given.every((one) => isAddress(parseHostPort(one)?.host ?? ""));
  if (hasOnlyAddresses && isPartlyNodeLocal(given)) {
    throw new UserError(
      `invalid value for --endpoint of ${name}: mixes loopback addresses with others: ${given.join(", ")}\n` +
        `  pass only loopback addresses for a tunnel on each node, or none`,
      EXIT.refused,
    );
  }
  return { text, ...(await resolveGivenEndpoint(source, { resolve, endpoints: given })) };
}

/** Returns the URLs for loopback addresses, on which each node has a listener. */
function nodeLocalUrls(name: string, serverNames: readonly string[], given: readonly string[]): string[] {
  return given.map((text) => {
    const endpoint = parseHostPort(text);
    if (!endpoint)
      throw new UserError(`invalid value ${JSON.stringify(text)} for --endpoint: must be HOST:PORT`, EXIT.refused);
    if (!covers(serverNames, endpoint.host)) {
      throw new UserError(
        `the server certificate of cluster "${name}" does not cover ${endpoint.host}, only ${truncateLine(serverNames.join(", "))}`,
        EXIT.refused,
      );
    }
    return `https://${formatHostPort(endpoint)}`;
  });
}

/** A peer with the endpoint by which the target reaches it, and the origin of that endpoint. */
export interface OverriddenPeer {
  peer: Peer;
  /** The value of `--endpoint`, of this import or an earlier one. */
  endpointOverride: string | undefined;
  /** Whether the endpoint was set at the extraction, by this file or an earlier one. */
  given: boolean;
  /** Whether an endpoint set at an earlier extraction is kept, because this file does not set one. */
  keepsGivenEndpoint: boolean;
}

/**
 * Determines the endpoint by which a target reaches a peer.
 *
 * @param given - the override of this import; null resets an earlier one, undefined keeps it.
 */
export function applyOverride(
  peer: Peer,
  target: Target,
  existing: ExistingConfig,
  given: EndpointOverride | null | undefined,
): OverriddenPeer {
  const config = secretHolding(existing, peer.name)?.entries.get(peer.name)?.config;
  const record = given === null || !config ? undefined : existing.records.get(peer.name);
  const endpointOverride = given?.text ?? record?.endpoint;
  const isGivenNow = peer.facts.endpointGiven === true;
  const keepsGivenEndpoint = endpointOverride === undefined && record?.given === true && !isGivenNow;
  const source = given ?? (endpointOverride !== undefined || keepsGivenEndpoint ? config : undefined);
  const { endpoints, hostAliases } = source ?? peer;
  const known = new Set(hostAliases.map(({ hostname }) => hostname));
  const unaddressed = endpointHostnames(endpoints).filter((host) => !known.has(host));
  const added = source ? [] : existingAliases(peer, target, config?.hostAliases ?? [], unaddressed);
  return {
    peer: source || added.length > 0 ? { ...peer, endpoints, hostAliases: [...hostAliases, ...added] } : peer,
    endpointOverride,
    given: endpointOverride === undefined && (isGivenNow || keepsGivenEndpoint),
    keepsGivenEndpoint,
  };
}

/**
 * Returns host aliases for names whose addresses a file lacks: from the existing config and, from Cilium 1.20 on, also from
 * the workloads, since that version reads aliases from the config. A file of extract-secret is complete: its names without
 * addresses are resolved by DNS.
 */
function existingAliases(
  { facts }: Peer,
  target: Target,
  existing: readonly HostAlias[],
  unaddressed: readonly string[],
): HostAlias[] {
  if (facts.name !== undefined) return [];
  const inWorkloads = versionAtLeast(target.facts.version, "1.20") === true ? target.aliases : [];
  return unaddressed.flatMap((name) => {
    const found = [...existing, ...inWorkloads].find(({ hostname }) => hostname === name);
    return found ? [found] : [];
  });
}
