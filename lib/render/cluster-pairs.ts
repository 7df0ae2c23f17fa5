/** Summarizes pairs of clusters. Pure. */
import { listFirst } from "./style.ts";

/**
 * Describes pairs by their number and clusters: the names alone if each cluster is paired with each other one, two groups
 * if each cluster of one is paired with each of the other (the smaller group first), else the pairs.
 */
export function describePairs(pairs: readonly (readonly [string, string])[]): { of: string; list: string } {
  const distinct = [...new Map(pairs.map((pair) => [JSON.stringify([...pair].sort()), pair])).values()];
  const partners = new Map<string, Set<string>>();
  const join = (one: string, other: string) => partners.set(one, (partners.get(one) ?? new Set<string>()).add(other));
  for (const [a, b] of distinct) {
    join(a, b);
    join(b, a);
  }
  const of = `${distinct.length.toLocaleString("en")} pairs of clusters`;
  if (distinct.length > 2) {
    const names = [...partners.keys()];
    if (names.every((name) => partners.get(name)?.size === names.length - 1)) {
      return { of: `${names.length} clusters`, list: listFirst(names) };
    }
    const sides = sidesOf(partners);
    if (sides) return { of, list: sides.map(listFirst).join(" with ") };
  }
  return { of, list: listFirst(distinct.map(([a, b]) => `${a} and ${b}`)) };
}

/** Returns two groups, the smaller one first, if each cluster is paired with exactly those of the other group. */
function sidesOf(partners: ReadonlyMap<string, ReadonlySet<string>>): string[][] | undefined {
  const [first = new Set<string>()] = partners.values();
  const right = [...first];
  const left = [...partners.keys()].filter((name) => !first.has(name));
  const isSide = (some: readonly string[], others: readonly string[]) =>
    some.every(
      (name) => partners.get(name)?.size === others.length && others.every((one) => partners.get(name)?.has(one)),
    );
  if (!isSide(left, right) || !isSide(right, left)) return undefined;
  return left.length <= right.length ? [left, right] : [right, left];
}
