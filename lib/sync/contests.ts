/** The keys of targets that another field manager resets again and again. */
import { type Change, describeObject, showManagersCommand } from "../import/plan/change.ts";
import type { Target } from "../import/plan/target.ts";
import { AGENTS_SECRET, KVSTOREMESH_SECRET, USERS_CONFIG_MAP, USERS_KEY } from "../peer/peer.ts";
import { earliest } from "../util/earliest.ts";
import {
  countResets,
  describeManager,
  findResets,
  heldKeys,
  noteWrites,
  peerOfKey,
  type WriteMemory,
  writesOnlyHeldKeys,
} from "./contest.ts";
import type { PlannedHold, TargetPlan } from "./plan-target.ts";
import type { ContestedKey } from "./state.ts";
import type { StateKeeper } from "./state-keeper.ts";

export interface ContestOptions {
  /** How many resets of a key by one field manager within an hour make us pause. */
  limit: number;
  /** The clock. */
  now(): Date;
}

/** Detects resets, and holds the keys that are contested. */
export class Contests {
  readonly #keeper: StateKeeper;
  readonly #options: ContestOptions;
  readonly #memory: WriteMemory = new Map();
  /** The field managers that have reset keys of each target since its last write. */
  readonly #resetBy = new Map<string, Set<string>>();

  constructor(keeper: StateKeeper, options: ContestOptions) {
    this.#keeper = keeper;
    this.#options = options;
  }

  /**
   * Counts the planned changes that would repeat our last writes.
   *
   * @returns whether any key is contested now, so that the target has to be planned again without it.
   */
  detect(target: string, { source: _, ...stored }: Target, planned: readonly Change[]): boolean {
    const { limit, now } = this.#options;
    const objects = new Map([
      [describeObject("Secret", AGENTS_SECRET), stored.agentsSecret],
      [describeObject("Secret", KVSTOREMESH_SECRET), stored.kvstoremeshSecret],
      [describeObject("ConfigMap", USERS_CONFIG_MAP), stored.users],
    ]);
    const resets = findResets(this.#memory, target, planned, (object) => objects.get(object)?.metadata, now());
    if (resets.length === 0) return false;
    const known = this.#resetBy.get(target) ?? [];
    this.#resetBy.set(target, new Set([...known, ...resets.map(({ manager }) => manager)]));
    this.#keeper.setContested(countResets(this.#keeper.state.contested, resets, { limit, now: now() }));
    return this.#held(target).length > 0;
  }

  /** Returns the field managers that have reset keys of a target since its last write. */
  resetBy(target: string): string[] {
    return [...(this.#resetBy.get(target) ?? [])];
  }

  /** Remembers what was written. */
  noteWrites(target: string, changes: readonly Change[]): void {
    this.#resetBy.delete(target);
    noteWrites(this.#memory, target, changes);
  }

  /** Returns the peers of a target that are not written now, and whether its etcd users are not. */
  heldBy(target: string): { peers: ReadonlySet<string>; users: boolean } {
    const keys = this.#held(target).map(({ key }) => key);
    return { peers: new Set(keys.flatMap((key) => peerOfKey(key) ?? [])), users: keys.includes(USERS_KEY) };
  }

  /** Returns a plan without the changes that write nothing but contested keys, such as an annotation. */
  withoutHeld(target: string, planned: TargetPlan): TargetPlan {
    const held = this.#held(target);
    if (held.length === 0 || !planned.prepared) return planned;
    const targets = planned.prepared.targets.map((one) => {
      const changes = one.plan.changes.filter((change) => !writesOnlyHeldKeys(change, held));
      return { ...one, plan: { ...one.plan, changes } };
    });
    return { ...planned, prepared: { ...planned.prepared, targets } };
  }

  /** Returns the holds of a target: one for each peer and field manager. */
  holds(target: string, place: Pick<Target, "source" | "namespace">): PlannedHold[] {
    const holds = this.#held(target).map((one): [string, PlannedHold] => {
      const peer = peerOfKey(one.key);
      return [`${peer ?? one.key} ${one.manager}`, toHold(one, peer, place)];
    });
    return [...new Map(holds).values()];
  }

  /** Returns when the first hold of a target ends. */
  end(target: string): Date | undefined {
    return earliest(...this.#held(target).map(({ until }) => (until === undefined ? undefined : new Date(until))));
  }

  #held(target: string): ContestedKey[] {
    return heldKeys(this.#keeper.state.contested, target, this.#options.now());
  }
}

function toHold(
  { target, object, key, manager, until }: ContestedKey,
  peer: string | undefined,
  place: Pick<Target, "source" | "namespace">,
): PlannedHold {
  return {
    target,
    ...(peer !== undefined && { peer }),
    reason: "contested",
    ...(until !== undefined && { until: new Date(until) }),
    message: `${describeManager(manager)} keeps resetting ${key} of ${object}`,
    remedy: showManagersCommand(place, object),
  };
}
