/** What the plan of a target changes. Pure. */
import type { Change } from "../import/plan/change.ts";
import type { Outcome } from "../import/plan/merge-secret.ts";
import type { Plan } from "../import/plan/plan.ts";
import { peerOfKey } from "./contest.ts";
import type { TargetPlan } from "./plan-target.ts";

/** Returns the planned changes; none if the target is held. */
export function changesOf({ prepared }: TargetPlan): Change[] {
  return prepared?.targets.flatMap(({ plan }) => plan.changes) ?? [];
}

/** Returns the names of the peers that a plan adds, changes and removes. */
export function peersOfPlan({ outcomes }: Plan): { added: string[]; changed: string[]; removed: string[] } {
  const having = (...wanted: Outcome[]) => [...outcomes].flatMap(([name, one]) => (wanted.includes(one) ? [name] : []));
  return { added: having("added"), changed: having("changed", "moved"), removed: having("dropped") };
}

/** Returns the names of the peers whose keys a change writes, sorted. */
export function peersOfChange(change: Change): string[] {
  if (change.kind !== "Secret") return [];
  const keys = change.verb === "create" ? change.object.data : change.verb === "merge-patch" ? change.patch.data : {};
  return [...new Set(Object.keys(keys ?? {}).flatMap((key) => peerOfKey(key) ?? []))].sort();
}
