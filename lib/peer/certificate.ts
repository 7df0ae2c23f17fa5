/** Certificates and keys in PEM, of any key type. Reading is node:crypto's; judging is as Go does it. Pure. */
import { createHash, createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { isAddress } from "./address.ts";

// As Go finds them: from the start of a line. A body holds no dashes in a row, which keeps the search linear.
const BLOCK = /^-----BEGIN ([A-Z0-9 ]+)-----(?:(?!-----)[\s\S])*-----END \1-----/gm;

/** Thrown where a PEM text does not hold what it should. Its message names what, never the content. */
export class PemError extends Error {}

/** Whether there is any PEM block in `text`. Cilium takes a CA file without one for an empty pool, without an error. */
export function hasPem(text: string): boolean {
  return text.search(BLOCK) !== -1;
}

/** The blocks of certificates in a PEM text, each a text of its own, whether they can be read or not. */
export function certificateBlocks(pem: string): string[] {
  return pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
}

/** The same texts are read again for every peer, Secret and target, and reading one takes half a millisecond. */
const parsed = new Map<string, readonly X509Certificate[]>();

/**
 * All certificates of a PEM text, in its order.
 *
 * @throws PemError where there is none, or where a block is something else (Cilium refuses a config whose CA file
 *   holds such a block) or cannot be read.
 */
export function readCertificates(pem: string): readonly X509Certificate[] {
  const known = parsed.get(pem);
  if (known) return known;
  const certificates: X509Certificate[] = [];
  for (const [block, label] of pem.matchAll(BLOCK)) {
    if (label !== "CERTIFICATE") throw new PemError(`holds a ${label} where a certificate is expected`);
    try {
      const certificate = new X509Certificate(block);
      const { from, until } = validity(certificate);
      // Go refuses a certificate without a time; OpenSSL reads it as one.
      if (Number.isNaN(from.getTime() + until.getTime())) throw new Error("bad time");
      // It throws where the key is none; OpenSSL asks only when it is used.
      certificate.publicKey;
      certificates.push(certificate);
    } catch {
      throw new PemError(`certificate ${certificates.length + 1} cannot be read`);
    }
  }
  if (certificates.length === 0) throw new PemError("holds no certificate in PEM form");
  if (pem.split("-----BEGIN ").length - 1 !== certificates.length) throw new PemError("is cut off within a PEM block");
  parsed.set(pem, certificates);
  return certificates;
}

/** As for certificates: in a mesh each key is judged once for every cluster that has it. */
const keys = new Map<string, KeyObject>();

/**
 * The private key of a PEM text.
 *
 * @throws PemError where there is none, or it is encrypted: Cilium cannot ask for a passphrase.
 */
export function readPrivateKey(pem: string): KeyObject {
  if (/^Proc-Type:.*ENCRYPTED|BEGIN ENCRYPTED PRIVATE KEY/m.test(pem)) throw new PemError("is encrypted");
  if (!/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(pem)) throw new PemError("holds no private key in PEM form");
  try {
    const key = keys.get(pem) ?? createPrivateKey(pem);
    keys.set(pem, key);
    return key;
  } catch {
    // The message of OpenSSL is left out on purpose: nothing of a key may come near a terminal.
    throw new PemError("holds a private key that cannot be read");
  }
}

/** Pairs that were tried, of the objects that {@link readCertificates} and {@link readPrivateKey} keep. */
const fitting = new WeakMap<X509Certificate, WeakMap<KeyObject, boolean>>();

/** Whether a private key is that of the certificate. */
export function keyFits(key: KeyObject, certificate: X509Certificate): boolean {
  const tried = fitting.get(certificate) ?? new WeakMap<KeyObject, boolean>();
  fitting.set(certificate, tried);
  const known = tried.get(key) ?? certificate.checkPrivateKey(key);
  tried.set(key, known);
  return known;
}

/** The certificates as PEM, each ending in a newline. */
export function formatCertificates(certificates: readonly X509Certificate[]): string {
  return certificates.map((certificate) => `${certificate.toString().trim()}\n`).join("");
}

/**
 * A CA bundle in one canonical form: its certificates without comments, each once, in the order of their bytes. Two
 * bundles of the same certificates are equal texts.
 *
 * @throws PemError as {@link readCertificates}.
 */
export function normalizeCa(pem: string): string {
  const unique = new Map(readCertificates(pem).map((certificate) => [certificate.fingerprint256, certificate]));
  return formatCertificates([...unique.keys()].sort().map((key) => unique.get(key) as X509Certificate));
}

/** The first 16 hexadecimal digits of the SHA-256 of a text: enough to tell CA bundles apart, and short. */
export function contentHash(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 16);
}

