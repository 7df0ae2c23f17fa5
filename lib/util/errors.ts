/** Exit codes of every program; where several apply, 2 before 1 before 3. */
export const EXIT = { done: 0, failed: 1, refused: 2, findings: 3 } as const;

/**
 * An error that a person is told in one or two lines: what, where, what to do. Its `exitCode` is 1 where the work
 * failed (unreachable, forbidden, no Cilium there) and 2 where it was refused before anything was written (arguments,
 * kubeconfig, files, findings).
 */
export class UserError extends Error {
  readonly exitCode: 1 | 2;
  constructor(message: string, exitCode: 1 | 2, options?: ErrorOptions) {
    super(message, options);
    this.name = "UserError";
    this.exitCode = exitCode;
  }

  /** What it says, with what it says below, in one line. */
  get singleLineMessage(): string {
    return this.message.replace(/\n\s*/g, "; ");
  }
}
