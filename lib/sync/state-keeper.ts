/** The state of a running `sync`: reports what changes in it, and saves it. */
import type { Finding } from "../peer/findings.ts";
import { describeAnyError, UserError } from "../util/errors.ts";
import { noteContact, noteList, notePruned } from "./absence.ts";
import { noteAuthorities } from "./authorities.ts";
import { type CommandCompletion, withCompletedRemedy } from "./command-completion.ts";
import { describeDeparture } from "./departure.ts";
import { Holds } from "./holds.ts";
import type { MemberView } from "./member-view.ts";
import { pause } from "./pause.ts";
import type { ContestedKey, GoneAddress, MemberRecord, SyncState } from "./state.ts";
import { addToCount, emptyState, MAX_STATE_TEXT } from "./state.ts";
import { authorityName } from "./state-fields.ts";
import type { StateStore } from "./state-store.ts";
import { StateError } from "./state-text.ts";
import type { Occurrence } from "./sync-event.ts";

/** The time between two writes of the state, in milliseconds. */
const SAVE_INTERVAL_MS = 5_000;
/** How often a store that does not answer is read, and the time between, in milliseconds. */
const MAX_LOADS = 5;
const LOAD_RETRY_MS = 2_000;

export interface StateKeeperOptions {
  /** How often every member is read, in milliseconds; the state is saved as often, even without a change. */
  interval: number;
  /** How long a member has to be absent before it is removed from the others, in milliseconds; undefined for never. */
  pruneAfter?: number | undefined;
  store: StateStore;
  /** Reports what happens. */
  emit(occurrence: Occurrence): void;
  /** The clock. */
  now(): Date;
  /** Completes the commands in remedies and errors. By default, they stay as they are. */
  completion?: CommandCompletion;
}

/** Keeps the state. Only one process may keep a state at a time. */
export class StateKeeper {
  readonly state: SyncState;
  /** What is held. */
  readonly holds: Holds;
  /** Set if the stored state could not be read: then nothing may be pruned. */
  readonly isUnreadable: boolean;
  /** Set if the stored state was not adopted: the first save replaces it. */
  readonly #replacesState: boolean;
  readonly #options: StateKeeperOptions;
  readonly #findings = new Map<string, Finding[]>();
  #timer: NodeJS.Timeout | undefined;
  /** By the monotonic clock. */
  #savedAt = Number.NEGATIVE_INFINITY;
  #saving: Promise<void> = Promise.resolve();
  /** Why the state could not be saved the last time. */
  #saveError: string | undefined;

  private constructor(state: SyncState, problem: "invalid" | "other" | undefined, options: StateKeeperOptions) {
    this.state = { ...state, interval: options.interval, pruneAfter: options.pruneAfter };
    this.isUnreadable = problem === "invalid";
    this.#replacesState = problem !== undefined;
    this.#options = options;
    this.holds = new Holds(this.state, options, () => this.saveSoon());
  }

  /**
   * Loads the stored state. One of another selection of members, or one that cannot be read, is replaced; a store that does
   * not answer is tried again for some seconds.
   */
  static async load(selection: string, options: StateKeeperOptions, signal: AbortSignal): Promise<StateKeeper> {
    const { store, emit } = options;
    for (let attempt = 1; ; attempt++) {
      try {
        const stored = await store.load();
        if (stored?.selection === selection) return new StateKeeper(stored, undefined, options);
        return new StateKeeper(emptyState(selection), stored && "other", options);
      } catch (error) {
        if (!(error instanceof UserError)) throw error;
        if (error instanceof StateError || attempt === MAX_LOADS || signal.aborted) {
          emit({ kind: "state-unreadable", where: store.describe(), error: error.singleLineMessage });
          return new StateKeeper(emptyState(selection), "invalid", options);
        }
        await pause(LOAD_RETRY_MS, signal);
      }
    }
  }