/** The common name of the subject, which etcd takes as the user; undefined where it has none. */
export function commonName(certificate: X509Certificate): string | undefined {
  return /^CN=(.+)$/m.exec(certificate.subject ?? "")?.[1];
}

/** A subject or issuer in one line. Of an empty one node:crypto says that it is undefined. */
export function nameOf(name: string | undefined): string {
  return name?.split("\n").join(", ") || "(no name)";
}

/** The etcd user that a client certificate (PEM) comes as; undefined where it has none, or cannot be read. */
export function certificateUser(pem: string): string | undefined {
  try {
    const [leaf] = readCertificates(pem);
    return leaf && commonName(leaf);
  } catch (error) {
    if (error instanceof PemError) return undefined;
    throw error;
  }
}

/** The DNS names and addresses that a certificate covers; addresses in their short form. */
export function subjectAltNames(certificate: { subjectAltName?: string | undefined }): string[] {
  const text = certificate.subjectAltName ?? "";
  const names: string[] = [];
  for (const match of text.matchAll(/(DNS|IP Address):("(?:[^"\\]|\\.)*"|[^,]*)/g)) {
    const raw = match[2] ?? "";
    const value = raw.startsWith('"') ? (JSON.parse(raw) as string) : raw;
    names.push(match[1] === "IP Address" ? shortAddress(value) : value);
  }
  return names;
}

/** Whether a certificate with these names is valid for `host`, as Go's `VerifyHostname` judges it. */
export function covers(names: readonly string[], host: string): boolean {
  if (isAddress(host)) return names.includes(shortAddress(host));
  const wanted = host.toLowerCase().replace(/\.$/, "");
  const suffix = wanted.slice(wanted.indexOf("."));
  return names.some((name) => {
    const pattern = name.toLowerCase();
    return pattern === wanted || (pattern.startsWith("*.") && wanted.includes(".") && pattern.slice(1) === suffix);
  });
}

/** An address as certificates are read here: IPv6 in its short form, IPv4 in it as IPv4. */
export function shortAddress(address: string): string {
  if (!address.includes(":")) return address;
  const short = new URL(`http://[${address}]`).hostname.slice(1, -1);
  const mapped = /^::ffff:([0-9a-f]+):([0-9a-f]+)$/.exec(short);
  if (!mapped) return short;
  const [high, low] = [Number.parseInt(mapped[1] ?? "", 16), Number.parseInt(mapped[2] ?? "", 16)];
  return [high >> 8, high & 255, low >> 8, low & 255].join(".");
}

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** From when and until when a certificate is valid. Read by us: `Date.parse` takes the year 0050 for 1950. */
export function validity(certificate: X509Certificate): { from: Date; until: Date } {
  return { from: parseDate(certificate.validFrom), until: parseDate(certificate.validTo) };
}

function parseDate(text: string): Date {
  const match = /^(\w{3})\s+(\d+) (\d+):(\d+):(\d+)(?:\.\d+)? (\d+) GMT$/.exec(text);
  if (!match) return new Date(Number.NaN);
  const [day, hours, minutes, seconds, year] = match.slice(2, 7).map(Number) as [
    number,
    number,
    number,
    number,
    number,
  ];
  const date = new Date(0);
  date.setUTCFullYear(year, MONTHS.indexOf(match[1] ?? ""), day);
  date.setUTCHours(hours, minutes, seconds);
  return date;
}

