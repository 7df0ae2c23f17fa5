/** A sync that runs in the process of a test, on sandbox clusters, with a list of members that the test changes. */
import { EventEmitter, once } from "node:events";
import type { TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { Cluster } from "../../lib/kube/cluster.ts";
import type { MemberEntry } from "../../lib/sync/members.ts";
import { createPairing } from "../../lib/sync/pairing.ts";
import type { SyncState } from "../../lib/sync/state.ts";
import type { StateStore } from "../../lib/sync/state-store.ts";
import { Sync } from "../../lib/sync/sync.ts";
import type { Occurrence } from "../../lib/sync/sync-event.ts";
import type { SyncOptions } from "../../lib/sync/sync-options.ts";

/** Options for tests. */
export const SYNC_OPTIONS: SyncOptions = {
  instance: "test",
  once: false,
  pairing: createPairing({}),
  settle: 20,
  recheck: 20,
  interval: 600_000,
  addressGrace: 0,
  pruneAfter: undefined,
  fightLimit: 3,
  restarts: "deployments",
  takeOwnership: false,
  tls: "auto",
  users: true,
  addresses: 3,
  namespace: undefined,
  resolve: async () => [],
};

export interface RunningSync {
  sync: Sync;
  /** All that happened, in order. */
  events: Occurrence[];
  store: MemoryStore;
  /** Waits until a condition holds, which is checked every 20 ms. */
  until(condition: () => boolean, what: string): Promise<void>;
  /** Replaces the list of members. */
  list(clusters: readonly Cluster[]): void;
  /** Stops it; the store keeps the state. */
  stop(): Promise<void>;
}

/** A state that outlives a sync. */
export class MemoryStore implements StateStore {
  state: SyncState | undefined;
  saves = 0;
  /** Thrown by each load, or by the first ones. */
  failures: Error[] = [];

  async load(): Promise<SyncState | undefined> {
    const failure = this.failures.shift();
    if (failure) throw failure;
    return structuredClone(this.state);
  }

  async save(state: SyncState): Promise<void> {
    this.saves++;
    this.state = structuredClone(state);
  }

  describe(): string {
    return "memory";
  }

  async claim(): Promise<void> {}

  async release(): Promise<void> {}
}

export interface RunningOptions extends Partial<SyncOptions> {
  store?: MemoryStore;
  now?: () => Date;
}

/** Starts a sync that is stopped after the test. */
export async function startSync(
  t: TestContext,
  clusters: readonly Cluster[],
  { store = new MemoryStore(), now = () => new Date(), ...options }: RunningOptions = {},
): Promise<RunningSync> {
  let listed = clusters;
  const events: Occurrence[] = [];
  const emitter = new EventEmitter();
  const stop = new AbortController();
  const toEntry = (cluster: Cluster): MemberEntry => ({ name: cluster.source, revision: cluster.revision, cluster });
  const ports = {
    source: {
      selection: "test",
      list: async () => listed.map(toEntry),
      watch: async (onChange: () => void, signal: AbortSignal) => {
        emitter.on("list", onChange);
        if (!signal.aborted) await once(signal, "abort");
      },
    },
    store,
    emit: (occurrence: Occurrence) => {
      events.push(occurrence);
    },
    now,
  };
  const sync = await Sync.start({ ...SYNC_OPTIONS, ...options }, ports, stop.signal);
  const running = sync.run();
  const end = async () => {
    stop.abort();
    await running;
    await sync.close();
  };
  t.after(end);
  return {
    sync,
    events,
    store,
    until: (condition, what) => waitFor(condition, what),
    list: (next) => {
      listed = next;
      emitter.emit("list");
    },
    stop: end,
  };
}

/** A limit against hanging; no test depends on it. */
const HANGING_MS = 60_000;

async function waitFor(condition: () => boolean, what: string): Promise<void> {
  const limit = AbortSignal.timeout(HANGING_MS);
  while (!condition()) {
    if (limit.aborted) throw new Error(`never happened: ${what}`);
    await sleep(20);
  }
}
