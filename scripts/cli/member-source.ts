/** Lists the members of `sync` from contexts or from Secrets, again and again, and watches for changes of the list. */
import { watch } from "node:fs";
import { basename, dirname, resolve } from "node:path";
import type { Cluster } from "../../lib/kube/cluster.ts";
import { observeObjects } from "../../lib/kube/observe.ts";
import { secrets } from "../../lib/kube/resources.ts";
import { selectorOf } from "../../lib/members/cluster-secrets.ts";
import type { SecretFormat } from "../../lib/members/format-names.ts";
import { assertTwoClusters } from "../../lib/mesh/connect.ts";
import type { MemberEntry, MemberSource } from "../../lib/sync/members.ts";
import { describeAnyError, EXIT, UserError } from "../../lib/util/errors.ts";
import { openClusterSource } from "./cluster-source.ts";
import { type ClusterSource, Contexts, describeKubeconfig } from "./clusters.ts";
import { inContextsFile, selectClusters } from "./mesh-arguments.ts";
import type { SyncArguments } from "./sync-flags.ts";
import { warn } from "./terminal.ts";

/**
 * Creates the source of the members. The set of `--all-contexts` is that of the first list; a file of contexts, the kubeconfig
 * and Secrets are read again for each list.
 */
export function createMemberSource(args: SyncArguments): MemberSource {
  let names: string[] | undefined;
  let isFirst = true;
  return {
    selection: describeSelection(args),
    list: async () => {
      const isStart = isFirst;
      const source = await openClusterSource(args, isStart ? warn : () => {});
      isFirst = false;
      if (args["clusters-from"] !== undefined && [...source.names()].length === 0) {
        // Clusters may join later; the error names where they are looked for.
        if (isStart) await source.selectAll().catch((error: unknown) => warn(describeAnyError(error)));
        return [];
      }
      const clusters = names ? await source.select(names) : await selectMembers(source, args);
      if (args["all-contexts"]) names ??= clusters.map(({ source: name }) => name);
      return clusters.map((cluster): MemberEntry => ({ name: cluster.source, revision: cluster.revision, cluster }));
    },
    watch: watcherOf(args),
  };
}

/** Selects the clusters of the flags; a hub is a member, too. */
async function selectMembers(source: ClusterSource, args: SyncArguments): Promise<Cluster[]> {
  const { hub, files, context, "all-contexts": all, "clusters-from": format } = args;
  const hasNames = files.length + context.length > 0 || args["contexts-file"] !== undefined;
  const named = hub !== undefined && hasNames && !all ? [...files, hub] : files;
  const clusters = await selectClusters(source, args, named, "CONTEXT...");
  if (format !== undefined) return clusters;
  try {
    assertTwoClusters(clusters);
  } catch (error) {
    throw inContextsFile(args["contexts-file"], error);
  }
  return clusters;
}

/** Describes what selects the members: members of another kubeconfig are others, even if their names are the same. */
function describeSelection(args: SyncArguments): string {
  const { hub, files, context, "contexts-file": file } = args;
  const flags = (["clusters-from", "clusters-context", "clusters-namespace", "selector"] as const).flatMap((name) =>
    args[name] === undefined ? [] : [`--${name}=${args[name]}`],
  );
  const lists = file === undefined ? [] : [`--contexts-file=${resolve(file)}`];
  const all = args["all-contexts"] ? ["--all-contexts"] : [];
  const names = [...files, ...context];
  const center = hub === undefined || args["all-contexts"] || names.includes(hub) ? [] : [`--hub=${hub}`];
  const kubeconfig = describeKubeconfig(args, process.env);
  const configs = kubeconfig === undefined ? [] : [`--kubeconfig=${kubeconfig}`];
  return [...all, ...flags, ...lists, ...names, ...center, ...configs].join(" ");
}

function watcherOf(args: SyncArguments): MemberSource["watch"] {
  const { "clusters-from": format, "contexts-file": file } = args;
  if (format !== undefined) return (onChange, signal) => watchSecrets(args, format as SecretFormat, onChange, signal);
  return file === undefined ? undefined : (onChange, signal) => watchFile(file, onChange, signal);
}

async function watchSecrets(
  args: SyncArguments,
  format: SecretFormat,
  onChange: () => void,
  signal: AbortSignal,
): Promise<void> {
  using contexts = await Contexts.load(args);
  const { api, namespace: own } = await contexts.open(args["clusters-context"]);
  const { selector, "clusters-namespace": namespace = own } = args;
  const labelSelector = selectorOf({ format, selector });
  await observeObjects(api, secrets, { namespace, labelSelector, metadataOnly: true, signal, onChange });
}

/** Watches the folder of a file, because editors and ConfigMap volumes replace files. */
async function watchFile(file: string, onChange: () => void, signal: AbortSignal): Promise<void> {
  const watcher = watch(dirname(file), { signal }, (_, name) => {
    // In a volume, the file is a link to a folder that is replaced.
    if (name === null || name === basename(file) || name.startsWith("..")) onChange();
  });
  await new Promise<void>((resolve, reject) => {
    watcher.once("close", resolve);
    watcher.once("error", (error) => reject(new UserError(`cannot watch ${file}: ${error.message}`, EXIT.failed)));
  });
}
