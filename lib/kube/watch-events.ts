/** The events of a watch, read from its response and validated. Pure. */
import type { KubernetesObject } from "@kubernetes/client-node";
import type { StatusAnswer } from "./api-error.ts";

/** Objects have at most about 1.5 MiB, the limit of etcd. */
const MAX_LINE_LENGTH = 16 * 1_048_576;

/** A change of a watched object; a BOOKMARK has only the resourceVersion that the watch has reached. */
export interface WatchEvent<T extends KubernetesObject> {
  type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK";
  object: T;
}

const EVENT_TYPES: readonly unknown[] = [
  "ADDED",
  "MODIFIED",
  "DELETED",
  "BOOKMARK",
] satisfies WatchEvent<never>["type"][];

/**
 * Reads the events of a watch. Each has a resourceVersion and, unless it is a BOOKMARK, the name of an object.
 *
 * @param body - JSON lines
 * @param createError - creates the error for a response that is not a watch, or that has an ERROR event
 * @throws what `createError` returns
 */
export async function* readWatchEvents(
  body: AsyncIterable<string>,
  createError: (status: number, answer: StatusAnswer) => Error,
): AsyncGenerator<WatchEvent<KubernetesObject>, void> {
  const refuse = (message: string) => createError(200, { message });
  for await (const line of readLines(body, () => refuse("event exceeds 16 MiB"))) {
    if (line.trim() === "") continue;
    const event = parseObject(line) as { type?: unknown; object?: unknown } | undefined;
    if (event === undefined) throw refuse("event is not JSON; check that the server is a Kubernetes API server");
    const { type, object } = event;
    if (type === "ERROR") {
      const answer: StatusAnswer & { code?: unknown } = isObject(object) ? object : {};
      throw createError(typeof answer.code === "number" ? answer.code : 500, answer);
    }
    if (!isWatchEvent(event)) throw refuse("response is not a watch event");
    yield event;
  }
}

function isWatchEvent(event: { type?: unknown; object?: unknown }): event is WatchEvent<KubernetesObject> {
  const { type, object } = event;
  if (!EVENT_TYPES.includes(type) || !isObject(object)) return false;
  const { metadata } = object as { metadata?: { resourceVersion?: unknown } | null };
  return isFilled(metadata?.resourceVersion) && (type === "BOOKMARK" || hasName(object));
}

/** Splits chunks of text into lines. The last line may have no end. */
async function* readLines(chunks: AsyncIterable<string>, tooLong: () => Error): AsyncGenerator<string, void> {
  let parts: string[] = [];
  let length = 0;
  for await (const chunk of chunks) {
    let start = 0;
    for (let end = chunk.indexOf("\n"); end >= 0; end = chunk.indexOf("\n", start)) {
      yield parts.join("") + chunk.slice(start, end);
      parts = [];
      length = 0;
      start = end + 1;
    }
    length += chunk.length - start;
    if (length > MAX_LINE_LENGTH) throw tooLong();
    if (start < chunk.length) parts.push(chunk.slice(start));
  }
  yield parts.join("");
}

/** Parses a JSON object; undefined for anything else. */
export function parseObject(text: string): object | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Returns an object without its content. */
export function toMetadata({ apiVersion, kind, metadata }: KubernetesObject): KubernetesObject {
  return { ...(apiVersion && { apiVersion }), ...(kind && { kind }), ...(metadata && { metadata }) };
}

/** Whether a value is an object of the API: it has a name. */
export function hasName(value: unknown): value is KubernetesObject {
  return isFilled((value as { metadata?: { name?: unknown } | null } | null)?.metadata?.name);
}

/** Whether a value is a string that is not empty. */
export function isFilled(value: unknown): value is string {
  return typeof value === "string" && value !== "";
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}
