/** Writing files that hold what is private. */
import { randomBytes } from "node:crypto";
import { rename, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

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
