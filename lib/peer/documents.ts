/** Texts of files as Secrets: JSON or YAML, one object, a List or several documents. Pure. */
import type { V1Secret } from "@kubernetes/client-node";
import { DuplicateKeyError, parseYamlDocuments, YAML_LIMITS, YamlError, YamlTooLargeError } from "../util/yaml.ts";
import { type Finding, finding } from "./findings.ts";
import { recognizeTemplate } from "./foreign/content.ts";
import { type Call, DEFAULT_CALL, type ForeignFile, foreignFinding } from "./foreign/foreign.ts";
import { recognizeObject } from "./foreign/objects.ts";
import { recognizeSops } from "./foreign/sops.ts";

/** A file of more bytes than this is not read: a Secret holds one megabyte. */
export const MAX_FILE_BYTES = 64 * 1_048_576;

/** More than this no files of a mesh hold, and to read it takes seconds and gigabytes. */
const MOST_OBJECTS = 1_000;
const MOST_KEYS = 10_000;
const MOST_VALUES = 1_000_000;

/** Kubernetes takes 1 MiB of data, which base64 makes a third longer, and 256 KiB of annotations. */
const MOST_CHARACTERS = 2 * 1_048_576;

/** Why a text is not read, as the second half of a sentence, and what to do about it. */
class Unreadable extends Error {
  readonly remedy: string;

  constructor(message: string, remedy: string) {
    super(message);
    this.remedy = remedy;
  }
}

/** Why a text is not read: it is something else. */
class ForeignText extends Error {
  readonly foreign: ForeignFile;

  constructor(foreign: ForeignFile) {
    super(foreign.message);
    this.foreign = foreign;
  }
}

/** Where a text comes from, for commands in remedies. */
export interface Origin {
  /** Undefined for standard input. */
  path?: string;
  call?: Call;
}

/**
 * Parses the Secrets of a text.
 *
 * @param source - how the text is called in findings.
 * @returns the Secrets, and a finding for each other object.
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
  const report = (one: ForeignFile) => foreignFinding(one, source, path, call);
  try {
    for (const object of objectsOf(text, path)) {
      const other = recognizeObject(object);
      if (other) {
        foreign.push(other);
        continue;
      }
      const problem = notASecret(object);
      if (problem === undefined) secrets.push(object as V1Secret);
      else findings.push(finding("not-a-secret", place, { problem }));
    }
    if (secrets.reduce((sum, secret) => sum + keysOf(secret), 0) > MOST_KEYS) throw tooMany(MOST_KEYS, "keys of data");
  } catch (error) {
    if (error instanceof ForeignText) return { secrets: [], findings: [report(error.foreign)] };
    if (!(error instanceof Unreadable)) throw error;
    return { secrets: [], findings: [finding("unreadable", place, { problem: error.message, remedy: error.remedy })] };
  }
  findings.push(...mergeForeign(foreign).map(report));
  if (secrets.length === 0 && findings.length === 0) {
    findings.push(finding("not-a-secret", place, { problem: "the list is empty" }));
  }
  return { secrets, findings };
}

/** One for all that the same is done about. */
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

/** @throws Unreadable, ForeignText */
function objectsOf(text: string, path: string | undefined): unknown[] {
  if (text.includes("\0")) {
    throw new Unreadable("is not UTF-8 text: it contains NUL bytes, as UTF-16 does", "save it as UTF-8");
  }
  const json = parseJson(text);
  const documents = json ?? parseYaml(text);
  if (documents.length === 0)
    throw new Unreadable("the file is empty", "extract it again: the extraction may have failed");
  for (const document of documents) {
    const encrypted = recognizeSops(document, json ? "json" : "yaml", path);
    if (encrypted) throw new ForeignText(encrypted);
  }
  const objects = documents.flatMap(itemsOf);
  if (objects.length > MOST_OBJECTS) throw tooMany(MOST_OBJECTS, "objects");
  return objects;
}

function keysOf({ data, stringData }: V1Secret): number {
  return Object.keys(data ?? {}).length + Object.keys(stringData ?? {}).length;
}

function tooMany(most: number, what: string): Unreadable {
  return new Unreadable(
    `contains more than ${most.toLocaleString("en")} ${what}, but a mesh has at most 511 clusters`,
    "remove objects that are not peers",
  );
}

