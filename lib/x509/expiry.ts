/** How long certificates are valid, in one form everywhere. Pure: the clock is an argument. */
import type { X509Certificate } from "node:crypto";
import { validity } from "./pem.ts";

const DAY = 86_400_000;

/** Certificates that expire within so many milliseconds are warned of, unless something else is asked for. */
export const EXPIRY_WARNING_MS = 30 * DAY;

/** The greatest number of milliseconds that a Date can hold. */
const LAST_TIME = 8.64e15;

/** What a certificate is used for in a mesh. */
export type CertificateUse = "client" | "server" | "ca";

/** Until when a certificate is valid. */
export interface Expiry {
  /** The day on which it expires, in UTC: `YYYY-MM-DD`. */
  until: string;
  /** Whole days until then; negative after it. */
  days: number;
}

/** A certificate that a finding is about. */
export interface CertificateFact extends Expiry {
  use: CertificateUse;
  /** SHA-256 of the certificate, in lower-case hexadecimal digits: by it, one that several clusters have is known. */
  fingerprint: string;
}

/** Until when a certificate is valid. */
export function expiryOf(certificate: X509Certificate, now: Date): Expiry {
  const { until } = validity(certificate);
  return { until: formatDate(until), days: Math.floor((until.getTime() - now.getTime()) / DAY) };
}

/** What findings hold of a certificate. */
export function certificateFact(certificate: X509Certificate, use: CertificateUse, now: Date): CertificateFact {
  return { use, ...expiryOf(certificate, now), fingerprint: fingerprintOf(certificate) };
}

/** SHA-256 of a certificate, in lower-case hexadecimal digits. */
export function fingerprintOf({ fingerprint256 }: X509Certificate): string {
  return fingerprint256.replaceAll(":", "").toLowerCase();
}

/** Whether a certificate expires within so many milliseconds, or has expired. */
export function expiresWithin(certificate: X509Certificate, milliseconds: number, now: Date): boolean {
  return validity(certificate).until.getTime() - now.getTime() < milliseconds;
}

/** The time so many milliseconds from now, or the last that there is. */
export function addMilliseconds(milliseconds: number, now: Date): Date {
  return new Date(Math.min(now.getTime() + milliseconds, LAST_TIME));
}

/** A day without its time, in UTC: `YYYY-MM-DD`. Years after 9999 have more digits, and a sign. */
export function formatDate(date: Date): string {
  const text = date.toISOString();
  return text.slice(0, text.indexOf("T"));
}

/** As `until 2029-11-23 (1094 days)`. */
export function formatExpiry({ until, days }: Expiry): string {
  return `until ${until} (${days < 0 ? `${formatDays(-days)} ago` : formatDays(days)})`;
}

/** As `1 day` and `20 days`. */
export function formatDays(days: number): string {
  return days === 1 ? "1 day" : `${days} days`;
}
