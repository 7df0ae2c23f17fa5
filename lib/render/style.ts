/** How text is shown: colours only on a terminal that wants them, and nothing that could harm one. Pure. */

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
  /** How many columns a table may take. */
  width: number;
  /** Breaks a line of prose between words, if a width is set; a command that can be pasted is not to be broken. */
  wrap(line: string): string[];
}

/**
 * Colours for a stream, or none where it is no terminal, where `NO_COLOR` is set, or where TERM is dumb; and its width,
 * which is that of the terminal, or COLUMNS, or 100.
 */
export function styleFor(stream: { isTTY?: boolean; columns?: number }, env: NodeJS.ProcessEnv): Style {
  const on = stream.isTTY === true && !env.NO_COLOR && env.TERM !== "dumb";
  const sgr = (start: number, end: number) => (text: string) => (on ? `\x1b[${start}m${text}\x1b[${end}m` : text);
  // A terminal that does not know its width says 0.
  const columns = (stream.isTTY === true && stream.columns) || columnsIn(env);
  return {
    ...{ bold: sgr(1, 22), dim: sgr(2, 22), red: sgr(31, 39), green: sgr(32, 39), yellow: sgr(33, 39) },
    width: columns ?? DEFAULT_WIDTH,
    wrap: (line) => (columns === undefined ? [line] : wrapLine(line, columns)),
  };
}

/** The width that `COLUMNS` sets. Shells do not export it, so prose in a pipe is wrapped only if somebody asks for it. */
function columnsIn({ COLUMNS = "" }: NodeJS.ProcessEnv): number | undefined {
  return /^[1-9]\d{0,4}$/.test(COLUMNS) ? Number(COLUMNS) : undefined;
}

/** For lines that are indented by two columns then. */
export function indented(style: Style): Style {
  return { ...style, wrap: (line) => style.wrap(`  ${line}`).map((part) => part.slice(2)) };
}

/** Text from files and servers, with what is not seen shown as `\xNN`, so that it cannot steer a terminal. Lines stay. */
export function escapeControlChars(text: string): string {
  return text.replace(/[^\P{C}\n]|\p{Zl}|\p{Zp}/gu, (sign) => {
    const code = (sign.codePointAt(0) ?? 0).toString(16);
    return code.length > 2 ? `\\u${code.padStart(4, "0")}` : `\\x${code.padStart(2, "0")}`;
  });
}

/** A name from files and servers, {@link escapeControlChars} and in one line, so that it cannot pass for another. */
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
