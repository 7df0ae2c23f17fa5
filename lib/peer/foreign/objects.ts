/** Recognizes foreign files by their JSON or YAML content. Pure. */
import { enumerate } from "../../util/enumerate.ts";
import { type Fields, getField, isFields, parseObjectName } from "../../util/fields.ts";
import { shellQuote } from "../../util/shell.ts";
import { redactKeys } from "../findings.ts";
import { createRemedy, EXTRACT, type ForeignFile, OMIT } from "./foreign.ts";
import { recognizeByKind } from "./kinds.ts";

/** The maximum number of names in a message. */
const MAX_NAMES = 5;

/** The detectors, in order of precedence. */
const DETECTORS: readonly ((object: Fields) => ForeignFile | undefined)[] = [
  recognizePlaceholders,
  recognizeByKind,
  recognizeKubeconfig,
  recognizeValues,
  recognizeToolFile,
];

/** Recognizes a foreign document; undefined if there is no match. */
export function recognizeObject(object: unknown): ForeignFile | undefined {
  if (!isFields(object)) return undefined;
  for (const detect of DETECTORS) {
    const found = detect(object);
    if (found) return found;
  }
  return undefined;
}

/** Placeholders in a Secret that another tool replaces with the actual values. None of them is valid base64. */
const PLACEHOLDERS: readonly { code: ForeignFile["code"]; pattern: RegExp; message: string; remedy: string }[] = [
  {
    code: "encrypted-file",
    pattern: /^ENC\[AES256_GCM,/,
    message: "contains values encrypted with SOPS, but no sops metadata, so they cannot be decrypted",
    remedy: "pass the complete file that sops wrote",
  },
  {
    code: "foreign-file",
    pattern: /^\{\{[\s\S]*\}\}$/,
    message: "contains a Secret with unrendered template values ({{ … }})",
    remedy: "helm template {release} {chart} --show-only {template} | {rerun}",
  },
  {
    code: "foreign-file",
    pattern: /^<path:[^>]*>$/,
    message: "contains a Secret with unresolved placeholders of the Argo CD Vault Plugin",
    remedy: "argocd-vault-plugin generate {file} | {rerun}",
  },
  {
    code: "foreign-file",
    pattern: /^\$\{[^}]+\}$/,
    message: "contains a Secret with unsubstituted variables",
    remedy: "envsubst < {file} | {rerun}",
  },
  {
    code: "foreign-file",
    pattern: /^ref\+[a-z0-9]+:\/\//,
    message: "contains a Secret with unresolved vals references",
    remedy: "vals eval -f {file} | {rerun}",
  },
];

function recognizePlaceholders({ data, stringData }: Fields): ForeignFile | undefined {
  const values = [data, stringData].flatMap((fields) => (isFields(fields) ? Object.values(fields) : []));
  for (const { code, pattern, message, remedy } of PLACEHOLDERS) {
    if (!values.some((value) => typeof value === "string" && pattern.test(value.trim()))) continue;
    return { code, message, remedy: createRemedy(remedy) };
  }
  return undefined;
}

function recognizeKubeconfig(object: Fields): ForeignFile | undefined {
  const { kind, clusters, contexts, users } = object;
  const lists = [clusters, contexts, users].filter((list) => Array.isArray(list)).length;
  if (kind === undefined ? lists < 3 : kind !== "Config" || lists === 0) return undefined;
  const names = (Array.isArray(contexts) ? contexts : [])
    .map((entry) => (isFields(entry) ? entry.name : undefined))
    .filter((name) => typeof name === "string")
    // Names are printed in the message, and in the command.
    .filter((name) => name !== "" && name.length <= 200 && redactKeys(name) === name);
  const [only, ...others] = names;
  const suffix =
    names.length === 0 ? "" : ` (${others.length === 0 ? "context" : "contexts"} ${enumerate(names, MAX_NAMES)})`;
  return {
    code: "foreign-file",
    message: `is a kubeconfig${suffix}, not a Secret`,
    remedy: createRemedy(
      "{extract} --kubeconfig {file} --context {context} | {rerun}",
      only !== undefined && others.length === 0 ? { context: shellQuote(only) } : {},
    ),
  };
}

/** Recognizes values of Cilium's chart, or of a chart that depends on it. */
function recognizeValues(object: Fields): ForeignFile | undefined {
  if (object.kind !== undefined) return undefined;
  const values = [object, ...Object.values(object)].find(
    (fields) => isFields(fields) && isFields(fields.clustermesh) && isChartValues(fields.clustermesh),
  );
  if (values === undefined) return undefined;
  const names = parseClusterNames(getField(values, ["clustermesh", "config", "clusters"]));
  const suffix = names.length === 0 ? "" : ` with clustermesh.config.clusters (${enumerate(names, MAX_NAMES)})`;
  return {
    code: "foreign-file",
    message: `is a values file of Cilium's Helm chart${suffix}, not a Secret; extract each cluster instead`,
    remedy: EXTRACT,
  };
}

function isChartValues(clustermesh: Fields): boolean {
  return (
    isFields(clustermesh.config) || isFields(clustermesh.apiserver) || typeof clustermesh.useAPIServer === "boolean"
  );
}

/** Parses cluster names from a list, or from a mapping by name, which Cilium 1.19 introduced. */
function parseClusterNames(clusters: unknown): string[] {
  if (Array.isArray(clusters)) {
    return clusters.map((entry) => parseObjectName(getField(entry, ["name"]))).filter((name) => name !== undefined);
  }
  return isFields(clusters) ? Object.keys(clusters).filter((name) => parseObjectName(name) !== undefined) : [];
}

/** Recognizes files of tools by their fields, since they have no kind. */
function recognizeToolFile(object: Fields): ForeignFile | undefined {
  const { apiVersion, kind, data, name, version } = object;
  if (kind !== undefined || isFields(data)) return undefined;
  const foreign = (message: string): ForeignFile => ({ code: "foreign-file", message, remedy: OMIT });
  if (Array.isArray(object.creation_rules)) return foreign("is a SOPS configuration file, not a Secret");
  if (typeof apiVersion === "string" && typeof name === "string" && typeof version === "string") {
    return foreign("is a Helm Chart.yaml, not a Secret");
  }
  const lists = ["resources", "bases", "components", "patches", "generators", "secretGenerator", "configMapGenerator"];
  return lists.some((list) => Array.isArray(object[list])) ? foreign("is a kustomization, not a Secret") : undefined;
}
