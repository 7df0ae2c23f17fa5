/** Chooses where the clusters of a command come from. */
import type { SecretFormat } from "../../lib/members/format-names.ts";
import { EXIT, UserError } from "../../lib/util/errors.ts";
import { type ClusterSecretArguments, SecretClusters } from "./cluster-secrets.ts";
import { type ClusterSource, Contexts } from "./clusters.ts";
import { clusterSecretOptions } from "./options.ts";

/**
 * Opens the source of the clusters: the Secrets of `--clusters-from`, or the kubeconfig.
 *
 * @param warnOf - called with a line for each skipped context; by default, it is logged as a warning.
 * @throws UserError if the kubeconfig cannot be read, the Secrets cannot be listed, or the flags do not fit together.
 */
export async function openClusterSource(
  args: ClusterSecretArguments,
  warnOf?: (line: string) => void,
): Promise<ClusterSource> {
  const format = args["clusters-from"];
  if (format !== undefined) return SecretClusters.load(args, format as SecretFormat);
  const unused = Object.keys(clusterSecretOptions).find((name) => isGiven(args[name as keyof ClusterSecretArguments]));
  if (unused !== undefined) throw new UserError(`--${unused} requires --clusters-from`, EXIT.refused);
  return Contexts.load(args, warnOf);
}

/**
 * Opens the source of the clusters for a command that never uses all of them.
 *
 * @param names - the clusters to use; empty for the current context, which no cluster of a Secret is.
 * @param placeholder - the argument or flag that contains `names`, for the message.
 * @throws UserError as {@link openClusterSource}, and if no cluster of a Secret is named (exit code 2).
 */
export async function openNamedSource(
  args: ClusterSecretArguments,
  names: readonly string[],
  placeholder: string,
): Promise<ClusterSource> {
  if (args["clusters-from"] !== undefined && names.length === 0) {
    throw new UserError(`--clusters-from requires ${placeholder}`, EXIT.refused);
  }
  return openClusterSource(args);
}

function isGiven(value: unknown): boolean {
  return value !== undefined && value !== false && !(Array.isArray(value) && value.length === 0);
}
