/** Checks of validity and expiry of certificates. Pure: the time is an argument. */
import type { X509Certificate } from "node:crypto";
import type { ParseCache } from "../../util/parse-cache.ts";
import { buildChain, issuerProblem } from "../../x509/chain.ts";
import {
  addMilliseconds,
  type CertificateFact,
  type CertificateUse,
  certificateFact,
  EXPIRY_WARNING_MS,
  expiresWithin,
  formatTime,
} from "../../x509/expiry.ts";
import { formatName } from "../../x509/names.ts";
import { validity } from "../../x509/pem.ts";
import type { RemedyTemplate } from "../codes/code.ts";
import type { FindingCode } from "../finding-codes.ts";
import { type Finding, finding, type Place } from "../findings.ts";

/** Options for reports of expiring certificates. */
export interface ExpiryOptions {
  /** Warn about certificates that expire within this many milliseconds; 30 days by default. */
  expiresWithin?: number | undefined;
  /** The remedy for an expiring or expired certificate; by default a remedy for its file. */
  remedyFor?: ((certificate: CertificateFact) => RemedyTemplate | string) | undefined;
  /** Certificates that were parsed earlier. */
  cache?: ParseCache | undefined;
}

/** The codes for validity, by the use of the certificate. */
const VALIDITY = {
  client: {
    expires: "certificate-expires",
    expired: "certificate-expired",
    future: "certificate-not-yet-valid",
  },
  server: {
    expires: "server-certificate-expires",
    expired: "server-certificate-expired",
    future: "server-certificate-expired",
  },
  ca: { expires: "ca-expires", expired: "ca-expired", future: "certificate-not-yet-valid" },
} as const satisfies Record<CertificateUse, Record<"expires" | "expired" | "future", FindingCode>>;

/** Checks that a certificate is valid at `now`, and warns if it expires soon. */
export function checkValidity(
  certificate: X509Certificate,
  use: CertificateUse,
  place: Place,
  now: Date,
  options: ExpiryOptions = {},
): Finding[] {
  const { expiresWithin: within = EXPIRY_WARNING_MS, remedyFor } = options;
  const { from, until } = validity(certificate);
  const { expired, future } = VALIDITY[use];
  if (from > now) return [finding(future, place, { use, validFrom: formatTime(from) })];
  if (until < now) {
    const fact = certificateFact(certificate, use, now);
    return [finding(expired, place, { use, expires: fact.expires }, { certificate: fact, remedy: remedyFor?.(fact) })];
  }
  return expiresWithin(certificate, within, now) ? [expiryWarning(certificate, use, place, now, options)] : [];
}

function expiryWarning(
  certificate: X509Certificate,
  use: CertificateUse,
  place: Place,
  now: Date,
  { remedyFor }: ExpiryOptions,
): Finding {
  const fact = certificateFact(certificate, use, now);
  const { daysLeft, expires } = fact;
  const values = { use, daysLeft, expires, ...(use === "ca" && { subject: formatName(certificate.subject) }) };
  const remedy = remedyFor?.(fact) ?? remedyForFile(use, place);
  return finding(VALIDITY[use].expires, place, values, { certificate: fact, remedy });
}

/** Returns the remedy if only the file of a cluster is known. */
function remedyForFile(use: CertificateUse, { key, source }: Place): RemedyTemplate {
  const template =
    use === "ca"
      ? "create a new CA in {cluster}, and let importers trust it before it is used: " +
        "clustermesh-secrets rotate {cluster} --trust NEW-CA.crt --all-contexts"
      : "renew it in {cluster}, then re-extract {cluster} and import the new file";
  return { template, values: { cluster: key ?? source } };
}

/**
 * Warns about the usable certificate of a CA file that expires last, if it expires soon. While a CA is being replaced,
 * the file also contains the new one.
 *
 * @param usable - the certificates with which Cilium can verify a server at `now`.
 * @param useOf - returns whether a certificate is a CA or the server certificate itself.
 */
export function checkAuthorityExpiry(
  usable: readonly X509Certificate[],
  useOf: (certificate: X509Certificate) => CertificateUse,
  place: Place,
  now: Date,
  options: ExpiryOptions,
): Finding[] {
  const [last] = [...usable].sort((a, b) => validity(b).until.getTime() - validity(a).until.getTime());
  if (!last || !expiresWithin(last, options.expiresWithin ?? EXPIRY_WARNING_MS, now)) return [];
  return [expiryWarning(last, useOf(last), place, now, options)];
}

/**
 * Warns about expiring issuers in the chain from a client certificate to the CA file, unless another chain remains
 * valid.
 */
export function checkIssuerExpiry(
  chain: readonly X509Certificate[],
  authorities: readonly X509Certificate[],
  place: Place,
  now: Date,
  options: ExpiryOptions,
): Finding[] {
  const within = options.expiresWithin ?? EXPIRY_WARNING_MS;
  const buildChainAt = (time: Date) => {
    const isAcceptable = (issuer: X509Certificate, trusted: boolean) =>
      issuerProblem(issuer, trusted, "client", time) === undefined;
    return buildChain(chain, authorities, isAcceptable, options.cache);
  };
  const path = buildChainAt(now);
  if (!path || buildChainAt(addMilliseconds(within, now))) return [];
  const root = path.at(-1);
  return path
    .slice(1)
    .filter((issuer) => expiresWithin(issuer, within, now))
    .map((issuer) =>
      issuer === root
        ? expiryWarning(issuer, "ca", place, now, options)
        : intermediateWarning(issuer, place, now, options),
    );
}

/** Creates the warning about an intermediate CA, which is renewed and imported together with the client certificate. */
function intermediateWarning(issuer: X509Certificate, place: Place, now: Date, { remedyFor }: ExpiryOptions): Finding {
  const fact = certificateFact(issuer, "client", now);
  const { use, daysLeft, expires } = fact;
  const values = { use, daysLeft, expires, subject: formatName(issuer.subject), isIntermediate: true } as const;
  const remedy = remedyFor?.(fact) ?? remedyForFile("client", place);
  return finding("certificate-expires", place, values, { certificate: fact, remedy });
}
