/** Wrapping and truncation. Pure. */

// biome-ignore lint/suspicious/noControlCharactersInRegex: matches colour sequences
const COLOUR = /\u001b\[\d+m/g;

/** Measures a text in columns, without its colours. */
export function widthOf(text: string): number {
  return text.replace(COLOUR, "").length;
}

/** Wraps a line between words. Continuation lines are indented by two more columns; long words are not broken. */
export function wrapLine(line: string, width: number): string[] {
  if (widthOf(line) <= width) return [line];
  const indent = /^ */.exec(line)?.[0] ?? "";
  const lines: string[] = [];
  let current = indent;
  let isEmpty = true;
  for (const word of line.slice(indent.length).split(" ")) {
    const longer = isEmpty ? current + word : `${current} ${word}`;
    if (!isEmpty && widthOf(longer) > width) {
      lines.push(current);
      current = `${indent}  ${word}`;
    } else current = longer;
    isEmpty = false;
  }
  return [...lines, current];
}

/** Truncates a text without colours at its end. */
export function truncateEnd(text: string, width: number): string {
  return text.length <= width ? text : `${start(text, Math.max(0, width - 1))}…`;
}

/** Truncates a text without colours in its middle: generated context names often differ at both ends. */
export function truncateMiddle(text: string, width: number): string {
  if (text.length <= width) return text;
  const end = Math.floor((width - 1) / 2);
  // A character of two code units is omitted as a whole.
  return `${start(text, width - 1 - end)}…${end > 0 ? text.slice(-end).replace(/^[\udc00-\udfff]/, "") : ""}`;
}

function start(text: string, length: number): string {
  return text.slice(0, length).replace(/[\ud800-\udbff]$/, "");
}
