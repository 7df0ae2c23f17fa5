/** Text styles: colors if the terminal supports them, and escaped control characters. Pure. */

import { wrapLine } from "./wrap.ts";

export { enumerate } from "../util/enumerate.ts";

/** The width of tables if there is no terminal. */
const DEFAULT_WIDTH = 100;

export interface Style {
  // These return the text unchanged if the stream has no colors.
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
  /** Wraps a line of prose between words, if a width is set. Not for commands, which users paste. */
  wrap(line: string): string[];
}

/**
 * Returns the style for a stream, with colors if it is a terminal, `NO_COLOR` is not set and TERM is not `dumb`.
 * The width is that of the terminal, else `COLUMNS`, else 100.
 */
export function styleFor(stream: { isTTY?: boolean; columns?: number }, env: NodeJS.ProcessEnv): Style {
  const on = stream.isTTY === true && !env.NO_COLOR && env.TERM !== "dumb";
  const sgr = (start: number, end: number) => (text: string) => (on ? `\x1b[${start}m${text}\x1b[${end}m` : text);
  // A terminal of unknown width reports 0.
  const columns = (stream.isTTY === true && stream.columns) || columnsIn(env);
  return {
    ...{ bold: sgr(1, 22), dim: sgr(2, 22), red: sgr(31, 39), green: sgr(32, 39), yellow: sgr(33, 39) },
    width: columns ?? DEFAULT_WIDTH,
    wrap: (line) => (columns === undefined ? [line] : wrapLine(line, columns)),
  };
}

/** Returns the width set by `COLUMNS`. Shells do not export it, so prose in a pipe is wrapped only on request. */
function columnsIn({ COLUMNS = "" }: NodeJS.ProcessEnv): number | undefined {
  return /^[1-9]\d{0,4}$/.test(COLUMNS) ? Number(COLUMNS) : undefined;
}

/** Returns a style whose lines leave room for an indentation of two columns. */
export function indented(style: Style): Style {
  return { ...style, wrap: (line) => style.wrap(`  ${line}`).map((part) => part.slice(2)) };
}

/** Escapes invisible characters of foreign text as `\xNN`, so that it cannot control a terminal. Keeps line breaks. */
export function escapeControlChars(text: string): string {
  return text.replace(/[^\P{C}\n]|\p{Zl}|\p{Zp}/gu, (sign) => {
    const code = (sign.codePointAt(0) ?? 0).toString(16);
    return code.length > 2 ? `\\u${code.padStart(4, "0")}` : `\\x${code.padStart(2, "0")}`;
  });
}

/** Escapes foreign text as {@link escapeControlChars} does, and line breaks, so that it cannot imitate other output. */
export function escapeLine(text: string): string {
  return escapeControlChars(text).replaceAll("\n", "\\n");
}

/** `a, b, c`; of more than ten, the first ten and how many more. */
export function listFirst(items: readonly string[]): string {
  const more = items.length - 10;
  return more > 0 ? `${items.slice(0, 10).join(", ")} and ${more.toLocaleString("en")} more` : items.join(", ");
}

/** `1 error`, `2 errors`. */
export function count(number: number, what: string): string {
  return `${number.toLocaleString("en")} ${what}${number === 1 ? "" : "s"}`;
}
