/** What a running `sync` holds: reports what begins and what ends, and records it in the state. */
import { groupBy } from "../util/group-by.ts";
import { type CommandCompletion, withCompletedRemedy } from "./command-completion.ts";
import type { PlannedHold } from "./plan-target.ts";
import type { HeldRecord, SyncState } from "./state.ts";
import type { Occurrence } from "./sync-event.ts";

export interface HoldsOptions {
  /** Reports what happens. */
  emit(occurrence: Occurrence): void;
  /** The clock. */
  now(): Date;
  /** Completes the commands in remedies. By default, they stay as they are. */
  completion?: CommandCompletion;
}

/** The holds of all targets, in the state. */
export class Holds {
  readonly #state: SyncState;
  readonly #options: HoldsOptions;
  readonly #onChange: () => void;
  /** The keys of the holds of each target that were reported. */
  readonly #reported = new Map<string, ReadonlySet<string>>();
  /** The holds of each target as they were planned, by their keys. */
  readonly #planned = new Map<string, ReadonlyMap<string, PlannedHold>>();

  /** @param onChange - called whenever the state has changed. */
  constructor(state: SyncState, options: HoldsOptions, onChange: () => void) {
    this.#state = state;
    this.#options = options;
    this.#onChange = onChange;
  }

  /** Replaces the holds of a target, and reports those that this process has not reported yet, and those that ended. */
  set(target: string, planned: readonly PlannedHold[]): void {
    const { completion, emit, now } = this.#options;
    const { held } = this.#state;
    const before = new Map(held.filter((one) => one.target === target).map((one) => [holdKey(one), one]));
    const byKey = new Map(planned.map((one) => [holdKey(one), one]));
    const after = new Map(
      [...byKey].map(([key, { until, ...hold }]): [string, HeldRecord] => {
        const since = before.get(key)?.since ?? now().toISOString();
        const ending = until && { until: until.toISOString() };
        return [key, { ...withCompletedRemedy(hold, completion?.inRemedy), since, ...ending }];
      }),
    );
    this.#planned.set(target, byKey);
    this.#report(target, after);
    if (JSON.stringify([...before]) === JSON.stringify([...after])) return;
    for (const [key, { peer, reason }] of before) {
      if (!after.has(key)) emit({ kind: "released", target, reason, ...(peer !== undefined && { peer }) });
    }
    this.#state.held = [...held.filter((one) => one.target !== target), ...after.values()];
    this.#onChange();
  }

  /** Returns the holds of a target for its own users: their remedies show neither a kubeconfig nor a user of this process. */
  forUsersOf(target: string): HeldRecord[] {
    const planned = this.#planned.get(target);
    return this.#state.held
      .filter((one) => one.target === target)
      .map((record) => {
        const { remedy: _, ...one } = record;
        const remedy = planned?.get(holdKey(record))?.remedy;
        return withCompletedRemedy(
          { ...one, ...(remedy !== undefined && { remedy }) },
          this.#options.completion?.inEvent,
        );
      });
  }

  /** Ends the holds of targets that are not listed, such as those of an earlier run, or have another name now. */
  releaseUnlisted(): void {
    const { members, held } = this.#state;
    const listed = members.filter(({ absentSince }) => absentSince === undefined);
    const targets = new Set(listed.map(({ cluster, entry }) => cluster ?? entry));
    const unlisted = new Set(held.map(({ target }) => target).filter((target) => !targets.has(target)));
    for (const target of unlisted) this.set(target, []);
  }

  /** Reports the holds that this process has not reported: those with the same cause together. */
  #report(target: string, holds: ReadonlyMap<string, HeldRecord>): void {
    const reported = this.#reported.get(target);
    const added = [...holds].flatMap(([key, record]) => (reported?.has(key) ? [] : [record]));
    const causes = groupBy(added, ({ peer, reason, until, message, remedy }) =>
      JSON.stringify([peer === undefined, reason, until, message, remedy]),
    );
    for (const [record, ...others] of causes.values()) {
      const peers = others.flatMap(({ peer }) => peer ?? []);
      if (record) this.#options.emit({ kind: "held", record, ...(peers.length > 0 && { peers }) });
    }
    this.#reported.set(target, new Set(holds.keys()));
  }
}

function holdKey({ peer = "", reason, message, remedy }: PlannedHold | HeldRecord): string {
  // A restart that needs no command waits for others, one after the other.
  const isWait = reason === "address-grace" || (reason === "restart" && remedy === undefined);
  return JSON.stringify([peer, reason, isWait ? "" : message]);
}
