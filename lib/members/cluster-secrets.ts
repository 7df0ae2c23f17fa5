/** Reads the Secrets of a management cluster that describe other clusters. */
import type { V1Secret } from "@kubernetes/client-node";
import { type KubernetesApi, secrets } from "../kube/api.ts";
import { type Context, KubeconfigError, type KubeconfigFile, selectContext } from "../kube/kubeconfig/kubeconfig.ts";
import { EXIT, UserError } from "../util/errors.ts";
import { parseObjectName } from "../util/fields.ts";
import { ClusterSecretError, refusalOf } from "./cluster-secret-error.ts";
import type { SecretFormat } from "./format-names.ts";
import { FORMATS } from "./formats.ts";
import { findRefusedFields, type MemberPermissions } from "./trust.ts";

/** Twice the clusters of the largest mesh. */
const MAX_SECRETS = 1_024;

export interface ClusterSecretOptions {
  format: SecretFormat;
  namespace: string;
  /** Labels that the Secrets must have in addition to those of the format. */
  selector?: string | undefined;
  permissions: MemberPermissions;
}

/** A cluster that a Secret describes, or why the Secret cannot be used. */
export type SecretCluster = {
  /** Unique, printable and at most 253 characters long. */
  name: string;
  /** The name of the Secret. */
  secret: string;
} & ({ context: Context } | { error: ClusterSecretError });

/** Returns the label selector of a list of Secrets. */
export function selectorOf({ format, selector }: Pick<ClusterSecretOptions, "format" | "selector">): string {
  return [FORMATS[format].selector, ...(selector === undefined ? [] : [selector])].join(",");
}

/**
 * Lists the clusters that Secrets describe, sorted by name. Their kubeconfigs are not trusted: the fields of
 * {@link findRefusedFields} are refused, and nothing is read, run or contacted for them. No credentials of the
 * management cluster are part of the result.
 *
 * @throws UserError (exit code 2) if there are more than {@link MAX_SECRETS} Secrets, or one has an invalid name.
 * @throws ApiError and ConnectionError if the Secrets cannot be listed.
 */
export async function listClusterSecrets(api: KubernetesApi, options: ClusterSecretOptions): Promise<SecretCluster[]> {
  const { accepts } = FORMATS[options.format];
  // By name, because a list that is continued after it expired may repeat objects.
  const found = new Map<string, V1Secret>();
  for await (const page of api.list(secrets, { namespace: options.namespace, labelSelector: selectorOf(options) })) {
    for (const secret of page.filter(accepts)) found.set(nameOfSecret(secret), secret);
    if (found.size > MAX_SECRETS) {
      throw new UserError(
        `more than ${MAX_SECRETS} Secrets describe clusters; select fewer with --selector`,
        EXIT.refused,
      );
    }
  }
  const clusters = await Promise.all([...found].map(([name, secret]) => readClusterSecret(name, secret, options)));
  return withUniqueNames(clusters).sort((one, other) => (one.name < other.name ? -1 : 1));
}

/** The management cluster may be hostile, too. */
function nameOfSecret({ metadata }: V1Secret): string {
  const name = parseObjectName(metadata?.name);
  if (name === undefined) throw new UserError("the API server returned a Secret with an invalid name", EXIT.refused);
  return name;
}

async function readClusterSecret(
  object: string,
  secret: V1Secret,
  { format, permissions }: ClusterSecretOptions,
): Promise<SecretCluster> {
  const { nameOf, read, fields } = FORMATS[format];
  const names = { name: toPrintableName(nameOf(secret, object)) ?? object, secret: object };
  try {
    const file = read(secret, object);
    const context = await toContext(file, object, permissions, fields);
    return { ...names, context: { ...context, name: names.name, isForeign: true } };
  } catch (error) {
    if (error instanceof ClusterSecretError) return { ...names, error };
    if (error instanceof KubeconfigError) return { ...names, error: new ClusterSecretError(object, error.message) };
    throw error;
  }
}

/**
 * Returns a name without invisible characters, which could forge output; undefined if it is empty, too long, or a flag in a
 * printed command.
 */
function toPrintableName(name: string | undefined): string | undefined {
  if (name === undefined || name.length > 253) return undefined;
  const printable = name.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, "\uFFFD").trim();
  return printable === "" || printable.startsWith("-") ? undefined : printable;
}

/** @throws ClusterSecretError and KubeconfigError. */
async function toContext(
  file: KubeconfigFile,
  secret: string,
  permissions: MemberPermissions,
  fieldNames: Readonly<Record<string, string>>,
): Promise<Context> {
  const entry = file.contexts.get(file.currentContext ?? "");
  const cluster = file.clusters.get(entry?.cluster ?? "");
  const user = file.users.get(entry?.user ?? "");
  if (!entry || !cluster || !user) {
    throw new ClusterSecretError(secret, "kubeconfig has no current-context with a cluster and a user");
  }
  const refused = findRefusedFields(cluster, user, permissions).map((one) => ({
    ...one,
    field: fieldNames[one.field] ?? one.field,
  }));
  if (refused.length > 0) throw refusalOf(secret, refused);
  const { token, tokenFile, username, cert, exec } = user;
  if ([token, tokenFile, username, cert, exec].every((one) => one === undefined)) {
    throw new ClusterSecretError(secret, "contains no credentials");
  }
  // A plugin must not prompt, and the text of a Secret is not printed as a hint.
  const plugin = exec && { ...exec, interactiveMode: "Never", installHint: undefined };
  const users = new Map([[entry.user, { ...user, exec: plugin }]]);
  return selectContext({ ...file, users, files: [], missing: [] }, undefined);
}

/** Adds the Secret to names that several Secrets have, and to names that look like the result: none passes for another. */
function withUniqueNames(clusters: readonly SecretCluster[]): SecretCluster[] {
  const counts = new Map<string, number>();
  for (const { name } of clusters) counts.set(name, (counts.get(name) ?? 0) + 1);
  return clusters.map((one) => {
    if (counts.get(one.name) === 1 && !one.name.endsWith(")")) return one;
    const name = `${one.name} (secret/${one.secret})`;
    return "context" in one ? { ...one, name, context: { ...one.context, name } } : { ...one, name };
  });
}
