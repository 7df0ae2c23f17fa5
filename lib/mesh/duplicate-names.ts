/** Clusters of a mesh with the same name. Pure. */
import { type Finding, finding } from "../peer/findings.ts";
import type { Member } from "./member.ts";

/** Reports clusters with the same name: each would skip the other as its own file. */
export function findDuplicateNames(members: readonly Member[]): Finding[] {
  return members.flatMap(({ source, target: { facts } }, i) => {
    const other = members.slice(0, i).find(({ target }) => target.facts.name === facts.name);
    if (other === undefined || facts.name === undefined) return [];
    const values = { name: facts.name, other: other.source };
    return [finding("name-duplicate", { source }, values, { clusters: [other.source, source] })];
  });
}
