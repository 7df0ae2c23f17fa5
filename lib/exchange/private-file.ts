/** Files that hold private keys. */
import { realpath, stat, writeFile } from "node:fs/promises";
import { replaceFile } from "../cluster/replace-file.ts";
import { describeSystemError } from "../cluster/system-error.ts";
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
    if (status === undefined || status.isFile()) await replaceFile(status ? await realpath(path) : path, text);
    else await writeFile(path, text);
  } catch (error) {
    throw new UserError(`${path} cannot be written: ${describeSystemError(error)}`, EXIT.failed);
  }
}

function unlessMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== "ENOENT") throw error;
}
