/** Writes rendered files to a directory or to stdout. */
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { RenderedFile } from "../../lib/manifests/render.ts";
import { enumerate, escapeLine } from "../../lib/render/style.ts";
import { EXIT, UserError } from "../../lib/util/errors.ts";
import { writePrivateFile } from "../../lib/util/private-file.ts";
import { describeSystemError } from "../../lib/util/system-error.ts";
import { exposedStdout, writeStdout } from "./streams.ts";
import { log, warnOfExposedKey } from "./terminal.ts";

export interface OutputOptions {
  /** The directory; undefined for stdout. */
  directory: string | undefined;
  includePrivateKeys: boolean;
}

/**
 * Refuses to write private keys, unless a flag includes them.
 *
 * @throws UserError (exit code 2) if the files contain private keys and these are not included, or stdout is a terminal.
 */
export function assertKeysAllowed(
  files: readonly RenderedFile[],
  { directory, includePrivateKeys }: OutputOptions,
): void {
  const paths = files.filter(({ isPrivate }) => isPrivate).map(({ path }) => path);
  if (paths.length === 0) return;
  if (!includePrivateKeys) {
    throw new UserError(
      `${enumerate(paths)} would contain private keys\n` +
        "  use one CA for all clusters, so that no key is needed; or pass --include-private-keys, and encrypt the output before you commit it",
      EXIT.refused,
    );
  }
  if (directory === undefined && exposedStdout() === "terminal") {
    throw new UserError(
      "refusing to print private keys to a terminal\n  pass --output-dir DIR, or pipe the output into a tool that encrypts it",
      EXIT.refused,
    );
  }
}

/**
 * Writes the files. Those with private keys get mode 0600.
 *
 * @throws UserError (exit code 1) if a file cannot be written.
 */
export async function writeRendered(files: readonly RenderedFile[], { directory }: OutputOptions): Promise<void> {
  if (directory === undefined) {
    writeStdout(files.map(({ text }) => `---\n${text}`).join(""));
    if (files.some(({ isPrivate }) => isPrivate)) warnOfExposedKey("run umask 077 first, or pass --output-dir DIR");
    return;
  }
  for (const { path, text, isPrivate } of files) {
    const full = join(directory, path);
    try {
      await mkdir(dirname(full), { recursive: true });
      if (!isPrivate) await writeFile(full, text);
    } catch (error) {
      throw new UserError(`cannot write ${full}: ${describeSystemError(error)}`, EXIT.failed);
    }
    if (isPrivate) await writePrivateFile(full, text);
  }
  log(`wrote ${escapeLine(enumerate(files.map(({ path }) => path)))} to ${escapeLine(directory)}`);
}
