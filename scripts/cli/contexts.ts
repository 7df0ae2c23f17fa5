/** What the kubeconfig offers as completions: a file of its own, for it takes the kubeconfig and YAML to know it. */
import { type Kubeconfig, loadKubeconfig } from "../../lib/kube/kubeconfig/kubeconfig.ts";
import { isClusterName } from "../../lib/peer/peer.ts";
import { escapeControlChars } from "../../lib/render/style.ts";

/** The names of the contexts that are not named yet, and that can be shown as they are. */
export async function contextNames(before: readonly string[]): Promise<string[]> {
  return namesIn(before, ({ contexts }) => contexts.keys());
}

/** What the kubeconfig calls its contexts and clusters, as far as clusters of a mesh may be called so. */
export async function clusterNames(before: readonly string[]): Promise<string[]> {
  const names = await namesIn(before, ({ contexts, clusters }) => [...contexts.keys(), ...clusters.keys()]);
  return [...new Set(names)].filter(isClusterName);
}

/**
 * Names of the kubeconfig that the words before name, else of the environment's. A kubeconfig that cannot be read offers
 * none, and no message: a person is in the middle of a line.
 */
async function namesIn(
  before: readonly string[],
  select: (kubeconfig: Kubeconfig) => Iterable<string>,
): Promise<string[]> {
  const named = before.findLast((word, i) => before[i - 1] === "--kubeconfig" || word.startsWith("--kubeconfig="));
  try {
    const kubeconfig = await loadKubeconfig({ env: process.env, path: named?.replace(/^--kubeconfig=/, "") });
    const oneLine = (name: string) => !name.includes("\n") && escapeControlChars(name) === name;
    return [...select(kubeconfig)].filter((name) => oneLine(name) && !before.includes(name));
  } catch {
    return [];
  }
}
