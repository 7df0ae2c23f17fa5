/** Expiry of a cluster's own certificates and of those in its configs of peers, and the remedies for it. Pure. */

import type { X509Certificate } from "node:crypto";
import type { StoredCertificate } from "../cilium/certificate-sources.ts";
import { checkAuthorityExpiry, checkValidity, type ExpiryOptions } from "../peer/checks/validity.ts";
import type { RemedyTemplate } from "../peer/codes/code.ts";
import { type Finding, redact } from "../peer/findings.ts";
import { APISERVER, type Peer, type SourcedPeer } from "../peer/peer.ts";
import { type RenewalMethod, renewalRemedy } from "../peer/renewal.ts";
import type { ParseCache } from "../util/parse-cache.ts";
import { shellQuote } from "../util/shell.ts";
import {
  type CertificateFact,
  type CertificateUse,
  EXPIRY_WARNING_MS,
  type Expiry,
  expiresWithin,
  expiryOf,
  fingerprintOf,
} from "../x509/expiry.ts";
import { formatName } from "../x509/names.ts";
import { readCertificates, tryReadPem } from "../x509/pem.ts";
import type { ExtractedMember, Member } from "./member.ts";

/**
 * Returns the remedy for an expiring certificate of a peer, or of its importer if the config references the importer's files.
 *
 * @param context - `importers`: contexts of all clusters with the peer; `owner`: the peer's cluster, undefined without a
 *   context for it.
 */
export function peerExpiryRemedy(
  { name, ca, client }: Peer,
  certificate: CertificateFact,
  {
    importer,
    importers,
    owner,
    ...options
  }: JudgeOptions & { importer: Member; importers: readonly string[]; owner: Member | undefined },
): RemedyTemplate {
  const isOwn = certificate.use === "ca" ? ca === "importer" : certificate.use === "client" && client === "importer";
  return isOwn
    ? expiryRemedy(certificate, { ...options, owner: importer })
    : expiryRemedy(certificate, { ...options, owner, cluster: name, importers });
}

/** The reported facts of one of a cluster's own certificates. */
export interface CertificateStatus extends Expiry {
  use: CertificateUse;
  subject: string;
  /** What renews it; undefined if its Secret does not show that. */
  renewedBy?: RenewalMethod["kind"] | undefined;
}

/** A certificate that an importer's config has for a peer. */
export interface PeerCertificate extends Expiry {
  use: CertificateUse;
}

/** By which time certificates are checked. */
export interface JudgeOptions {
  now: Date;
  /** Warn about certificates that expire within this many milliseconds; 30 days by default. */
  expiresWithin?: number | undefined;
}

/** Describes the client, server and CA certificates of a cluster, as far as they can be read. */
export function describeCertificates(member: Member, { now }: Pick<JudgeOptions, "now">): CertificateStatus[] {
  const statusOf = (certificate: X509Certificate, use: CertificateUse): CertificateStatus => ({
    use,
    subject: redact(formatName(certificate.subject)),
    ...expiryOf(certificate, now),
    renewedBy: methodOf(member, use)?.kind,
  });
  const [client] = readAll(member, "client");
  const [server] = readAll(member, "server");
  return [
    ...(client ? [statusOf(client, "client")] : []),
    ...(server ? [statusOf(server, "server")] : []),
    ...readAll(member, "ca").map((one) => statusOf(one, "ca")),
  ];
}

/**
 * Describes the client certificate and the CAs in the config of a peer, as far as they can be read. Files of the importer that
 * the config refers to are among the importer's own certificates ({@link describeCertificates}).
 */
export function describePeerCertificates({ ca, client }: Peer, now: Date, cache: ParseCache): PeerCertificate[] {
  const expiriesOf = (pem: string) => cache.compare(readExpiries, pem, now);
  const [leaf] = typeof client === "object" ? expiriesOf(client.cert) : [];
  const authorities = typeof ca === "object" ? expiriesOf(ca.pem) : [];
  return [
    ...(leaf ? [{ use: "client" as const, ...leaf }] : []),
    ...authorities.map((one) => ({ use: "ca" as const, ...one })),
  ];
}

