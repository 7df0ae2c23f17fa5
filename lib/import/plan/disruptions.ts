/** What of a plan has to be agreed to: what it takes away, restarts, or takes over. Pure. */
import { TAKEN } from "../../peer/annotations.ts";
import type { Plan } from "./plan.ts";

/** What a plan does that somebody may mind, each by name. */
export interface Disruptions {
  /** Peers that are removed. */
  removed: string[];
  /** Etcd users that are revoked (`remote-<peer>`). */
  revoked: string[];
  /** Workloads whose pods restart (`daemonset/cilium`). */
  restarted: string[];
  /** Objects that are taken from their owners (`Secret cilium-clustermesh from Helm release cilium`). */
  taken: string[];
}

export function disruptionsOf({ outcomes, revoked, changes }: Plan): Disruptions {
  return {
    removed: [...outcomes].filter(([, outcome]) => outcome === "dropped").map(([name]) => name),
    revoked,
    restarted: changes.flatMap(({ verb, kind, name }) =>
      verb === "json-patch" ? [`${kind.toLowerCase()}/${name}`] : [],
    ),
    taken: changes.flatMap((change) => {
      const owner = change.verb === "merge-patch" ? change.patch.metadata.annotations?.[TAKEN] : undefined;
      return owner ? [`${change.kind} ${change.name} from ${owner}`] : [];
    }),
  };
}

/** What a plan does beyond an earlier one that was agreed to. */
export function newDisruptions(agreed: Plan, next: Plan): Disruptions {
  const before = disruptionsOf(agreed);
  const now = disruptionsOf(next);
  const beyond = (kind: keyof Disruptions) => now[kind].filter((name) => !before[kind].includes(name));
  return {
    removed: beyond("removed"),
    revoked: beyond("revoked"),
    restarted: beyond("restarted"),
    taken: beyond("taken"),
  };
}
