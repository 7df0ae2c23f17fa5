/** Keeps a mesh connected: watches its members, and writes what an import would write, for as long as it runs. */
import { watchedObjects } from "../cilium/watched-objects.ts";
import type { PreparedTarget } from "../import/prepare.ts";
import type { KubernetesApi } from "../kube/api.ts";
import type { Member } from "../mesh/member.ts";
import { describeAnyError } from "../util/errors.ts";
import { ClusterWatch } from "./cluster-watch.ts";
import { describeDeparture } from "./departure.ts";
import { concernsImporters, type MemberView } from "./member-view.ts";
import { type ActiveMember, closeMember, type MemberEntry } from "./members.ts";
import { jitter, pause } from "./pause.ts";
import { readForSync } from "./read-member.ts";
import { TargetReconciler } from "./reconcile-target.ts";
import { conflictDelay, FIRST_RETRY_MS, retryDelay } from "./retry.ts";
import { type ListedMember, Roster } from "./roster.ts";
import { type SyncRound, summarizeRound } from "./round.ts";
import { SharedCache } from "./shared-cache.ts";
import type { SyncSnapshot } from "./snapshot.ts";
import { StateKeeper } from "./state-keeper.ts";
import type { SyncOptions, SyncPorts } from "./sync-options.ts";
import { TaskScheduler } from "./task-scheduler.ts";
import { watchList } from "./watch-list.ts";
import { type WatchRestart, WatchRestarts } from "./watch-restarts.ts";
import { WriteFailure } from "./write-plan.ts";

/** The number of members that are read and written at a time. */
const MAX_CONCURRENT_TASKS = 16;
/** A reading that takes longer has failed: a server may answer each of many requests slowly. */
const READ_LIMIT_MS = 300_000;
/** What a round leads to: changed peers are read again, and their importers planned after that. */
const ROUND_STEPS = 3;
/** The key of the task that lists the members; names of entries are never empty. */
const LIST_TASK = "";

/**
 * A running sync. Each member has one task at a time: read it, compare it with its last reading, plan it as a target, and
 * write what differs. Members do not wait for each other.
 */
export class Sync {
  readonly #options: SyncOptions;
  readonly #ports: SyncPorts;
  readonly #keeper: StateKeeper;
  readonly #signal: AbortSignal;
  readonly #scheduler: TaskScheduler;
  readonly #reconciler: TargetReconciler;
  readonly #roster = new Roster();
  readonly #watchRestarts = new WatchRestarts();
  /** `listing`: members are only read, so that the first plans know all of them. `planning`: nothing is written. */
  #phase: "listing" | "planning" | "running" = "listing";
  readonly #cache: SharedCache;
  #lastProgress: Date;

  /**
   * Loads the state, lists the members and reads each once. Writes nothing.
   *
   * @throws UserError if the members cannot be listed; the state then has the failure.
   */
  static async start(options: SyncOptions, ports: SyncPorts, signal: AbortSignal): Promise<Sync> {
    const { source, emit } = ports;
    const { interval, pruneAfter } = options;
    const keeper = await StateKeeper.load(source.selection, { ...ports, interval, pruneAfter }, signal);
    const entries = await source.list().catch(async (error: unknown) => {
      await keeper.saveListFailure(describeAnyError(error));
      throw error;
    });
    const sync = new Sync(options, ports, keeper, signal);
    emit({ kind: "started", members: entries.length, selection: source.selection });
    sync.#adoptList(entries);
    await sync.#scheduler.idle();
    return sync;
  }

