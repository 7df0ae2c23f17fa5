/** The effects of a plan that need confirmation: removals, restarts and changes of ownership. Pure. */
import { TAKEN_FROM_ANNOTATION } from "../../peer/annotations.ts";
import { describeObject } from "./change.ts";
import type { Plan } from "./plan.ts";

/** The disruptive effects of a plan, by name. */
export interface Disruptions {
  /** Peers to remove. */
  removed: string[];
  /** Etcd users to revoke (`remote-<peer>`). */
  revoked: string[];
  /** Workloads whose pods restart (`daemonset/cilium`). */
  restarted: string[];
  /** Objects to take over from their owners (`secret/cilium-clustermesh from Helm release cilium`). */
  taken: string[];
}

/** Lists the removals, revocations, restarts and takeovers of a plan. */
export function disruptionsOf({ outcomes, revoked, changes }: Plan): Disruptions {
  return {
    removed: [...outcomes].filter(([, outcome]) => outcome === "dropped").map(([name]) => name),
    revoked,
    restarted: changes.flatMap(({ verb, kind, name }) => (verb === "json-patch" ? [describeObject(kind, name)] : [])),
    taken: changes.flatMap((change) => {
      const owner =
        change.verb === "merge-patch" ? change.patch.metadata.annotations?.[TAKEN_FROM_ANNOTATION] : undefined;
      return owner ? [`${describeObject(change.kind, change.name)} from ${owner}`] : [];
    }),
  };
}

/** Returns the disruptions of a plan that an earlier, confirmed plan does not have. */
export function newDisruptions(confirmed: Plan, next: Plan): Disruptions {
  const before = disruptionsOf(confirmed);
  const now = disruptionsOf(next);
  const listNew = (kind: keyof Disruptions) => now[kind].filter((name) => !before[kind].includes(name));
  return {
    removed: listNew("removed"),
    revoked: listNew("revoked"),
    restarted: listNew("restarted"),
    taken: listNew("taken"),
  };
}
