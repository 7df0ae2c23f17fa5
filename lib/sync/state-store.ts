/** Where the state of `sync` is stored between restarts. */
import { ApiError } from "../kube/api.ts";
import type { SyncState } from "./state.ts";
import { parseState, StateError } from "./state-text.ts";

/** A place that holds one state. */
export interface StateStore {
  /** Names the place, for messages: `configmap/clustermesh-secrets-sync in namespace mesh`. */
  describe(): string;
  /**
   * Claims the place for this process, before the first {@link StateStore.save}.
   *
   * @throws UserError (exit code 2) if another process on this machine has claimed it.
   */
  claim(): Promise<void>;
  /**
   * Reads the state.
   *
   * @returns undefined if there is none.
   * @throws StateError if it is invalid, and UserError if it cannot be read.
   */
  load(): Promise<SyncState | undefined>;
  /**
   * Replaces the state as a whole. Nothing is written if it is the one that was last read or saved.
   *
   * @throws UserError if it cannot be written; the stored state is then unchanged.
   */
  save(state: SyncState): Promise<void>;
  /** Ends the claim. */
  release(): Promise<void>;
}

/** Returns a store that saves nothing once a signal is aborted, as when another process may save. */
export function saveUntil(store: StateStore, lost: AbortSignal): StateStore {
  return {
    describe: () => store.describe(),
    claim: () => store.claim(),
    load: () => store.load(),
    save: async (state) => {
      if (!lost.aborted) await store.save(state);
    },
    release: () => store.release(),
  };
}

/**
 * Parses the text of a store.
 *
 * @throws StateError whose message names the store.
 */
export function parseStoredState(text: string, store: Pick<StateStore, "describe">): SyncState {
  try {
    return parseState(text, new Date());
  } catch (error) {
    throw error instanceof StateError ? new StateError(error.problem, store.describe()) : error;
  }
}

/** Whether a write failed because the object was changed, created or deleted since it was read. */
export function isConflict(error: unknown): boolean {
  if (!(error instanceof ApiError)) return false;
  return error.status === 409 || (error.status === 404 && error.subject.verb === "patch");
}
