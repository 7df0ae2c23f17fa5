/** What `sync` is given. */
import type { CommandCompletion } from "./command-completion.ts";
import type { MemberSource } from "./members.ts";
import type { ReconcileOptions } from "./reconcile-target.ts";
import type { StateStore } from "./state-store.ts";
import type { Occurrence } from "./sync-event.ts";

/** How a mesh is kept connected. All durations are in milliseconds. */
export interface SyncOptions extends ReconcileOptions {
  /** Whether one round is made: nothing is watched. */
  once: boolean;
  /** How often each member is read even if nothing changed. */
  interval: number;
  /** Maximum number of node addresses of a cluster that its importers get. */
  addresses: number;
  /** Cilium's namespace; detected if undefined. */
  namespace: string | undefined;
}

/** What `sync` depends on. */
export interface SyncPorts {
  source: MemberSource;
  store: StateStore;
  /** Reports what happens. */
  emit(occurrence: Occurrence): void;
  /** The clock. */
  now(): Date;
  /** Completes the commands in all that is reported and saved. By default, they stay as they are. */
  completion?: CommandCompletion;
}
