/** The nearest of some names by edit distance (Levenshtein), if it is near: for "did you mean". */
export function suggest(name: string, names: Iterable<string>): string | undefined {
  const [near] = [...names]
    .map((other) => ({ other, distance: distance(name, other) }))
    .sort((a, b) => a.distance - b.distance);
  return near && near.distance <= Math.max(1, Math.floor(name.length / 3)) ? near.other : undefined;
}

function distance(one: string, other: string): number {
  let row = Array.from({ length: [...other].length + 1 }, (_, index) => index);
  for (const [i, letter] of [...one].entries()) {
    const next = [i + 1];
    for (const [j, against] of [...other].entries()) {
      const change = (row[j] ?? 0) + (letter === against ? 0 : 1);
      next.push(Math.min(change, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}