function keyTwice(): Unreadable {
  return new Unreadable("contains a mapping with a duplicate key", "remove one of the two entries");
}

/** One JSON document, or several concatenated ones; undefined if the text is not JSON. */
function parseJson(text: string): unknown[] | undefined {
  if (!/^\s*[{[]/.test(text)) return undefined;
  const written = countSigns(text);
  if (written.values > MOST_VALUES) throw tooMany(MOST_VALUES, "values");
  let values: unknown[];
  try {
    // Within a JSON text there is no line break in a string, and no } before a { elsewhere.
    values = text.split(/(?<=\})[ \t\r]*\n\s*(?=\{)/).map((part): unknown => JSON.parse(part));
  } catch {
    return undefined;
  }
  // JSON.parse takes the last of two equal keys without a word.
  if (written.keys !== countKeys(values)) throw keyTwice();
  return values;
}

/** Counts the keys of a JSON text, and an upper bound of its values, by the punctuation outside strings. */
function countSigns(text: string): { keys: number; values: number } {
  let keys = 0;
  let others = 0;
  let quoted = false;
  for (let at = 0; at < text.length; at++) {
    const sign = text[at];
    if (sign === '"') quoted = !quoted;
    else if (quoted && sign === "\\") at++;
    else if (!quoted && sign === ":") keys++;
    else if (!quoted && (sign === "," || sign === "[" || sign === "{")) others++;
  }
  return { keys, values: keys + others };
}

function countKeys(value: unknown): number {
  let count = 0;
  const rest = [value];
  while (rest.length > 0) {
    const next = rest.pop();
    if (typeof next !== "object" || next === null) continue;
    const inner: unknown[] = Object.values(next);
    if (!Array.isArray(next)) count += inner.length;
    for (const one of inner) rest.push(one);
  }
  return count;
}

function parseYaml(text: string): unknown[] {
  try {
    return [...parseYamlDocuments(text)].filter((value) => value !== null && value !== undefined);
  } catch (error) {
    if (error instanceof DuplicateKeyError) throw keyTwice();
    if (error instanceof YamlTooLargeError) {
      const { characters, tokens } = YAML_LIMITS;
      throw new Unreadable(
        `is not JSON, and too long for YAML: more than ${characters / 1e6} MB, or ${tokens.toLocaleString("en")} tokens`,
        "extract it again: it may be truncated; JSON may be longer",
      );
    }
    if (!(error instanceof YamlError)) throw error;
    const template = recognizeTemplate(text);
    if (template) throw new ForeignText(template);
    throw new Unreadable(`is neither JSON nor YAML: ${error.message}`, "extract it again: it may be truncated");
  }
}

function itemsOf(object: unknown): unknown[] {
  const { kind, items } = isRecord(object) ? object : {};
  return (kind === "List" || kind === "SecretList") && Array.isArray(items) ? items : [object];
}

function notASecret(object: unknown): string | undefined {
  if (!isRecord(object)) return "contains no Kubernetes object";
  const { apiVersion, kind, data, stringData, metadata } = object;
  // Items of a SecretList have no kind.
  if (kind !== undefined && kind !== "Secret") return `contains a ${nameOf(kind)}, not a Secret`;
  if (kind === undefined && data === undefined) return "contains an object that is not a Secret";
  if (apiVersion !== undefined && apiVersion !== "v1") return `contains a Secret of ${nameOf(apiVersion)}, not v1`;
  for (const [name, value] of Object.entries({ data, stringData, metadata })) {
    if (value !== undefined && value !== null && !isRecord(value))
      return `contains a Secret whose ${name} is not a mapping`;
  }
  const annotations = isRecord(metadata) ? metadata.annotations : undefined;
  if (annotations !== undefined && annotations !== null) {
    if (!isRecord(annotations) || Object.values(annotations).some((value) => typeof value !== "string")) {
      return "contains a Secret whose annotations are not a mapping of strings";
    }
  }
  const texts = [data, stringData, annotations].flatMap((fields) => Object.values(fields ?? {}));
  const size = texts.reduce<number>((sum, text) => sum + (typeof text === "string" ? text.length : 0), 0);
  return size > MOST_CHARACTERS ? "contains a Secret of more than 2 MiB, which Kubernetes rejects" : undefined;
}

function nameOf(value: unknown): string {
  return typeof value === "string" ? JSON.stringify(value).slice(1, -1) : "object without a kind";
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
