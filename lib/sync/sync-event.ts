/** What happens in `sync`, as data: the log, the metrics and the tests read it. Pure. */
import type { Finding } from "../peer/findings.ts";
import type { Departure } from "./departure.ts";
import type { SyncRound } from "./round.ts";
import type { HeldRecord } from "./state.ts";
import type { PeerChanges } from "./target-changes.ts";

/**
 * What happened. `entry` is a name in the list of members, `cluster`, `target` and `peer` are cluster names. Texts may be
 * from servers and Secrets, so whoever prints them escapes and redacts them.
 */
export type Occurrence =
  /** The loop starts with this many members, selected by the selection of the state. */
  | { kind: "started"; members: number; selection: string }
  /** A member is listed that was not. */
  | { kind: "member-joined"; entry: string; cluster?: string | undefined }
  /** A member has left the list; `keptBecause`: why it is not pruned, if it otherwise would be. */
  | ({ kind: "member-left"; entry: string } & Departure)
  /** A member cannot be read; it is tried again in `retryIn` milliseconds, unless one round is made. */
  | { kind: "member-unreachable"; entry: string; error: string; retryIn?: number }
  /** A member can be read, but its importers keep the config that they have, as without an address of its load balancer. */
  | { kind: "member-unavailable"; entry: string; cluster?: string | undefined; error: string }
  /** A member can be read again. */
  | { kind: "member-reachable"; entry: string; cluster?: string | undefined }
  /** A target is about to be written; `resetBy`: the field managers that have reset what was written before. */
  | ({ kind: "planned"; target: string; resetBy: readonly string[] } & PeerChanges)
  /** An object of a target, such as `secret/cilium-clustermesh`, was written, for these peers; `removed`: from it. */
  | { kind: "written"; target: string; object: string; peers: readonly string[]; removed?: readonly string[] }
  /** A target could not be written. Reported once for each cause until it can. */
  | { kind: "write-failed"; target: string; error: string }
  /** A peer of a target, or the whole target, is held; `peers` are further ones, for the same cause. Reported once a process. */
  | { kind: "held"; record: HeldRecord; peers?: readonly string[] }
  /** A hold ended. */
  | { kind: "released"; target: string; peer?: string | undefined; reason: HeldRecord["reason"] }
  /** The workloads of a target were restarted, and are not available within 10 minutes: no other target is restarted. */
  | { kind: "rollout-stalled"; target: string; workloads: readonly string[]; since: Date }
  /** A finding about a target that it did not have in its last reconciliation. */
  | { kind: "finding"; target: string; finding: Finding }
  /** A watch ended other than by its timeout, and is started again; once for each cause until the watch lasts again. */
  | {
      kind: "watch-restarted";
      entry: string;
      object: string;
      reason: "expired" | "error";
      error?: string | undefined;
    }
  /** This process holds the Lease. */
  | { kind: "leading" }
  /** Another process holds the Lease, or lost it just now. */
  | { kind: "standby"; holder?: string | undefined }
  /** The state cannot be read, so nothing is pruned. */
  | { kind: "state-unreadable"; where: string; error: string }
  /** No Kubernetes Events can be created in a target, which has no other effect. */
  | { kind: "events-denied"; target: string; error: string }
  /** The state cannot be saved; the next change tries again. Once for each cause until it can. */
  | { kind: "state-unsaved"; where: string; error: string }
  /** Names in the pairs, or of the hub, that no member has. */
  | { kind: "names-unknown"; names: readonly string[] }
  /** The members cannot be listed; the last list is kept. Once for each cause until they can. */
  | { kind: "list-failed"; error: string }
  /** The members can be listed again. */
  | { kind: "list-recovered" }
  /** A watch of the list of members failed, and is started again; changes are seen once an interval. */
  | { kind: "list-watch-failed"; error: string }
  /** The only round of `--once` has ended. */
  | ({ kind: "finished" } & SyncRound)
  /** Metrics and probes are served. */
  | { kind: "listening"; address: string }
  /** The Lease cannot be read or written; it is tried again. */
  | { kind: "lease-failed"; error: string }
  /** A signal was received; the write under way is completed. */
  | { kind: "stopping"; signal: string }
  | { kind: "stopped" };

/** Something that happened, and when. */
export type SyncEvent = { time: Date } & Occurrence;
