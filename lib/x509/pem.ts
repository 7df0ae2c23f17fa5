/** Certificates and keys in PEM, of any key type, read by node:crypto. Pure. */
import { createHash, createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { ParseCache } from "../util/parse-cache.ts";

// As Go finds them: from the start of a line. A body holds no dashes in a row, which keeps the search linear.
const BLOCK = /^-----BEGIN ([A-Z0-9 ]+)-----(?:(?!-----)[\s\S])*-----END \1-----/gm;

/** Thrown where a PEM text does not hold what it should. Its message names what, never the content. */
export class PemError extends Error {}

/** What is made of PEM texts; undefined where one of them cannot be read, which is reported elsewhere. */
export function tryReadPem<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof PemError) return undefined;
    throw error;
  }
}

/** Whether there is any PEM block in `text`. Cilium takes a CA file without one for an empty pool, without an error. */
export function hasPem(text: string): boolean {
  return text.search(BLOCK) !== -1;
}

/** The blocks of certificates in a PEM text, each a text of its own, whether they can be read or not. */
export function certificateBlocks(pem: string): string[] {
  return pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
}

/**
 * All certificates of a PEM text, in its order.
 *
 * @throws PemError where there is none, or where a block is something else (Cilium refuses a config whose CA file
 *   holds such a block) or cannot be read.
 */
export function readCertificates(pem: string): readonly X509Certificate[] {
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
  return certificates;
}

/**
 * The private key of a PEM text.
 *
 * @throws PemError where there is none, or it is encrypted: Cilium cannot ask for a passphrase.
 */
export function readPrivateKey(pem: string): KeyObject {
  if (/^Proc-Type:.*ENCRYPTED|BEGIN ENCRYPTED PRIVATE KEY/m.test(pem)) throw new PemError("is encrypted");
  if (!/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(pem)) throw new PemError("holds no private key in PEM form");
  try {
    return createPrivateKey(pem);
  } catch {
    // The message of OpenSSL is left out on purpose: nothing of a key may come near a terminal.
    throw new PemError("holds a private key that cannot be read");
  }
}

/** Whether a private key is that of the certificate. */
export function isMatchingKey(key: KeyObject, certificate: X509Certificate): boolean {
  return certificate.checkPrivateKey(key);
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
export function normalizeCa(pem: string, cache = new ParseCache()): string {
  const certificates = cache.parse(readCertificates, pem);
  const unique = new Map(certificates.map((certificate) => [certificate.fingerprint256, certificate]));
  return formatCertificates([...unique.keys()].sort().map((key) => unique.get(key) as X509Certificate));
}

/** The first 16 hexadecimal digits of the SHA-256 of a text: enough to tell CA bundles apart, and short. */
export function contentHash(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 16);
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
