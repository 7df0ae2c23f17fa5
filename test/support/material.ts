/** CAs and client certificates for tests, each made once a process and only when it is asked for. */
import { type Issuer, issue, type LeafOptions, makeCa } from "../../lib/sandbox/pki.ts";

export type { Issuer };

/** The time that tests judge certificates by. */
export const NOW = new Date();
export const DAY = 86_400_000;

const made = new Map<string, unknown>();

function once<T>(key: string, make: () => T): T {
  if (!made.has(key)) made.set(key, make());
  return made.get(key) as T;
}

/** An ECDSA root CA; the same name is the same CA. */
export function caOf(name: string): Issuer {
  return once(`ca ${name}`, () => makeCa({ cn: `${name} CA` }));
}

/** An RSA root CA. */
export function rsaCaOf(name: string): Issuer {
  return once(`rsa ca ${name}`, () => makeCa({ cn: `${name} CA`, key: "rsa" }));
}

/** An intermediate CA below {@link caOf} of the same name. */
export function intermediateOf(name: string): Issuer {
  return once(`intermediate ${name}`, () => makeCa({ cn: `${name} intermediate`, issuer: caOf(name) }));
}

/** A client certificate with this common name. `serial` tells several of one name apart. */
export function clientOf(ca: Issuer, cn = "remote", serial = 0): { cert: string; key: string } {
  return once(`client ${cn} ${serial} ${ca.cert}`, () => issue(ca, { cn, usage: "client" }));
}

/** A client certificate that is like no other; not kept. */
export function freshClient(ca: Issuer, options: Partial<LeafOptions> = {}): { cert: string; key: string } {
  return issue(ca, { cn: "remote", usage: "client", ...options });
}

/**
 * Another certificate of the same size: the serial number is another, so the signature is void. For what only counts
 * bytes: making hundreds of RSA keys takes minutes.
 */
export function withSerial(pem: string, serial: number): string {
  const der = Buffer.from(pem.replace(/-----[^-]+-----|\s/g, ""), "base64");
  // Behind the two outer sequences (4 bytes each) and the version (5): INTEGER of 16 bytes.
  if (der.readUInt16BE(13) !== 0x0210) throw new Error("the serial number is not where it was expected");
  der.writeUInt32BE(serial, 20);
  const lines = der.toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
}
