/** Finds the commands in a line of a message as a shell reads them: what is quoted is never a command, flag or separator. Pure. */

/** A command of ours, or of a program that remedies use, in a line. */
export interface FoundCommand {
  program: string;
  /** All after the program, up to the next separator. */
  args: string;
  /** The position in the line of its first character, and of the first one after it. */
  start: number;
  end: number;
}

const PROGRAM =
  "(?:kubectl )?clustermesh-secrets (?:extract|import|connect|disconnect|rotate|status|sync|verify|render)|extract-secret|import-secrets|kubectl|helm|cmctl";

/** What a shell takes as it is, with its quotes. */
const QUOTED = String.raw`\$'(?:\\.|[^'\\])*'|'[^']*'|"(?:\\.|[^"\\])*"|\\.`;

/** The start of a command: of a line, or after a separator. */
const START = `(?<=^ *|: |\\| |&& |; |while )(${PROGRAM})(?= )`;

const COMMAND = new RegExp(`${START}( (?:${QUOTED}|(?! \\||&&|; | > )[^'"\\\\])*)`, "y");

/** A word in prose that may be quoted for a shell. Apostrophes within words are not quotes. */
const QUOTED_WORD = new RegExp(
  `(?<=^|[\\s(=])\\$?'(?:(?<=')[^']*'|(?<=\\$')(?:\\\\.|[^'\\\\])*')(?:${QUOTED}|[^\\s'"])*`,
  "y",
);
const OPEN_QUOTE = /(?<=^|[\s(=])\$?'/y;

/** The text between a command and prose that follows it. */
const THEN = "; then ";

/** A flag that selects a context, with its value; or a quoted text, in which there are no flags. */
const CONTEXT = new RegExp(` --(?:kube-)?context[ =]((?:${QUOTED}|[^\\s'"\\\\])+)|${QUOTED}`, "g");

/** Returns the commands in a line, in their order. */
export function findCommands(line: string): FoundCommand[] {
  return scan(line).commands;
}

/**
 * Splits a line of a remedy into prose and commands, in turns: `to connect them: `, then a command. Prose may be empty.
 * A command ends at `; then `, with which remedies continue.
 */
export function splitCommands(line: string): string[] {
  const { commands, ends } = scan(line);
  const parts: string[] = [];
  let at = 0;
  for (;;) {
    const start = commands.find((one) => one.start >= at)?.start;
    if (start === undefined) return [...parts, line.slice(at)];
    const end = ends.find((one) => one > start);
    parts.push(line.slice(at, start), line.slice(start, end));
    if (end === undefined) return parts;
    at = end;
  }
}

/** Returns arguments without the text of quoted words, for a search of flags. */
export function maskQuoted(args: string): string {
  return args.replace(new RegExp(QUOTED, "g"), "X");
}

/** Returns the values of the flags that select a context, as they are quoted. */
export function contextsIn(args: string): string[] {
  return [...args.matchAll(CONTEXT)].flatMap(([, name]) => name ?? []);
}

/** Replaces the flags that select a context. */
export function replaceContexts(args: string, flag: string): string {
  return args.replace(CONTEXT, (text, name?: string) => (name === undefined ? text : ` ${flag}`));
}

/** Removes a flag without a value. */
export function removeFlag(args: string, name: string): string {
  const flag = ` --${name}`;
  return args.replace(new RegExp(`${flag}(?= |$)|${QUOTED}`, "g"), (text) => (text === flag ? "" : text));
}

/**
 * Reads a line from the left. Prose may have foreign text, whose quotes may pair with those of a command after it. So the
 * search ends after a quoted text with what could be the start of a command: nothing is inserted where this start decides
 * what is quoted.
 */
function scan(line: string): { commands: FoundCommand[]; ends: number[] } {
  const starts = [...line.matchAll(new RegExp(START, "g"))].map(({ index }) => index);
  const hasStart = (from: number, to: number) => starts.some((start) => start > from && start < to);
  const commands: FoundCommand[] = [];
  const ends: number[] = [];
  for (let at = 0; at < line.length; ) {
    const [command, program = "", args = ""] = matchAt(COMMAND, line, at) ?? [];
    const quoted = command ?? matchAt(QUOTED_WORD, line, at)?.[0];
    const isOpen = quoted === undefined && matchAt(OPEN_QUOTE, line, at) !== null;
    const end = isOpen ? line.length : at + (quoted?.length ?? 1);
    if (command !== undefined) commands.push({ program, args, start: at, end });
    else if (line.startsWith(THEN, at)) ends.push(at);
    if (hasStart(at, end) || (command !== undefined && /^['"\\]/.test(line.slice(end)))) break;
    at = end;
  }
  return { commands, ends };
}

function matchAt(pattern: RegExp, line: string, at: number): RegExpExecArray | null {
  pattern.lastIndex = at;
  return pattern.exec(line);
}
