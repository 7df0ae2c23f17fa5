/** Reduces untrusted text to one line. Pure. */

/** Escapes line breaks, and truncates a text of more than 300 characters in the middle. */
export function truncateLine(text: string): string {
  const line = escapeBreaks(text);
  if (line.length <= 300) return line;
  return `${line.slice(0, 180)}… (${(line.length - 260).toLocaleString("en")} more characters) …${line.slice(-80)}`;
}

/** Replaces each line break by `\n`. */
export function escapeBreaks(text: string): string {
  return text.replace(/\r\n|[\n\v\f\r\u0085\u2028\u2029]/g, "\\n");
}
