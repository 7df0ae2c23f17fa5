/** The members of a `sync`: where they come from, and what is known of each while it runs. */
import type { Cluster } from "../kube/cluster.ts";
import type { ClusterWatch } from "./cluster-watch.ts";
import type { MemberView } from "./member-view.ts";

/** A member of the list. */
export interface MemberEntry {
  /** A context, or the name of a cluster in a Secret; unique. */
  name: string;
  /** Changes if its server or its credentials change. */
  revision: string | undefined;
  cluster: Cluster;
}

/** Where the members come from. */
export interface MemberSource {
  /** What selects the members, for messages and for the state. */
  selection: string;
  /** @throws UserError if they cannot be listed. */
  list(): Promise<MemberEntry[]>;
  /** Calls `onChange` whenever the list may have changed, until the signal is aborted; undefined if it never changes. */
  watch?: ((onChange: () => void, signal: AbortSignal) => Promise<void>) | undefined;
}

/** A member while `sync` runs. */
export interface ActiveMember {
  entry: MemberEntry;
  watch: ClusterWatch | undefined;
  /** As last read; kept while the member cannot be reached. */
  view: MemberView | undefined;
  /** Failed tasks since the last one that succeeded. */
  failures: number;
  /** Writes in a row that another client prevented. */
  conflicts: number;
  /** Why its last write failed. */
  writeError: string | undefined;
  /** Whether its last reading failed. */
  isUnreachable: boolean;
}

/** Closes the connection of a member. The next use opens another one, with new credentials. */
export function closeMember(member: ActiveMember): void {
  member.watch?.close();
  member.watch = undefined;
  member.entry.cluster.close?.();
}
