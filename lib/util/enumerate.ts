/**
 * Formats a list: `a`, `a and b` or `a, b and c`. With more than `limit` items, the rest are counted:
 * `a, b and 9 more`.
 */
export function enumerate(items: readonly string[], limit = 12): string {
  const shown = items.length > limit ? [...items.slice(0, limit - 1), `${items.length - limit + 1} more`] : [...items];
  const last = shown.pop() ?? "";
  return shown.length === 0 ? last : `${shown.join(", ")} and ${last}`;
}
