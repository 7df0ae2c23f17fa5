/** CAs and client certificates, generated on demand and cached for the process. */
import { type Issuer, issue, type LeafOptions, makeCa } from "../../lib/sandbox/pki.ts";

export type { Issuer };

/** Reference time of certificate checks. */
export const NOW = new Date();
export const DAY = 86_400_000;

const cache = new Map<string, unknown>();

function getOrMake<T>(key: string, make: () => T): T {
  if (!cache.has(key)) cache.set(key, make());
  return cache.get(key) as T;
}

/** Returns the ECDSA root CA of a name. */
export function caOf(name: string): Issuer {
  return getOrMake(`ca ${name}`, () => makeCa({ cn: `${name} CA` }));
}

/** Returns the RSA root CA of a name. */
export function rsaCaOf(name: string): Issuer {
  return getOrMake(`rsa ca ${name}`, () => makeCa({ cn: `${name} CA`, key: "rsa" }));
}

/** Returns the intermediate CA below {@link caOf} of the same name. */
export function intermediateOf(name: string): Issuer {
  return getOrMake(`intermediate ${name}`, () => makeCa({ cn: `${name} intermediate`, issuer: caOf(name) }));
}

/** Returns a client certificate; `serial` distinguishes certificates with the same common name. */
export function clientOf(ca: Issuer, cn = "remote", serial = 0): { cert: string; key: string } {
  return getOrMake(`client ${cn} ${serial} ${ca.cert}`, () => issue(ca, { cn, usage: "client" }));
}

/** Issues a new client certificate, uncached. */
export function freshClient(ca: Issuer, options: Partial<LeafOptions> = {}): { cert: string; key: string } {
  return issue(ca, { cn: "remote", usage: "client", ...options });
}

/**
 * Returns a copy of a certificate with another serial number and therefore an invalid signature, for tests where only the
 * size matters: generating hundreds of RSA keys takes minutes.
 */
export function withSerial(pem: string, serial: number): string {
  const der = Buffer.from(pem.replace(/-----[^-]+-----|\s/g, ""), "base64");
  // After the headers of two sequences (4 bytes each) and the version (5 bytes): INTEGER of 16 bytes.
  if (der.readUInt16BE(13) !== 0x0210) throw new Error("serial number not found at byte 13");
  der.writeUInt32BE(serial, 20);
  const lines = der.toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
}
