/** When importers get other node addresses of a peer. Pure. */
import { aliasProblem, isSameEndpoint } from "../peer/etcd-config.ts";
import type { Peer } from "../peer/peer.ts";
import { isAddress, parseEndpoint } from "../util/address.ts";
import { covers, shortAddress } from "../x509/names.ts";
import type { GoneAddress } from "./state.ts";

/** How long an address that an importer may still name stays recorded after its grace, in milliseconds. */
const RECORD_AGE_MS = 3_600_000;

/** What decides whether an importer keeps the addresses of a peer. */
export interface AddressRequest {
  /** The peer as extracted now; its endpoint depends on the addresses of nodes. */
  desired: Peer;
  /**
   * The addresses at which the peer's nodes answer now, also those that the extraction did not choose. Empty if the nodes
   * cannot be listed.
   */
  serving: readonly string[];
  /** The peer in the importer's config; its host aliases are those of the config. */
  existing: Peer | undefined;
  /** The addresses of any peers that are gone, since when. */
  gone: readonly GoneAddress[];
  now: Date;
  /** Milliseconds. */
  grace: number;
}

/** The peer to write, and what to remember. */
export interface AddressDecision {
  peer: Peer;
  gone: GoneAddress[];
  /** When the first configured address that is gone will be replaced, if it does not return. */
  waitsUntil?: Date;
}

/**
 * Decides whether an importer gets the current addresses of a peer's nodes. Each changed byte of a config makes every agent
 * reconnect, and of several addresses a client takes one that answers. So the configured ones stay while all of them serve,
 * even if an extraction would choose others, and if one is gone, until it has been gone for `grace`.
 *
 * Another port, another name in the URL, and a config that cannot work or has no addresses change at once.
 */
export function keepAddresses({ desired, serving, existing, gone, now, grace }: AddressRequest): AddressDecision {
  const useDesired = () => ({ peer: desired, gone: withoutServing(gone, desired, serving, now, grace) });
  if (!existing || isSameEndpoint(existing, desired)) return useDesired();
  const [before, after] = [readEndpoint(existing), readEndpoint(desired)];
  if (!before || !after || !canStay(before, after, desired)) return useDesired();
  const kept = { ...desired, endpoints: existing.endpoints, hostAliases: existing.hostAliases };
  if (serving.length === 0) return { peer: kept, gone: [...gone] };
  const remaining = withoutServing(gone, desired, serving, now, grace, before.addresses);
  const isServing = createIsServing(desired, serving);
  const missing = before.addresses
    .filter((address) => !isServing(address))
    .map(
      (address) =>
        remaining.find((one) => one.peer === desired.name && one.address === address) ?? {
          ...{ peer: desired.name, address },
          since: now.toISOString(),
        },
    );
  const records = [...remaining, ...missing.filter((one) => !remaining.includes(one))];
  if (missing.length === 0) return { peer: kept, gone: records };
  const first = Math.min(...missing.map(({ since }) => Date.parse(since))) + grace;
  if (first <= now.getTime()) return { peer: desired, gone: records };
  return { peer: kept, gone: records, waitsUntil: new Date(first) };
}

/** An endpoint with one URL. */
interface ReadEndpoint {
  host: string;
  port: number;
  /** Its addresses in short form. */
  addresses: string[];
}

/** Returns undefined if the endpoint has several URLs, or is invalid. */
function readEndpoint({ endpoints, hostAliases }: Peer): ReadEndpoint | undefined {
  const [url = "", ...others] = endpoints;
  const parsed = parseEndpoint(url);
  if (!parsed || others.length > 0 || aliasProblem(hostAliases) !== undefined) return undefined;
  const { host } = parsed;
  const ips = isAddress(host) ? [host] : hostAliases.flatMap((alias) => (alias.hostname === host ? alias.ips : []));
  return { ...parsed, addresses: [...new Set(ips.map(shortAddress))] };
}

/** Whether an endpoint can still lead to the peer, apart from its addresses. */
function canStay(before: ReadEndpoint, after: ReadEndpoint, { facts }: Peer): boolean {
  const hasOtherName = !isAddress(before.host) && !isAddress(after.host) && before.host !== after.host;
  const isCovered = facts.serverNames === undefined || covers(facts.serverNames, before.host);
  return before.port === after.port && before.addresses.length > 0 && !hasOtherName && isCovered;
}

/** Addresses that an extraction chooses serve, also those of names that it resolved. */
function createIsServing(desired: Peer, serving: readonly string[]): (address: string) => boolean {
  const addresses = new Set([...serving.map(shortAddress), ...(readEndpoint(desired)?.addresses ?? [])]);
  return (address) => addresses.has(shortAddress(address));
}

/** Removes the records of a peer's addresses that serve again, and those that are old unless they are `named`. */
function withoutServing(
  gone: readonly GoneAddress[],
  desired: Peer,
  serving: readonly string[],
  now: Date,
  grace: number,
  named: readonly string[] = [],
): GoneAddress[] {
  if (serving.length === 0 || !gone.some(({ peer }) => peer === desired.name)) return [...gone];
  const isServing = createIsServing(desired, serving);
  const oldest = now.getTime() - grace - RECORD_AGE_MS;
  return gone.filter(
    ({ peer, address, since }) =>
      peer !== desired.name || (!isServing(address) && (named.includes(address) || Date.parse(since) >= oldest)),
  );
}
