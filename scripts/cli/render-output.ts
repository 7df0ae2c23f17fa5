/** Writes rendered files to a directory or to stdout. */
import { mkdir, readdir, readFile, rm, rmdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { isGeneratedFile, isGeneratedName, RENDERED_FOLDERS } from "../../lib/manifests/generated-files.ts";
import type { KeyCause } from "../../lib/manifests/private-keys.ts";
import type { RenderedFile } from "../../lib/manifests/render.ts";
import { enumerate, escapeLine } from "../../lib/render/style.ts";
import { EXIT, UserError } from "../../lib/util/errors.ts";
import { writeOrdinaryFile, writePrivateFile } from "../../lib/util/private-file.ts";
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
 * @param explain - returns why the files contain private keys.
 * @throws UserError (exit code 2) if the files contain private keys and these are not included, or stdout is a terminal.
 */
export function assertKeysAllowed(
  files: readonly RenderedFile[],
  { directory, includePrivateKeys }: OutputOptions,
  explain: () => KeyCause[],
): void {
  const paths = files.filter(({ isPrivate }) => isPrivate).map(({ path }) => path);
  if (paths.length === 0) return;
  if (!includePrivateKeys) {
    const remedies = [...explain().map(describeKeyRemedy), INCLUDE_KEYS].map((line) => `\n  ${escapeLine(line)}`);
    throw new UserError(`${enumerate(paths)} would contain private keys${remedies.join("")}`, EXIT.refused);
  }
  if (directory === undefined && exposedStdout() === "terminal") {
    throw new UserError(
      "refusing to print private keys to a terminal\n  pass --output-dir DIR, or pipe the output into a tool that encrypts it",
      EXIT.refused,
    );
  }
}

const INCLUDE_KEYS = "or pass --include-private-keys, and encrypt the output before you commit it";

function describeKeyRemedy(cause: KeyCause): string {
  switch (cause.case) {
    case "mode":
      return `${enumerate(cause.peers)}: no key is needed with --tls=auto`;
    case "obstacle":
      return `${cause.peer} is reached by the key in its file: ${cause.obstacle.message}`;
    case "existing":
      return "existing objects contain the keys: pass files of all peers, with --tls=auto";
  }
}

/**
 * Writes the files, those with private keys with mode 0600. Files of an earlier rendering that are not in this one are removed.
 *
 * @throws UserError (exit code 1) if a file cannot be written or removed.
 */
export async function writeRendered(files: readonly RenderedFile[], { directory }: OutputOptions): Promise<void> {
  if (directory === undefined) {
    writeStdout(files.map(({ text }) => `---\n${text}`).join(""));
    if (files.some(({ isPrivate }) => isPrivate)) warnOfExposedKey("run umask 077 first, or pass --output-dir DIR");
    return;
  }
  for (const { path, text, isPrivate } of files) {
    const full = join(directory, path);
    await orFail("write", full, mkdir(dirname(full), { recursive: true }));
    await (isPrivate ? writePrivateFile : writeOrdinaryFile)(full, text);
  }
  const paths = files.map(({ path }) => path);
  log(`wrote ${escapeLine(enumerate(paths))} to ${escapeLine(directory)}`);
  const removed = await removeStale(directory, new Set(paths));
  if (removed.length > 0) log(`removed ${escapeLine(enumerate(removed))} from ${escapeLine(directory)}`);
}

/** Removes the files of an earlier rendering, and the folder that they leave empty. Returns their paths, sorted. */
async function removeStale(directory: string, rendered: ReadonlySet<string>): Promise<string[]> {
  const removed: string[] = [];
  for (const folder of RENDERED_FOLDERS) {
    const inside = join(directory, folder);
    const entries = await readdir(inside, { withFileTypes: true }).catch(() => []);
    const paths = entries.filter((entry) => entry.isFile()).map(({ name }) => folder + name);
    for (const path of paths.filter((one) => isGeneratedName(one) && !rendered.has(one))) {
      const full = join(directory, path);
      if (!isGeneratedFile(path, await readFile(full, "utf8").catch(() => ""))) continue;
      await orFail("remove", full, rm(full));
      removed.push(path);
    }
    // Fails if other files are left.
    if (folder !== "" && removed.some((path) => path.startsWith(folder))) await rmdir(inside).catch(() => {});
  }
  return removed.sort();
}

async function orFail(verb: "write" | "remove", path: string, done: Promise<unknown>): Promise<void> {
  try {
    await done;
  } catch (error) {
    throw new UserError(`cannot ${verb} ${path}: ${describeSystemError(error)}`, EXIT.failed);
  }
}
