/** Inspects the peers of files: would they connect, where to, as whom and until when? Pure: the clock is an argument. */
import type { X509Certificate } from "node:crypto";
import { parseEndpoint } from "../util/address.ts";
import { ParseCache } from "../util/parse-cache.ts";
import { type Expiry, expiryOf, formatDate } from "../x509/expiry.ts";
import { commonName, covers, formatName, subjectAltNames } from "../x509/names.ts";
import { isMatchingKey, readCertificates, readPrivateKey, tryReadPem, validity } from "../x509/pem.ts";
import { checkPeer } from "./checks/check-peer.ts";
import { checkLoopbackAddresses, checkNodeLocal } from "./checks/endpoint.ts";
import { checkTogether } from "./checks/mesh.ts";
import type { ExpiryOptions } from "./checks/validity.ts";
import { hasTrait } from "./finding-codes.ts";
import { dedupeFindings, type Finding, redact, truncateLine } from "./findings.ts";
import type { Layout } from "./layout.ts";
import { isNodeLocal } from "./node-local.ts";
import type { Peer, SourcedPeer } from "./peer.ts";

/** What is public of a certificate. */
export interface CertificateReport extends Expiry {
  subject: string;
  issuer: string;
  /** Names and addresses that it covers. */
  names: string[];
  /** "RSA 2048", "EC prime256v1", … */
  key: string;
  /** The day from which it is valid, `YYYY-MM-DD`. */
  from: string;
}

export interface EndpointReport {
  url: string;
  /** What its name stands for, by the host aliases. */
  addresses: string[];
  /** Whether the server certificate covers it; undefined if the file does not contain its names. */
  covered: boolean | undefined;
}

/**
 * `default-certificates`: it connects only to certificates that cover an address, which those of the chart do not;
 * `node-local`: only an agent on a node can reach it, so that no import takes the file.
 */
export type Verdict = "connects" | "warnings" | "default-certificates" | "node-local" | "fails";

/** The report of one peer. Its texts are redacted ({@link redact}), so they contain no key. */
export interface PeerReport {
  name: string;
  source: string;
  layout: Layout;
  id?: number | undefined;
  version?: string | undefined;
  verdict: Verdict;
  endpoints: EndpointReport[];
  /** `importer`: its own serves; `system`: the system's roots. */
  ca: CertificateReport[] | "importer" | "system";
  client: CertificateReport | "importer" | undefined;
  /** Whether the key is that of the client certificate; undefined where one of them is not there or cannot be read. */
  keyFits?: boolean | undefined;
  /** The etcd user as which it authenticates: the certificate's common name. */
  user?: string | undefined;
  findings: Finding[];
}

export interface Inspection {
  peers: PeerReport[];
  /** Files that cannot be judged, or not all of them: peers in them are not among {@link peers}. */
  refused: string[];
  /** What is about no one peer: files that cannot be read, and what does not fit together. */
  findings: Finding[];
}

/**
 * Judges peers as an import would, without a target.
 *
 * @param found - what was found when they were read.
 * @param now - the time to judge certificates by.
 */
export function inspectPeers(
  peers: readonly SourcedPeer[],
  found: readonly Finding[],
  now: Date,
  options: Pick<ExpiryOptions, "expiresWithin" | "cache"> = {},
): Inspection {
  const { expiresWithin, cache = new ParseCache() } = options;
  const own = peers.flatMap((one) => [...checkNodeLocal(one), ...checkPeer(one, now, { expiresWithin, cache })]);
  const loopback = peers.flatMap(({ peer, source }) => checkLoopbackAddresses(peer, { source, key: peer.name }));
  const all = dedupeFindings([...found, ...own, ...loopback, ...checkTogether(peers)]);
  const byPeer = new Map<string, Finding[]>();
  const others: Finding[] = [];
  // As findings call them.
  for (const { peer } of peers) byPeer.set(redact(peer.name), []);
  for (const one of all) ((one.key === undefined ? undefined : byPeer.get(one.key)) ?? others).push(one);
  const reports = peers.map((sourced) => {
    const name = redact(sourced.peer.name);
    const own = byPeer.get(name) ?? [];
    // A symmetric finding is in the report of one of the two clusters, and applies to both.
    const shared = all.filter((one) => one.clusters?.includes(name) && !own.includes(one));
    return { ...reportOf(sourced, own, now, cache), verdict: verdictOf(sourced.peer, [...own, ...shared]) };
  });
  const refused = new Set(others.filter((one) => hasTrait(one, "illegible")).map(({ source }) => source));
  return { peers: reports, refused: [...refused], findings: others };
}

function reportOf(
  { peer, source, layout = "other" }: SourcedPeer,
  findings: Finding[],
  now: Date,
  cache: ParseCache,
): Omit<PeerReport, "verdict"> {
  const { name, ca, client, facts } = peer;
  const chain = client === "importer" ? undefined : certificatesOf(client.cert, cache);
  const leaf = chain?.[0];
  const user = leaf && commonName(leaf);
  return {
    name: redact(name),
    source: truncateLine(source),
    layout,
    id: facts.id,
    version: facts.version === undefined ? undefined : redact(facts.version),
    endpoints: endpointsOf(peer),
    ca: typeof ca === "string" ? ca : (certificatesOf(ca.pem, cache) ?? []).map((one) => describe(one, now)),
    client: client === "importer" ? client : leaf && describe(leaf, now),
    keyFits:
      client === "importer" || !leaf
        ? undefined
        : tryReadPem(() => cache.compare(isMatchingKey, cache.parse(readPrivateKey, client.key), leaf)),
    user: user === undefined ? undefined : redact(user),
    findings,
  };
}

function verdictOf({ endpoints }: Peer, findings: readonly Finding[]): Verdict {
  if (isNodeLocal(endpoints)) return "node-local";
  if (findings.some(({ severity }) => severity === "error")) return "fails";
  if (findings.some((one) => hasTrait(one, "undecided"))) return "default-certificates";
  return findings.length > 0 ? "warnings" : "connects";
}

function endpointsOf({ endpoints, hostAliases, facts: { serverNames } }: Peer): EndpointReport[] {
  return endpoints.map((url) => {
    const host = parseEndpoint(url)?.host;
    return {
      url: redact(url),
      addresses: (hostAliases.find(({ hostname }) => hostname === host)?.ips ?? []).map(redact),
      covered: serverNames && host !== undefined ? covers(serverNames, host) : undefined,
    };
  });
}

/** Undefined if the text contains no readable certificate, for which there is a finding. */
function certificatesOf(pem: string, cache: ParseCache): readonly X509Certificate[] | undefined {
  return tryReadPem(() => cache.parse(readCertificates, pem));
}

function describe(certificate: X509Certificate, now: Date): CertificateReport {
  return {
    subject: redact(formatName(certificate.subject)),
    issuer: redact(formatName(certificate.issuer)),
    names: subjectAltNames(certificate).map(redact),
    key: keyOf(certificate),
    from: formatDate(validity(certificate).from),
    ...expiryOf(certificate, now),
  };
}

function keyOf({ publicKey }: X509Certificate): string {
  const { asymmetricKeyType: type = "unknown", asymmetricKeyDetails: details = {} } = publicKey;
  const size = details.modulusLength ?? details.namedCurve;
  return [type.toUpperCase(), ...(size === undefined ? [] : [size])].join(" ");
}
