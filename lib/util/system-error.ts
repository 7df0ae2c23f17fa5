/** Descriptions of errors of the operating system. */
import { getSystemErrorMap } from "node:util";

/** By code, if Node has no description or a misleading one. */
const DESCRIPTIONS: Readonly<Record<string, string>> = {
  EISDIR: "is a directory",
  ERR_INVALID_ARG_VALUE: "invalid argument",
};

/**
 * Describes a failed system call without its name and path: `no such file or directory`.
 *
 * @param error - an error of Node. Other errors are described by their code, since Node's messages repeat arguments, or
 *   without a code by their message.
 */
export function describeSystemError(error: unknown): string {
  const { code, errno, message } = error as NodeJS.ErrnoException;
  const [, description] = (errno !== undefined && getSystemErrorMap().get(errno)) || [];
  return DESCRIPTIONS[code ?? ""] ?? description ?? code ?? message;
}
