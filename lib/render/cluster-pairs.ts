/** Short descriptions of many pairs of clusters. Pure. */
import { listFirst } from "./style.ts";

/**
 * Counts and lists pairs of clusters, ignoring the order within a pair. If every cluster is paired with every other, lists
 * clusters; if the pairs are exactly those between two groups, lists the groups, the smaller one first; else lists pairs.
 *
 * @returns a count such as `3 clusters` or `4 pairs of clusters`, and a list.
 */
export function describePairs(pairs: readonly (readonly [string, string])[]): { of: string; list: string } {
  const distinct = [...new Map(pairs.map((pair) => [JSON.stringify([...pair].sort()), pair])).values()];
  const partners = new Map<string, Set<string>>();
  const addPartner = (one: string, other: string) =>
    partners.set(one, (partners.get(one) ?? new Set<string>()).add(other));
  for (const [a, b] of distinct) {
    addPartner(a, b);
    addPartner(b, a);
  }
  const of = `${distinct.length.toLocaleString("en")} pairs of clusters`;
  if (distinct.length > 2) {
    const names = [...partners.keys()];
    if (names.every((name) => partners.get(name)?.size === names.length - 1)) {
      return { of: `${names.length} clusters`, list: listFirst(names) };
    }
    const sides = findSides(partners);
    if (sides) return { of, list: sides.map(listFirst).join(" with ") };
  }
  return { of, list: listFirst(distinct.map(([a, b]) => `${a} and ${b}`)) };
}

/** Splits clusters into two groups, smaller first, such that the pairs are exactly those between them; else undefined. */
function findSides(partners: ReadonlyMap<string, ReadonlySet<string>>): string[][] | undefined {
  const [first = new Set<string>()] = partners.values();
  const right = [...first];
  const left = [...partners.keys()].filter((name) => !first.has(name));
  const isSide = (names: readonly string[], others: readonly string[]) =>
    names.every(
      (name) => partners.get(name)?.size === others.length && others.every((one) => partners.get(name)?.has(one)),
    );
  if (!isSide(left, right) || !isSide(right, left)) return undefined;
  return left.length <= right.length ? [left, right] : [right, left];
}
