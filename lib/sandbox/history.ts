import type { KubernetesObject } from "./object.ts";

/** A write of one object. Objects are not modified after they are recorded. */
export interface StoredChange {
  /** The resourceVersion of the write. */
  version: number;
  /** Undefined for a creation. */
  before: KubernetesObject | undefined;
  /** Undefined for a deletion. */
  after: KubernetesObject | undefined;
}

/** How much of a history is kept. The last change always is. */
export interface HistoryLimits {
  changes: number;
  /** Bytes of the written objects as JSON. */
  bytes: number;
}

const LIMITS: HistoryLimits = { changes: 1_000, bytes: 8 * 1024 * 1024 };

/** The last writes of a store. Each has the resourceVersion that follows that of the write before. */
export class History {
  readonly #limits: HistoryLimits;
  readonly #changes: { change: StoredChange; bytes: number }[] = [];
  readonly #listeners = new Set<() => void>();
  #bytes = 0;
  #latest = 1;

  /** @param limits - default: 1000 changes and 8 MiB */
  constructor(limits: Partial<HistoryLimits> = {}) {
    this.#limits = { ...LIMITS, ...limits };
  }

  /** The resourceVersion of the last write. */
  get latest(): number {
    return this.#latest;
  }

  /** The number of listeners. */
  get listeners(): number {
    return this.#listeners.size;
  }

  /** Records a write, which has the version after {@link latest}, and calls the listeners. */
  append(before: KubernetesObject | undefined, after: KubernetesObject | undefined): void {
    this.#latest += 1;
    const bytes = after ? JSON.stringify(after).length : 0;
    this.#changes.push({ change: { version: this.#latest, before, after }, bytes });
    this.#bytes += bytes;
    const { changes, bytes: maximum } = this.#limits;
    while (this.#changes.length > 1 && (this.#changes.length > changes || this.#bytes > maximum)) this.#drop();
    for (const listener of [...this.#listeners]) listener();
  }

  /** Returns the first change after a version that is not compacted; undefined if there is none yet. */
  next(version: number): StoredChange | undefined {
    return this.#changes[version - this.#oldest]?.change;
  }

  /** Returns the changes after a version that is not compacted, latest first. */
  changesBackTo(version: number): StoredChange[] {
    return this.#changes
      .slice(version - this.#oldest)
      .map(({ change }) => change)
      .reverse();
  }

  /** Whether changes after a version were removed. */
  isCompacted(version: number): boolean {
    return version < this.#oldest;
  }

  /** Removes the changes up to a version, by default all. */
  compact(version = this.#latest): void {
    while (this.#changes.length > 0 && this.#oldest < version) this.#drop();
  }

  /**
   * Calls a function after each write.
   *
   * @returns a function that ends this
   */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** The oldest version whose following changes are all known. */
  get #oldest(): number {
    return this.#latest - this.#changes.length;
  }

  #drop(): void {
    this.#bytes -= this.#changes.shift()?.bytes ?? 0;
  }
}
