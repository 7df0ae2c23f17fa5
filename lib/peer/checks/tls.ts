/** Checks of the CA and client certificate of a peer. Pure: the time is an argument. */

import type { X509Certificate } from "node:crypto";
import { parseEndpoint } from "../../util/address.ts";
import { ParseCache } from "../../util/parse-cache.ts";
import { allowsPurpose, buildChain, type IssuerProblem, issuerProblem } from "../../x509/chain.ts";
import { formatDate, formatTime } from "../../x509/expiry.ts";
import { commonName, covers, formatName, subjectAltNames } from "../../x509/names.ts";
import { hasPem, isMatchingKey, PemError, readCertificates, readPrivateKey, validity } from "../../x509/pem.ts";
import type { IssuerFlaw } from "../codes/certificate-codes.ts";
import { type Finding, finding, type Place } from "../findings.ts";
import type { Peer } from "../peer.ts";
import { checkAuthorityExpiry, checkIssuerExpiry, checkValidity, type ExpiryOptions } from "./validity.ts";

/**
 * Checks the CA and client certificate of a peer: whether they are valid at `now`, match each other, and are accepted
 * by etcd, which verifies them as Go does.
 */
export function checkTls(peer: Peer, place: Place, now: Date, options: ExpiryOptions): Finding[] {
  const { cache = new ParseCache() } = options;
  const findings: Finding[] = [];
  let authorities: readonly X509Certificate[] | undefined;
  let authorityFindings: Finding[] = [];
  if (peer.ca === "system") {
    findings.push(finding("system-roots", place, {}));
  } else if (peer.ca !== "importer") {
    if (!hasPem(peer.ca.pem)) findings.push(finding("ca-empty", place, {}));
    else {
      authorities = parse(readCertificates, peer.ca.pem, "ca-invalid");
      if (authorities) {
        authorityFindings = checkAuthorities(authorities, peer, place, now);
        const usable = authorities.filter((ca) => authorityProblem(ca, peer, now) === undefined);
        const useOf = (ca: X509Certificate) => (issuerProblem(ca, true, "server", now) === undefined ? "ca" : "server");
        findings.push(...authorityFindings, ...checkAuthorityExpiry(usable, useOf, place, now, options));
      }
    }
  }
  if (peer.client !== "importer") {
    const { cert, key } = peer.client;
    const chain = parse(readCertificates, cert, "certificate-invalid");
    const privateKey = parse(readPrivateKey, key, "key-invalid");
    const isKeyOf = (certificate: X509Certificate) =>
      privateKey !== undefined && cache.compare(isMatchingKey, privateKey, certificate);
    const leaf = chain?.[0];
    if (chain && leaf) {
      findings.push(...checkValidity(leaf, "client", place, now, options), ...checkUse(leaf, place));
      if (chain.slice(1).some(isKeyOf)) findings.push(finding("chain-order", place, {}));
      else if (privateKey && !isKeyOf(leaf)) findings.push(finding("key-mismatch", place, {}));
      if (authorities) {
        const reported = new Set(findings.map(({ certificate }) => certificate?.fingerprint));
        findings.push(
          ...checkIssuers(chain, authorities, authorityFindings.length > 0, place, now, cache),
          ...checkIssuerExpiry(chain, authorities, place, now, options).filter(
            ({ certificate }) => !reported.has(certificate?.fingerprint),
          ),
        );
      }
    }
  }
  return findings;

  function parse<T>(
    read: (pem: string) => T,
    pem: string,
    code: "ca-invalid" | "certificate-invalid" | "key-invalid",
  ): T | undefined {
    try {
      return cache.parse(read, pem);
    } catch (error) {
      if (!(error instanceof PemError)) throw error;
      findings.push(finding(code, place, { problem: error.message }));
      return undefined;
    }
  }
}

