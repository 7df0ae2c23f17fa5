/** Files that hold private keys. */
import { randomBytes } from "node:crypto";
import { open, realpath, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { EXIT, UserError } from "../peer/errors.ts";

/**
 * Writes a file of mode 0600, whole or not at all. A link is followed, and what is no file (a pipe, a device) is written
 * into.
 *
 * @throws UserError (exit code 1) where it cannot be written.
 */
export async function writePrivately(path: string, text: string): Promise<void> {
  try {
    const status = await stat(path).catch(unlessMissing);
    if (status === undefined || status.isFile()) await replace(status ? await realpath(path) : path, text);
    else await writeFile(path, text);
  } catch (error) {
    throw new UserError(`${path} cannot be written (${(error as NodeJS.ErrnoException).code})`, EXIT.failed);
  }
}

function unlessMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== "ENOENT") throw error;
}

async function replace(path: string, text: string): Promise<void> {
  const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString("hex")}`);
  try {
    const file = await open(temporary, "wx", 0o600);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    throw error;
  }
}
