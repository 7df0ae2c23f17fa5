/** Parses certificates and private keys in PEM, of each key type that node:crypto supports. Pure. */
import { createHash, createPrivateKey, type KeyObject, sign, verify, X509Certificate } from "node:crypto";
import { ParseCache } from "../util/parse-cache.ts";

// As in Go, blocks begin at the start of a line. Excluding `-----` from the body keeps the search linear.
const BLOCK = /^-----BEGIN ([A-Z0-9 ]+)-----(?:(?!-----)[\s\S])*-----END \1-----/gm;

/**
 * A PEM text is invalid. The message continues the name of the file (`contains no PEM certificate`), and never quotes
 * the content.
 */
export class PemError extends Error {}

/** Returns the result of `read`; undefined if it throws a PemError, for callers that do not report invalid PEM. */
export function tryReadPem<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof PemError) return undefined;
    throw error;
  }
}

/** Whether `text` has a PEM block. Cilium reads a CA file without one as an empty pool, without an error. */
export function hasPem(text: string): boolean {
  return text.search(BLOCK) !== -1;
}

/** Returns the certificate blocks of a PEM text, valid or not. */
export function certificateBlocks(pem: string): string[] {
  return pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
}

/**
 * Parses the certificates of a PEM text, in order.
 *
 * @throws PemError if there is no certificate, a certificate is invalid, or there is another block (Cilium rejects a
 *   config whose CA file contains one).
 */
export function readCertificates(pem: string): readonly X509Certificate[] {
  const certificates: X509Certificate[] = [];
  for (const [block, label] of pem.matchAll(BLOCK)) {
    if (label !== "CERTIFICATE") throw new PemError(`contains a ${label}, expected certificates only`);
    try {
      const certificate = new X509Certificate(block);
      const { from, until } = validity(certificate);
      // Go rejects an invalid time; OpenSSL does not.
      if (Number.isNaN(from.getTime() + until.getTime())) throw new Error("bad time");
      // Throws if the key is invalid, which OpenSSL only checks on first use.
      certificate.publicKey;
      certificates.push(certificate);
    } catch {
      throw new PemError(`contains an invalid certificate (number ${certificates.length + 1})`);
    }
  }
  if (certificates.length === 0) throw new PemError("contains no PEM certificate");
  if (pem.split("-----BEGIN ").length - 1 !== certificates.length) throw new PemError("contains a truncated PEM block");
  return certificates;
}

/**
 * Parses the private key of a PEM text.
 *
 * @throws PemError if the key is missing, invalid or encrypted (Cilium has no passphrase).
 */
export function readPrivateKey(pem: string): KeyObject {
  if (/^Proc-Type:.*ENCRYPTED|BEGIN ENCRYPTED PRIVATE KEY/m.test(pem)) throw new PemError("is encrypted");
  if (!/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(pem)) throw new PemError("contains no PEM private key");
  try {
    return createPrivateKey(pem);
  } catch {
    // The message of OpenSSL is omitted, since it might reveal parts of the key.
    throw new PemError("contains an invalid private key");
  }
}

/**
 * Whether a private key belongs to a certificate, and can be used with it: the file of an EC or RSA key also contains the
 * public half, which can be intact if the private half is damaged.
 */
export function isMatchingKey(key: KeyObject, certificate: X509Certificate): boolean {
  return certificate.checkPrivateKey(key) && canSign(key, certificate);
}

function canSign(key: KeyObject, { publicKey }: X509Certificate): boolean {
  // Other types have no public half in their file, or need parameters to sign.
  if (key.asymmetricKeyType !== "ec" && key.asymmetricKeyType !== "rsa") return true;
  const text = Buffer.from("test");
  try {
    return verify("sha256", text, publicKey, sign("sha256", text, key));
  } catch {
    return false;
  }
}

/** Formats certificates as PEM, each with a final newline. */
export function formatCertificates(certificates: readonly X509Certificate[]): string {
  return certificates.map((certificate) => `${certificate.toString().trim()}\n`).join("");
}

/**
 * Returns the canonical form of a CA bundle: its distinct certificates without comments, sorted by fingerprint. Bundles
 * with the same certificates have the same canonical form.
 *
 * @throws PemError as {@link readCertificates}.
 */
export function normalizeCa(pem: string, cache = new ParseCache()): string {
  const certificates = cache.parse(readCertificates, pem);
  const unique = new Map(certificates.map((certificate) => [certificate.fingerprint256, certificate]));
  return formatCertificates([...unique.keys()].sort().map((key) => unique.get(key) as X509Certificate));
}

/** Returns the first 16 hexadecimal digits of the SHA-256 of a text, which identify a CA bundle. */
export function contentHash(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 16);
}

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** Returns the validity period of a certificate. `Date.parse` would read the year 0050 as 1950. */
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

const KEY_MARK = "PRIVATEKEY-----";

/** The mark, with its space, in base64 at each of its three possible offsets. */
const ENCODED_MARKS = [0, 1, 2].map((shift) =>
  Buffer.concat([Buffer.alloc(shift), Buffer.from("PRIVATE KEY-----")])
    .toString("base64")
    .slice(4, -4),
);

/** The first bytes of gzip in base64, at the beginning of a value. */
const COMPRESSED = /(?:^|[^A-Za-z0-9+/])H4sIA/;

/**
 * Whether a text may contain a private key: in PEM, or in base64 of PEM at any offset, with line breaks and escaped line
 * breaks at any place. Compressed data in base64 may contain one too.
 */
export function mayContainPrivateKey(text: string): boolean {
  const compact = text.replace(/(?:\\+[nr]|\s)+/g, "");
  return [KEY_MARK, ...ENCODED_MARKS].some((mark) => compact.includes(mark)) || COMPRESSED.test(text);
}
