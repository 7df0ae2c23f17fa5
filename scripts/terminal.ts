/** Talking to a person: data alone goes to stdout, everything else to stderr. */
import { harmless, inLine, type Style, styleFor } from "../lib/show/style.ts";
import { publicStdout } from "./streams.ts";

declare const __VERSION__: string | undefined;

/** Where a person is talked to; data alone goes to stdout. */
export const style: Style = styleFor(process.stderr, process.env);

/** Whether a line may be told over, as counters do: not where colours are not wanted either. */
export const mayRetell: boolean = style.bold("") !== "";

/** Tells a person a line that has been made harmless where it holds what others wrote. */
export function tell(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** Tells a person of something that is not as it should be, and goes on. */
export function warn(line: string): void {
  tell(`${style.yellow("warning")}: ${inLine(line)}`);
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
    `a private key ${where === "terminal" ? "stands on your terminal" : "stands in a file that others may read"}; ${remedy}`,
  );
}

/** Tells a person of something that is normal, and passes by itself or with what comes next. */
export function note(line: string): void {
  tell(`${style.dim("note")}: ${inLine(line)}`);
}

/** Tells what `--debug` shows, with the milliseconds since the process started. */
export function traced(line: string): void {
  tell(style.dim(`${performance.now().toFixed(0).padStart(5)} ms  ${inLine(line)}`));
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
    terminal.question(`${harmless(question)} ${hint} `, resolve);
  });
  if (answer === undefined) tell("");
  asking = false;
  process.off("SIGCONT", again);
  terminal.close();
  return answer?.trim();
}

/** Asks a question that is answered with y or yes; a closed terminal is a no. */
export async function agreed(question: string): Promise<boolean> {
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
    tell("answer yes, no or abort");
  }
}

/**
 * Lets Ctrl-C, SIGTERM and a closed terminal end the work between two writes: before the first one at once, and at the
 * second signal too.
 *
 * @param code the exit code where it ends at once.
 */
export function interruptible(code: number): { signal: AbortSignal; begun(): void } {
  const controller = new AbortController();
  let writing = false;
  const interrupt = () => {
    if (asking) tell("");
    if (!writing || controller.signal.aborted) {
      tell(
        writing ? "interrupted in the middle of a write; run again to complete" : "interrupted; nothing was written",
      );
      process.exit(code);
    }
    controller.abort();
    tell("interrupted: stopping after the write under way; once more stops at once");
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, interrupt);
  return {
    signal: controller.signal,
    begun: () => {
      writing = true;
    },
  };
}
