/** Restarts of watches: counted for each member, and reported without repetition. */
import type { RestartReason } from "../kube/observe.ts";

/** A restart of one watch. */
export interface WatchRestart {
  /** The member. */
  entry: string;
  /** What is watched. */
  object: string;
  reason: RestartReason;
  error?: string | undefined;
  /** Whether this watch failed before too, and has not lasted since. */
  isRepeated: boolean;
}

/** Within this time, the same cause for the same member is reported once, in milliseconds. */
const REPEAT_MS = 60_000;

/** Counts the restarts of watches. */
export class WatchRestarts {
  readonly #counts = new Map<string, number>();
  /** When a cause was last reported, by the monotonic clock. */
  readonly #reported = new Map<string, number>();
  /** The last cause of each watch, by entry and object. */
  readonly #causes = new Map<string, Map<string, string>>();

  /**
   * Counts a restart.
   *
   * @returns whether to report it: not if the watch fails for the same cause as before, such as a missing permission, nor if
   * another watch of the member just did, as after the loss of an API server.
   */
  note({ entry, object, reason, error, isRepeated }: WatchRestart): boolean {
    this.#counts.set(entry, (this.#counts.get(entry) ?? 0) + 1);
    const cause = error ?? reason;
    const causes = this.#causes.get(entry) ?? new Map<string, string>();
    const isKnown = isRepeated && causes.get(object) === cause;
    this.#causes.set(entry, causes.set(object, cause));
    if (isKnown) return false;
    const now = performance.now();
    for (const [key, time] of this.#reported) if (now - time > REPEAT_MS) this.#reported.delete(key);
    const key = JSON.stringify([entry, cause]);
    if (this.#reported.has(key)) return false;
    this.#reported.set(key, now);
    return true;
  }

  /** Returns the number of restarts by entry. */
  counts(): Record<string, number> {
    return Object.fromEntries(this.#counts);
  }

  /** Removes a member. */
  remove(entry: string): void {
    this.#counts.delete(entry);
    this.#causes.delete(entry);
  }
}
