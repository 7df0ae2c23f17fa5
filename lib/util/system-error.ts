/** Errors of the operating system in words. */
import { getSystemErrorMap } from "node:util";

/** Codes of which Node has no words, or none that fit. */
const WORDS: Readonly<Record<string, string>> = { EISDIR: "is a directory", ERR_INVALID_ARG_VALUE: "invalid argument" };

/**
 * What the operating system says of a failed call, without the call and its path: `no such file or directory`.
 *
 * @param error as Node throws it. Of another error it is the code, for Node's messages repeat arguments, or else the
 *   message.
 */
export function describeSystemError(error: unknown): string {
  const { code, errno, message } = error as NodeJS.ErrnoException;
  const [, words] = (errno !== undefined && getSystemErrorMap().get(errno)) || [];
  return WORDS[code ?? ""] ?? words ?? code ?? message;
}
