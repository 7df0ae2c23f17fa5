/** Output streams. Data is written to stdout completely, or the write fails; a closed stderr never stops the work. */
import { fstatSync, writeSync } from "node:fs";
import { EXIT, UserError } from "../../lib/util/errors.ts";
import { shellQuote } from "../../lib/util/shell.ts";
import { describeSystemError } from "../../lib/util/system-error.ts";
import { addGivenFlags, type ConnectionFlags } from "./given-flags.ts";
import { exitBySignal, signalFromExitCode } from "./signals.ts";

let stdoutClosed = false;

/** The connection flags of the running command, which printed commands repeat. */
let givenFlags: ConnectionFlags = {};

/** The names of clusters from Secrets, quoted for a shell, to which no context leads. */
const memberNames = new Set<string>();

/** Sets the connection flags that {@link completeRemedy} adds. */
export function setGivenFlags(flags: ConnectionFlags): void {
  givenFlags = flags;
}

/** Adds names of clusters from Secrets, which {@link completeRemedy} does not treat as contexts. */
export function addMemberNames(names: Iterable<string>): void {
  for (const name of names) memberNames.add(shellQuote(name));
}

/** Adds the connection flags of the running command to the commands in a remedy. */
export function completeRemedy(remedy: string): string {
  return completeWith(givenFlags, remedy);
}

/** {@link completeRemedy} for users of other clusters: without the kubeconfig and the user of the running command. */
export function completePublicRemedy(remedy: string): string {
  const { kubeconfig: _, as: __, "as-group": ___, "as-uid": ____, ...flags } = givenFlags;
  return completeWith(flags, remedy);
}

function completeWith(flags: ConnectionFlags, remedy: string): string {
  return remedy
    .split("\n")
    .map((line) => addGivenFlags(line, flags, memberNames))
    .join("\n");
}

/** Completes the commands in an error in one line, whose parts after the first `; ` are remedies. */
export function completeError(error: string): string {
  const end = error.indexOf("; ");
  return end === -1 ? error : addGivenFlags(error, givenFlags, memberNames, end);
}

/** Completes the remedies in a text: its indented lines. */
export function completeCommands(text: string): string {
  return text.replace(/^ {2}.*$/gm, completeRemedy);
}

/** Whether the reader of stdout has closed it, as `| head -1` does. */
export function isStdoutClosed(): boolean {
  return stdoutClosed;
}

/** Keeps a closed stream from ending the process. Messages to a closed stderr are lost. */
export function ignoreStreamErrors(): void {
  process.stderr.on("error", () => {});
  process.stdout.on("error", () => {
    stdoutClosed = true;
  });
}

/**
 * Writes data to stdout. Files and devices are written synchronously, because Node reports success if the disk is full after
 * part of the data.
 *
 * @throws UserError (exit code 1) if the data cannot be written.
 */
export function writeStdout(data: string | Buffer): void {
  const status = fstatSync(1);
  if (process.stdout.isTTY || !(status.isFile() || status.isCharacterDevice())) {
    process.stdout.write(data);
    return;
  }
  try {
    for (let rest = Buffer.from(data); rest.length > 0; ) rest = rest.subarray(writeSync(1, rest));
  } catch (error) {
    throw new UserError(`cannot write to stdout: ${describeSystemError(error)}`, EXIT.failed);
  }
}

/** Writes lines to stdout. */
export function writeLines(lines: readonly string[]): void {
  writeStdout(completeCommands(lines.map((line) => `${line}\n`).join("")));
}

/** The kind of stdout if others can read it; undefined for a pipe, or a file that only the user can read. */
export function exposedStdout(): "terminal" | "file" | undefined {
  if (process.stdout.isTTY) return "terminal";
  const status = fstatSync(1);
  return status.isFile() && (status.mode & 0o044) !== 0 ? "file" : undefined;
}

/** Exits once all output is written; by a signal, if the exit code is that of a signal. */
export function exitWith(code: number): void {
  process.exitCode = code;
  const signal = signalFromExitCode(code);
  // Does not wait for open connections and timers, which would take milliseconds.
  process.stdout.write("", () =>
    process.stderr.write("", () => (signal === undefined ? process.exit() : exitBySignal(signal))),
  );
}
