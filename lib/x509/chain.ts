/** Chains of certificates, as Go verifies them. Pure. */

import type { X509Certificate } from "node:crypto";
import { ParseCache } from "../util/parse-cache.ts";
import { readCertificates, tryReadPem, validity } from "./pem.ts";

/** What a certificate is used for: a server's, or a client's. */
export type Purpose = "server" | "client";

const PURPOSES: Record<Purpose, string> = { server: "1.3.6.1.5.5.7.3.1", client: "1.3.6.1.5.5.7.3.2" };

const ANY_PURPOSE = "2.5.29.37.0";

/** Whether its extended key usage lets a certificate be used for this: it has none, or lists this or any. */
export function allowsPurpose(purpose: Purpose, certificate: X509Certificate): boolean {
  // So node:crypto calls the extended one.
  const usages = certificate.keyUsage ?? [];
  return usages.length === 0 || usages.includes(PURPOSES[purpose]) || usages.includes(ANY_PURPOSE);
}

/** Why a certificate does not vouch for others. */
export type IssuerProblem = "expired" | "not-yet-valid" | "no-ca" | "usage";

/** What keeps Go from taking a certificate for the issuer of a server's or client's; undefined where nothing does. */
export function issuerProblem(
  issuer: X509Certificate,
  trusted: boolean,
  purpose: Purpose,
  now: Date,
): IssuerProblem | undefined {
  const { from, until } = validity(issuer);
  if (until < now) return "expired";
  if (from > now) return "not-yet-valid";
  if (!maySign(issuer, trusted)) return "no-ca";
  return allowsPurpose(purpose, issuer) ? undefined : "usage";
}

/** Whether it is a CA whose key usage, where it has one, lets it sign. X.509 v1 cannot say so: where trusted, it may. */
function maySign(issuer: X509Certificate, trusted: boolean): boolean {
  return issuer.ca || (trusted && isFirstVersion(issuer.raw));
}

/** In DER the serial number, an INTEGER, comes first in v1, else the version. */
function isFirstVersion(der: Buffer): boolean {
  const within = (sequence: Buffer) =>
    sequence.subarray(2 + ((sequence[1] ?? 0) < 0x80 ? 0 : (sequence[1] ?? 0) & 0x7f));
  return within(within(der))[0] === 0x02;
}

/** The certificates from the first of a chain up to a trusted one, each signed by the next. */
export type Chain = readonly X509Certificate[];

/**
 * The way from the first of `chain` up to one of `trusted`, over the others of the chain where needed, as Go's `Verify`
 * climbs. Not judged is what node:crypto does not tell: how long a CA lets the way be, for which names it vouches, and
 * by which algorithm it signed.
 *
 * @param takes whether an issuer will do.
 */
export function buildChain(
  chain: readonly X509Certificate[],
  trusted: readonly X509Certificate[],
  takes: (issuer: X509Certificate, trusted: boolean) => boolean,
  cache = new ParseCache(),
): Chain | undefined {
  const [leaf, ...intermediates] = chain;
  if (!leaf) return undefined;
  if (trusted.some((ca) => ca.fingerprint256 === leaf.fingerprint256)) return [leaf];
  const seen = new Set<X509Certificate>();
  const hasSigned = (issuer: X509Certificate, certificate: X509Certificate) =>
    cache.compare(isSigner, issuer, certificate);
  const climb = (certificate: X509Certificate): Chain | undefined => {
    seen.add(certificate);
    const ca = trusted.find((issuer) => hasSigned(issuer, certificate) && takes(issuer, true));
    if (ca) return [certificate, ca];
    for (const issuer of intermediates) {
      if (seen.has(issuer) || !hasSigned(issuer, certificate) || !takes(issuer, false)) continue;
      const way = climb(issuer);
      if (way) return [certificate, ...way];
    }
    return undefined;
  };
  return climb(leaf);
}

/**
 * Whether a certificate (PEM, with its chain) is signed by a CA of a bundle; false where one cannot be read. Dates are
 * not judged.
 */
export function isSignedBy(cert: string, ca: string, cache = new ParseCache()): boolean {
  const built = tryReadPem(() =>
    buildChain(cache.parse(readCertificates, cert), cache.parse(readCertificates, ca), maySign, cache),
  );
  return built !== undefined;
}

/** Whether two bundles (PEM) have a certificate in common; false where one cannot be read. */
export function hasCommonCertificate(a: string, b: string, cache = new ParseCache()): boolean {
  const [known, others] = [fingerprintsOf(a, cache), fingerprintsOf(b, cache)];
  return known !== undefined && others !== undefined && [...others].some((one) => known.has(one));
}

/** Whether every certificate of `part` stands in `bundle` (both PEM); false where one cannot be read. */
export function hasAllCertificates(bundle: string, part: string, cache = new ParseCache()): boolean {
  const [known, others] = [fingerprintsOf(bundle, cache), fingerprintsOf(part, cache)];
  return known !== undefined && others !== undefined && [...others].every((one) => known.has(one));
}

/** The fingerprints of the certificates of a bundle (PEM); undefined where it cannot be read. */
function fingerprintsOf(pem: string, cache: ParseCache): Set<string> | undefined {
  const certificates = tryReadPem(() => cache.parse(readCertificates, pem));
  return certificates && new Set(certificates.map(({ fingerprint256 }) => fingerprint256));
}

/** By name and signature, as Go judges it: OpenSSL wants key identifiers to agree too, which a CA made anew may change. */
function isSigner(issuer: X509Certificate, certificate: X509Certificate): boolean {
  return issuer.subject === certificate.issuer && certificate.verify(issuer.publicKey);
}
