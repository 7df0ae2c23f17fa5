/** Contexts as completions: a file of its own, for it takes the kubeconfig and YAML to know them. */
import { loadKubeconfig } from "../../lib/cluster/kubeconfig.ts";
import { harmless } from "../../lib/show/style.ts";

/**
 * The names of the contexts that are not named yet, and that can be shown as they are: of the kubeconfig that the words
 * before name, else of the environment's. A kubeconfig that cannot be read offers none, and no message: a person is in the
 * middle of a line.
 */
export async function contextNames(before: readonly string[]): Promise<string[]> {
  const named = before.findLast((word, i) => before[i - 1] === "--kubeconfig" || word.startsWith("--kubeconfig="));
  try {
    const kubeconfig = await loadKubeconfig({ env: process.env, path: named?.replace(/^--kubeconfig=/, "") });
    const oneLine = (name: string) => !name.includes("\n") && harmless(name) === name;
    return [...kubeconfig.contexts.keys()].filter((name) => oneLine(name) && !before.includes(name));
  } catch {
    return [];
  }
}
