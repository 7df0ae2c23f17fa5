/** Recognition of files that `render` wrote before. Pure. */
import { AGENTS_SECRET, KVSTOREMESH_SECRET, USERS_CONFIG_MAP } from "../peer/peer.ts";
import { type Fields, getField, isFields } from "../util/fields.ts";
import { parseYamlDocuments, YamlError } from "../util/yaml.ts";

/** The kind of each object that is rendered, by the name of its file. */
const OBJECT_KINDS: Readonly<Record<string, string>> = {
  [`${AGENTS_SECRET}.yaml`]: "Secret",
  [`${KVSTOREMESH_SECRET}.yaml`]: "Secret",
  [`${USERS_CONFIG_MAP}.yaml`]: "ConfigMap",
};

const PATCH = /^(?:host-aliases\/)?host-aliases-(deployment|daemonset)-([a-z0-9][-a-z0-9.]*)\.yaml$/;

const OTHER_FILES: readonly string[] = ["values.yaml", "kustomization.yaml", "host-aliases/kustomization.yaml"];

/** The folders in which files are rendered, relative to the output directory. */
export const RENDERED_FOLDERS: readonly string[] = ["", "host-aliases/"];

/** Whether `render` writes files of this name, relative to the output directory, with `/`. */
export function isGeneratedName(path: string): boolean {
  return Object.hasOwn(OBJECT_KINDS, path) || PATCH.test(path) || OTHER_FILES.includes(path);
}

/**
 * Whether a file is one that `render` writes, in any form: by its name and, since people use the same names for their files,
 * by what it contains.
 *
 * @param path - relative to the output directory, with `/`.
 */
export function isGeneratedFile(path: string, text: string): boolean {
  const document = parseOnly(text);
  if (!document) return false;
  const { kind } = document;
  const name = getField(document, ["metadata", "name"]);
  if (Object.hasOwn(OBJECT_KINDS, path)) return kind === OBJECT_KINDS[path] && path === `${String(name)}.yaml`;
  const [, patched, workload] = PATCH.exec(path) ?? [];
  if (patched !== undefined) return String(kind).toLowerCase() === patched && name === workload;
  switch (path) {
    case "values.yaml":
      return hasOnly(document, "clustermesh") && hasOnly(document.clustermesh, "config") && isConfig(document);
    case "kustomization.yaml":
      return hasOnly(document, "apiVersion", "kind", "resources") && isListOf(document.resources, isObjectFile);
    case "host-aliases/kustomization.yaml":
      return hasOnly(document, "apiVersion", "kind", "patches") && isListOf(document.patches, isPatchReference);
    default:
      return false;
  }
}

/** Returns the only document of a file, if it is a mapping. */
function parseOnly(text: string): Fields | undefined {
  try {
    const [document, ...others] = parseYamlDocuments(text);
    return isFields(document) && others.length === 0 ? document : undefined;
  } catch (error) {
    if (!(error instanceof YamlError)) throw error;
    return undefined;
  }
}

function hasOnly(value: unknown, ...names: string[]): boolean {
  return isFields(value) && Object.keys(value).every((name) => names.includes(name));
}

function isConfig(document: Fields): boolean {
  const config = getField(document, ["clustermesh", "config"]);
  return hasOnly(config, "enabled", "domain", "clusters") && getField(config, ["clusters"]) !== undefined;
}

function isListOf(value: unknown, isValid: (item: unknown) => boolean): boolean {
  return Array.isArray(value) && value.every(isValid);
}

function isObjectFile(path: unknown): boolean {
  return typeof path === "string" && Object.hasOwn(OBJECT_KINDS, path);
}

function isPatchReference(patch: unknown): boolean {
  return hasOnly(patch, "path") && PATCH.test(String(getField(patch, ["path"])));
}
