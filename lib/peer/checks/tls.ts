/** The CA and client certificate of a peer. Pure: the clock is an argument. */

import type { X509Certificate } from "node:crypto";
import { parseEndpoint } from "../../util/address.ts";
import { ParseCache } from "../../util/parse-cache.ts";
import { allowsPurpose, buildChain, type IssuerProblem, issuerProblem } from "../../x509/chain.ts";
import { formatDate } from "../../x509/expiry.ts";
import { commonName, covers, formatName, subjectAltNames } from "../../x509/names.ts";
import { hasPem, isMatchingKey, PemError, readCertificates, readPrivateKey, validity } from "../../x509/pem.ts";
import type { IssuerFlaw } from "../codes/certificate-codes.ts";
import { type Finding, finding, type Place } from "../findings.ts";
import type { Peer } from "../peer.ts";
import { checkAuthorityExpiry, checkIssuerExpiry, checkValidity, type ExpiryOptions } from "./validity.ts";

/**
 * Checks the CA and client certificate of a peer: that they are valid now, belong together, and are accepted by etcd, which
 * verifies them as Go does.
 */
export function checkTls(peer: Peer, place: Place, now: Date, options: ExpiryOptions): Finding[] {
  const { cache = new ParseCache() } = options;
  const findings: Finding[] = [];
  let authorities: readonly X509Certificate[] | undefined;
  let unfit: Finding[] = [];
  if (peer.ca === "system") {
    findings.push(finding("system-roots", place, {}));
  } else if (peer.ca !== "importer") {
    if (!hasPem(peer.ca.pem)) findings.push(finding("ca-empty", place, {}));
    else {
      authorities = parse(readCertificates, peer.ca.pem, "ca-invalid");
      if (authorities) {
        unfit = checkAuthorities(authorities, peer, place, now);
        const usable = authorities.filter((ca) => authorityProblem(ca, peer, now) === undefined);
        const useOf = (ca: X509Certificate) => (issuerProblem(ca, true, "server", now) === undefined ? "ca" : "server");
        findings.push(...unfit, ...checkAuthorityExpiry(usable, useOf, place, now, options));
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
          ...checkIssuers(chain, authorities, unfit.length > 0, place, now, cache),
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

/** What is wrong with a CA file of which no certificate lets Cilium trust a server; nothing where one of them does. */
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

/** Whether it may be the server's certificate itself, which, trusted as it is, needs no CA. */
function isServer(certificate: X509Certificate, { endpoints }: Peer): boolean {
  const names = subjectAltNames(certificate);
  return allowsPurpose("server", certificate) && endpoints.some((url) => covers(names, parseEndpoint(url)?.host ?? ""));
}

/**
 * Checks the chain from the client certificate up to the CA file, by which the peer's etcd verifies it.
 *
 * @param unfit - whether findings about the CAs of the file exist already.
 */
function checkIssuers(
  chain: readonly X509Certificate[],
  authorities: readonly X509Certificate[],
  unfit: boolean,
  place: Place,
  now: Date,
  cache: ParseCache,
): Finding[] {
  const flawAt = (issuer: X509Certificate, trusted: boolean) => issuerProblem(issuer, trusted, "client", now);
  const vouches = (issuer: X509Certificate, trusted: boolean) => flawAt(issuer, trusted) === undefined;
  if (buildChain(chain, authorities, vouches, cache)) return [];
  const way = buildChain(chain, authorities, () => true, cache);
  if (!way) return [finding("certificate-not-signed", place, {})];
  return way.flatMap((issuer, i) => {
    const trusted = i === way.length - 1;
    const flaw = i === 0 || (trusted && unfit) ? undefined : flawAt(issuer, trusted);
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

/** Of every CA of a file, of the one that the client certificate comes from, and of those between the two. */
const FILE_FLAWS: Record<IssuerProblem, IssuerCode> = {
  expired: "ca-expired",
  "not-yet-valid": "certificate-not-yet-valid",
  "no-ca": "ca-invalid",
  usage: "certificate-usage",
};

const CA_FLAWS: typeof FILE_FLAWS = { ...FILE_FLAWS, "no-ca": "certificate-not-signed" };

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
    from: formatDate(from),
    until: formatDate(until),
    usage: `${flaw.purpose}Auth`,
  };
  return finding(code, place, values);
}

/** What keeps an etcd from taking a client certificate for that of a user. */
function checkUse(leaf: X509Certificate, place: Place): Finding[] {
  return [
    ...(allowsPurpose("client", leaf) ? [] : [finding("certificate-usage", place, { usage: "clientAuth" })]),
    ...(commonName(leaf) === undefined ? [finding("no-common-name", place, {})] : []),
  ];
}
