/** Plans and writes the targets of `sync`, and records what is held. */
import { Interrupted } from "../import/apply.ts";
import { type Change, describeObject } from "../import/plan/change.ts";
import type { Restarts } from "../import/plan/host-aliases.ts";
import type { TlsMode } from "../import/plan/tls.ts";
import { recordedUsers } from "../import/plan/users.ts";
import type { PreparedImport, PreparedTarget } from "../import/prepare.ts";
import { existingOf, type Member } from "../mesh/member.ts";
import { PeerChecker } from "../peer/checks/check-peer.ts";
import { earliest } from "../util/earliest.ts";
import { duePrunes, nextPrunes } from "./absence.ts";
import type { ClusterWatch } from "./cluster-watch.ts";
import { ConfigHistory } from "./config-history.ts";
import { Contests } from "./contests.ts";
import type { Conflict } from "./identity.ts";
import type { MemberView } from "./member-view.ts";
import type { MemberNames, Pairing } from "./pairing.ts";
import { type DesiredPeer, type PlannedHold, planTarget, type TargetPlan } from "./plan-target.ts";
import { explainWait, isRestart, type RestartTarget, RolloutGate } from "./rollout-gate.ts";
import type { StateKeeper } from "./state-keeper.ts";
import type { Occurrence } from "./sync-event.ts";
import { changesOf, describePlan, describeWrite, peersOfChange, peersOfPlan } from "./target-changes.ts";
import { TargetEvents } from "./target-events.ts";
import { WriteFailure, writePlan } from "./write-plan.ts";

/** How targets are planned. All durations are in milliseconds. */
export interface ReconcileOptions {
  /** The name of this process in Kubernetes Events, such as that of its pod. */
  instance: string;
  /** Which members are connected. */
  pairing: Pairing;
  /** How long changes are collected before they are acted on; a target whose workloads restart is read as often. */
  settle: number;
  /** How often targets are read that wait for what is not watched, such as the restart of another. */
  recheck: number;
  /** How long a configured node address has to be gone before it is replaced. */
  addressGrace: number;
  /** How long a member has to be absent before it is removed from the others; undefined for never. */
  pruneAfter: number | undefined;
  /** How many resets of a key by another field manager within an hour make us pause. */
  fightLimit: number;
  restarts: Restarts;
  takeOwnership: boolean;
  tls: TlsMode;
  users: boolean;
  /** Resolves a host name to its addresses. */
  resolve(name: string): Promise<string[]>;
}

/** A target, and what is known of the other members. */
export interface SyncTarget {
  member: Member;
  /** Its cluster name. */
  target: string;
  /** The uid of its ConfigMap `cilium-config`. */
  uid: string | undefined;
  names: MemberNames;
  /** Returns the names of another member. */
  namesOf(entry: string): MemberNames;
  others: readonly MemberView[];
  /** Entries that could not be read, or extracted, the last time. */
  unreadable: ReadonlySet<string>;
  /** False to plan only. */
  writes: boolean;
  /** What watches it, if anything does: it does not report what is written here. */
  watch: Pick<ClusterWatch, "write"> | undefined;
}

/** A target, with the absent clusters that are to be removed from it; they may not be configured in it. */
interface PlannedTarget extends SyncTarget {
  due: readonly string[];
  /** When that was determined. */
  startedAt: Date;
}

/** What has to follow. */
export interface Reconciliation {
  /** When to plan the target again, because a hold may have ended by then. */
  recheckAt: Date | undefined;
  /** Entries of peers that have to be read again, and the target planned after that. */
  outdated: string[];
}

/** Which workloads a target may restart now. */
interface RestartTurn {
  restarts: Restarts;
  /** Makes holds of peers name the rollout that has to end first. */
  explain?: (hold: PlannedHold) => PlannedHold;
  /** The plan by which that was decided, if it is the one to write. */
  planned?: TargetPlan;
}

