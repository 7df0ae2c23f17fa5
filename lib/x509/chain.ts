/** Certificate chains, verified by the rules of Go's `crypto/x509`. Pure. */

import type { X509Certificate } from "node:crypto";
import { ParseCache } from "../util/parse-cache.ts";
import { readCertificates, tryReadPem, validity } from "./pem.ts";

export type Purpose = "server" | "client";

const PURPOSES: Record<Purpose, string> = { server: "1.3.6.1.5.5.7.3.1", client: "1.3.6.1.5.5.7.3.2" };

const ANY_PURPOSE = "2.5.29.37.0";

/** Whether the extended key usage of a certificate, if present, includes a purpose or any purpose. */
export function allowsPurpose(purpose: Purpose, certificate: X509Certificate): boolean {
  // In node:crypto `keyUsage` is the extended key usage.
  const usages = certificate.keyUsage ?? [];
  return usages.length === 0 || usages.includes(PURPOSES[purpose]) || usages.includes(ANY_PURPOSE);
}

/** Why a certificate is not a valid issuer. */
export type IssuerProblem = "expired" | "not-yet-valid" | "no-ca" | "usage";

/** Returns why Go rejects a certificate as the issuer of a server or client certificate; undefined if it accepts it. */
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

/** Whether a certificate is a CA that may sign. X.509 v1 has no such extensions; its certificates may sign if trusted. */
function maySign(issuer: X509Certificate, trusted: boolean): boolean {
  return issuer.ca || (trusted && isFirstVersion(issuer.raw));
}

/** Whether DER is X.509 v1: its first field is the serial number (INTEGER), in later versions the version. */
function isFirstVersion(der: Buffer): boolean {
  const contentOf = (sequence: Buffer) =>
    sequence.subarray(2 + ((sequence[1] ?? 0) < 0x80 ? 0 : (sequence[1] ?? 0) & 0x7f));
  return contentOf(contentOf(der))[0] === 0x02;
}

/** The certificates from a leaf to a trusted one, each signed by the next. */
export type Chain = readonly X509Certificate[];

/**
 * Builds a chain from the first certificate of `chain` to one of `trusted`, as Go's `Verify` does; the other certificates
 * of `chain` are intermediates. Path length, name constraints and signature algorithms are not checked, since
 * node:crypto does not expose them.
 *
 * @param isAcceptable - decides whether an issuer may be used.
 * @returns undefined if there is no chain.
 */
export function buildChain(
  chain: readonly X509Certificate[],
  trusted: readonly X509Certificate[],
  isAcceptable: (issuer: X509Certificate, trusted: boolean) => boolean,
  cache = new ParseCache(),
): Chain | undefined {
  const [leaf, ...intermediates] = chain;
  if (!leaf) return undefined;
  if (trusted.some((ca) => ca.fingerprint256 === leaf.fingerprint256)) return [leaf];
  const seen = new Set<X509Certificate>();
  const hasSigned = (issuer: X509Certificate, certificate: X509Certificate) =>
    cache.compare(isSigner, issuer, certificate);
  const extend = (certificate: X509Certificate): Chain | undefined => {
    seen.add(certificate);
    const ca = trusted.find((issuer) => hasSigned(issuer, certificate) && isAcceptable(issuer, true));
    if (ca) return [certificate, ca];
    for (const issuer of intermediates) {
      if (seen.has(issuer) || !hasSigned(issuer, certificate) || !isAcceptable(issuer, false)) continue;
      const rest = extend(issuer);
      if (rest) return [certificate, ...rest];
    }
    return undefined;
  };
  return extend(leaf);
}

/**
 * Whether a certificate (PEM, followed by its chain) is signed by a CA of a bundle (PEM), regardless of validity periods.
 * False if either is invalid.
 */
export function isSignedBy(cert: string, ca: string, cache = new ParseCache()): boolean {
  const built = tryReadPem(() =>
    buildChain(cache.parse(readCertificates, cert), cache.parse(readCertificates, ca), maySign, cache),
  );
  return built !== undefined;
}

/** Whether two bundles (PEM) have a certificate in common; false if either is invalid. */
export function hasCommonCertificate(a: string, b: string, cache = new ParseCache()): boolean {
  const [first, second] = [fingerprintsOf(a, cache), fingerprintsOf(b, cache)];
  return first !== undefined && second !== undefined && [...second].some((fingerprint) => first.has(fingerprint));
}

/** Whether `bundle` contains each certificate of `part` (both PEM); false if either is invalid. */
export function hasAllCertificates(bundle: string, part: string, cache = new ParseCache()): boolean {
  const [all, required] = [fingerprintsOf(bundle, cache), fingerprintsOf(part, cache)];
  return all !== undefined && required !== undefined && [...required].every((fingerprint) => all.has(fingerprint));
}

/** The fingerprints of the certificates of a bundle (PEM); undefined if it is invalid. */
function fingerprintsOf(pem: string, cache: ParseCache): Set<string> | undefined {
  const certificates = tryReadPem(() => cache.parse(readCertificates, pem));
  return certificates && new Set(certificates.map(({ fingerprint256 }) => fingerprint256));
}

/** Compares name and signature, as Go does. OpenSSL also compares key identifiers, which a renewed CA may change. */
function isSigner(issuer: X509Certificate, certificate: X509Certificate): boolean {
  return issuer.subject === certificate.issuer && certificate.verify(issuer.publicKey);
}