  private constructor(options: SyncOptions, ports: SyncPorts, keeper: StateKeeper, signal: AbortSignal) {
    this.#options = options;
    this.#ports = ports;
    this.#keeper = keeper;
    this.#signal = signal;
    this.#cache = new SharedCache(options.interval);
    this.#reconciler = new TargetReconciler(options, ports, keeper, signal);
    this.#lastProgress = ports.now();
    signal.addEventListener("abort", () => this.#endReadings(), { once: true });
    this.#scheduler = new TaskScheduler((key) => this.#runTask(key), { limit: MAX_CONCURRENT_TASKS, signal });
  }

  /** Plans all targets and writes nothing. Returns the targets that would change. */
  async preview(): Promise<PreparedTarget[]> {
    await this.#round("planning");
    // Changes while the plan is reviewed are only read.
    this.#phase = "listing";
    const order = this.#roster.all().map(({ entry }) => entry.name);
    return this.#reconciler.takePlanned().sort((a, b) => order.indexOf(a.source) - order.indexOf(b.source));
  }

  /** Reads, plans and writes each member once. */
  async runOnce(): Promise<SyncRound> {
    const { writes } = this.#keeper.state.counters;
    this.#keeper.noteRunning(true);
    await this.#round("running");
    const targets = this.#roster.all().map((active) => ({ target: targetOf(active), isFailed: hasFailed(active) }));
    return summarizeRound(targets, writes, this.#keeper.state);
  }

  /** Keeps the members connected until the signal is aborted, and the writes under way have ended. */
  async run(): Promise<void> {
    this.#keeper.noteRunning(true);
    const { interval, settle } = this.#options;
    const watching = watchList(this.#ports.source, {
      onChange: () => this.#scheduler.schedule(LIST_TASK, settle),
      onFailure: (error) => this.#ports.emit({ kind: "list-watch-failed", error }),
      retryAfter: FIRST_RETRY_MS,
      signal: this.#signal,
    });
    this.#scheduler.schedule(LIST_TASK, interval);
    await this.#round("running");
    if (!this.#signal.aborted) {
      await new Promise((resolve) => this.#signal.addEventListener("abort", resolve, { once: true }));
    }
    await this.#scheduler.idle();
    await watching;
    this.#keeper.noteRunning(false);
  }

  /** Returns the names of all members: the cluster name is undefined until a member is read. */
  memberNames(): ListedMember[] {
    return this.#roster.names();
  }

  /** Saves the state and closes all connections. */
  async close(): Promise<void> {
    this.#roster.close();
    await this.#keeper.save();
  }

  /** Returns what metrics and probes need to know. */
  snapshot(): Omit<SyncSnapshot, "interval" | "isLeading" | "isReady"> {
    return {
      state: this.#keeper.state,
      findings: [...this.#keeper.findings].flatMap(([target, found]) => found.map(({ code }) => ({ target, code }))),
      certificates: this.#roster.views().flatMap(({ certificates }) => certificates),
      versions: new Map(this.#roster.views().map(({ entry, version }) => [entry, version])),
      watchRestarts: this.#watchRestarts.counts(),
      lastProgress: this.#lastProgress,
    };
  }

  async #round(phase: "planning" | "running"): Promise<void> {
    this.#phase = phase;
    this.#scheduleAll();
    for (let step = 0; step < ROUND_STEPS; step++) await this.#scheduler.idle();
  }

  /** Ends the readings under way: a server that does not answer must not delay the end. Writes are completed. */
  #endReadings(): void {
    for (const active of this.#roster.all()) {
      if (!this.#reconciler.isWriting(active.entry.name)) closeMember(active);
    }
  }

  /** Removes what is known of a target that was read, unless another entry reaches it, or another cluster has its name. */
  #removeTarget({ cluster, entry, uid }: MemberView): void {
    const target = cluster ?? entry;
    const others = this.#roster.all().filter((active) => targetOf(active) === target);
    if (!others.some(({ view }) => view?.uid === uid)) this.#reconciler.releaseRollout({ target, uid });
    if (others.length === 0) this.#reconciler.remove(target);
  }

  #scheduleAll(): void {
    for (const { entry } of this.#roster.all()) this.#scheduler.schedule(entry.name, 0);
  }

  async #runTask(key: string): Promise<void> {
    const member = this.#roster.get(key);
    if (member) await this.#runMember(member);
    else if (key === LIST_TASK) await this.#list();
    this.#lastProgress = this.#ports.now();
  }

  async #list(): Promise<void> {
    this.#scheduler.schedule(LIST_TASK, this.#options.interval);
    try {
      this.#adoptList(await this.#ports.source.list());
    } catch (error) {
      this.#keeper.noteListFailure(describeAnyError(error));
    }
  }

