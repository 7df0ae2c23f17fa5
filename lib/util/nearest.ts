import { distance } from "fastest-levenshtein";

/**
 * Finds the name that is meant by a misspelled one, for "did you mean". Its edit distance is the smallest, and at most a
 * third of the letters of `name`, but 1 is always allowed, and from five letters on 2: swapped letters are two edits. Of
 * several names at the same distance, the one with the same letters is meant.
 *
 * @returns undefined if no name is similar, or several are equally similar.
 */
export function findNearestName(name: string, names: Iterable<string>): string | undefined {
  const limit = Math.max(name.length < 5 ? 1 : 2, Math.floor(name.length / 3));
  const similar = [...new Set(names)]
    .map((candidate) => ({ candidate, edits: distance(name, candidate) }))
    .filter(({ edits }) => edits <= limit)
    .sort((a, b) => a.edits - b.edits);
  const nearest = similar.filter(({ edits }) => edits === similar[0]?.edits).map(({ candidate }) => candidate);
  const swapped = nearest.filter((candidate) => sortLetters(candidate) === sortLetters(name));
  const [meant, ...others] = swapped.length > 0 ? swapped : nearest;
  return others.length === 0 ? meant : undefined;
}

function sortLetters(name: string): string {
  return [...name].sort().join("");
}
