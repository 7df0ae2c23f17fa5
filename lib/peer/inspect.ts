/**
 * Inspects the peers of files: endpoints, certificates, etcd user, and whether they would connect. Pure: the time is an
 * argument.
 */
import type { X509Certificate } from "node:crypto";
import { parseEndpoint } from "../util/address.ts";
import { truncateLine } from "../util/line.ts";
import { ParseCache } from "../util/parse-cache.ts";
import { type Expiry, expiryOf, formatDate } from "../x509/expiry.ts";
import { commonName, covers, formatName, subjectAltNames } from "../x509/names.ts";
import { isMatchingKey, readCertificates, readPrivateKey, tryReadPem, validity } from "../x509/pem.ts";
import { checkPeer } from "./checks/check-peer.ts";
import { checkLoopbackAddresses, checkNodeLocal } from "./checks/endpoint.ts";
import { checkTogether } from "./checks/mesh.ts";
import type { ExpiryOptions } from "./checks/validity.ts";
import { hasTrait } from "./finding-codes.ts";
import { dedupeFindings, type Finding, redact } from "./findings.ts";
import type { Layout } from "./layout.ts";
import { isNodeLocal } from "./node-local.ts";
import type { Peer, SourcedPeer } from "./peer.ts";

/** The public data of a certificate. */
export interface CertificateReport extends Expiry {
  subject: string;
  issuer: string;
  /** The DNS names and addresses that it covers. */
  names: string[];
  /** Type and size of the key: `RSA 2048`, `EC prime256v1`. */
  key: string;
  /** The first day of its validity, `YYYY-MM-DD`. */
  validFrom: string;
}

export interface EndpointReport {
  url: string;
  /** The addresses of its name in the host aliases. */
  addresses: string[];
  /** Whether the server certificate covers it; undefined if the file does not contain the names of the certificate. */
  covered: boolean | undefined;
}

/**
 * `default-certificates`: connects only if the server certificate covers an address, unlike those of the chart;
 * `node-local`: reachable only from the same node, so imports reject the file.
 */
export type Verdict = "connects" | "warnings" | "default-certificates" | "node-local" | "fails";

/** The report of one peer. Its texts are redacted ({@link redact}), so they contain no keys. */
export interface PeerReport {
  name: string;
  source: string;
  layout: Layout;
  id?: number | undefined;
  version?: string | undefined;
  verdict: Verdict;
  endpoints: EndpointReport[];
  /** `importer`: the importer's own CA; `system`: the system's trusted roots. */
  ca: CertificateReport[] | "importer" | "system";
  client: CertificateReport | "importer" | undefined;
  /** Whether the key matches the client certificate; undefined if one of them is missing or unreadable. */
  keyMatches?: boolean | undefined;
  /** The etcd user of its importers: the common name of the client certificate. */
  user?: string | undefined;
  findings: Finding[];
}

export interface Inspection {
  peers: PeerReport[];
  /** Files that are unreadable, entirely or in part: {@link peers} lacks some or all of their peers. */
  unreadable: string[];
  /** Findings that are not about a single peer: unreadable files, and peers that conflict. */
  findings: Finding[];
}

/**
 * Checks peers as an import would, without a target.
 *
 * @param found - the findings from reading the files.
 * @param now - the time at which certificates must be valid.
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
  // Keys of findings are redacted, too.
  for (const { peer } of peers) byPeer.set(redact(peer.name), []);
  for (const one of all) ((one.key === undefined ? undefined : byPeer.get(one.key)) ?? others).push(one);
  const reports = peers.map((sourced) => {
    const name = redact(sourced.peer.name);
    const own = byPeer.get(name) ?? [];
    // A symmetric finding is reported for one of the two clusters, but affects the verdict on both.
    const shared = all.filter((one) => one.clusters?.includes(name) && !own.includes(one));
    return { ...createReport(sourced, own, now, cache), verdict: determineVerdict(sourced.peer, [...own, ...shared]) };
  });
  const refused = new Set(others.filter((one) => hasTrait(one, "illegible")).map(({ source }) => source));
  return { peers: reports, unreadable: [...refused], findings: others };
}

function createReport(
  { peer, source, layout = "other" }: SourcedPeer,
  findings: Finding[],
  now: Date,
  cache: ParseCache,
): Omit<PeerReport, "verdict"> {
  const { name, ca, client, facts } = peer;
  const chain = client === "importer" ? undefined : parseCertificates(client.cert, cache);
  const leaf = chain?.[0];
  const user = leaf && commonName(leaf);
  return {
    name: redact(name),
    source: truncateLine(source),
    layout,
    id: facts.id,
    version: facts.version === undefined ? undefined : redact(facts.version),
    endpoints: describeEndpoints(peer),
    ca:
      typeof ca === "string"
        ? ca
        : (parseCertificates(ca.pem, cache) ?? []).map((one) => describeCertificate(one, now)),
    client: client === "importer" ? client : leaf && describeCertificate(leaf, now),
    keyMatches:
      client === "importer" || !leaf
        ? undefined
        : tryReadPem(() => cache.compare(isMatchingKey, cache.parse(readPrivateKey, client.key), leaf)),
    user: user === undefined ? undefined : redact(user),
    findings,
  };
}

function determineVerdict({ endpoints }: Peer, findings: readonly Finding[]): Verdict {
  if (isNodeLocal(endpoints)) return "node-local";
  if (findings.some(({ severity }) => severity === "error")) return "fails";
  if (findings.some((one) => hasTrait(one, "undecided"))) return "default-certificates";
  return findings.length > 0 ? "warnings" : "connects";
}

function describeEndpoints({ endpoints, hostAliases, facts: { serverNames } }: Peer): EndpointReport[] {
  return endpoints.map((url) => {
    const host = parseEndpoint(url)?.host;
    return {
      url: redact(url),
      addresses: (hostAliases.find(({ hostname }) => hostname === host)?.ips ?? []).map(redact),
      covered: serverNames && host !== undefined ? covers(serverNames, host) : undefined,
    };
  });
}

/** Parses certificates; undefined if they are unreadable, which has been reported as a finding. */
function parseCertificates(pem: string, cache: ParseCache): readonly X509Certificate[] | undefined {
  return tryReadPem(() => cache.parse(readCertificates, pem));
}

function describeCertificate(certificate: X509Certificate, now: Date): CertificateReport {
  return {
    subject: redact(formatName(certificate.subject)),
    issuer: redact(formatName(certificate.issuer)),
    names: subjectAltNames(certificate).map(redact),
    key: formatKeyType(certificate),
    validFrom: formatDate(validity(certificate).from),
    ...expiryOf(certificate, now),
  };
}

function formatKeyType({ publicKey }: X509Certificate): string {
  const { asymmetricKeyType: type = "unknown", asymmetricKeyDetails: details = {} } = publicKey;
  const size = details.modulusLength ?? details.namedCurve;
  return [type.toUpperCase(), ...(size === undefined ? [] : [size])].join(" ");
}
