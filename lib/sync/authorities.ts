/** Since when a cluster has its CAs and its server certificate. Pure. */
import { createHash, type X509Certificate } from "node:crypto";
import { fingerprintOf } from "../x509/expiry.ts";
import { readCertificates, tryReadPem, validity } from "../x509/pem.ts";
import type { AuthorityRecord, KnownAuthority } from "./state.ts";

/** Clocks of clusters differ by less. In milliseconds. */
const MAX_SKEW_MS = 600_000;

/** If a cluster was not read for longer, its objects may have been written several times. In milliseconds. */
const MAX_GAP_MS = 86_400_000;

/** How many CAs of a cluster are recorded, those that it no longer has included. */
const MAX_AUTHORITIES = 100;

/** As many as identify a CA, and keep the state of a large mesh small. */
const KEY_DIGITS = 16;

/** What was read of the certificates of a cluster. */
export interface AuthorityReading {
  cluster: string;
  /** The uid of its ConfigMap `cilium-config`. */
  uid?: string | undefined;
  /** Its CA bundle (PEM). */
  ca: string;
  /** Its server certificate (PEM), if it can be read. */
  serverCertificate?: string | undefined;
  /** When the object with the CA file of etcd was last written, by the clock of the cluster, if that is known. */
  written?: Date | undefined;
  /** When the cluster was read before this time. */
  lastRead?: Date | undefined;
  /** {@link findEtcdStart} */
  etcdStarted?: Date | undefined;
}

/**
 * Identifies a CA by its subject and public key (16 digits of their SHA-256): a CA that is issued again with its key signs and verifies the same
 * certificates.
 */
export function authorityKey({ subject, publicKey }: X509Certificate): string {
  const spki = publicKey.export({ type: "spki", format: "der" });
  return createHash("sha256")
    .update(`${subject ?? ""}\0`)
    .update(spki)
    .digest("hex")
    .slice(0, KEY_DIGITS);
}

/**
 * Records the CAs and the server certificate of a cluster. A CA that is new was added when its object was written, or at some
 * time after the last reading. When the CAs of a cluster are read for the first time, it is unknown when they were added,
 * but an etcd that started before a CA was issued cannot have it.
 *
 * Bundles of more than 100 CAs are not recorded.
 *
 * @returns the same array if nothing has changed.
 */
export function noteAuthorities(
  records: readonly AuthorityRecord[],
  reading: AuthorityReading,
  now: Date,
): readonly AuthorityRecord[] {
  const { cluster, uid, serverCertificate } = reading;
  const certificates = tryReadPem(() => readCertificates(reading.ca));
  if (!certificates) return records;
  const before = findRecord(records, reading);
  const current = new Map(certificates.map((one) => [authorityKey(one), one]));
  if (current.size > MAX_AUTHORITIES) return before ? records.filter((one) => one !== before) : records;
  const known = new Map(before?.authorities.map((one) => [one.key, one]));
  const authorities = [...current].map(([key, certificate]): KnownAuthority => {
    const old = known.get(key);
    if (old && old.until === undefined) return old;
    const since = before ? additionTime(reading, now) : issueTime(certificate, reading);
    return { key, ...(since && { since: since.toISOString() }) };
  });
  const removed = [...known.values()]
    .filter(({ key }) => !current.has(key))
    .map((one) => ({ ...one, until: one.until ?? now.toISOString() }))
    .sort((one, other) => (one.until > other.until ? -1 : 1));
  const [leaf] = (serverCertificate !== undefined && tryReadPem(() => readCertificates(serverCertificate))) || [];
  const server = leaf ? noteServer(before, fingerprintOf(leaf).slice(0, KEY_DIGITS), now) : before?.server;
  const record: AuthorityRecord = {
    cluster,
    ...(uid !== undefined && { uid }),
    authorities: [...authorities, ...removed].slice(0, MAX_AUTHORITIES),
    ...(server && { server }),
  };
  if (JSON.stringify(record) === JSON.stringify(before)) return records;
  return [...records.filter((one) => one !== before), record];
}

/** Returns the record of a cluster. */
export function findRecord(
  records: readonly AuthorityRecord[],
  { cluster, uid }: Pick<AuthorityReading, "cluster" | "uid">,
): AuthorityRecord | undefined {
  return records.find((one) => one.cluster === cluster && one.uid === uid);
}

function noteServer(before: AuthorityRecord | undefined, fingerprint: string, now: Date): AuthorityRecord["server"] {
  if (before?.server?.fingerprint === fingerprint) return before.server;
  // Until the second reading it is unknown since when a cluster has its certificate: probably for long.
  return before ? { fingerprint, since: now.toISOString() } : { fingerprint };
}

function additionTime({ written, lastRead }: AuthorityReading, now: Date): Date {
  if (!written || !isPlausible(written, now)) return lastRead ?? now;
  if (!lastRead) return written;
  const after = written.getTime() - lastRead.getTime();
  // Written before the last reading: another object changed. Written long after it: perhaps not for the first time.
  return after < -MAX_SKEW_MS || after > MAX_GAP_MS ? lastRead : written;
}

/** Whether a time that a server sent has passed. The state has no other times. */
function isPlausible(time: Date, now: Date): boolean {
  return time.getTime() >= 0 && time.getTime() <= now.getTime() + MAX_SKEW_MS;
}

function issueTime(certificate: X509Certificate, { etcdStarted }: AuthorityReading): Date | undefined {
  const { from } = validity(certificate);
  return etcdStarted && etcdStarted.getTime() < from.getTime() - MAX_SKEW_MS ? from : undefined;
}
