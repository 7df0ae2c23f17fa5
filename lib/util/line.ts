/** Reduces untrusted text to one line. Pure. */

/** Escapes line breaks, and truncates a text of more than 300 characters in the middle. */
export function truncateLine(text: string): string {
  return truncateLineTo(text, 300);
}

/**
 * Escapes line breaks, and truncates a text in the middle.
 *
 * @param max - the number of characters of the longest text that is kept, at least 200.
 */
export function truncateLineTo(text: string, max: number): string {
  const line = text.replace(/\r\n|[\n\v\f\r\u0085\u2028\u2029]/g, "\\n");
  if (line.length <= max) return line;
  const more = (line.length - max + 40).toLocaleString("en");
  return `${line.slice(0, max - 120)}… (${more} more characters) …${line.slice(-80)}`;
}
