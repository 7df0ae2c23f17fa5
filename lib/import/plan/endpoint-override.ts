/**
 * By which endpoint a target reaches a peer: what the file says, what `--endpoint` says, and what stands there. What was
 * chosen, by `--endpoint` of an import or at the extraction, holds until something else is chosen or it is taken back.
 */

import { chartServerNames } from "../../cilium/server-names.ts";
import { resolveGivenEndpoint } from "../../extract/endpoint.ts";
import { endpointHostnames } from "../../peer/etcd-config.ts";
import { isNodeLocal, isPartlyNodeLocal } from "../../peer/node-local.ts";
import { type HostAlias, type Peer, versionAtLeast } from "../../peer/peer.ts";
import { formatHostPort, isAddress, parseHostPort } from "../../util/address.ts";
import { EXIT, UserError } from "../../util/errors.ts";
import { covers } from "../../x509/names.ts";
import { type ExistingConfig, secretHolding } from "./existing.ts";
import type { Target } from "./target.ts";

/** What `--endpoint NAME=…` says of a peer, made out. */
export interface EndpointOverride {
  /** As it was typed; several are separated by commas. */
  text: string;
  endpoints: string[];
  hostAliases: HostAlias[];
}

/**
 * Resolves what `--endpoint` says of a peer, by the rules of an extraction. Where it is not known what the peer's
 * certificate covers, the names in its own endpoints serve, and what the chart puts there. A loopback address, as of a tunnel
 * on each node, is taken as it is, so that the peer is one that only a node can reach.
 *
 * @param resolve gives the addresses of a name.
 * @returns besides, a line for each name whose addresses are taken as they are now.
 * @throws UserError as {@link resolveGivenEndpoint}, and with exit code 2 if loopback addresses are mixed with others, or the peer's
 *   certificate does not cover them.
 */
export async function resolveOverride(
  { name, endpoints, facts }: Peer,
  given: readonly string[],
  resolve: (name: string) => Promise<string[]>,
): Promise<EndpointOverride & { warnings: string[] }> {
  const usual = () => [...endpointHostnames(endpoints), ...chartServerNames({ namespace: "kube-system", ...facts })];
  const source = { cluster: name, serverNames: facts.serverNames ?? usual() };
  const text = given.join(",");
  if (isNodeLocal(given)) {
    return { text, endpoints: nodeLocalUrls(name, source.serverNames, given), hostAliases: [], warnings: [] };
  }
  const addressed = given.every((one) => isAddress(parseHostPort(one)?.host ?? ""));
  if (addressed && isPartlyNodeLocal(given)) {
    throw new UserError(
      `--endpoint of ${name} mixes loopback addresses with others: ${given.join(", ")}`,
      EXIT.refused,
    );
  }
  return { text, ...(await resolveGivenEndpoint(source, { resolve, endpoints: given })) };
}

/** The URLs for what listens on each node. */
function nodeLocalUrls(name: string, serverNames: readonly string[], given: readonly string[]): string[] {
  return given.map((text) => {
    const endpoint = parseHostPort(text);
    if (!endpoint) throw new UserError(`--endpoint ${JSON.stringify(text)} is not of the form host:port`, EXIT.refused);
    if (!covers(serverNames, endpoint.host)) {
      throw new UserError(
        `the server certificate of ${name} does not cover ${endpoint.host}, only ${serverNames.join(", ")}`,
        EXIT.refused,
      );
    }
    return `https://${formatHostPort(endpoint)}`;
  });
}

/** A peer as it is reached from here, and what is to be remembered of how that was said. */
export interface OverriddenPeer {
  peer: Peer;
  /** What `--endpoint` said, now or before. */
  endpointOverride: string | undefined;
  /** Whether its file said, now or before, that the endpoint was given. */
  given: boolean;
  /** Whether it is still reached where an earlier file gave its endpoint: this one says of none that it was given. */
  keepsGivenEndpoint: boolean;
}

/**
 * @param given what `--endpoint` says now; null takes back what it said before, undefined says nothing.
 */
export function applyOverride(
  peer: Peer,
  target: Target,
  standing: ExistingConfig,
  given: EndpointOverride | null | undefined,
): OverriddenPeer {
  const config = secretHolding(standing, peer.name)?.entries.get(peer.name)?.config;
  const record = given === null || !config ? undefined : standing.records.get(peer.name);
  const endpointOverride = given?.text ?? record?.endpoint;
  const stated = peer.facts.endpointGiven === true;
  const keepsGivenEndpoint = endpointOverride === undefined && record?.given === true && !stated;
  const from = given ?? (endpointOverride !== undefined || keepsGivenEndpoint ? config : undefined);
  const { endpoints, hostAliases } = from ?? peer;
  const known = new Set(hostAliases.map(({ hostname }) => hostname));
  const lacking = endpointHostnames(endpoints).filter((host) => !known.has(host));
  const more = from ? [] : existingAliases(peer, target, config?.hostAliases ?? [], lacking);
  return {
    peer: from || more.length > 0 ? { ...peer, endpoints, hostAliases: [...hostAliases, ...more] } : peer,
    endpointOverride,
    given: endpointOverride === undefined && (stated || keepsGivenEndpoint),
    keepsGivenEndpoint,
  };
}

/**
 * Where a file tells no addresses of a name, those that the standing config has are kept, and from 1.20 on, when
 * Cilium reads them there, those that the workloads have are taken into it. A file of extract-secret tells all there
 * is: its names without addresses are for DNS.
 */
function existingAliases(
  { facts }: Peer,
  target: Target,
  standing: readonly HostAlias[],
  lacking: readonly string[],
): HostAlias[] {
  if (facts.name !== undefined) return [];
  const inWorkloads = versionAtLeast(target.facts.version, "1.20") === true ? target.aliases : [];
  return lacking.flatMap((name) => {
    const found = [...standing, ...inWorkloads].find(({ hostname }) => hostname === name);
    return found ? [found] : [];
  });
}
