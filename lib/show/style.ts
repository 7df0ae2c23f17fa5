/** How text is shown: colours only on a terminal that wants them, and nothing that could harm one. Pure. */

export { enumerate } from "../peer/enumerate.ts";

export interface Style {
  bold(text: string): string;
  dim(text: string): string;
  red(text: string): string;
  green(text: string): string;
  yellow(text: string): string;
}

/** Colours for a stream, or none where it is no terminal, where `NO_COLOR` is set, or where TERM is dumb. */
export function styleFor(stream: { isTTY?: boolean }, env: NodeJS.ProcessEnv): Style {
  const on = stream.isTTY === true && !env.NO_COLOR && env.TERM !== "dumb";
  const sgr = (start: number, end: number) => (text: string) => (on ? `\x1b[${start}m${text}\x1b[${end}m` : text);
  return { bold: sgr(1, 22), dim: sgr(2, 22), red: sgr(31, 39), green: sgr(32, 39), yellow: sgr(33, 39) };
}

/** Text from files and servers, with what is not seen shown as `\xNN`, so that it cannot steer a terminal. Lines stay. */
export function harmless(text: string): string {
  return text.replace(/[^\P{C}\n]|\p{Zl}|\p{Zp}/gu, (sign) => {
    const code = (sign.codePointAt(0) ?? 0).toString(16);
    return code.length > 2 ? `\\u${code.padStart(4, "0")}` : `\\x${code.padStart(2, "0")}`;
  });
}

/** A name from files and servers, {@link harmless} and in one line, so that it cannot pass for another. */
export function inLine(text: string): string {
  return harmless(text).replaceAll("\n", "\\n");
}
