/**
 * Returns the first item of each key, in order.
 *
 * @param keyOf - an item without a key is always kept.
 * @param onDuplicate - called for each dropped item, with the item that is kept.
 */
export function dedupe<T>(
  items: readonly T[],
  keyOf: (item: T) => string | undefined,
  onDuplicate: (kept: T, duplicate: T) => void,
): T[] {
  const seen = new Map<string, T>();
  return items.filter((item) => {
    const key = keyOf(item);
    const kept = key === undefined ? undefined : seen.get(key);
    if (kept !== undefined) onDuplicate(kept, item);
    else if (key !== undefined) seen.set(key, item);
    return kept === undefined;
  });
}
