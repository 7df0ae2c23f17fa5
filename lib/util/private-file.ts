/** Writes files as a whole: private ones, with keys or tokens, and public ones. */
import { randomBytes } from "node:crypto";
import { chmod, realpath, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { EXIT, UserError } from "./errors.ts";
import { describeSystemError } from "./system-error.ts";

/**
 * Creates or replaces a file atomically, by renaming a new file of mode 0600.
 *
 * @param prepare - called with the path of the new file before it is renamed.
 * @throws the error of the system; the file is then unchanged.
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
 * Writes a file of mode 0600 atomically. Links are followed; pipes and devices are written to directly.
 *
 * @throws UserError (exit code 1) if it cannot be written.
 */
export async function writePrivateFile(path: string, text: string): Promise<void> {
  await writeOutputFile(path, text);
}

/**
 * Writes a file of mode 0644 as {@link writePrivateFile} does one of mode 0600, regardless of the umask.
 *
 * @throws UserError (exit code 1) if it cannot be written.
 */
export async function writePublicFile(path: string, text: string): Promise<void> {
  await writeOutputFile(path, text, (temporary) => chmod(temporary, 0o644));
}

async function writeOutputFile(
  path: string,
  text: string,
  prepare?: (temporary: string) => Promise<void>,
): Promise<void> {
  try {
    const status = await stat(path).catch(ignoreMissing);
    if (status === undefined || status.isFile()) await replaceFile(status ? await realpath(path) : path, text, prepare);
    else await writeFile(path, text);
  } catch (error) {
    throw new UserError(`cannot write ${path}: ${describeSystemError(error)}`, EXIT.failed);
  }
}

function ignoreMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== "ENOENT") throw error;
}
