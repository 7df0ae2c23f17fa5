/** Parses Secrets from JSON or YAML: one object, a List or several documents. Pure. */
import type { V1Secret } from "@kubernetes/client-node";
import { isFields } from "../util/fields.ts";
import { DuplicateKeyError, parseYamlDocuments, YAML_LIMITS, YamlError, YamlTooLargeError } from "../util/yaml.ts";
import { type Finding, finding } from "./findings.ts";
import { recognizeTemplate } from "./foreign/content.ts";
import { type Call, DEFAULT_CALL, type ForeignFile, foreignFinding } from "./foreign/foreign.ts";
import { recognizeObject } from "./foreign/objects.ts";
import { recognizeSops } from "./foreign/sops.ts";

/** Larger files are not read: a Secret contains at most one megabyte. */
export const MAX_FILE_BYTES = 64 * 1_048_576;

/** No file of a mesh exceeds these limits, beyond which parsing would take seconds and gigabytes. */
const MAX_OBJECTS = 1_000;
const MAX_KEYS = 10_000;
const MAX_VALUES = 1_000_000;

/** Kubernetes limits data to 1 MiB, a third more in base64, and annotations to 256 KiB. */
const MAX_CHARACTERS = 2 * 1_048_576;

/** A text cannot be parsed. The message continues the name of the file: `is neither JSON nor YAML`. */
class UnreadableError extends Error {
  readonly remedy: string;

  constructor(message: string, remedy: string) {
    super(message);
    this.remedy = remedy;
  }
}

/** A text is a foreign file, recognized before its objects are parsed. */
class ForeignFileError extends Error {
  readonly foreign: ForeignFile;

  constructor(foreign: ForeignFile) {
    super(foreign.message);
    this.foreign = foreign;
  }
}

/** The origin of a text, for commands in remedies. */
export interface Origin {
  /** The path of the file; undefined for standard input. */
  path?: string;
  call?: Call;
}

/**
 * Parses the Secrets of a text.
 *
 * @param source - the name of the file in findings.
 * @returns the Secrets, and findings for all other objects.
 */
export function parseSecrets(
  text: string,
  source: string,
  { path, call = DEFAULT_CALL }: Origin = {},
): { secrets: V1Secret[]; findings: Finding[] } {
  const place = { source };
  const secrets: V1Secret[] = [];
  const findings: Finding[] = [];
  const foreign: ForeignFile[] = [];
  const toFinding = (one: ForeignFile) => foreignFinding(one, source, path, call);
  const parsed = parseObjects(text, source, { call, ...(path !== undefined && { path }) });
  if (parsed.findings.length > 0) return { secrets: [], findings: parsed.findings };
  for (const object of parsed.objects) {
    const other = recognizeObject(object);
    if (other) {
      foreign.push(other);
      continue;
    }
    const problem = secretProblem(object);
    if (problem === undefined) secrets.push(object as V1Secret);
    else findings.push(finding("not-a-secret", place, { problem }));
  }
  if (secrets.reduce((sum, secret) => sum + countDataKeys(secret), 0) > MAX_KEYS) {
    const { message: problem, remedy } = tooManyError(MAX_KEYS, "keys of data");
    return { secrets: [], findings: [finding("unreadable", place, { problem, remedy })] };
  }
  findings.push(...mergeForeign(foreign).map(toFinding));
  if (secrets.length === 0 && findings.length === 0) {
    findings.push(finding("not-a-secret", place, { problem: "the list is empty" }));
  }
  return { secrets, findings };
}

/**
 * Parses the objects of a text, of any kind. Lists are flattened; items of a list of one kind, such as a SecretList, have
 * neither kind nor apiVersion in responses of the API server, and get those of the list.
 *
 * @param source - the name of the file in findings.
 * @returns the objects, unchecked; none if there is a finding.
 */
export function parseObjects(
  text: string,
  source: string,
  { path, call = DEFAULT_CALL }: Origin = {},
): { objects: unknown[]; findings: Finding[] } {
  try {
    return { objects: readObjects(text, path), findings: [] };
  } catch (error) {
    if (error instanceof ForeignFileError)
      return { objects: [], findings: [foreignFinding(error.foreign, source, path, call)] };
    if (!(error instanceof UnreadableError)) throw error;
    const values = { problem: error.message, remedy: error.remedy };
    return { objects: [], findings: [finding("unreadable", { source }, values)] };
  }
}

/** Merges foreign files that have the same remedy. */
function mergeForeign(all: readonly ForeignFile[]): ForeignFile[] {
  const groups = new Map<string, ForeignFile[]>();
  for (const one of all) {
    const group = groups.get(one.remedy.template) ?? [];
    groups.set(one.remedy.template, group);
    group.push(one);
  }
  return [...groups.values()].flatMap(([first, ...others]) => {
    if (!first) return [];
    const more = others.length === 0 ? "" : ` (and ${others.length} more)`;
    return [{ ...first, message: `${first.message}${more}` }];
  });
}

/** @throws UnreadableError, ForeignFileError */
function readObjects(text: string, path: string | undefined): unknown[] {
  if (text.includes("\0")) {
    throw new UnreadableError("is not UTF-8 text: it contains NUL bytes, as UTF-16 does", "save it as UTF-8");
  }
  const json = parseJson(text);
  const documents = json ?? parseYaml(text);
  if (documents.length === 0)
    throw new UnreadableError("the file is empty", "re-extract it: the extraction may have failed");
  for (const document of documents) {
    const encrypted = recognizeSops(document, json ? "json" : "yaml", path);
    if (encrypted) throw new ForeignFileError(encrypted);
  }
  const objects = documents.flatMap(itemsOf);
  if (objects.length > MAX_OBJECTS) throw tooManyError(MAX_OBJECTS, "objects");
  return objects;
}

