/** Runs tasks at their due times: one at a time for each key, and a limited number at a time. */

/** Longer waits are divided: Node's timers are limited to 2^31 ms. */
const MAX_WAIT_MS = 24 * 3_600_000;

interface Entry {
  /** By the monotonic clock, in milliseconds; undefined if nothing is scheduled. */
  dueAt: number | undefined;
  isRunning: boolean;
}

export interface TaskSchedulerOptions {
  /** The number of tasks that run at a time. */
  limit: number;
  /** Starts no more tasks once it is aborted. */
  signal: AbortSignal;
}

/** Schedules tasks by key. A task that becomes due while it runs is run again afterwards. Tasks handle their errors. */
export class TaskScheduler {
  readonly #run: (key: string) => Promise<void>;
  readonly #options: TaskSchedulerOptions;
  readonly #entries = new Map<string, Entry>();
  #running = 0;
  #timer: NodeJS.Timeout | undefined;
  #idle: (() => void)[] = [];

  constructor(run: (key: string) => Promise<void>, options: TaskSchedulerOptions) {
    this.#run = run;
    this.#options = options;
    options.signal.addEventListener("abort", () => this.#stop(), { once: true });
  }

  /**
   * Schedules a task. If it is due earlier already, that time is kept.
   *
   * @param delay - milliseconds from now.
   */
  schedule(key: string, delay: number): void {
    const at = performance.now() + Math.max(delay, 0);
    const entry = this.#entries.get(key) ?? { dueAt: undefined, isRunning: false };
    this.#entries.set(key, entry);
    entry.dueAt = Math.min(entry.dueAt ?? at, at);
    this.#dispatch();
  }

  /** Removes a key. A task that runs is not interrupted. */
  remove(key: string): void {
    const entry = this.#entries.get(key);
    // If the key is scheduled again, that waits for the end of the task.
    if (entry?.isRunning) entry.dueAt = undefined;
    else this.#entries.delete(key);
  }

  /** Resolves once no task is running, and none is due that was due at the time of the call or the signal is aborted. */
  async idle(): Promise<void> {
    const before = performance.now();
    while (this.#running > 0 || (!this.#options.signal.aborted && this.#earliest() <= before)) {
      await new Promise<void>((resolve) => this.#idle.push(resolve));
    }
  }

  #earliest(): number {
    const waiting = [...this.#entries.values()].filter(({ isRunning }) => !isRunning);
    return Math.min(...waiting.map(({ dueAt = Number.POSITIVE_INFINITY }) => dueAt));
  }

  #dispatch(): void {
    clearTimeout(this.#timer);
    if (this.#options.signal.aborted) return;
    const due = [...this.#entries].filter(([, { isRunning, dueAt }]) => !isRunning && dueAt !== undefined);
    due.sort(([, one], [, other]) => (one.dueAt ?? 0) - (other.dueAt ?? 0));
    const now = performance.now();
    for (const [key, entry] of due) {
      if (this.#running >= this.#options.limit) return;
      const wait = (entry.dueAt ?? now) - now;
      if (wait > 0) {
        // A task that was started above may have set it.
        clearTimeout(this.#timer);
        this.#timer = setTimeout(() => this.#dispatch(), Math.min(wait, MAX_WAIT_MS));
        return;
      }
      void this.#start(key, entry);
    }
  }

  async #start(key: string, entry: Entry): Promise<void> {
    entry.dueAt = undefined;
    entry.isRunning = true;
    this.#running++;
    try {
      await this.#run(key);
    } finally {
      entry.isRunning = false;
      this.#running--;
      if (entry.dueAt === undefined) this.#entries.delete(key);
      this.#dispatch();
      for (const resolve of this.#idle.splice(0)) resolve();
    }
  }

  #stop(): void {
    clearTimeout(this.#timer);
    for (const resolve of this.#idle.splice(0)) resolve();
  }
}
