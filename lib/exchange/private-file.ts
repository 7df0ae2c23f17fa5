/** Files that hold private keys. */
import { randomBytes } from "node:crypto";
import { open, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { EXIT, UserError } from "../peer/errors.ts";

/**
 * Writes a file of mode 0600, whole or not at all.
 *
 * @throws UserError (exit code 1) where it cannot be written.
 */
export async function writePrivately(path: string, text: string): Promise<void> {
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
    await rm(temporary, { force: true });
    throw new UserError(`${path} cannot be written (${(error as NodeJS.ErrnoException).code})`, EXIT.failed);
  }
}
