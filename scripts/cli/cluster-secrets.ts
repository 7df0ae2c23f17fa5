/** Opens the clusters that Secrets of a management cluster describe. */
import type { KubernetesApi } from "../../lib/kube/api.ts";
import type { Cluster } from "../../lib/kube/cluster.ts";
import { type KubeconfigSource, loadKubeconfig, selectContext } from "../../lib/kube/kubeconfig/kubeconfig.ts";
import { openContext } from "../../lib/kube/open.ts";
import { listClusterSecrets, type SecretCluster, selectorOf } from "../../lib/members/cluster-secrets.ts";
import type { SecretFormat } from "../../lib/members/format-names.ts";
import { isBareCommand, type MemberPermissions } from "../../lib/members/trust.ts";
import { enumerate } from "../../lib/render/style.ts";
import { EXIT, UserError } from "../../lib/util/errors.ts";
import { findNearestName } from "../../lib/util/nearest.ts";
import {
  type ClusterArguments,
  type ClusterSource,
  Contexts,
  revisionOf,
  sortNaturally,
  toOpenOptions,
} from "./clusters.ts";
import type { Arguments } from "./option.ts";
import type { clusterSecretOptions } from "./options.ts";
import { addMemberNames } from "./streams.ts";

export type ClusterSecretArguments = ClusterArguments & Omit<Arguments<typeof clusterSecretOptions>, "files">;

/** The clusters of Secrets. Lists the Secrets once, and connects to a cluster on first use. */
export class SecretClusters implements ClusterSource {
  readonly #place: string;
  readonly #clusters: Map<string, Cluster>;

  static async load(args: ClusterSecretArguments, format: SecretFormat): Promise<SecretClusters> {
    const permissions = readPermissions(args);
    using contexts = await Contexts.load(args);
    const { api, name, namespace: own } = await contexts.open(args["clusters-context"]);
    const { selector, "clusters-namespace": namespace = own } = args;
    const listed = await listClusterSecrets(api, { format, namespace, selector, permissions });
    addMemberNames(listed.map((one) => one.name));
    const labels = selectorOf({ format, selector });
    return new SecretClusters(args, `namespace ${namespace} of context ${JSON.stringify(name)} (${labels})`, listed);
  }

  private constructor(args: ClusterSecretArguments, place: string, listed: readonly SecretCluster[]) {
    this.#place = place;
    const byName = new Map(listed.map((one) => [one.name, one]));
    this.#clusters = new Map(
      sortNaturally(byName.keys()).flatMap((name) => {
        const one = byName.get(name);
        return one ? [[name, toCluster(args, one)]] : [];
      }),
    );
  }

  names(): Iterable<string> {
    return this.#clusters.keys();
  }

  /** Returns the named clusters, or all if none is named. */
  async select(names: readonly string[]): Promise<Cluster[]> {
    if (names.length === 0) return this.selectAll();
    return [...new Set(names)].map((name) => this.#clusters.get(name) ?? this.#fail(name));
  }

  async selectAll(): Promise<Cluster[]> {
    if (this.#clusters.size > 0) return [...this.#clusters.values()];
    throw new UserError(
      `no Secret describes a cluster in ${this.#place}\n  pass --clusters-namespace, or --clusters-context for another cluster`,
      EXIT.refused,
    );
  }

  [Symbol.dispose](): void {
    for (const { close } of this.#clusters.values()) close?.();
  }

  #fail(name: string): never {
    const nearest = findNearestName(name, this.names());
    const hint = nearest === undefined ? "" : `; did you mean ${JSON.stringify(nearest)}?`;
    const available = enumerate([...this.names()]);
    throw new UserError(
      `no Secret describes cluster ${JSON.stringify(name)} in ${this.#place}${hint} (available: ${available})`,
      EXIT.refused,
    );
  }
}

/** Returns the cluster of a Secret. A program that lists again and again keeps clusters of old lists, but not the lists. */
function toCluster(args: ClusterSecretArguments, one: SecretCluster): Cluster {
  let opened: KubernetesApi | undefined;
  return {
    source: one.name,
    names: [one.name],
    get revision() {
      return revisionOf("error" in one ? one.error.message : one.context);
    },
    get api() {
      if ("error" in one) throw one.error;
      // The user of --as is one of the management cluster, and no context leads to this one.
      const flags = ["--kubeconfig", "FILE"];
      opened ??= openContext(one.context, { ...toOpenOptions(args, one.name), flags });
      return opened;
    },
    close: () => {
      opened?.close();
      opened = undefined;
    },
  };
}

/**
 * Returns the flags that select the Secrets without the defaults of this process, for readers of a state, a log or Events on
 * other machines: the context and the namespace of the Secrets. Of a pod, no context leads to its cluster.
 *
 * @param source - the environment, and the folder of the pod's service account.
 * @throws KubeconfigError (exit code 2) if the kubeconfig cannot be read.
 */
export async function resolveSecretFlags<T extends ClusterSecretArguments>(
  args: T,
  source: Pick<KubeconfigSource, "env" | "serviceAccount"> = { env: process.env },
): Promise<T> {
  if (args["clusters-from"] === undefined) return args;
  const kubeconfig = await loadKubeconfig({ ...source, path: args.kubeconfig });
  const { name, namespace = "default" } = await selectContext(kubeconfig, args["clusters-context"]);
  return {
    ...args,
    ...(!kubeconfig.isServiceAccount && { "clusters-context": name }),
    "clusters-namespace": args["clusters-namespace"] ?? namespace,
  };
}

function readPermissions(args: ClusterSecretArguments): MemberPermissions {
  const commands = args["allow-exec"].flatMap((list) => list.split(",").map((one) => one.trim()));
  const invalid = commands.find((one) => !isBareCommand(one));
  if (invalid !== undefined) {
    throw new UserError(
      `invalid value ${JSON.stringify(invalid)} for --allow-exec: must be a command name without a path`,
      EXIT.refused,
    );
  }
  return { commands: new Set(commands), insecure: args["allow-insecure-members"] };
}
