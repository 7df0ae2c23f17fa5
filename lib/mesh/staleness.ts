/** In what way an importer's config of a peer is not what the peer's cluster shows now. Pure. */

import type { Plan } from "../import/plan/plan.ts";
import { describeEndpoint } from "../peer/etcd-config.ts";
import { type Finding, finding, type Place, type RemedyTemplate } from "../peer/findings.ts";
import type { Peer } from "../peer/peer.ts";
import { parseEndpoint } from "../util/address.ts";
import type { ParseCache } from "../util/parse-cache.ts";
import { shellQuote } from "../util/shell.ts";
import { hasCommonCertificate } from "../x509/chain.ts";
import { type ExtractedMember, ownOf } from "./member.ts";

export const IMPORT = "extract-secret --context {peer} | import-secrets --context {importer} -";

export function reimportRemedy(peer: string, importer: string): RemedyTemplate {
  return { template: IMPORT, values: { peer: shellQuote(peer), importer: shellQuote(importer) } };
}

/** Whether a peer is looked for elsewhere than its cluster says now. */
export function endpointStale(
  before: Peer,
  { peer: now, source: from, installation }: ExtractedMember,
  importer: ExtractedMember,
  place: Place,
) {
  if (!now) return [];
  const remedy = reimportRemedy(from, importer.source);
  const urls = (peer: Peer) => [...peer.endpoints].sort().join(", ");
  const port = (peer: Peer) => parseEndpoint(peer.endpoints[0] ?? "")?.port;
  const gone = addressesGone(before, [...addressesIn(now), ...nodeAddresses(installation)]);
  const lost = addressesIn(before).length > 0 && gone.length === addressesIn(before).length;
  if (port(before) !== port(now) || (urls(before) !== urls(now) && addressesIn(before).length === 0) || lost) {
    const message = `${now.name} is at ${describeEndpoint(now)} now, and is looked for at ${describeEndpoint(before)}`;
    return [finding("endpoint-stale", place, message, remedy)];
  }
  return gone.length > 0 ? [addressesStale(gone, now, place, remedy)] : [];
}

/**
 * Where an endpoint was chosen it is nobody else's to judge. But if some of its addresses are those of nodes, as with
 * `--address-type`, the others were too.
 */
export function givenAddressesGone(
  before: Peer,
  { peer: now, installation, source: from }: ExtractedMember,
  importer: ExtractedMember,
  place: Place,
) {
  const gone = addressesGone(before, nodeAddresses(installation));
  if (!now || gone.length === 0 || gone.length === addressesIn(before).length) return [];
  const template = "extract-secret --context {peer} --endpoint HOST:PORT | import-secrets --context {importer} -";
  const values = { peer: shellQuote(from), importer: shellQuote(importer.source) };
  return [addressesStale(gone, now, place, { template, values })];
}

function addressesStale(gone: readonly string[], { name }: Peer, place: Place, remedy: RemedyTemplate): Finding {
  return finding("addresses-stale", place, `${gone.join(", ")} is no address of ${name} any more`, remedy);
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

/** In what way the certificates that stand are not those that would be imported now. */
export function certificatesStale(
  before: Peer,
  { peer: now, source: from }: ExtractedMember,
  importer: ExtractedMember,
  place: Place,
): Finding[] {
  if (!now) return [];
  const findings: Finding[] = [];
  const remedy = reimportRemedy(from, importer.source);
  if (!trusts(withOwn(before, importer), withOwn(now, importer), importer.target.cache)) {
    findings.push(
      finding("ca-stale", place, `the CA of ${now.name} has changed, and the new one is not trusted`, remedy),
    );
  }
  if (before.client !== "importer" && now.client !== "importer" && before.client.cert !== now.client.cert) {
    const message = `${now.name} has a new client certificate for its peers; an older one is in use`;
    findings.push(finding("client-stale", place, message, remedy));
  }
  return findings;
}

function trusts({ ca: before }: Peer, { ca: now }: Peer, cache: ParseCache): boolean {
  if (typeof before !== "object" || typeof now !== "object") return true;
  return hasCommonCertificate(before.pem, now.pem, cache);
}

export function withOwn(peer: Peer, importer: ExtractedMember): Peer {
  const { ca, client } = ownOf(importer);
  return {
    ...peer,
    ...(peer.ca === "importer" && ca !== undefined && { ca: { pem: ca } }),
    ...(peer.client === "importer" && client && { client }),
  };
}

/**
 * What is wrong with the host aliases of workloads: they lack those of the existing config; or the config is up to date, and
 * they are not, as an import that was told not to restart leaves them.
 */
export function aliasFindings(
  planned: Plan,
  migrated: Plan,
  peer: Peer | undefined,
  other: ExtractedMember | undefined,
  place: Place,
): Finding[] {
  const importer = shellQuote(place.source);
  const missing = workloadsLacking(migrated, peer).map(({ workload, hostnames }) => {
    const template = "import-secrets --context {importer} --migrate --restart-agents";
    const message = `${workload} has no host alias for ${hostnames}`;
    return finding("host-alias-missing", place, message, { template, values: { importer } });
  });
  const isCurrent = peer !== undefined && planned.outcomes.get(peer.name) === "unchanged";
  if (missing.length > 0 || !other?.peer || !isCurrent) return missing;
  return workloadsLacking(planned, peer).map(({ workload, hostnames }) => {
    const template = "clustermesh-secrets connect {importer} {peer} --restart-agents";
    const message = `${workload} has host aliases of other addresses for ${hostnames}`;
    return finding("host-alias-missing", place, message, {
      template,
      values: { importer, peer: shellQuote(other.source) },
    });
  });
}

/** Workloads that do not resolve a peer to the addresses that an import would write. */
function workloadsLacking({ missing }: Plan, peer: Peer | undefined): { workload: string; hostnames: string }[] {
  const hosts = new Set(peer?.endpoints.map((url) => parseEndpoint(url)?.host));
  return missing
    .map(({ workload: { kind, name }, hostnames }) => ({
      workload: `${kind} ${name}`,
      hostnames: hostnames.filter((hostname) => hosts.has(hostname)).join(", "),
    }))
    .filter(({ hostnames }) => hostnames !== "");
}
