/** Talking to a person: data alone goes to stdout, everything else to stderr. */
import { escapeControlChars, escapeLine, type Style, styleFor } from "../../lib/render/style.ts";
import { ENDING_SIGNALS, type EndingSignal, endBySignal, exitCodeOf } from "./signals.ts";
import { publicStdout } from "./streams.ts";

declare const __VERSION__: string | undefined;

/** Where a person is talked to; data alone goes to stdout. */
export const style: Style = styleFor(process.stderr, process.env);

/** Whether a line may be told over, as counters do: not where colours are not wanted either. */
export const mayRetell: boolean = style.bold("") !== "";

/** Tells a person a line that has been made harmless where it holds what others wrote. */
export function log(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** Tells a person of something that is not as it should be, and goes on. */
export function warn(line: string): void {
  log(`${style.yellow("warning")}: ${escapeLine(line)}`);
}

/**
 * Warns if a private key that was printed can be seen by others.
 *
 * @param remedy what to do about it.
 */
export function warnOfKey(remedy: string): void {
  const where = publicStdout();
  if (where === undefined) return;
  warn(
    `a private key ${where === "terminal" ? "is printed to the terminal" : "is written to a file that others may read"}; ${remedy}`,
  );
}

/** Tells a person of something that is normal, and passes by itself or with what comes next. */
export function note(line: string): void {
  log(`${style.dim("note")}: ${escapeLine(line)}`);
}

/** Tells what `--debug` shows, with the milliseconds since the process started. */
export function traced(line: string): void {
  log(style.dim(`${performance.now().toFixed(0).padStart(5)} ms  ${escapeLine(line)}`));
}

/** The version of the programs, as a line. */
export function version(): string {
  return `${typeof __VERSION__ === "undefined" ? "development" : __VERSION__}\n`;
}

/** Whether a question stands on the last line, which what is told next must not go on. */
let asking = false;

/**
 * Asks a question.
 *
 * @param hint the answers there are, such as `[y/N]`.
 * @returns what was typed, without the spaces around it; undefined if the terminal was closed.
 */
async function ask(question: string, hint: string): Promise<string | undefined> {
  const { createInterface } = await import("node:readline");
  // Keys are left to the terminal itself: so Ctrl-C and Ctrl-Z reach all that belongs to the command, and fg brings it back.
  const terminal = createInterface({ input: process.stdin, output: process.stderr, terminal: false });
  const again = () => terminal.prompt();
  process.on("SIGCONT", again);
  asking = true;
  const answer = await new Promise<string | undefined>((resolve) => {
    terminal.once("close", () => resolve(undefined));
    terminal.question(`${escapeControlChars(question)} ${hint} `, resolve);
  });
  if (answer === undefined) log("");
  asking = false;
  process.off("SIGCONT", again);
  terminal.close();
  return answer?.trim();
}

/** Asks a question that is answered with y or yes; a closed terminal is a no. */
export async function confirm(question: string): Promise<boolean> {
  return /^y(es)?$/i.test((await ask(question, "[y/N]")) ?? "");
}

/**
 * Asks a question with the answers yes, no and abort, until one of them is given; no answer and a closed terminal are
 * `abort`.
 */
export async function choose(question: string): Promise<"yes" | "no" | "abort"> {
  for (;;) {
    const answer = (await ask(question, "[y/n/A]"))?.toLowerCase() ?? "";
    const given = (["yes", "no", "abort"] as const).find((one) => answer !== "" && one.startsWith(answer));
    if (given ?? answer === "") return given ?? "abort";
    log("answer yes, no or abort");
  }
}

const INTERRUPTED = {
  reading: "interrupted; nothing was written",
  writing: "interrupted in the middle of a write; run again to complete",
  written: "interrupted; everything was written",
};

/** The work that signals may end, and how far it is. */
export interface Interruption {
  /** Aborted when the work has to end before its next write. */
  signal: AbortSignal;
  /** The exit code of work that ended early; undefined while no signal came. */
  exitCode(): number | undefined;
  /** Notes that the first write begins. */
  startWriting(): void;
  /** Notes that no further write follows. */
  finishWriting(): void;
}

/**
 * Lets Ctrl-C, SIGTERM and a closed terminal end the work. While it writes, the first signal ends it after the write under
 * way and the second one at once; before and after, the first one ends it at once. The process then ends by that signal.
 */
export function interruptible(): Interruption {
  const controller = new AbortController();
  let phase: keyof typeof INTERRUPTED = "reading";
  let received: EndingSignal | undefined;
  const interrupt = (signal: EndingSignal) => {
    if (asking) log("");
    if (phase !== "writing" || received !== undefined) {
      log(INTERRUPTED[phase]);
      endBySignal(signal);
    }
    received = signal;
    controller.abort();
    log("interrupted: stopping after the write under way; once more stops at once");
  };
  for (const signal of ENDING_SIGNALS) process.on(signal, interrupt);
  return {
    signal: controller.signal,
    exitCode: () => received && exitCodeOf(received),
    startWriting: () => {
      if (phase === "reading") phase = "writing";
    },
    finishWriting: () => {
      if (phase === "writing") phase = "written";
    },
  };
}
