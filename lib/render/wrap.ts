/** Text in the width of a terminal. Pure. */

// biome-ignore lint/suspicious/noControlCharactersInRegex: colours are what it looks for
const COLOUR = /\u001b\[\d+m/g;

/** How many columns a text takes, colours aside. */
export function widthOf(text: string): number {
  return text.replace(COLOUR, "").length;
}

/**
 * Breaks a line between words; what follows is indented by two more than the line itself. A word that is longer than
 * the width stays whole.
 */
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

/** A text of at most so many columns, cut at its end. */
export function truncateEnd(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}…`;
}

/** A name of at most so many columns, cut in its middle: those of clouds differ at their ends. */
export function truncateMiddle(text: string, width: number): string {
  if (text.length <= width) return text;
  const end = Math.floor((width - 1) / 2);
  return `${text.slice(0, width - 1 - end)}…${end > 0 ? text.slice(-end) : ""}`;
}
