/** Chooses where the clusters of a command come from. */
import type { SecretFormat } from "../../lib/members/format-names.ts";
import { EXIT, UserError } from "../../lib/util/errors.ts";
import { type ClusterSecretArguments, SecretClusters } from "./cluster-secrets.ts";
import { type ClusterSource, Contexts } from "./clusters.ts";
import { clusterSecretOptions } from "./options.ts";

/**
 * Opens the source of the clusters: the Secrets of `--clusters-from`, or the kubeconfig.
 *
 * @throws UserError if the kubeconfig cannot be read, the Secrets cannot be listed, or the flags do not fit together.
 */
export async function openClusterSource(args: ClusterSecretArguments): Promise<ClusterSource> {
  const format = args["clusters-from"];
  if (format !== undefined) return SecretClusters.load(args, format as SecretFormat);
  const unused = Object.keys(clusterSecretOptions).find((name) => isGiven(args[name as keyof ClusterSecretArguments]));
  if (unused !== undefined) throw new UserError(`--${unused} requires --clusters-from`, EXIT.refused);
  return Contexts.load(args);
}

function isGiven(value: unknown): boolean {
  return value !== undefined && value !== false && !(Array.isArray(value) && value.length === 0);
}
