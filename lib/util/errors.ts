import { channel } from "node:diagnostics_channel";

/** The exit codes of all programs. If several apply, 2 precedes 1, which precedes 3. */
export const EXIT = { done: 0, failed: 1, refused: 2, findings: 3 } as const;

/**
 * An error that is printed without a stack trace, in one or two lines: object, cause and remedy. Its `exitCode` is 1 if
 * the work failed (unreachable, forbidden, Cilium not found) and 2 if it was refused before anything was written
 * (arguments, kubeconfig, files, findings).
 */
export class UserError extends Error {
  readonly exitCode: 1 | 2;
  constructor(message: string, exitCode: 1 | 2, options?: ErrorOptions) {
    super(message, options);
    this.name = "UserError";
    this.exitCode = exitCode;
  }

  /** The message with its lines joined by `; `. */
  get singleLineMessage(): string {
    return this.message.replace(/\n\s*/g, "; ");
  }
}

/** Gets each error that is reported in the words of another one, and may be a bug. `--debug` logs them. */
export const unexpectedErrors = channel("clustermesh-secrets.unexpected-errors");

/** Describes any error in one line; one that is not a UserError is a bug, or a server that violates the schema of Kubernetes. */
export function describeAnyError(error: unknown): string {
  if (error instanceof UserError) return error.singleLineMessage;
  unexpectedErrors.publish(error);
  return `unexpected: ${error instanceof Error ? error.message : String(error)}`;
}

/**
 * Returns the error of reading a cluster as one of this cluster alone: one that is not a UserError is a server whose objects
 * violate the schema of Kubernetes, or a bug.
 */
export function toReadError(error: unknown): UserError {
  if (error instanceof UserError) return error;
  unexpectedErrors.publish(error);
  const problem = error instanceof Error ? error.message : String(error);
  return new UserError(
    `the API server returned an object that cannot be read, or this is a bug: ${problem}\n  rerun with --debug for a stack trace`,
    EXIT.failed,
    { cause: error },
  );
}

/** A call without a required argument. The program adds an example and the command that shows its help. */
export class UsageError extends UserError {
  constructor(message: string) {
    super(message, EXIT.refused);
    this.name = "UsageError";
  }
}
