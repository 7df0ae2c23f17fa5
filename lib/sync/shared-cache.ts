/** A cache that the tasks of some time share, because their targets have the same peers. */
import { ParseCache } from "../util/parse-cache.ts";

/**
 * Parsed certificates are mostly memory that the garbage collector does not see, so that parsing them for each target again
 * would cost hundreds of megabytes. A cache is replaced after an interval, and with it the certificates that were renewed.
 */
export class SharedCache {
  readonly #interval: number;
  #cache = new ParseCache();
  #created = performance.now();

  /** @param interval - milliseconds. */
  constructor(interval: number) {
    this.#interval = interval;
  }

  /** Returns the cache of this interval. */
  current(): ParseCache {
    const now = performance.now();
    if (now - this.#created > this.#interval) {
      this.#cache = new ParseCache();
      this.#created = now;
    }
    return this.#cache;
  }
}
