/** Exiting by a signal. A process that catches a signal must still exit by it, or a shell loop continues. */
import { constants } from "node:os";

/** The signals of Ctrl-C, `kill` and a closed terminal. */
export const TERMINATION_SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

export type TerminationSignal = (typeof TERMINATION_SIGNALS)[number];

/** Returns the exit code that shells report for a process ended by a signal: 130 for SIGINT. */
export function signalExitCode(signal: TerminationSignal): number {
  return 128 + constants.signals[signal];
}

/** Returns the signal of an exit code; undefined if the code is not that of a signal. */
export function signalFromExitCode(exitCode: number): TerminationSignal | undefined {
  return TERMINATION_SIGNALS.find((signal) => signalExitCode(signal) === exitCode);
}

/** Exits immediately by a signal that the process caught. */
export function exitBySignal(signal: TerminationSignal): never {
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
  // A process with PID 1, as in a container, ignores signals that it sends to itself.
  process.exit(signalExitCode(signal));
}
