import { distance } from "fastest-levenshtein";

/**
 * Finds the intended name for a misspelled one, for "did you mean", by the smallest edit distance. The limit is a third
 * of the length of `name`, but at least 1, or 2 from five letters on, since swapped letters are two edits. Of several
 * names at the same distance, one with the same letters is preferred.
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
  const [match, ...others] = swapped.length > 0 ? swapped : nearest;
  return others.length === 0 ? match : undefined;
}

function sortLetters(name: string): string {
  return [...name].sort().join("");
}
