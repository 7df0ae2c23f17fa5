/**
 * What `sync` has to know after a restart: members and since when they are absent, what it holds back and why, and counters.
 * It contains no keys. Pure.
 */

/** Why a pair, or a whole target, is held: nothing is written for it. */
export const HOLD_REASONS = [
  "duplicate",
  "check",
  "contested",
  "address-grace",
  "ca-order",
  "restart",
  "refused",
  "unreachable",
] as const;
export type HoldReason = (typeof HOLD_REASONS)[number];

/** A member of the list, or one that has left it. Times are RFC 3339 in UTC, here and in the other records. */
export interface MemberRecord {
  /** Its name in the list: a context, or the name from a Secret. */
  entry: string;
  /** Cilium's `cluster-name`. */
  cluster?: string;
  /** Cilium's `cluster-id`. */
  id?: number;
  /** The uid of its ConfigMap `cilium-config`. */
  uid?: string;
  lastContact?: string;
  /** Since when it has been in the list. */
  listedSince?: string;
  /** Since when it has not been in the list. */
  absentSince?: string;
  /** The entries of the clusters from which it has yet to be removed, once it was removed from one. */
  pruneFrom?: string[];
  /** Why it is never removed from the others automatically. */
  keptBecause?: string;
  /** The entry by which it was reached, which reaches a cluster with another name now. */
  formerEntry?: string;
  /** Why it cannot be read. */
  error?: string;
  /** Of one that has left: how to remove it from the others by hand. */
  remedy?: string;
}

/** What is held, until its cause is gone. */
export interface HeldRecord {
  /** A cluster name. */
  target: string;
  /** A cluster name. Absent: the whole target. */
  peer?: string;
  reason: HoldReason;
  since: string;
  until?: string;
  message: string;
  /** A command. */
  remedy?: string;
}

/** A key of an object that another field manager resets. */
export interface ContestedKey {
  target: string;
  /** Such as `secret/cilium-clustermesh`. */
  object: string;
  key: string;
  /** Its field manager. */
  manager: string;
  /** The times of its resets within the last hour. */
  resets: string[];
  /** How often the pause was doubled. */
  level: number;
  until?: string;
}

/** An address of a peer at which nothing serves any more. */
export interface GoneAddress {
  peer: string;
  address: string;
  since: string;
}

/** A CA that a cluster has, or had. */
export interface KnownAuthority {
  /** The first 16 hexadecimal digits of the SHA-256 of its subject and public key. */
  key: string;
  /** An etcd that started later has read it. Absent: unknown, as for the CAs of the first reading. */
  since?: string;
  /** Since when the cluster no longer has it. */
  until?: string;
}

/** The CAs of a cluster, and its server certificate. */
export interface AuthorityRecord {
  cluster: string;
  /** The uid of its ConfigMap `cilium-config`: another cluster with its name has other CAs. */
  uid?: string;
  authorities: KnownAuthority[];
  /** The first 16 digits of the SHA-256 of the server certificate, and since when it has it, if that is known. */
  server?: { fingerprint: string; since?: string };
}

/** Why the members cannot be listed. */
export interface ListFailure {
  since: string;
  error: string;
}

/** The state of one `sync`. */
export interface SyncState {
  schemaVersion: 1;
  /** What selects the members, such as `--clusters-from=argocd in namespace argocd`: another selection starts afresh. */
  selection: string;
  members: MemberRecord[];
  held: HeldRecord[];
  contested: ContestedKey[];
  addresses: GoneAddress[];
  authorities: AuthorityRecord[];
  /** Writes and errors are by cluster name. */
  counters: { reconciliations: number; writes: Record<string, number>; errors: Record<string, number> };
  /** Of `--interval`, in milliseconds. */
  interval?: number;
  /** Of `--prune-after`, in milliseconds. */
  pruneAfter?: number | undefined;
  /** When it was stopped, unless it runs again. */
  stoppedAt?: string | undefined;
  /** Set while the members cannot be listed, and the last list is kept. */
  listFailure?: ListFailure | undefined;
  /** How many records did not fit. Set by `formatState` alone. */
  omitted?: number;
}

/** The maximum length of a text in a record, in UTF-16 code units. */
export const MAX_STATE_TEXT = 1_000;

/** Returns the state of a `sync` that starts for the first time. */
export function emptyState(selection: string): SyncState {
  return {
    schemaVersion: 1,
    selection: selection.slice(0, MAX_STATE_TEXT),
    members: [],
    held: [],
    contested: [],
    addresses: [],
    authorities: [],
    counters: { reconciliations: 0, writes: {}, errors: {} },
  };
}

/** Adds to a counter of a cluster; the names may be those of properties that every object has. */
export function addToCount(record: Record<string, number>, cluster: string, by = 1): Record<string, number> {
  return { ...record, [cluster]: (Object.hasOwn(record, cluster) ? (record[cluster] ?? 0) : 0) + by };
}
