/**
 * Of several ways to one cluster, the first.
 *
 * @param keyOf by what ways to one cluster are equal; undefined for one that is like no other.
 * @param told of each that is left out, with the one that stays.
 */
export function dedupe<T>(
  ways: readonly T[],
  keyOf: (way: T) => string | undefined,
  told: (stays: T, other: T) => void,
): T[] {
  const seen = new Map<string, T>();
  return ways.filter((way) => {
    const key = keyOf(way);
    const same = key === undefined ? undefined : seen.get(key);
    if (same !== undefined) told(same, way);
    else if (key !== undefined) seen.set(key, way);
    return same === undefined;
  });
}
