/** What metrics and probes need to know about a running `sync`. Pure. */
import type { FindingCode } from "../peer/finding-codes.ts";
import type { CertificateUse } from "../x509/expiry.ts";
import type { SyncState } from "./state.ts";

/** A certificate that a cluster uses. */
export interface SyncedCertificate {
  /** Cluster name of the cluster that has it. */
  cluster: string;
  /** Cluster name of the peer that it is used for; undefined for the cluster's own. */
  peer?: string | undefined;
  use: CertificateUse;
  subject: string;
  expires: Date;
}

/** The state of a running `sync` at one moment. */
export interface SyncSnapshot {
  state: SyncState;
  /** The findings of the last reconciliation of each target, by cluster name. */
  findings: readonly { target: string; code: FindingCode }[];
  certificates: readonly SyncedCertificate[];
  /** Cilium's versions, as last read, by entry. */
  versions: ReadonlyMap<string, string | undefined>;
  /** Restarts of watches since the process started, other than by their timeout, by entry. */
  watchRestarts: Readonly<Record<string, number>>;
  /** Whether this process writes: it holds the Lease, or needs none. */
  isLeading: boolean;
  /** Whether the members were listed and the state was loaded, or another process leads. */
  isReady: boolean;
  /** Of `--interval`, in milliseconds. */
  interval: number;
  /** When the loop last ended a task or, while another process leads, last tried to get the Lease. */
  lastProgress: Date;
}

/** How often a member is read at least by default, in milliseconds, for states that do not record it. */
const DEFAULT_INTERVAL_MS = 600_000;
/** Shortest time after which a loop without a contact is reported, in milliseconds. */
const MIN_CONTACT_LIMIT_MS = 3_600_000;

/**
 * Returns the time after which a loop that has read no member is probably not running, in milliseconds: three intervals, at
 * least an hour. The time of a contact is saved once an interval.
 */
export function contactLimit({ interval = DEFAULT_INTERVAL_MS }: Pick<SyncState, "interval">): number {
  return Math.max(3 * interval, MIN_CONTACT_LIMIT_MS);
}

/** Time beyond two intervals without progress that a loop is granted, in milliseconds. */
const GRACE_MS = 60_000;

/**
 * Whether the loop makes progress. Each member is read again within `interval` plus 10 %, also if it fails, so a loop without
 * progress for two intervals and a minute is stuck.
 *
 * @param interval - of `--interval`, in milliseconds.
 */
export function isProgressing(
  { lastProgress }: Pick<SyncSnapshot, "lastProgress">,
  interval: number,
  now: Date,
): boolean {
  return now.getTime() - lastProgress.getTime() <= 2 * interval + GRACE_MS;
}
