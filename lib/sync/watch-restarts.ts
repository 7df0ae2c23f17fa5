/** Restarts of watches: counted for each member, and reported without repetition. */

/** Within this time, the same cause for the same member is reported once, in milliseconds. */
const REPEAT_MS = 60_000;

/** Counts the restarts of watches. */
export class WatchRestarts {
  readonly #counts = new Map<string, number>();
  /** When a cause was last reported, by the monotonic clock. */
  readonly #reported = new Map<string, number>();

  /**
   * Counts a restart.
   *
   * @param cause - an API server that is lost ends all watches of its cluster for the same cause.
   * @returns whether to report it.
   */
  note(entry: string, cause: string): boolean {
    this.#counts.set(entry, (this.#counts.get(entry) ?? 0) + 1);
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
  }
}
