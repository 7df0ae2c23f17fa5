/** Subjects of certificates, and the host names that they cover by Go's rules. Pure. */

import type { X509Certificate } from "node:crypto";
import { isAddress } from "../util/address.ts";
import { ParseCache } from "../util/parse-cache.ts";
import { fingerprintOf } from "./expiry.ts";
import { readCertificates, tryReadPem } from "./pem.ts";

/** Returns the common name of the subject, which is the etcd user; undefined without one. */
export function commonName(certificate: X509Certificate): string | undefined {
  return /^CN=(.+)$/m.exec(certificate.subject ?? "")?.[1];
}

/** Formats a subject or issuer in one line. For an empty name node:crypto returns undefined. */
export function formatName(name: string | undefined): string {
  return name?.split("\n").join(", ") || "(no name)";
}

/**
 * Describes a CA bundle (PEM): its distinct certificates by subject and the first 16 digits of their SHA-256, sorted,
 * so that their order in the bundle does not matter.
 *
 * @throws PemError as {@link readCertificates}.
 */
export function describeCa(pem: string, cache = new ParseCache()): string {
  const certificates = cache.parse(readCertificates, pem);
  const descriptions = certificates.map(
    (one) => `${formatName(one.subject)} (SHA-256 ${fingerprintOf(one).slice(0, 16)}…)`,
  );
  return [...new Set(descriptions)].sort().join(" and ");
}

/** Returns the etcd user of a client certificate (PEM); undefined if it has no common name or is invalid. */
export function certificateUser(pem: string, cache = new ParseCache()): string | undefined {
  const leaf = tryReadPem(() => cache.parse(readCertificates, pem))?.[0];
  return leaf && commonName(leaf);
}

/** Returns the DNS names and addresses of a certificate; addresses in short form. */
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

/** Whether a certificate with these names is valid for `host`, by the rules of Go's `VerifyHostname`. */
export function covers(names: readonly string[], host: string): boolean {
  if (isAddress(host)) return names.includes(shortAddress(host));
  const hostname = host.toLowerCase().replace(/\.$/, "");
  const suffix = hostname.slice(hostname.indexOf("."));
  return names.some((name) => {
    const pattern = name.toLowerCase();
    return pattern === hostname || (pattern.startsWith("*.") && hostname.includes(".") && pattern.slice(1) === suffix);
  });
}

/** Shortens an IPv6 address; an IPv4-mapped address becomes IPv4. */
export function shortAddress(address: string): string {
  if (!address.includes(":")) return address;
  const short = new URL(`http://[${address}]`).hostname.slice(1, -1);
  const mapped = /^::ffff:([0-9a-f]+):([0-9a-f]+)$/.exec(short);
  if (!mapped) return short;
  const [high, low] = [Number.parseInt(mapped[1] ?? "", 16), Number.parseInt(mapped[2] ?? "", 16)];
  return [high >> 8, high & 255, low >> 8, low & 255].join(".");
}
