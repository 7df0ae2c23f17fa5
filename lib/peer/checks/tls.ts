/** The CA and client certificate of a peer. Pure: the clock is an argument. */

import type { X509Certificate } from "node:crypto";
import { parseEndpoint } from "../../util/address.ts";
import { ParseCache } from "../../util/parse-cache.ts";
import { allowsPurpose, buildChain, type IssuerProblem, issuerProblem, type Purpose } from "../../x509/chain.ts";
import { formatDate } from "../../x509/expiry.ts";
import { commonName, covers, formatName, subjectAltNames } from "../../x509/names.ts";
import { hasPem, isMatchingKey, PemError, readCertificates, readPrivateKey, validity } from "../../x509/pem.ts";
import type { FindingCode } from "../finding-codes.ts";
import { type Finding, finding, type Place } from "../findings.ts";
import type { Peer } from "../peer.ts";
import { checkAuthorityExpiry, checkIssuerExpiry, checkValidity, type ExpiryOptions } from "./validity.ts";

export function checkTls(peer: Peer, place: Place, now: Date, options: ExpiryOptions): Finding[] {
  const { cache = new ParseCache() } = options;
  const findings: Finding[] = [];
  let authorities: readonly X509Certificate[] | undefined;
  let unfit: Finding[] = [];
  if (peer.ca === "system") {
    findings.push(finding("system-roots", place, "the config names no CA: Cilium takes the system's roots"));
  } else if (peer.ca !== "importer") {
    if (!hasPem(peer.ca.pem)) {
      findings.push(
        finding(
          "ca-empty",
          place,
          "the CA file holds no certificate: nothing would ever verify",
          "charts up to 1.13 write it so where clustermesh.apiserver.tls.ca.cert is not set: extract the peer anew",
        ),
      );
    } else {
      authorities = attempt(readCertificates, peer.ca.pem, "ca-invalid", "the CA file");
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
    const chain = attempt(readCertificates, cert, "certificate-invalid", "the client certificate");
    const privateKey = attempt(readPrivateKey, key, "key-invalid", "the key file");
    const isKeyOf = (certificate: X509Certificate) =>
      privateKey !== undefined && cache.compare(isMatchingKey, privateKey, certificate);
    const leaf = chain?.[0];
    if (chain && leaf) {
      findings.push(...checkValidity(leaf, "client", place, now, options), ...checkUse(leaf, place));
      if (chain.slice(1).some(isKeyOf)) {
        findings.push(
          finding(
            "chain-order",
            place,
            "the client certificate stands behind others in its file, and has to come first",
          ),
        );
      } else if (privateKey && !isKeyOf(leaf)) {
        findings.push(finding("key-mismatch", place, "the private key is not that of the client certificate"));
      }
      // What is wrong with every CA was said.
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

  function attempt<T>(
    read: (pem: string) => T,
    pem: string,
    code: "ca-invalid" | "certificate-invalid" | "key-invalid",
    what: string,
  ): T | undefined {
    try {
      return cache.parse(read, pem);
    } catch (error) {
      if (!(error instanceof PemError)) throw error;
      findings.push(finding(code, place, `${what} ${error.message}`));
      return undefined;
    }
  }
}

/** What is wrong with a CA file of which no certificate lets Cilium trust a server; nothing where one of them does. */
function checkAuthorities(authorities: readonly X509Certificate[], peer: Peer, place: Place, now: Date): Finding[] {
  const findings = authorities.flatMap((ca) => {
    const flaw = authorityProblem(ca, peer, now);
    if (!flaw) return [];
    const message = `the CA file holds ${describeIssuerProblem(ca, flaw, "server")}`;
    return [finding(FILE_FLAWS[flaw], place, message, REMEDY, dataOf(flaw, "server"))];
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
 * What is wrong on the way from the client certificate up to the CA file, by which the peer's etcd judges it.
 *
 * @param unfit whether it was said already what is wrong with the CAs of the file.
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
  if (!way) {
    return [
      finding(
        "certificate-not-signed",
        place,
        "the client certificate is not signed by the peer's CA, so its etcd will refuse it",
        "extract the peer again; its CA may have changed",
      ),
    ];
  }
  return way.flatMap((issuer, i) => {
    const trusted = i === way.length - 1;
    const flaw = i === 0 || (trusted && unfit) ? undefined : flawAt(issuer, trusted);
    if (!flaw) return [];
    const codes = trusted ? CA_FLAWS : CHAIN_FLAWS;
    const message = `the client certificate comes from ${describeIssuerProblem(issuer, flaw, "client")}`;
    return [finding(codes[flaw], place, message, REMEDY, dataOf(flaw, "client"))];
  });
}

/** Of every CA of a file, of the one that the client certificate comes from, and of those between the two. */
const FILE_FLAWS: Record<IssuerProblem, FindingCode> = {
  expired: "ca-expired",
  "not-yet-valid": "certificate-not-yet-valid",
  "no-ca": "ca-invalid",
  usage: "certificate-usage",
};

const CA_FLAWS: typeof FILE_FLAWS = { ...FILE_FLAWS, "no-ca": "certificate-not-signed" };

const CHAIN_FLAWS: typeof FILE_FLAWS = { ...CA_FLAWS, expired: "certificate-expired" };

const REMEDY = "have it issued anew there, and extract the peer again";

/** An issuer, and its flaw. */
function describeIssuerProblem(issuer: X509Certificate, flaw: IssuerProblem, purpose: Purpose): string {
  const { from, until } = validity(issuer);
  const says = {
    expired: `expired on ${formatDate(until)}`,
    "not-yet-valid": `is valid only from ${formatDate(from)} on`,
    "no-ca": "is no CA that may sign",
    usage: `does not vouch for ${purpose}s: its extended key usage lacks ${purpose}Auth`,
  };
  return `${formatName(issuer.subject)}, which ${says[flaw]}`;
}

function dataOf(flaw: IssuerProblem, purpose: Purpose): Pick<Finding, "data"> {
  return flaw === "usage" ? { data: { usage: `${purpose}Auth` } } : {};
}

/** What keeps an etcd from taking a client certificate for that of a user. */
function checkUse(leaf: X509Certificate, place: Place): Finding[] {
  const findings: Finding[] = [];
  if (!allowsPurpose("client", leaf)) {
    const message = "the client certificate is not for clients: its extended key usage lacks clientAuth";
    findings.push(finding("certificate-usage", place, message, REMEDY, dataOf("usage", "client")));
  }
  if (commonName(leaf) === undefined) {
    const message = "the client certificate has no common name, so no etcd has a user for it";
    findings.push(finding("no-common-name", place, message, REMEDY));
  }
  return findings;
}