/** What a certificate is used for: a server's, or a client's. */
export type Purpose = "server" | "client";

const PURPOSES: Record<Purpose, string> = { server: "1.3.6.1.5.5.7.3.1", client: "1.3.6.1.5.5.7.3.2" };
const ANY_PURPOSE = "2.5.29.37.0";

/** Whether its extended key usage lets a certificate be used for this: it has none, or lists this or any. */
export function isFor(purpose: Purpose, certificate: X509Certificate): boolean {
  // So node:crypto calls the extended one.
  const usages = certificate.keyUsage ?? [];
  return usages.length === 0 || usages.includes(PURPOSES[purpose]) || usages.includes(ANY_PURPOSE);
}

/** Why a certificate does not vouch for others. */
export type Flaw = "expired" | "not-yet-valid" | "no-ca" | "usage";

/** What keeps Go from taking a certificate for the issuer of a server's or client's; undefined where nothing does. */
export function flawOf(issuer: X509Certificate, trusted: boolean, purpose: Purpose, now: Date): Flaw | undefined {
  const { from, until } = validity(issuer);
  if (until < now) return "expired";
  if (from > now) return "not-yet-valid";
  if (!maySign(issuer, trusted)) return "no-ca";
  return isFor(purpose, issuer) ? undefined : "usage";
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
export type Way = readonly X509Certificate[];

/**
 * The way from the first of `chain` up to one of `trusted`, over the others of the chain where needed, as Go's `Verify`
 * climbs. Not judged is what node:crypto does not tell: how long a CA lets the way be, for which names it vouches, and
 * by which algorithm it signed.
 *
 * @param takes whether an issuer will do.
 */
export function wayUp(
  chain: readonly X509Certificate[],
  trusted: readonly X509Certificate[],
  takes: (issuer: X509Certificate, trusted: boolean) => boolean,
): Way | undefined {
  const [leaf, ...intermediates] = chain;
  if (!leaf) return undefined;
  if (trusted.some((ca) => ca.fingerprint256 === leaf.fingerprint256)) return [leaf];
  const seen = new Set<X509Certificate>();
  const climb = (certificate: X509Certificate): Way | undefined => {
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
export function signedBy(cert: string, ca: string): boolean {
  return readable(() => wayUp(readCertificates(cert), readCertificates(ca), maySign) !== undefined);
}

/** Whether two bundles (PEM) have a certificate in common; false where one cannot be read. */
export function overlap(a: string, b: string): boolean {
  return readable(() => {
    const known = new Set(readCertificates(a).map(({ fingerprint256 }) => fingerprint256));
    return readCertificates(b).some(({ fingerprint256 }) => known.has(fingerprint256));
  });
}

/** Whether every certificate of `part` stands in `bundle` (both PEM); false where one cannot be read. */
export function includesAll(bundle: string, part: string): boolean {
  return readable(() => {
    const known = new Set(readCertificates(bundle).map(({ fingerprint256 }) => fingerprint256));
    return readCertificates(part).every(({ fingerprint256 }) => known.has(fingerprint256));
  });
}

/** False where a PEM cannot be read: that is said elsewhere. */
function readable(judge: () => boolean): boolean {
  try {
    return judge();
  } catch (error) {
    if (error instanceof PemError) return false;
    throw error;
  }
}

/** Verified signatures, by the fingerprints of both. */
const signed = new Map<string, boolean>();

/** By name and signature, as Go judges it: OpenSSL wants key identifiers to agree too, which a CA made anew may change. */
function hasSigned(issuer: X509Certificate, certificate: X509Certificate): boolean {
  if (issuer.subject !== certificate.issuer) return false;
  const pair = issuer.fingerprint256 + certificate.fingerprint256;
  const known = signed.get(pair) ?? certificate.verify(issuer.publicKey);
  signed.set(pair, known);
  return known;
}