/** How long a checker of peers is used: it judges validity at the time of its creation. */
const CHECKER_AGE_MS = 60_000;

/** Plans and writes targets, one task at a time for each. */
export class TargetReconciler {
  readonly #options: ReconcileOptions;
  readonly #ports: { emit(occurrence: Occurrence): void; now(): Date };
  readonly #keeper: StateKeeper;
  readonly #signal: AbortSignal;
  readonly #contests: Contests;
  readonly #events: TargetEvents;
  readonly #gate = new RolloutGate();
  #checker = { created: new Date(0), checker: new PeerChecker() };
  readonly #history = new ConfigHistory();
  readonly #planned = new Map<string, PreparedTarget>();
  readonly #writing = new Set<string>();

  constructor(
    options: ReconcileOptions,
    ports: { emit(occurrence: Occurrence): void; now(): Date },
    keeper: StateKeeper,
    signal: AbortSignal,
  ) {
    this.#options = options;
    this.#ports = ports;
    this.#keeper = keeper;
    this.#signal = signal;
    this.#contests = new Contests(keeper, { limit: options.fightLimit, now: ports.now });
    this.#events = new TargetEvents({
      instance: options.instance,
      now: ports.now,
      onDenied: (cluster, error) =>
        ports.emit({ kind: "events-denied", target: cluster, error: error.singleLineMessage }),
    });
  }

  /** Returns the targets that were planned without being written, and clears the list. */
  takePlanned(): PreparedTarget[] {
    const planned = [...this.#planned.values()];
    this.#planned.clear();
    return planned;
  }

  /** Whether a write by an entry is under way, which has to be completed. */
  isWriting(entry: string): boolean {
    return this.#writing.has(entry);
  }

  /** Records the configs of a target that has been read, and judges its rollout, also if it is not planned. */
  noteReading(target: string, member: Member, { uid, readAt }: MemberView): void {
    this.#history.note(target, member);
    const { deployment, operator, agents } = member.installation;
    this.#gate.noteReading({ target, uid }, [deployment, operator, agents], readAt);
    // The target of the rollout itself may be away.
    const stalled = this.#gate.takeStalled(this.#ports.now());
    if (stalled) this.#ports.emit({ kind: "rollout-stalled", ...stalled });
  }

  /** Holds a whole target because of a conflict with another cluster; nothing for a second way to the same cluster. */
  hold(target: string, { kind, message }: Conflict): void {
    if (kind !== "conflict") return;
    this.#planned.delete(target);
    this.#keeper.holds.set(target, [{ target, reason: "duplicate", message }]);
  }

  /**
   * Plans a target, and writes what differs.
   *
   * @throws WriteFailure if the target cannot be written.
   */
  async reconcile(read: SyncTarget): Promise<Reconciliation> {
    const { names, writes } = read;
    const startedAt = this.#ports.now();
    const context = { ...read, startedAt, due: this.#duePrunes(read, startedAt) };
    const turn = await this.#askForRestarts(context);
    const written: Change[] = [];
    try {
      return await this.#reconcile(context, turn, written);
    } finally {
      if (turn.restarts !== "none" && writes) this.#gate.end(read, written, performance.now());
      if (writes && !this.#signal.aborted) await this.#report(context, written);
      this.#writing.delete(names.entry);
    }
  }

  /** Asks for permission to restart workloads if a plan would: a target that restarts nothing makes no other wait. */
  async #askForRestarts(context: PlannedTarget): Promise<RestartTurn> {
    const { restarts } = this.#options;
    // A preview shows all restarts that would follow one another.
    if (restarts === "none" || !context.writes) return { restarts };
    const planned = await this.#plan(context, restarts);
    const changes = changesOf(planned);
    if (!changes.some(isRestart)) return { restarts: "none", planned };
    if (this.#gate.begin(context, changes, context.startedAt)) return { restarts, planned };
    const rollout = this.#gate.current();
    return { restarts: "none", ...(rollout && { explain: explainWait(rollout, planned.holds) }) };
  }

  /** Reports by Kubernetes Events what was written and what is held. */
  #report({ member: { api, installation }, target }: SyncTarget, written: readonly Change[]): Promise<void> {
    const held = this.#keeper.holds.forUsersOf(target);
    const objects = written.map(({ kind, name }) => describeObject(kind, name));
    const peers = [...new Set(written.flatMap(peersOfChange))].sort();
    return this.#events.report({ cluster: target, api, namespace: installation.namespace }, { objects, peers, held });
  }

  /** Lets others restart if a target has left during its rollout. */
  releaseRollout(target: RestartTarget): void {
    this.#gate.release(target);
  }

  /** Removes what is held for a target that has left. */
  remove(target: string): void {
    this.#planned.delete(target);
    this.#history.remove(target);
    this.#events.remove(target);
    this.#keeper.holds.set(target, []);
    this.#keeper.setFindings(target, []);
  }

  async #reconcile(context: PlannedTarget, turn: RestartTurn, written: Change[]): Promise<Reconciliation> {
    const { target, member, names, writes, unreadable, due } = context;
    const { addresses } = this.#keeper.state;
    const planned = await this.#planSafely(context, turn);
    const outdated = planned.outdated.map(({ entry }) => entry);
    const missed = planned.outdated.filter(({ entry }) => unreadable.has(entry));
    this.#keeper.setFindings(target, planned.findings);
    this.#keeper.holds.set(target, [
      ...planned.holds.map((hold) => turn.explain?.(hold) ?? hold),
      ...this.#contests.holds(target, member.target),
      ...missed.map(({ cluster = "" }) => unreachableHold(target, cluster)),
    ]);
    this.#keeper.setGone(addresses, planned.gone);
    const [one] = planned.prepared?.targets ?? [];
    this.#planned.delete(target);
    if (planned.prepared && one && one.plan.changes.length > 0) {
      if (writes) {
        const peers = describePlan(one.plan, planned.versions);
        const resetBy = this.#contests.resetBy(target);
        if (peers) this.#ports.emit({ kind: "planned", target, ...peers, resetBy });
        await this.#write(context, planned.prepared, written);
      } else this.#planned.set(target, one);
    }
    if (writes && planned.prepared && !this.#signal.aborted) {
      const kept = this.#contests.heldBy(target).users ? recordedUsers(member.target.users) : [];
      this.#keeper.notePruned(
        names.entry,
        due.filter((name) => !kept.includes(name)),
      );
    }
    const { settle, recheck } = this.#options;
    const wait = this.#gate.isUnderWay(context) ? settle : turn.explain && recheck;
    const rollout = wait === undefined ? undefined : new Date(this.#ports.now().getTime() + wait);
    const { members } = this.#keeper.state;
    const prunes = this.#keeper.isUnreadable ? [] : nextPrunes(members, this.#options.pruneAfter, context.startedAt);
    const ends = [planned.recheckAt, this.#contests.end(target), rollout, ...prunes];
    return { recheckAt: earliest(...ends), outdated };
  }

  /**
   * Plans a target without keys that are contested, and without changes by outdated readings: if the config of a peer was
   * changed by somebody else, the peer may have changed since it was read, and has to be read again first.
   */
  async #planSafely(
    context: PlannedTarget,
    { restarts, planned: first }: RestartTurn,
  ): Promise<TargetPlan & { outdated: MemberView[] }> {
    const { target, member, writes, others } = context;
    const isContested = (planned: TargetPlan) =>
      writes && this.#contests.detect(target, member.target, changesOf(planned));
    let planned = first ?? (await this.#plan(context, restarts));
    const changed = new Set(planned.prepared?.targets.flatMap(({ plan }) => peersOfPlan(plan).changed));
    const outdated = others.filter(
      ({ cluster = "", readAt }) => changed.has(cluster) && readAt <= this.#history.since(target, cluster),
    );
    if (outdated.length > 0) planned = await this.#plan(context, restarts, outdated);
    if (isContested(planned)) planned = await this.#plan(context, restarts, outdated);
    return { ...this.#contests.withoutHeld(target, planned), outdated };
  }

  /** @param omitted - the members whose configs are left as they are. */
  #plan(context: PlannedTarget, restarts: Restarts, omitted: readonly MemberView[] = []): Promise<TargetPlan> {
    const { member, target, names, namesOf, others } = context;
    const { addressGrace, recheck, takeOwnership, tls, users, resolve } = this.#options;
    const now = this.#ports.now();
    const desired = others.flatMap((view): DesiredPeer[] => {
      const { peer, entry, cluster } = view;
      if (!peer || cluster === undefined || !this.#options.pairing(names, namesOf(entry))) return [];
      return [{ view, peer }];
    });
    const peers = desired.filter(({ view }) => !omitted.includes(view));
    return planTarget({
      ...{ member, peers, addressGrace, recheckAfter: recheck, resolve },
      // A user that is missing, as after an upgrade by Helm, is also granted to a peer that cannot be read now.
      granted: new Set([...desired.map(({ peer }) => peer.name), ...recordedUsers(member.target.users)]),
      removed: this.#removedPeers(context),
      contested: this.#contests.heldBy(target),
      gone: this.#keeper.state.addresses,
      authorities: this.#keeper.state.authorities,
      options: { restarts, takeOwnership, tls, users, now, checker: this.#useChecker(now) },
    });
  }

  /** Returns the clusters that have been absent for long enough, unless they are reached by another name now. */
  #duePrunes({ target, names, others }: SyncTarget, now: Date): string[] {
    if (this.#keeper.isUnreadable) return [];
    const present = new Set([target, ...others.map(({ cluster }) => cluster)]);
    const due = duePrunes(this.#keeper.state.members, this.#options.pruneAfter, now, names.entry);
    return due.filter((name) => !present.has(name));
  }

  /**
   * Returns the peers that are due to be removed. Whoever can write the state cannot remove other peers: the target must record
   * that this tool has written the peer, with the same cluster-id, or, after an earlier write, that it granted its user.
   */
  #removedPeers({ member, due }: PlannedTarget): ReadonlySet<string> {
    if (due.length === 0) return new Set();
    const { members } = this.#keeper.state;
    const { names, records } = existingOf(member);
    const isOurs = (name: string) => {
      if (!names.has(name)) return recordedUsers(member.target.users).includes(name);
      const id = records.get(name)?.id;
      return id !== undefined && members.some((one) => one.cluster === name && one.id === id);
    };
    return new Set(due.filter(isOurs));
  }

  async #write({ target, names, watch }: SyncTarget, prepared: PreparedImport, written: Change[]): Promise<void> {
    const { emit } = this.#ports;
    this.#writing.add(names.entry);
    const write = () => writePlan(prepared, this.#signal);
    const { report, changes, versions } = await (watch?.write(write) ?? write());
    written.push(...changes);
    this.#history.noteWrite(target, changes.flatMap(peersOfChange), versions);
    this.#contests.noteWrites(target, changes);
    this.#keeper.countWrites(target, changes.length);
    for (const change of changes) emit({ kind: "written", target, ...describeWrite(change) });
    if (report.state === "failed" && !(report.error instanceof Interrupted))
      throw new WriteFailure(target, report.error);
  }

  /** Checks each peer once for many targets. */
  #useChecker(now: Date): PeerChecker {
    const age = now.getTime() - this.#checker.created.getTime();
    if (age > CHECKER_AGE_MS) this.#checker = { created: now, checker: new PeerChecker() };
    return this.#checker.checker;
  }
}

function unreachableHold(target: string, peer: string): PlannedHold {
  const message = `the config of ${peer} may have changed since ${peer} was last read, and ${peer} cannot be read now`;
  return { target, peer, reason: "unreachable", message };
}
