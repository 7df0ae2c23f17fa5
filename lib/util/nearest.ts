/** Names that were mistyped. Pure. */
import { distance } from "fastest-levenshtein";

/** The nearest of some names by edit distance, if it is near: for "did you mean". */
export function findNearestName(name: string, names: Iterable<string>): string | undefined {
  const [near] = [...names]
    .map((other) => ({ other, distance: distance(name, other) }))
    .sort((a, b) => a.distance - b.distance);
  return near && near.distance <= Math.max(1, Math.floor(name.length / 3)) ? near.other : undefined;
}
