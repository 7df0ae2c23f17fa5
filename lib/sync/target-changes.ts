/** What the plan of a target changes. Pure. */
import { type Change, describeObject } from "../import/plan/change.ts";
import type { Outcome } from "../import/plan/merge-secret.ts";
import type { Plan } from "../import/plan/plan.ts";
import { peerOfKey } from "./contest.ts";
import { differingParts, type PeerPart } from "./peer-parts.ts";
import type { TargetPlan } from "./plan-target.ts";

/** The names of the peers that are added, changed and removed, and which parts of changed ones differ. */
export interface PeerChanges {
  added: readonly string[];
  changed: readonly string[];
  removed: readonly string[];
  parts: readonly PeerPart[];
}

/** Returns the planned changes; none if the target is held. */
export function changesOf({ prepared }: TargetPlan): Change[] {
  return prepared?.targets.flatMap(({ plan }) => plan.changes) ?? [];
}

/** Returns the names of the peers that a plan adds, changes and removes. */
export function peersOfPlan({ outcomes }: Plan): { added: string[]; changed: string[]; removed: string[] } {
  const having = (...wanted: Outcome[]) => [...outcomes].flatMap(([name, one]) => (wanted.includes(one) ? [name] : []));
  return { added: having("added"), changed: having("changed", "moved"), removed: having("dropped") };
}

/**
 * Describes what a plan changes; undefined if it changes no peer.
 *
 * @param versions - as of {@link TargetPlan}.
 */
export function describePlan(plan: Plan, versions: TargetPlan["versions"]): PeerChanges | undefined {
  const peers = peersOfPlan(plan);
  if (Object.values(peers).every((names) => names.length === 0)) return undefined;
  const parts = peers.changed.flatMap((name) => {
    const changed = versions.get(name);
    return changed ? differingParts(changed) : [];
  });
  return { ...peers, parts: [...new Set(parts)].sort() };
}

/** Returns the names of the peers whose keys a change writes, sorted. */
export function peersOfChange(change: Change): string[] {
  return [...new Set(Object.keys(keysOf(change)).flatMap((key) => peerOfKey(key) ?? []))].sort();
}

/** Returns the object that a change writes, the peers whose keys it writes, and those whose config it removes from it. */
export function describeWrite(change: Change): { object: string; peers: string[]; removed?: string[] } {
  const peers = peersOfChange(change);
  const keys = keysOf(change);
  const removed = peers.filter((name) => keys[name] === null);
  return { object: describeObject(change.kind, change.name), peers, ...(removed.length > 0 && { removed }) };
}

/** Returns the written values by key, null for a removed one; none for what is not a Secret. */
function keysOf(change: Change): Readonly<Record<string, string | null>> {
  if (change.kind !== "Secret") return {};
  return (change.verb === "create" ? change.object.data : change.patch.data) ?? {};
}
