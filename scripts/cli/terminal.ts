/** Messages and prompts, all on stderr. Only data is written to stdout. */
import { escapeControlChars, escapeLine, type Style, styleFor } from "../../lib/render/style.ts";
import { exitBySignal, signalExitCode, TERMINATION_SIGNALS, type TerminationSignal } from "./signals.ts";
import { completeCommands, exposedStdout } from "./streams.ts";

declare const __VERSION__: string | undefined;

/** The style of stderr. */
export const style: Style = styleFor(process.stderr, process.env);

/** Whether a line can be overwritten, as for progress: on terminals that show colours. */
export const canOverwriteLine: boolean = style.bold("") !== "";

/** Logs a line. The caller escapes text from files and servers. */
export function log(line: string): void {
  process.stderr.write(`${completeCommands(line)}\n`);
}

export type MessageLevel = "info" | "warning" | "error";

/** Set if messages are for programs. */
let formatMessage: ((level: MessageLevel, text: string) => string) | undefined;

/** Sets the format of all later errors, warnings, notes and traces, for a log that programs read. */
export function setMessageFormat(format: (level: MessageLevel, text: string) => string): void {
  formatMessage = format;
}

/** @param text - what people read: escaped and styled. */
function logMessage(level: MessageLevel, message: string, text: string): void {
  log(formatMessage ? formatMessage(level, completeCommands(message)) : text);
}

/** Logs an error. */
export function logError(text: string): void {
  logMessage("error", text, `${style.red("error")}: ${escapeControlChars(text)}`);
}

/** Logs a line that explains an error to people. */
export function logHint(line: string): void {
  if (!formatMessage) log(line);
}

/** Logs a warning. */
export function warn(line: string): void {
  logMessage("warning", line, `${style.yellow("warning")}: ${escapeLine(line)}`);
}

/** Warns if others can read a private key that was written to stdout. */
export function warnOfExposedKey(remedy: string): void {
  const kind = exposedStdout();
  if (kind === undefined) return;
  warn(
    `private key ${kind === "terminal" ? "printed to the terminal" : "written to a file readable by others"}; ${remedy}`,
  );
}

/** Logs a state that needs no action. */
export function note(line: string): void {
  logMessage("info", line, `${style.dim("note")}: ${escapeLine(line)}`);
}

/** Logs a line of `--debug`, with the milliseconds since the start of the process. */
export function logTrace(line: string): void {
  logMessage("info", line, style.dim(`${performance.now().toFixed(0).padStart(5)} ms  ${escapeLine(line)}`));
}

/** Returns the version of the programs as a line. */
export function versionLine(): string {
  return `${typeof __VERSION__ === "undefined" ? "development" : __VERSION__}\n`;
}

/** Whether the last line is an open prompt, so that the next message needs a new line. */
let isPrompting = false;

/**
 * Prompts for a line of input.
 *
 * @param hint - the possible answers, such as `[y/N]`.
 * @param signal - ends the prompt.
 * @returns the trimmed answer; undefined if the terminal was closed, or the signal was aborted.
 */
async function prompt(question: string, hint: string, signal?: AbortSignal): Promise<string | undefined> {
  if (signal?.aborted) return undefined;
  const { createInterface } = await import("node:readline");
  // The terminal handles keys itself, so that Ctrl-C and Ctrl-Z reach the whole process group, and fg resumes it.
  const terminal = createInterface({ input: process.stdin, output: process.stderr, terminal: false });
  const repeat = () => terminal.prompt();
  const end = () => terminal.close();
  process.on("SIGCONT", repeat);
  signal?.addEventListener("abort", end);
  isPrompting = true;
  const answer = await new Promise<string | undefined>((resolve) => {
    terminal.once("close", () => resolve(undefined));
    terminal.question(`${escapeControlChars(question)} ${hint} `, resolve);
  });
  if (answer === undefined) log("");
  isPrompting = false;
  process.off("SIGCONT", repeat);
  signal?.removeEventListener("abort", end);
  terminal.close();
  return answer?.trim();
}

/** Returns the stream of prompts that is not a terminal: answers are on stdin, questions on stderr. */
export function findStreamWithoutTerminal(): "stdin" | "stderr" | undefined {
  if (!process.stdin.isTTY) return "stdin";
  return process.stderr.isTTY ? undefined : "stderr";
}

/** Asks for confirmation: true for y or yes. A closed terminal and an aborted signal mean no. */
export async function confirm(question: string, signal?: AbortSignal): Promise<boolean> {
  return /^y(es)?$/i.test((await prompt(question, "[y/N]", signal)) ?? "");
}

/** Prompts until the answer is yes, no or abort. An empty answer and a closed terminal mean abort. */
export async function promptForChoice(question: string): Promise<"yes" | "no" | "abort"> {
  for (;;) {
    const answer = (await prompt(question, "[y/n/A]"))?.toLowerCase() ?? "";
    const given = (["yes", "no", "abort"] as const).find((one) => answer !== "" && one.startsWith(answer));
    if (given ?? answer === "") return given ?? "abort";
    log("enter yes, no or abort");
  }
}

const INTERRUPTED = {
  reading: "interrupted; nothing was written",
  writing: "interrupted during a write; rerun to complete",
  written: "interrupted; all changes were written",
};

/** How signals interrupt the work, depending on its phase. */
export interface Interruption {
  /** Aborted when the work has to stop before its next write. */
  signal: AbortSignal;
  /** The exit code of interrupted work; undefined without a signal. */
  exitCode(): number | undefined;
  /** Marks the start of the first write. */
  startWriting(): void;
  /** Marks the end of the last write. */
  finishWriting(): void;
}

/**
 * Handles SIGINT, SIGTERM and SIGHUP. During writes, the first signal stops after the current write and the second one
 * immediately. Before and after, the first signal stops immediately. The process exits by the signal.
 */
export function handleInterruption(): Interruption {
  const controller = new AbortController();
  let phase: keyof typeof INTERRUPTED = "reading";
  let received: TerminationSignal | undefined;
  const interrupt = (signal: TerminationSignal) => {
    if (isPrompting) log("");
    if (phase !== "writing" || received !== undefined) {
      log(INTERRUPTED[phase]);
      exitBySignal(signal);
    }
    received = signal;
    controller.abort();
    log("interrupted: stopping after the current write; interrupt again to stop immediately");
  };
  for (const signal of TERMINATION_SIGNALS) process.on(signal, interrupt);
  return {
    signal: controller.signal,
    exitCode: () => received && signalExitCode(received),
    startWriting: () => {
      if (phase === "reading") phase = "writing";
    },
    finishWriting: () => {
      if (phase === "writing") phase = "written";
    },
  };
}