  /** Adopts a list of members: removes those that left, and reads those that are new or changed. */
  #adoptList(entries: readonly MemberEntry[]): void {
    this.#keeper.noteList(entries.map(({ name }) => name));
    const { added, changed, left } = this.#roster.adopt(entries);
    for (const { entry, view } of left) {
      this.#scheduler.remove(entry.name);
      if (view) this.#removeTarget(view);
      this.#watchRestarts.remove(entry.name);
      const departure = describeDeparture(entry.name, this.#keeper.state.members, this.#options.pruneAfter);
      this.#ports.emit({ kind: "member-left", entry: entry.name, ...departure });
    }
    if (this.#phase === "running") for (const entry of added) this.#ports.emit({ kind: "member-joined", entry });
    this.#keeper.holds.releaseUnlisted();
    for (const name of [...added, ...changed]) this.#scheduler.schedule(name, 0);
    const hasConflicts = this.#roster.updateConflicts();
    // An absent member may be due to be removed from the others.
    if (this.#phase === "running" && (left.length > 0 || hasConflicts)) this.#scheduleAll();
  }

  async #runMember(active: ActiveMember): Promise<void> {
    const { entry } = active;
    const { name } = entry;
    const { interval } = this.#options;
    // It may leave the list, or get another server or other credentials, while it is read.
    const isListed = () => this.#roster.get(name) === active && active.entry === entry;
    const limit = setTimeout(() => isListed() && closeMember(active), READ_LIMIT_MS);
    try {
      const { api } = entry.cluster;
      const shared = { cache: this.#cache.current(), now: this.#ports.now() };
      const { member, view } = await readForSync(api, name, { ...this.#options, ...shared });
      clearTimeout(limit);
      if (!isListed() || this.#signal.aborted) return;
      if (!this.#options.once) this.#watch(active, api).update(watchedObjects(member.installation));
      this.#adoptView(active, view);
      this.#reconciler.noteReading(targetOf(active), member, view);
      if (this.#phase !== "listing") await this.#reconcile(active, member);
      active.failures = 0;
      active.conflicts = 0;
      active.writeError = undefined;
      this.#keeper.countReconciliation();
      // Before that, each member is read once, however long all of them take.
      if (this.#phase === "running") this.#scheduler.schedule(name, jitter(interval));
    } catch (error) {
      const isInterrupted = this.#signal.aborted && !(error instanceof WriteFailure);
      if (!isListed() || isInterrupted) return;
      const isConflict = error instanceof WriteFailure && error.isConflict;
      const delay = isConflict ? conflictDelay(++active.conflicts) : undefined;
      if (delay === undefined) return this.#fail(active, error);
      await pause(delay, this.#signal);
      this.#scheduler.schedule(name, 0);
    } finally {
      clearTimeout(limit);
    }
  }

  #watch(active: ActiveMember, api: KubernetesApi): ClusterWatch {
    const { name } = active.entry;
    active.watch ??= new ClusterWatch({
      api,
      onChange: () => this.#scheduler.schedule(name, this.#options.settle),
      onRestart: (object, reason, error, isRepeated) =>
        this.#noteWatchRestart({ entry: name, object, reason, error: error?.singleLineMessage, isRepeated }),
    });
    return active.watch;
  }

  /** Adopts a new reading, and plans its importers again if it concerns them. */
  #adoptView(active: ActiveMember, view: MemberView): void {
    const { emit } = this.#ports;
    const before = active.view;
    if (active.isUnreachable) emit({ kind: "member-reachable", entry: view.entry, cluster: view.cluster });
    active.isUnreachable = false;
    // A cluster that cannot be extracted for now keeps its last extraction.
    const last = before?.uid === view.uid && before?.cluster === view.cluster ? before : undefined;
    const { peer, serving, readAt } = view.peer || !last ? view : last;
    active.view = { ...view, peer, serving, readAt };
    const error = view.peerError?.singleLineMessage;
    if (error !== undefined && error !== before?.peerError?.singleLineMessage) {
      emit({ kind: "member-unavailable", entry: view.entry, cluster: view.cluster, error });
    }
    this.#keeper.noteAuthorities(view);
    if (view.peer) for (const name of this.#roster.takeWaiting(view.entry)) this.#scheduler.schedule(name, 0);
    this.#keeper.noteContact(view);
    if (before && !last) this.#removeTarget(before);
    if (before?.cluster !== view.cluster) this.#keeper.holds.releaseUnlisted();
    this.#updateConflicts();
    if (this.#phase === "running" && concernsImporters(before, active.view)) {
      // Those that are away are planned when they are read again, at their own pace.
      for (const { entry, isUnreachable } of this.#roster.all()) {
        if (entry.name !== view.entry && !isUnreachable) this.#scheduler.schedule(entry.name, 0);
      }
    }
  }

  /** Plans and writes a member as a target, unless it is one of several ways to a cluster, or in conflict with another. */
  async #reconcile(active: ActiveMember, member: Member): Promise<void> {
    const { name } = active.entry;
    const cluster = targetOf(active);
    const conflict = this.#roster.conflictOf(name);
    if (conflict) {
      if (this.#roster.isFirstOf(name)) this.#reconciler.hold(cluster, conflict);
      return;
    }
    const unreadable = this.#roster.unreadable();
    const { recheckAt, outdated } = await this.#reconciler.reconcile({
      ...{ member, target: cluster, uid: active.view?.uid, names: this.#roster.namesOf(name), unreadable },
      namesOf: (entry) => this.#roster.namesOf(entry),
      others: this.#roster.othersOf(name),
      writes: this.#phase === "running",
      watch: active.watch,
    });
    for (const source of outdated) {
      this.#roster.wait(name, source);
      if (!unreadable.has(source)) this.#scheduler.schedule(source, 0);
    }
    if (recheckAt) this.#scheduler.schedule(name, recheckAt.getTime() - this.#ports.now().getTime());
  }

  #fail(active: ActiveMember, error: unknown): void {
    const { emit } = this.#ports;
    const { name: entry } = active.entry;
    const message = describeAnyError(error);
    active.failures++;
    const retryIn = retryDelay(active.failures, this.#options.interval);
    this.#scheduler.schedule(entry, retryIn);
    this.#keeper.countError(targetOf(active));
    if (error instanceof WriteFailure) {
      if (message !== active.writeError) emit({ kind: "write-failed", target: error.target, error: message });
      active.writeError = message;
      return;
    }
    // The next attempt connects again, so that a failed connection or credential is not used again.
    closeMember(active);
    const isNew = this.#keeper.noteFailure(entry, message);
    const retry = this.#options.once ? {} : { retryIn };
    if (isNew || !active.isUnreachable) emit({ kind: "member-unreachable", entry, error: message, ...retry });
    active.isUnreachable = true;
    // Another way to the cluster is used.
    this.#updateConflicts();
  }

  #noteWatchRestart(restart: WatchRestart): void {
    const { isRepeated: _, reason, ...rest } = restart;
    // Servers end each watch after some minutes.
    if (reason === "ended" || !this.#watchRestarts.note(restart)) return;
    this.#ports.emit({ kind: "watch-restarted", reason, ...rest });
    // Whether the cluster is away is known once it is read.
    if (reason === "error") this.#scheduler.schedule(restart.entry, this.#options.settle);
  }

  #updateConflicts(): void {
    if (this.#roster.updateConflicts() && this.#phase === "running") this.#scheduleAll();
  }
}

function hasFailed({ failures, view }: ActiveMember): boolean {
  return failures > 0 || view?.peerError !== undefined;
}

/** Returns the name of a member as a target. */
function targetOf({ entry, view }: ActiveMember): string {
  return view?.cluster ?? entry.name;
}