function readExpiries(pem: string, now: Date): readonly Expiry[] {
  return (tryReadPem(() => readCertificates(pem)) ?? []).map((certificate) => expiryOf(certificate, now));
}

/** Reports which of a cluster's own certificates have expired, expire soon, or are not valid yet. */
export function checkOwnCertificates(member: Member, { now, expiresWithin }: JudgeOptions): Finding[] {
  const place = { source: member.source };
  const remedyFor = (certificate: CertificateFact) => expiryRemedy(certificate, { owner: member, now, expiresWithin });
  const options: ExpiryOptions = { expiresWithin, remedyFor };
  const leaves = (["client", "server"] as const).flatMap((use) => {
    const [leaf] = readAll(member, use);
    return leaf ? checkValidity(leaf, use, place, now, options) : [];
  });
  const authorities = readAll(member, "ca");
  const expired = authorities.map((ca) => checkValidity(ca, "ca", place, now, { ...options, expiresWithin: 0 }));
  const usable = authorities.filter((_, i) => expired[i]?.length === 0);
  return [
    ...leaves,
    ...(usable.length > 0 ? checkAuthorityExpiry(usable, () => "ca", place, now, options) : expired.flat()),
  ];
}

/** Returns a cluster's current extraction with remedies for its certificates; empty if it was not extracted. */
export function extractedPeer(member: ExtractedMember, now: Date): SourcedPeer[] {
  const { peer, source } = member;
  const remedyFor = (certificate: CertificateFact) => expiryRemedy(certificate, { owner: member, now });
  return peer ? [{ peer, source, remedyFor }] : [];
}

/** The cluster of a certificate, and the importers that use it. */
export interface Ownership extends JudgeOptions {
  /** The cluster; undefined without a context for it. */
  owner: Member | undefined;
  /** The cluster name; by default that of the owner. */
  cluster?: string;
  /** Contexts of the importers; undefined for all clusters of the mesh. */
  importers?: readonly string[] | undefined;
}

/**
 * Returns the remedy for an expiring certificate: renew it in its cluster, then import it into all importers. If the cluster
 * has a new certificate already, only the import is needed, or a restart for the server certificate.
 */
export function expiryRemedy(certificate: CertificateFact, ownership: Ownership): RemedyTemplate {
  const { use, expires } = certificate;
  const { owner, importers, now, expiresWithin: within = EXPIRY_WARNING_MS } = ownership;
  const cluster = ownership.cluster ?? owner?.target.facts.name ?? owner?.source ?? "";
  if (!owner) return renewalRemedy(use, { cluster, expires, importers });
  const current = readAll(owner, use);
  const renewed =
    current.some((one) => !expiresWithin(one, within, now)) &&
    !current.some((one) => fingerprintOf(one) === certificate.fingerprint);
  if (renewed && use === "server") {
    return {
      template: `kubectl --context {context} --namespace {namespace} rollout restart deployment/${APISERVER}`,
      values: { context: shellQuote(owner.source), namespace: shellQuote(owner.installation.namespace) },
    };
  }
  return renewalRemedy(use, {
    cluster,
    context: owner.source,
    version: owner.installation.facts.version,
    method: methodOf(owner, use),
    expires,
    importers,
    renewed,
  });
}

function methodOf({ installation }: Member, use: CertificateUse): RenewalMethod | undefined {
  if (use === "ca") return undefined;
  return use === "server" ? installation.serverCertificate?.method : installation.remoteRenewalMethod;
}

/** Returns a cluster's certificates of one use; empty if they cannot be read. */
function readAll({ installation, target }: Member, use: CertificateUse): readonly X509Certificate[] {
  const { remoteCertificate, ca } = installation;
  const server: StoredCertificate | undefined = installation.serverCertificate;
  const pem = { client: remoteCertificate?.cert, server: server?.pem, ca }[use];
  if (pem === undefined) return [];
  return tryReadPem(() => target.cache.parse(readCertificates, pem)) ?? [];
}
