/** Shows differences with the program of `KUBECTL_EXTERNAL_DIFF`, as `kubectl diff` does. */

import { rmSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { $ } from "zx/core";
import type { Difference } from "../../lib/render/preview.ts";
import { shellQuote } from "../../lib/util/shell.ts";
import { TERMINATION_SIGNALS } from "./signals.ts";

/** The differences of a cluster. */
export interface ClusterDifferences {
  /** The context. */
  source: string;
  differences: readonly Difference[];
}

/**
 * Runs a program on two folders, `LIVE` and `PLANNED`, with a file for each object that differs, in a folder for each
 * context. The files have mode 0600, contain no private key, and are removed when the program ends, or by a signal.
 *
 * @param command - the program and its options, separated by spaces. As in kubectl, the options follow the folders;
 *   kubectl leaves out options with other characters than letters, digits, `-` and `=`.
 * @returns why the program failed, if it cannot be run or exits with a code above 1, which `diff` reserves for errors.
 */
export async function runExternalDiff(
  command: string,
  clusters: readonly ClusterDifferences[],
): Promise<string | undefined> {
  const files = clusters.flatMap(({ source, differences }, i) => differences.map((one) => toFile(one, source, i)));
  if (files.length === 0) return undefined;
  const root = await mkdtemp(join(tmpdir(), "clustermesh-secrets-diff-"));
  const remove = () => rmSync(root, { recursive: true, force: true });
  // Before the handlers that exit by the signal.
  for (const signal of TERMINATION_SIGNALS) process.prependListener(signal, remove);
  try {
    const [live, planned] = [join(root, "LIVE"), join(root, "PLANNED")];
    for (const folder of [live, planned]) await mkdir(folder);
    for (const file of files) {
      if (file.live !== "") await write(join(live, file.path), file.live);
      await write(join(planned, file.path), file.planned);
    }
    const [program = "", ...options] = command.split(/\s+/);
    const shell = $({ shell: "/bin/sh", prefix: "", postfix: "", quote: shellQuote, stdio: "inherit", nothrow: true });
    const { exitCode, signal } = await shell`${[program, live, planned, ...options]}`;
    if (exitCode === 0 || exitCode === 1) return undefined;
    const outcome = signal === null ? `exited with code ${exitCode}` : `was ended by ${signal}`;
    return `KUBECTL_EXTERNAL_DIFF: ${JSON.stringify(command)} ${outcome}`;
  } finally {
    for (const signal of TERMINATION_SIGNALS) process.off(signal, remove);
    await rm(root, { recursive: true, force: true });
  }
}

/** The path of an object is unique even if contexts are equal after `/` is replaced. */
function toFile({ kind, namespace, name, live, planned }: Difference, source: string, index: number) {
  const path = [`${index + 1}-${source}`, `${kind}.${namespace}.${name}.yaml`].map(toFileName);
  return { path: join(...path), live, planned };
}

/** Replaces characters other than those of names, so that a name of an API server remains one part of a path. */
function toFileName(text: string): string {
  return text.replaceAll(/[^\w.@:-]/g, "_");
}

async function write(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, text, { mode: 0o600 });
}
