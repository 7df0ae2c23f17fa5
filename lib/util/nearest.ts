import { distance } from "fastest-levenshtein";

/** Finds the name with the smallest edit distance, for "did you mean". Undefined if none is similar. */
export function findNearestName(name: string, names: Iterable<string>): string | undefined {
  const [nearest] = [...names]
    .map((candidate) => ({ candidate, distance: distance(name, candidate) }))
    .sort((a, b) => a.distance - b.distance);
  return nearest && nearest.distance <= Math.max(1, Math.floor(name.length / 3)) ? nearest.candidate : undefined;
}
