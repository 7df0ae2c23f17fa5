/** Texts of files as Secrets: JSON or YAML, one object, a List or several documents. Pure. */
import type { V1Secret } from "@kubernetes/client-node";
import { parseAllDocuments } from "yaml";
import { type Finding, finding } from "./findings.ts";

/** A file of more bytes than this is not read: a Secret holds one megabyte. */
export const MAX_FILE_BYTES = 64 * 1_048_576;

/**
 * The Secrets of a text.
 *
 * @param source how the text is called in findings.
 * @returns findings for what is no Secret, besides the Secrets.
 */
export function parseSecrets(text: string, source: string): { secrets: V1Secret[]; findings: Finding[] } {
  const place = { source };
  if (text.includes("\0")) return refuse("is no text in UTF-8: it holds NUL bytes, as UTF-16 does", "save it as UTF-8");
  let documents: unknown[];
  try {
    documents = parseJson(text) ?? parseYaml(text);
  } catch (error) {
    if (error instanceof SameKeyTwice)
      return refuse("holds a mapping in which a key stands twice", "which of the two holds?");
    return refuse(`is neither JSON nor YAML: ${firstLine(error)}`, "is it whole?");
  }
  if (documents.length === 0) return refuse("the file is empty", "was the extraction stopped by an error?");
  const secrets: V1Secret[] = [];
  const findings: Finding[] = [];
  for (const object of documents.flatMap(itemsOf)) {
    const problem = notASecret(object);
    if (problem === undefined) secrets.push(object as V1Secret);
    else findings.push(finding("not-a-secret", place, problem));
  }
  if (secrets.length === 0 && findings.length === 0) {
    findings.push(finding("not-a-secret", place, "the list holds no object"));
  }
  return { secrets, findings };

  function refuse(message: string, remedy: string) {
    return { secrets: [], findings: [finding("unreadable", place, message, remedy)] };
  }
}

/** One JSON text, or several behind each other, as `cat` makes them; undefined for what is none. */
function parseJson(text: string): unknown[] | undefined {
  if (!/^\s*[{[]/.test(text)) return undefined;
  let values: unknown[];
  try {
    // Within a JSON text there is no line break in a string, and no } before a { elsewhere.
    values = text.split(/(?<=\})[ \t\r]*\n\s*(?=\{)/).map((part): unknown => JSON.parse(part));
  } catch {
    return undefined;
  }
  // JSON.parse takes the last of two equal keys without a word.
  const written = [...text.matchAll(/"(?:[^"\\]|\\.)*"(\s*:)?/g)].filter(([, colon]) => colon).length;
  if (written !== countKeys(values)) throw new SameKeyTwice();
  return values;
}

class SameKeyTwice extends Error {}

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
  const parsed = parseAllDocuments(text, { logLevel: "silent", uniqueKeys: true });
  if (!Array.isArray(parsed)) return [];
  return parsed
    .map((document) => {
      const [error] = document.errors;
      if (error?.code === "DUPLICATE_KEY") throw new SameKeyTwice();
      if (error) throw error;
      return document.toJS({ maxAliasCount: 10 }) as unknown;
    })
    .filter((value) => value !== null && value !== undefined);
}

function itemsOf(object: unknown): unknown[] {
  const { kind, items } = isRecord(object) ? object : {};
  return (kind === "List" || kind === "SecretList") && Array.isArray(items) ? items : [object];
}

function notASecret(object: unknown): string | undefined {
  if (!isRecord(object)) return "holds no Kubernetes object";
  const { apiVersion, kind, data, stringData, metadata } = object;
  // Items of a SecretList have no kind of their own.
  if (kind !== undefined && kind !== "Secret") return `holds a ${nameOf(kind)}, not a Secret`;
  if (kind === undefined && data === undefined) return "holds an object that is no Secret";
  if (apiVersion !== undefined && apiVersion !== "v1") return `holds a Secret of ${nameOf(apiVersion)}, not v1`;
  for (const [name, value] of Object.entries({ data, stringData, metadata })) {
    if (value !== undefined && value !== null && !isRecord(value)) return `holds a Secret whose ${name} is no mapping`;
  }
  const annotations = isRecord(metadata) ? metadata.annotations : undefined;
  if (annotations !== undefined && annotations !== null) {
    if (!isRecord(annotations) || Object.values(annotations).some((value) => typeof value !== "string")) {
      return "holds a Secret whose annotations are no mapping of texts";
    }
  }
  return undefined;
}

function nameOf(value: unknown): string {
  return typeof value === "string" ? JSON.stringify(value).slice(1, -1) : "thing without a name";
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function firstLine(error: unknown): string {
  // Messages of JSON.parse may quote the text, which may be a key: only the place is kept.
  const message = error instanceof Error ? error.message : String(error);
  const place = /\bline \d+(?:,? column \d+)?|\bposition \d+/.exec(message)?.[0];
  return place ? `stopped at ${place}` : "it cannot be parsed";
}