/** Reports all certificates of a CA file if none of them lets Cilium verify a server. */
function checkAuthorities(authorities: readonly X509Certificate[], peer: Peer, place: Place, now: Date): Finding[] {
  const findings = authorities.flatMap((ca) => {
    const flaw = authorityProblem(ca, peer, now);
    return flaw ? [issuerFinding(FILE_FLAWS[flaw], place, ca, { position: "ca-file", flaw, purpose: "server" })] : [];
  });
  return findings.length === authorities.length ? findings : [];
}

function authorityProblem(ca: X509Certificate, peer: Peer, now: Date): IssuerProblem | undefined {
  const flaw = issuerProblem(ca, true, "server", now);
  return flaw === "no-ca" && isServer(ca, peer) ? undefined : flaw;
}

/** Whether a certificate may be the server certificate itself, which needs no CA if it is trusted. */
function isServer(certificate: X509Certificate, { endpoints }: Peer): boolean {
  const names = subjectAltNames(certificate);
  return allowsPurpose("server", certificate) && endpoints.some((url) => covers(names, parseEndpoint(url)?.host ?? ""));
}

/**
 * Checks the chain from the client certificate to a CA of the file, with which the peer's etcd verifies it.
 *
 * @param hasAuthorityFindings - whether the CAs of the file have been reported already.
 */
function checkIssuers(
  chain: readonly X509Certificate[],
  authorities: readonly X509Certificate[],
  hasAuthorityFindings: boolean,
  place: Place,
  now: Date,
  cache: ParseCache,
): Finding[] {
  const problemOf = (issuer: X509Certificate, trusted: boolean) => issuerProblem(issuer, trusted, "client", now);
  const isAcceptable = (issuer: X509Certificate, trusted: boolean) => problemOf(issuer, trusted) === undefined;
  if (buildChain(chain, authorities, isAcceptable, cache)) return [];
  const path = buildChain(chain, authorities, () => true, cache);
  if (!path) return [finding("certificate-not-signed", place, {})];
  return path.flatMap((issuer, i) => {
    const trusted = i === path.length - 1;
    const flaw = i === 0 || (trusted && hasAuthorityFindings) ? undefined : problemOf(issuer, trusted);
    if (!flaw) return [];
    const codes = trusted ? CA_FLAWS : CHAIN_FLAWS;
    return [issuerFinding(codes[flaw], place, issuer, { position: "issuer", flaw, purpose: "client" })];
  });
}

type IssuerCode =
  | "ca-expired"
  | "ca-invalid"
  | "certificate-expired"
  | "certificate-not-signed"
  | "certificate-not-yet-valid"
  | "certificate-usage";

/** Codes for CAs of a file that cannot verify a server. */
const FILE_FLAWS: Record<IssuerProblem, IssuerCode> = {
  expired: "ca-expired",
  "not-yet-valid": "certificate-not-yet-valid",
  "no-ca": "ca-invalid",
  usage: "certificate-usage",
};

/** Codes for the CA of the file at the end of the client certificate's chain. */
const CA_FLAWS: typeof FILE_FLAWS = { ...FILE_FLAWS, "no-ca": "certificate-not-signed" };

/** Codes for intermediate CAs of that chain. */
const CHAIN_FLAWS: typeof FILE_FLAWS = { ...CA_FLAWS, expired: "certificate-expired" };

function issuerFinding(
  code: IssuerCode,
  place: Place,
  issuer: X509Certificate,
  flaw: Pick<IssuerFlaw, "position" | "flaw" | "purpose">,
): Finding {
  const { from, until } = validity(issuer);
  const values = {
    ...flaw,
    subject: formatName(issuer.subject),
    validFrom: formatTime(from),
    expires: formatDate(until),
    usage: `${flaw.purpose}Auth`,
  };
  return finding(code, place, values);
}

/** Checks that etcd can authenticate a user by the client certificate. */
function checkUse(leaf: X509Certificate, place: Place): Finding[] {
  return [
    ...(allowsPurpose("client", leaf) ? [] : [finding("certificate-usage", place, { usage: "clientAuth" })]),
    ...(commonName(leaf) === undefined ? [finding("no-common-name", place, {})] : []),
  ];
}
