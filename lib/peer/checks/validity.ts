/** Whether certificates are valid now, and for long enough. Pure: the clock is an argument. */
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
  formatDate,
} from "../../x509/expiry.ts";
import { formatName } from "../../x509/names.ts";
import { validity } from "../../x509/pem.ts";
import type { RemedyTemplate } from "../codes/code.ts";
import type { FindingCode } from "../finding-codes.ts";
import { type Finding, finding, type Place } from "../findings.ts";

/** How certificates that expire are judged. */
export interface ExpiryOptions {
  /** Milliseconds within which one that expires is warned of; 30 days by default. */
  expiresWithin?: number | undefined;
  /** What to do about one that expires, or has expired; by default what can be done with a file of its cluster. */
  remedyFor?: ((certificate: CertificateFact) => RemedyTemplate | string) | undefined;
  /** Holds what was parsed already. */
  cache?: ParseCache | undefined;
}

/** The codes for the time for which certificates are valid. */
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

/** What is wrong with the time for which a certificate is valid; a warning about one that expires soon. */
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
  if (from > now) return [finding(future, place, { use, from: formatDate(from) })];
  if (until < now) {
    const fact = certificateFact(certificate, use, now);
    return [finding(expired, place, { use, until: fact.until }, { certificate: fact, remedy: remedyFor?.(fact) })];
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
  const { days, until } = fact;
  const values = { use, days, until, ...(use === "ca" && { subject: formatName(certificate.subject) }) };
  const remedy = remedyFor?.(fact) ?? remedyForFile(use, place);
  return finding(VALIDITY[use].expires, place, values, { certificate: fact, remedy });
}

/** What can be done by whoever has only the file of a cluster. */
function remedyForFile(use: CertificateUse, { key, source }: Place): RemedyTemplate {
  const template =
    use === "ca"
      ? "create a new CA in {cluster}, and let importers trust it before it is used: " +
        "clustermesh-secrets rotate {cluster} --trust NEW-CA.crt --all-contexts"
      : "renew it in {cluster}, then re-extract {cluster} and import the new file";
  return { template, values: { cluster: key ?? source } };
}

/**
 * A warning about a CA file of which no certificate lets Cilium trust a server for much longer: about the one that
 * expires last. While a CA is being changed, the file holds the new one too.
 *
 * @param usable - its certificates that do so now.
 * @param useOf - what each of them is: a CA, or the server's certificate itself.
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
 * Warnings about issuers on the way from a client certificate up to the CA file that expire, if no other way is left
 * then.
 */
export function checkIssuerExpiry(
  chain: readonly X509Certificate[],
  authorities: readonly X509Certificate[],
  place: Place,
  now: Date,
  options: ExpiryOptions,
): Finding[] {
  const within = options.expiresWithin ?? EXPIRY_WARNING_MS;
  const wayAt = (time: Date) => {
    const vouches = (issuer: X509Certificate, trusted: boolean) =>
      issuerProblem(issuer, trusted, "client", time) === undefined;
    return buildChain(chain, authorities, vouches, options.cache);
  };
  const way = wayAt(now);
  if (!way || wayAt(addMilliseconds(within, now))) return [];
  const root = way.at(-1);
  return way
    .slice(1)
    .filter((issuer) => expiresWithin(issuer, within, now))
    .map((issuer) =>
      issuer === root
        ? expiryWarning(issuer, "ca", place, now, options)
        : intermediateWarning(issuer, place, now, options),
    );
}

/** An intermediate CA is renewed and imported together with the client certificate. */
function intermediateWarning(issuer: X509Certificate, place: Place, now: Date, { remedyFor }: ExpiryOptions): Finding {
  const fact = certificateFact(issuer, "client", now);
  const { use, days, until } = fact;
  const values = { use, days, until, subject: formatName(issuer.subject), isIntermediate: true } as const;
  const remedy = remedyFor?.(fact) ?? remedyForFile("client", place);
  return finding("certificate-expires", place, values, { certificate: fact, remedy });
}
