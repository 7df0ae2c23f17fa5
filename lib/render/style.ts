/** Colours, widths, and escaping for terminals. Pure. */
import { wrapLine } from "./wrap.ts";

export { enumerate } from "../util/enumerate.ts";

/** Width of tables without a terminal, in columns. */
const DEFAULT_WIDTH = 100;

export interface Style {
  // Without colours, these return the text unchanged.
  /** Returns the text in bold. */
  bold(text: string): string;
  /** Returns the text dimmed. */
  dim(text: string): string;
  /** Returns the text in red. */
  red(text: string): string;
  /** Returns the text in green. */
  green(text: string): string;
  /** Returns the text in yellow. */
  yellow(text: string): string;
  /** Maximum width of a table, in columns. */
  width: number;
  /** Wraps prose at the width of the terminal or `COLUMNS`. Not for commands, which can be pasted only on one line. */
  wrap(line: string): string[];
}

/**
 * Chooses the style of a stream. Colours need a terminal, an unset `NO_COLOR` and a `TERM` other than `dumb`. The width is
 * that of the terminal, else `COLUMNS`, else 100.
 */
export function styleFor(stream: { isTTY?: boolean; columns?: number }, env: NodeJS.ProcessEnv): Style {
  const on = stream.isTTY === true && !env.NO_COLOR && env.TERM !== "dumb";
  const sgr = (start: number, end: number) => (text: string) => (on ? `\x1b[${start}m${text}\x1b[${end}m` : text);
  // A terminal of unknown width has 0 columns.
  const columns = (stream.isTTY === true && stream.columns) || columnsIn(env);
  return {
    ...{ bold: sgr(1, 22), dim: sgr(2, 22), red: sgr(31, 39), green: sgr(32, 39), yellow: sgr(33, 39) },
    width: columns ?? DEFAULT_WIDTH,
    wrap: (line) => (columns === undefined ? [line] : wrapLine(line, columns)),
  };
}

/** Reads the width from `COLUMNS`. Shells do not export it, so prose in a pipe is wrapped only on request. */
function columnsIn({ COLUMNS = "" }: NodeJS.ProcessEnv): number | undefined {
  return /^[1-9]\d{0,4}$/.test(COLUMNS) ? Number(COLUMNS) : undefined;
}

/** Narrows a style for lines that the caller indents by two columns. */
export function indented(style: Style): Style {
  return { ...style, wrap: (line) => style.wrap(`  ${line}`).map((part) => part.slice(2)) };
}

/** Escapes invisible characters as `\xNN` or `\uNNNN`, so that foreign text cannot control the terminal. Keeps line breaks. */
export function escapeControlChars(text: string): string {
  return text.replace(/[^\P{C}\n]|\p{Zl}|\p{Zp}/gu, (character) => {
    const code = (character.codePointAt(0) ?? 0).toString(16);
    return code.length > 2 ? `\\u${code.padStart(4, "0")}` : `\\x${code.padStart(2, "0")}`;
  });
}

/** Escapes like {@link escapeControlChars}, and line breaks too, so that foreign text cannot forge a line. */
export function escapeLine(text: string): string {
  return escapeControlChars(text).replaceAll("\n", "\\n");
}

/** Joins the first ten items by commas, and counts the rest. */
export function listFirst(items: readonly string[]): string {
  const more = items.length - 10;
  return more > 0 ? `${items.slice(0, 10).join(", ")} and ${more.toLocaleString("en")} more` : items.join(", ");
}

/** Formats a number with its noun: `1 error`, `2 errors`. */
export function count(number: number, noun: string): string {
  return `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
}