function countDataKeys({ data, stringData }: V1Secret): number {
  return Object.keys(data ?? {}).length + Object.keys(stringData ?? {}).length;
}

function tooManyError(limit: number, noun: string): UnreadableError {
  return new UnreadableError(
    `contains more than ${limit.toLocaleString("en")} ${noun}, but a mesh has at most 511 clusters`,
    "remove objects that are not peers",
  );
}

function duplicateKeyError(): UnreadableError {
  return new UnreadableError("contains a mapping with a duplicate key", "remove one of the two entries");
}

/** Parses one JSON document, or several concatenated ones; undefined if the text is not JSON. */
function parseJson(text: string): unknown[] | undefined {
  if (!/^\s*[{[]/.test(text)) return undefined;
  const expected = countTokens(text);
  if (expected.values > MAX_VALUES) throw tooManyError(MAX_VALUES, "values");
  let values: unknown[];
  try {
    // JSON strings contain no line breaks, and within a document a comma separates } from the next {.
    values = text.split(/(?<=\})[ \t\r]*\n\s*(?=\{)/).map((part): unknown => JSON.parse(part));
  } catch {
    return undefined;
  }
  // JSON.parse silently keeps the last of duplicate keys.
  if (expected.keys !== countKeys(values)) throw duplicateKeyError();
  return values;
}

/** Counts the keys of a JSON text, with an upper bound of its values, by the punctuation outside strings. */
function countTokens(text: string): { keys: number; values: number } {
  let keys = 0;
  let others = 0;
  let quoted = false;
  for (let at = 0; at < text.length; at++) {
    const char = text[at];
    if (char === '"') quoted = !quoted;
    else if (quoted && char === "\\") at++;
    else if (!quoted && char === ":") keys++;
    else if (!quoted && (char === "," || char === "[" || char === "{")) others++;
  }
  return { keys, values: keys + others };
}

function countKeys(value: unknown): number {
  let count = 0;
  const pending = [value];
  while (pending.length > 0) {
    const next = pending.pop();
    if (typeof next !== "object" || next === null) continue;
    const children: unknown[] = Object.values(next);
    if (!Array.isArray(next)) count += children.length;
    for (const child of children) pending.push(child);
  }
  return count;
}

function parseYaml(text: string): unknown[] {
  try {
    return [...parseYamlDocuments(text)].filter((value) => value !== null && value !== undefined);
  } catch (error) {
    if (error instanceof DuplicateKeyError) throw duplicateKeyError();
    if (error instanceof YamlTooLargeError) {
      const { characters, tokens } = YAML_LIMITS;
      throw new UnreadableError(
        `is not valid JSON, and too large for YAML (limits: ${characters / 1e6} MB, ${tokens.toLocaleString("en")} tokens)`,
        "if it is JSON, it may be truncated: re-extract it; convert large YAML to JSON",
      );
    }
    if (!(error instanceof YamlError)) throw error;
    const template = recognizeTemplate(text);
    if (template) throw new ForeignFileError(template);
    throw new UnreadableError(`is neither JSON nor YAML: ${error.message}`, "re-extract it: it may be truncated");
  }
}

function itemsOf(object: unknown): unknown[] {
  if (!isFields(object)) return [object];
  const { apiVersion, kind, items } = object;
  const [, itemKind] = (typeof kind === "string" && /^(\w*)List$/.exec(kind)) || [];
  if (itemKind === undefined || !Array.isArray(items)) return [object];
  if (itemKind === "") return items;
  const type = { ...(apiVersion !== undefined && { apiVersion }), kind: itemKind };
  return items.map((item: unknown) => (isFields(item) ? { ...type, ...item } : item));
}

/** Describes why an object is not a valid Secret (`contains …`); undefined if it is one. */
export function secretProblem(object: unknown): string | undefined {
  if (!isFields(object)) return "contains no Kubernetes object";
  const { apiVersion, kind, data, stringData, metadata } = object;
  if (kind !== undefined && kind !== "Secret") return `contains a ${formatTypeName(kind)}, not a Secret`;
  if (kind === undefined && data === undefined) return "contains an object that is not a Secret";
  if (apiVersion !== undefined && apiVersion !== "v1")
    return `contains a Secret of ${formatTypeName(apiVersion)}, not v1`;
  for (const [name, value] of Object.entries({ data, stringData, metadata })) {
    if (value !== undefined && value !== null && !isFields(value))
      return `contains a Secret whose ${name} is not a mapping`;
  }
  const annotations = isFields(metadata) ? metadata.annotations : undefined;
  if (annotations !== undefined && annotations !== null) {
    if (!isFields(annotations) || Object.values(annotations).some((value) => typeof value !== "string")) {
      return "contains a Secret whose annotations are not a mapping of strings";
    }
  }
  const texts = [data, stringData, annotations].flatMap((fields) => Object.values(fields ?? {}));
  const size = texts.reduce<number>((sum, text) => sum + (typeof text === "string" ? text.length : 0), 0);
  return size > MAX_CHARACTERS ? "contains a Secret of more than 2 MiB, which Kubernetes rejects" : undefined;
}

function formatTypeName(value: unknown): string {
  return typeof value === "string" ? JSON.stringify(value).slice(1, -1) : "object without a kind";
}
