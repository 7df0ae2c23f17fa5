/** The two streams: data goes to stdout whole or fails, and what is told to a person must not end the work. */
import { fstatSync, writeSync } from "node:fs";
import { EXIT, UserError } from "../../lib/util/errors.ts";
import { describeSystemError } from "../../lib/util/system-error.ts";
import { endBySignal, signalOf } from "./signals.ts";

let unread = false;

/** Whether whoever read stdout is gone: it has read enough, as `| head -1` does. */
export function isUnread(): boolean {
  return unread;
}

/** Has a lost stream end nothing: what would be told on stderr is lost then, and the work goes on. */
export function guardStreams(): void {
  process.stderr.on("error", () => {});
  process.stdout.on("error", () => {
    unread = true;
  });
}

/**
 * Writes data to stdout, in files and devices all of it: Node takes a disk that is full in the middle for success.
 *
 * @throws UserError (exit code 1) where it cannot be written.
 */
export function toStdout(data: string | Buffer): void {
  const status = fstatSync(1);
  if (process.stdout.isTTY || !(status.isFile() || status.isCharacterDevice())) {
    process.stdout.write(data);
    return;
  }
  try {
    for (let rest = Buffer.from(data); rest.length > 0; ) rest = rest.subarray(writeSync(1, rest));
  } catch (error) {
    throw new UserError(`stdout cannot be written: ${describeSystemError(error)}`, EXIT.failed);
  }
}

/** Where others may see what is written to stdout; undefined if that is a file of one's own, or a pipe. */
export function publicStdout(): "terminal" | "file" | undefined {
  if (process.stdout.isTTY) return "terminal";
  const status = fstatSync(1);
  return status.isFile() && (status.mode & 0o044) !== 0 ? "file" : undefined;
}

/** Ends the process as soon as what was written is out; by a signal, if the exit code stands for one. */
export function endWith(code: number): void {
  process.exitCode = code;
  const signal = signalOf(code);
  // To let connections and timers end by themselves takes milliseconds.
  process.stdout.write("", () =>
    process.stderr.write("", () => (signal === undefined ? process.exit() : endBySignal(signal))),
  );
}
