/** Writing files that hold private keys or tokens. */

import { randomBytes } from "node:crypto";
import { realpath, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { EXIT, UserError } from "./errors.ts";
import { describeSystemError } from "./system-error.ts";

/**
 * Replaces a file, or makes it, whole or not at all, by one beside it of mode 0600.
 *
 * @param prepare done with the new file, by its path, before it takes the other's place.
 * @throws what the system says; then nothing has changed.
 */
export async function replaceFile(
  path: string,
  text: string,
  prepare: (temporary: string) => Promise<void> = async () => {},
): Promise<void> {
  const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString("hex")}`);
  try {
    await writeFile(temporary, text, { mode: 0o600, flag: "wx", flush: true });
    await prepare(temporary);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    throw error;
  }
}

/**
 * Writes a file of mode 0600, whole or not at all. A link is followed, and what is no file (a pipe, a device) is written
 * into.
 *
 * @throws UserError (exit code 1) where it cannot be written.
 */
export async function writePrivateFile(path: string, text: string): Promise<void> {
  try {
    const status = await stat(path).catch(unlessMissing);
    if (status === undefined || status.isFile()) await replaceFile(status ? await realpath(path) : path, text);
    else await writeFile(path, text);
  } catch (error) {
    throw new UserError(`${path} cannot be written: ${describeSystemError(error)}`, EXIT.failed);
  }
}

function unlessMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== "ENOENT") throw error;
}
