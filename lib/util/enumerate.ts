/** `a`, `a and b`, `a, b and c`; more than `most` are counted. */
export function enumerate(items: readonly string[], most = 12): string {
  const shown = items.length > most ? [...items.slice(0, most - 1), `${items.length - most + 1} more`] : [...items];
  const last = shown.pop() ?? "";
  return shown.length === 0 ? last : `${shown.join(", ")} and ${last}`;
}
