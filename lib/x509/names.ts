/** Subjects of certificates, and the hosts that they cover, as Go matches them. Pure. */

import type { X509Certificate } from "node:crypto";
import { isAddress } from "../util/address.ts";
import { ParseCache } from "../util/parse-cache.ts";
import { readCertificates, tryReadPem } from "./pem.ts";

/** The common name of the subject, which etcd takes as the user; undefined where it has none. */
export function commonName(certificate: X509Certificate): string | undefined {
  return /^CN=(.+)$/m.exec(certificate.subject ?? "")?.[1];
}

/** A subject or issuer in one line. Of an empty one node:crypto says that it is undefined. */
export function formatName(name: string | undefined): string {
  return name?.split("\n").join(", ") || "(no name)";
}

/** The etcd user that a client certificate (PEM) comes as; undefined where it has none, or cannot be read. */
export function certificateUser(pem: string, cache = new ParseCache()): string | undefined {
  const leaf = tryReadPem(() => cache.parse(readCertificates, pem))?.[0];
  return leaf && commonName(leaf);
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
