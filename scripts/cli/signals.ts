/** Ending by a signal: what caught it must still end by it, or a shell takes the work for done and goes on with its loop. */
import { constants } from "node:os";

/** What ends a program from outside: Ctrl-C, `kill`, a closed terminal. */
export const ENDING_SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

export type EndingSignal = (typeof ENDING_SIGNALS)[number];

/** The exit code by which shells show that a signal ended a process: 130 for Ctrl-C. */
export function exitCodeOf(signal: EndingSignal): number {
  return 128 + constants.signals[signal];
}

/** The signal that an exit code stands for; undefined for one that stands for none. */
export function signalOf(exitCode: number): EndingSignal | undefined {
  return ENDING_SIGNALS.find((signal) => exitCodeOf(signal) === exitCode);
}

/** Ends the process by a signal that it caught, at once. */
export function endBySignal(signal: EndingSignal): never {
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
  // The first process of a container gets no signal of its own making.
  process.exit(exitCodeOf(signal));
}