  /** The findings of the last plan of each target. */
  get findings(): ReadonlyMap<string, readonly Finding[]> {
    return this.#findings;
  }

  /** Replaces the records of members. */
  setMembers(members: MemberRecord[]): void {
    this.state.members = members;
    this.saveSoon();
  }

  /** Records which members are listed, and reports it if they could not be before. */
  noteList(names: readonly string[]): void {
    if (this.state.listFailure) this.#options.emit({ kind: "list-recovered" });
    this.state.listFailure = undefined;
    const members = noteList(this.state.members, names, this.#options.now());
    this.setMembers(members.map((one) => this.#withRemedy(one, members)));
    this.#removeUnknownAuthorities();
  }

  /** Records that changes are written from now on, or no longer. */
  noteRunning(isRunning: boolean): void {
    this.state.stoppedAt = isRunning ? undefined : this.#time();
    this.saveSoon();
  }

  /** Records that the members cannot be listed, and reports it unless the error repeats the last one. */
  noteListFailure(message: string): void {
    const last = this.state.listFailure?.error;
    this.#setListFailure(message);
    if (this.state.listFailure?.error === last) return;
    this.#options.emit({ kind: "list-failed", error: message });
    this.saveSoon();
  }

  /** Saves that the members cannot be listed, unless that would replace a state that is not of these members, or unreadable. */
  async saveListFailure(message: string): Promise<void> {
    if (this.#replacesState) return;
    this.#setListFailure(message);
    await this.save();
  }

  #setListFailure(message: string): void {
    const { since = this.#time() } = this.state.listFailure ?? {};
    this.state.listFailure = { since, error: this.#completeError(message) };
  }

  /** Records that a member was read. */
  noteContact({ entry, uid, cluster, id, peerError }: MemberView): void {
    const describe = (one: MemberRecord | undefined) => JSON.stringify([one?.uid, one?.cluster, one?.id, one?.error]);
    const before = this.#record(entry);
    const error = peerError && this.#completeError(peerError.singleLineMessage);
    this.state.members = noteContact(this.state.members, { entry, uid, cluster, id, error }, this.#options.now());
    const hasChanged = describe(before) !== describe(this.#record(entry));
    if (hasChanged) this.#removeUnknownAuthorities();
    // The time of the contact alone is saved with the next change, or once an interval.
    const isDue = performance.now() - this.#savedAt >= this.#options.interval;
    if (isDue || hasChanged) this.saveSoon();
  }

  /** Records that absent clusters were removed from the cluster of an entry, or were not in it. */
  notePruned(entry: string, clusters: readonly string[]): void {
    if (clusters.length > 0) this.setMembers(notePruned(this.state.members, entry, clusters));
  }

  /** Records that a member cannot be read; returns whether the error is new. */
  noteFailure(entry: string, message: string): boolean {
    const error = this.#completeError(message);
    const before = this.#record(entry);
    if (before?.error === error) return false;
    this.setMembers(this.state.members.map((one) => (one === before ? { ...one, error } : one)));
    return true;
  }

  /** Replaces the findings of a target, and reports the new ones. */
  setFindings(target: string, findings: readonly Finding[]): void {
    const known = new Set(this.#findings.get(target)?.map(findingKey));
    for (const one of findings) {
      if (!known.has(findingKey(one)))
        this.#options.emit({ kind: "finding", target, finding: this.#completeRemedy(one) });
    }
    this.#findings.set(target, [...findings]);
  }

  /**
   * Adopts what the plan of one target has changed in the addresses that are gone.
   *
   * @param before - the addresses by which it was planned; plans of other targets may have changed them meanwhile.
   */
  setGone(before: readonly GoneAddress[], after: readonly GoneAddress[]): void {
    const [known, kept] = [new Set(before.map(goneKey)), new Set(after.map(goneKey))];
    const { addresses } = this.state;
    const staying = addresses.filter((one) => kept.has(goneKey(one)) || !known.has(goneKey(one)));
    const present = new Set(staying.map(goneKey));
    const added = after.filter((one) => !known.has(goneKey(one)) && !present.has(goneKey(one)));
    if (added.length === 0 && staying.length === addresses.length) return;
    this.state.addresses = [...staying, ...added];
    this.saveSoon();
  }

  /** Records the CAs and the server certificate of a cluster. Must precede {@link noteContact}: it needs the time of the contact before. */
  noteAuthorities(view: MemberView): void {
    const { cluster, uid, ca, serverCertificate, serverSecretWritten: written, etcdStarted } = view;
    if (cluster === undefined || ca === undefined) return;
    const lastContact = this.#record(view.entry)?.lastContact;
    const lastRead = lastContact === undefined ? undefined : new Date(lastContact);
    const reading = { cluster, uid, ca, serverCertificate, written, lastRead, etcdStarted };
    const next = noteAuthorities(this.state.authorities, reading, this.#options.now());
    if (next === this.state.authorities) return;
    this.state.authorities = [...next];
    this.saveSoon();
  }

  /** A member with ever other names must not fill the state: records are those of clusters that a member is, or was. */
  #removeUnknownAuthorities(): void {
    const known = new Set(this.state.members.map(authorityName));
    this.state.authorities = this.state.authorities.filter((one) => known.has(authorityName(one)));
  }

  /** Replaces the contested keys. */
  setContested(contested: ContestedKey[]): void {
    this.state.contested = contested;
    this.saveSoon();
  }

  /** Counts objects written in a target. */
  countWrites(target: string, count: number): void {
    const { counters } = this.state;
    counters.writes = addToCount(counters.writes, target, count);
    this.saveSoon();
  }

  /** Counts a failed task of a cluster. */
  countError(cluster: string): void {
    const { counters } = this.state;
    counters.errors = addToCount(counters.errors, cluster);
  }

  /** Counts a completed task. */
  countReconciliation(): void {
    this.state.counters.reconciliations++;
  }

  /** Saves the state within five seconds. */
  saveSoon(): void {
    this.#timer ??= setTimeout(() => void this.save(), SAVE_INTERVAL_MS);
  }

  /** Saves the state now. A failure is reported unless it repeats the last one; the next change tries again. */
  save(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#savedAt = performance.now();
    this.#saving = this.#saving.then(async () => {
      const { store, emit } = this.#options;
      try {
        await store.save(this.state);
        this.#saveError = undefined;
      } catch (thrown) {
        const error = describeAnyError(thrown);
        if (error !== this.#saveError) emit({ kind: "state-unsaved", where: store.describe(), error });
        this.#saveError = error;
      }
    });
    return this.#saving;
  }

  #completeRemedy<T extends { remedy?: string | undefined }>(record: T): T {
    return withCompletedRemedy(record, this.#options.completion?.inRemedy);
  }

  #completeError(error: string): string {
    return this.#options.completion?.inError(error) ?? error;
  }

  /** Adds to a member that has left how to remove it from the others, unless that is too long for the state. */
  #withRemedy(one: MemberRecord, members: readonly MemberRecord[]): MemberRecord {
    if (one.absentSince === undefined) return one;
    const { remedy: _, ...rest } = one;
    const { remedy } = this.#completeRemedy(describeDeparture(one.entry, members, this.#options.pruneAfter));
    return remedy === undefined || remedy.length > MAX_STATE_TEXT ? rest : { ...rest, remedy };
  }

  #record(entry: string): MemberRecord | undefined {
    return this.state.members.find((one) => one.entry === entry);
  }

  #time(): string {
    return this.#options.now().toISOString();
  }
}

function goneKey({ peer, address }: GoneAddress): string {
  return `${peer} ${address}`;
}

function findingKey({ code, key = "", message }: Finding): string {
  return JSON.stringify([code, key, message]);
}
