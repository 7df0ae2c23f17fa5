/** The formats of Secrets that describe clusters. Pure. */
import type { V1Secret } from "@kubernetes/client-node";
import { type KubeconfigFile, toKubeconfigFile } from "../kube/kubeconfig/kubeconfig.ts";
import { decodeBase64 } from "../util/content.ts";
import { type Fields, isFields } from "../util/fields.ts";
import { parseYamlDocuments, YamlError } from "../util/yaml.ts";
import { ARGO_FIELDS, convertArgoCluster, findArgoRefusals } from "./argocd.ts";
import { ClusterSecretError, refusalOf } from "./cluster-secret-error.ts";
import type { SecretFormat } from "./format-names.ts";

/** Maximum size of a kubeconfig in bytes: ten times that of one with a large CA bundle. */
const MAX_KUBECONFIG_BYTES = 262_144;
const CAPI_NAME_LABEL = "cluster.x-k8s.io/cluster-name";
const CAPI_SUFFIX = "-kubeconfig";

interface FormatDefinition {
  /** The labels that its Secrets have. */
  selector: string;
  /** Whether a Secret with these labels describes a cluster. */
  accepts(secret: V1Secret): boolean;
  /** Returns the name of the cluster; undefined if it has none, or an empty one. */
  nameOf(secret: V1Secret, name: string): string | undefined;
  /** @throws ClusterSecretError and KubeconfigError. */
  read(secret: V1Secret, name: string): KubeconfigFile;
  /** Its names of kubeconfig fields, if they differ. */
  fields: Readonly<Record<string, string>>;
}

export const FORMATS: Readonly<Record<SecretFormat, FormatDefinition>> = {
  argocd: {
    selector: "argocd.argoproj.io/secret-type=cluster",
    accepts: () => true,
    nameOf: (secret) => readText(secret, "name") || readText(secret, "server"),
    read: readArgoSecret,
    fields: ARGO_FIELDS,
  },
  "cluster-api": {
    selector: CAPI_NAME_LABEL,
    // By the name alone, as util/secret of Cluster API does: the type of other control plane providers is Opaque. Secrets with
    // the CA, the service account key and etcd's certificates have the same label.
    accepts: ({ metadata }) => metadata?.name === `${metadata?.labels?.[CAPI_NAME_LABEL] ?? ""}${CAPI_SUFFIX}`,
    nameOf: ({ metadata }) => metadata?.labels?.[CAPI_NAME_LABEL],
    read: (secret, name) => readKubeconfigKey(secret, name, "value"),
    fields: {},
  },
  secrets: {
    selector: "clustermesh-secrets/cluster=true",
    accepts: () => true,
    nameOf: (_, name) => name,
    read: (secret, name) => readKubeconfigKey(secret, name, "kubeconfig"),
    fields: {},
  },
};

/** Returns the text of a key; undefined if it is missing, too long or not base64. */
function readText({ data }: V1Secret, key: string): string | undefined {
  const value: unknown = isFields(data) && Object.hasOwn(data, key) ? data[key] : undefined;
  if (typeof value !== "string" || value.length > (MAX_KUBECONFIG_BYTES * 4) / 3 + 4) return undefined;
  return decodeBase64(value)?.toString();
}

function requireText(secret: V1Secret, name: string, key: string): string {
  const text = readText(secret, key);
  if (text) return text;
  const limit = `${MAX_KUBECONFIG_BYTES / 1024} KiB`;
  throw new ClusterSecretError(name, `key ${key} is missing, empty, not base64 or larger than ${limit}`);
}

function readKubeconfigKey(secret: V1Secret, name: string, key: string): KubeconfigFile {
  const text = requireText(secret, name, key);
  let value: unknown;
  try {
    // Bounded, unlike the parser of kubeconfig files, which are trusted.
    [value] = parseYamlDocuments(text);
  } catch (error) {
    if (!(error instanceof YamlError)) throw error;
    throw new ClusterSecretError(name, `key ${key} is not valid YAML: ${error.message}`);
  }
  return toKubeconfigFile(value, { label: `key ${key}`, folder: "/", file: "" });
}

function readArgoSecret(secret: V1Secret, name: string): KubeconfigFile {
  const config = parseObject(requireText(secret, name, "config"));
  if (!config) throw new ClusterSecretError(name, "key config is not a JSON object");
  const refused = findArgoRefusals(config);
  if (refused.length > 0) throw refusalOf(name, refused);
  return convertArgoCluster(requireText(secret, name, "server"), config, "key config");
}

function parseObject(json: string): Fields | undefined {
  try {
    const value: unknown = JSON.parse(json);
    return isFields(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
