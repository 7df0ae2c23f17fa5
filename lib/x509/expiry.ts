/** Expiry of certificates. Pure: the time is an argument. */
import type { X509Certificate } from "node:crypto";
import { validity } from "./pem.ts";

const DAY_MS = 86_400_000;

/** The default period before expiry in which a certificate is reported. */
export const EXPIRY_WARNING_MS = 30 * DAY_MS;

/** The maximum time value of a Date. */
const MAX_TIME = 8.64e15;

/** The role of a certificate in a mesh. */
export type CertificateUse = "client" | "server" | "ca";

export interface Expiry {
  /** The expiry date in UTC: `YYYY-MM-DD`. */
  expires: string;
  /** The time of expiry in UTC: `YYYY-MM-DDThh:mm:ssZ`. */
  expiresAt: string;
  /** Whole days until expiry. Negative if expired: the whole days since then, at least one. */
  daysLeft: number;
}

/** A certificate in a finding. */
export interface CertificateFact extends Expiry {
  use: CertificateUse;
  /** SHA-256 in lower-case hexadecimal digits; identifies a certificate that several clusters share. */
  fingerprint: string;
}

/** Returns the expiry date and time of a certificate and the days until then. */
export function expiryOf(certificate: X509Certificate, now: Date): Expiry {
  const { until } = validity(certificate);
  const left = until.getTime() - now.getTime();
  const days = Math.trunc(left / DAY_MS);
  return { expires: formatDate(until), expiresAt: formatTime(until), daysLeft: left < 0 ? Math.min(days, -1) : days };
}

/** Describes a certificate for a finding. */
export function certificateFact(certificate: X509Certificate, use: CertificateUse, now: Date): CertificateFact {
  return { use, ...expiryOf(certificate, now), fingerprint: fingerprintOf(certificate) };
}

/** Returns the SHA-256 of a certificate in lower-case hexadecimal digits. */
export function fingerprintOf({ fingerprint256 }: X509Certificate): string {
  return fingerprint256.replaceAll(":", "").toLowerCase();
}

/** Whether a certificate has expired or expires within a number of milliseconds. */
export function expiresWithin(certificate: X509Certificate, milliseconds: number, now: Date): boolean {
  return validity(certificate).until.getTime() - now.getTime() < milliseconds;
}

/** Returns the time a number of milliseconds from now, at most the maximum of Date. */
export function addMilliseconds(milliseconds: number, now: Date): Date {
  return new Date(Math.min(now.getTime() + milliseconds, MAX_TIME));
}

/** Formats a date in UTC: `YYYY-MM-DD`. Years after 9999 have a sign and more digits. */
export function formatDate(date: Date): string {
  const text = date.toISOString();
  return text.slice(0, text.indexOf("T"));
}

/** Formats a time in UTC, in seconds: `YYYY-MM-DDThh:mm:ssZ`. Times of certificates have no fractions. */
export function formatTime(date: Date): string {
  return date.toISOString().replace(/\.\d+Z$/, "Z");
}

/** Formats an expiry: `until 2029-11-23 (1094 days)`. */
export function formatExpiry({ expires, daysLeft }: Pick<Expiry, "expires" | "daysLeft">): string {
  return `until ${expires} (${daysLeft < 0 ? `${formatDays(-daysLeft)} ago` : formatDays(daysLeft)})`;
}

/** Formats a number of days: `1 day`, `20 days`. */
export function formatDays(days: number): string {
  return days === 1 ? "1 day" : `${days} days`;
}
