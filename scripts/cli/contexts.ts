/** Completions from the kubeconfig. A separate file, because most completions need no kubeconfig, and no YAML parser. */
import { type Kubeconfig, loadKubeconfig } from "../../lib/kube/kubeconfig/kubeconfig.ts";
import { isClusterName } from "../../lib/peer/peer.ts";
import { escapeControlChars } from "../../lib/render/style.ts";

/** Lists the printable names of contexts that the words do not contain yet. */
export async function listContextNames(before: readonly string[]): Promise<string[]> {
  return listNames(before, ({ contexts }) => contexts.keys());
}

/** Lists the names of contexts and clusters that are valid for a Cilium cluster. */
export async function listClusterNames(before: readonly string[]): Promise<string[]> {
  const names = await listNames(before, ({ contexts, clusters }) => [...contexts.keys(), ...clusters.keys()]);
  return [...new Set(names)].filter(isClusterName);
}

/**
 * Lists names of the kubeconfig given by `--kubeconfig` in the words, else by the environment. An unreadable kubeconfig
 * yields no names and no message, which would garble the command line.
 */
async function listNames(
  before: readonly string[],
  select: (kubeconfig: Kubeconfig) => Iterable<string>,
): Promise<string[]> {
  const path = before.findLast((word, i) => before[i - 1] === "--kubeconfig" || word.startsWith("--kubeconfig="));
  try {
    const kubeconfig = await loadKubeconfig({ env: process.env, path: path?.replace(/^--kubeconfig=/, "") });
    const isPrintable = (name: string) => !name.includes("\n") && escapeControlChars(name) === name;
    return [...select(kubeconfig)].filter((name) => isPrintable(name) && !before.includes(name));
  } catch {
    return [];
  }
}
