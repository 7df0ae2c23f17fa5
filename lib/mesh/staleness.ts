/** Compares the config of a peer with a current extraction of its cluster. Pure. */

import { describeObject } from "../import/plan/change.ts";
import type { Plan } from "../import/plan/plan.ts";
import { describeEndpoint } from "../peer/etcd-config.ts";
import { type Finding, finding, type Place } from "../peer/findings.ts";
import type { Peer } from "../peer/peer.ts";
import { parseEndpoint } from "../util/address.ts";
import type { ParseCache } from "../util/parse-cache.ts";
import { shellQuote } from "../util/shell.ts";
import { hasCommonCertificate } from "../x509/chain.ts";
import { type ExtractedMember, ownOf } from "./member.ts";

/** Two contexts, quoted for a shell, as remedies need them. */
export interface QuotedContexts {
  peer: string;
  importer: string;
}

/** Quotes two contexts for a shell. */
export function quoteContexts(peer: string, importer: string): QuotedContexts {
  return { peer: shellQuote(peer), importer: shellQuote(importer) };
}

/** Checks whether the configured endpoint of a peer is that of its cluster now. */
export function endpointStale(
  before: Peer,
  { peer: now, source: from, installation }: ExtractedMember,
  importer: ExtractedMember,
  place: Place,
) {
  if (!now) return [];
  const contexts = quoteContexts(from, importer.source);
  const urls = (peer: Peer) => [...peer.endpoints].sort().join(", ");
  const port = (peer: Peer) => parseEndpoint(peer.endpoints[0] ?? "")?.port;
  const gone = addressesGone(before, [...addressesIn(now), ...nodeAddresses(installation)]);
  const lost = addressesIn(before).length > 0 && gone.length === addressesIn(before).length;
  if (port(before) !== port(now) || (urls(before) !== urls(now) && addressesIn(before).length === 0) || lost) {
    const values = { ...contexts, name: now.name, before: describeEndpoint(before), now: describeEndpoint(now) };
    return [finding("endpoint-stale", place, values)];
  }
  if (gone.length === 0) return [];
  return [finding("addresses-stale", place, { ...contexts, name: now.name, addresses: gone.join(", ") })];
}

/**
 * Checks an endpoint that the user chose. It is not compared with the cluster's, but if some of its addresses are those of
 * nodes, as with `--address-type`, the others were too.
 */
export function givenAddressesGone(
  before: Peer,
  { peer: now, installation, source: from }: ExtractedMember,
  importer: ExtractedMember,
  place: Place,
) {
  const gone = addressesGone(before, nodeAddresses(installation));
  if (!now || gone.length === 0 || gone.length === addressesIn(before).length) return [];
  const values = { ...quoteContexts(from, importer.source), name: now.name, addresses: gone.join(", ") };
  return [finding("addresses-stale", place, { ...values, isGiven: true })];
}

function addressesIn({ hostAliases }: Peer): string[] {
  return hostAliases.flatMap(({ ips }) => ips);
}

function addressesGone(before: Peer, serving: readonly string[]): string[] {
  return addressesIn(before).filter((ip) => !serving.includes(ip));
}

function nodeAddresses(installation: ExtractedMember["installation"]): string[] {
  return installation.nodes().flatMap(({ addresses }) => addresses.map(({ address }) => address));
}

/** Compares the configured certificates with those that would be imported now. */
export function certificatesStale(
  before: Peer,
  { peer: now, source: from }: ExtractedMember,
  importer: ExtractedMember,
  place: Place,
): Finding[] {
  if (!now) return [];
  const findings: Finding[] = [];
  const values = { ...quoteContexts(from, importer.source), name: now.name };
  if (!trusts(withOwn(before, importer), withOwn(now, importer), importer.target.cache)) {
    findings.push(finding("ca-stale", place, values));
  }
  if (before.client !== "importer" && now.client !== "importer" && before.client.cert !== now.client.cert) {
    findings.push(finding("client-stale", place, values));
  }
  return findings;
}

function trusts({ ca: before }: Peer, { ca: now }: Peer, cache: ParseCache): boolean {
  if (typeof before !== "object" || typeof now !== "object") return true;
  return hasCommonCertificate(before.pem, now.pem, cache);
}

/** A peer with the CA and certificate of its importer in place of references to them. */
export function withOwn(peer: Peer, importer: ExtractedMember): Peer {
  const { ca, client } = ownOf(importer);
  return {
    ...peer,
    ...(peer.ca === "importer" && ca !== undefined && { ca: { pem: ca } }),
    ...(peer.client === "importer" && client && { client }),
  };
}

/**
 * Checks the host aliases of workloads: they lack those of the existing config, or its endpoint is up to date and they are
 * outdated, as after an import that must not restart workloads.
 */
export function aliasFindings(
  planned: Plan,
  migrated: Plan,
  peer: Peer | undefined,
  other: ExtractedMember | undefined,
  place: Place,
): Finding[] {
  const contexts = quoteContexts(other?.source ?? place.key ?? "", place.source);
  const missing = workloadsLacking(migrated, peer).map((lacking) =>
    finding("host-alias-missing", place, { ...contexts, ...lacking }),
  );
  const outcome = peer && planned.outcomes.get(peer.name);
  const isCurrent = peer !== undefined && outcome !== "held" && !planned.endpointChanges.has(peer.name);
  if (missing.length > 0 || !other?.peer || !isCurrent) return missing;
  return workloadsLacking(planned, peer).map((lacking) =>
    finding("host-alias-missing", place, { ...contexts, ...lacking, isOutdated: true }),
  );
}

/** Workloads that do not resolve a peer to the addresses that an import would write. */
function workloadsLacking({ missing }: Plan, peer: Peer | undefined): { workload: string; hostnames: string }[] {
  const hosts = new Set(peer?.endpoints.map((url) => parseEndpoint(url)?.host));
  return missing
    .map(({ workload: { kind, name }, hostnames }) => ({
      workload: describeObject(kind, name),
      hostnames: hostnames.filter((hostname) => hosts.has(hostname)).join(", "),
    }))
    .filter(({ hostnames }) => hostnames !== "");
}
