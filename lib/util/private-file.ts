/** Writes files as a whole: private ones, with keys or tokens, public ones, and those of the usual mode. */
import { randomBytes } from "node:crypto";
import { chmod, realpath, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { EXIT, UserError } from "./errors.ts";
import { describeSystemError } from "./system-error.ts";

/**
 * Creates or replaces a file atomically, by renaming a new file.
 *
 * @param prepare - called with the path of the new file before it is renamed.
 * @param mode - of the new file, which the umask restricts.
 * @throws the error of the system; the file is then unchanged.
 */
export async function replaceFile(
  path: string,
  text: string,
  prepare: (temporary: string) => Promise<void> = async () => {},
  mode = 0o600,
): Promise<void> {
  const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString("hex")}`);
  try {
    await writeFile(temporary, text, { mode, flag: "wx", flush: true });
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
  await writeOutputFile(path, text, 0o600);
}

/**
 * Writes a file of mode 0644, which other users have to read, regardless of the umask; as {@link writePrivateFile} otherwise.
 *
 * @throws UserError (exit code 1) if it cannot be written.
 */
export async function writePublicFile(path: string, text: string): Promise<void> {
  await writeOutputFile(path, text, 0o644);
}

/**
 * Writes a file with the mode of the existing file, or that of the umask; as {@link writePrivateFile} otherwise.
 *
 * @throws UserError (exit code 1) if it cannot be written.
 */
export async function writeOrdinaryFile(path: string, text: string): Promise<void> {
  await writeOutputFile(path, text, undefined);
}

/** @param mode - undefined: that of the existing file, or that of the umask. */
async function writeOutputFile(path: string, text: string, mode: number | undefined): Promise<void> {
  try {
    const status = await stat(path).catch(ignoreMissing);
    if (status === undefined) await replaceFile(path, text, changeMode(mode), mode === undefined ? 0o666 : 0o600);
    else if (status.isFile()) await replaceFile(await realpath(path), text, changeMode(mode ?? status.mode & 0o777));
    else await writeFile(path, text);
  } catch (error) {
    throw new UserError(`cannot write ${path}: ${describeSystemError(error)}`, EXIT.failed);
  }
}

function changeMode(mode: number | undefined): (temporary: string) => Promise<void> {
  return async (temporary) => {
    if (mode !== undefined) await chmod(temporary, mode);
  };
}

function ignoreMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== "ENOENT") throw error;
}
