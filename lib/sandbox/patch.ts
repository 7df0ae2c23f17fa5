/** The patches of a Kubernetes API: the two that are standards, and a part of its own. None changes what it is given. */
import { isDeepStrictEqual } from "node:util";

type Json = unknown;

/** JSON Merge Patch, RFC 7386. */
export function mergePatch(target: Json, patch: Json): Json {
  if (!isObject(patch)) return patch;
  const result: Record<string, Json> = isObject(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else set(result, key, mergePatch(own(result, key), value));
  }
  return result;
}

/** A patch that a real API server can apply and the sandbox cannot. */
export class UnsupportedPatch extends Error {}

/**
 * Kubernetes' strategic merge patch, as far as it is the same as a merge patch: maps are merged, null deletes.
 *
 * @throws UnsupportedPatch for lists, which are merged by keys that follow from the kind, and for directives (`$patch`)
 */
export function strategicMergePatch(target: Json, patch: Json): Json {
  refuseStrategies(patch);
  return mergePatch(target, patch);
}

function refuseStrategies(patch: Json): void {
  if (Array.isArray(patch)) throw new UnsupportedPatch("lists in strategic merge patches");
  if (!isObject(patch)) return;
  for (const [key, value] of Object.entries(patch)) {
    if (key.startsWith("$")) throw new UnsupportedPatch("directives in strategic merge patches");
    refuseStrategies(value);
  }
}

/** A patch that doesn't fit the object: a failed `test`, a path that isn't there. */
export class PatchError extends Error {}

/**
 * JSON Patch, RFC 6902, with two liberties that API servers take: a `replace` of a key that isn't there adds it, and a
 * `test` of it for null holds.
 *
 * @throws PatchError where an operation cannot be done
 * @throws TypeError where the patch itself is malformed
 */
export function jsonPatch(target: Json, patch: Json): Json {
  if (!Array.isArray(patch)) throw new TypeError("a JSON patch is a list of operations");
  return patch.reduce((document: Json, operation) => apply(document, operation), structuredClone(target));
}

function apply(document: Json, operation: Json): Json {
  if (!isObject(operation)) throw new TypeError("an operation is an object");
  const path = pointer(operation.path);
  const value = () => {
    if (!("value" in operation)) throw new PatchError(`no value at ${operation.path}`);
    return structuredClone(operation.value);
  };
  switch (operation.op) {
    case "add":
      return add(document, path, value());
    case "remove":
      return remove(document, path);
    case "replace":
      if (path.length === 0) return value();
      return add(exists(document, path) ? remove(document, path) : document, path, value());
    case "copy":
      return add(document, path, structuredClone(read(document, pointer(operation.from))));
    case "move": {
      const from = pointer(operation.from);
      const moved = read(document, from);
      return add(remove(document, from), path, moved);
    }
    case "test":
      if (!isDeepStrictEqual(exists(document, path) ? read(document, path) : null, value())) {
        throw new PatchError(`test of ${operation.path} failed`);
      }
      return document;
    default:
      throw new PatchError(`unknown operation ${String(operation.op)}`);
  }
}

function pointer(text: Json): string[] {
  if (typeof text !== "string" || (text !== "" && !text.startsWith("/")))
    throw new PatchError(`no path: ${String(text)}`);
  return text
    .split("/")
    .slice(1)
    .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
}

function read(document: Json, path: string[]): Json {
  return path.reduce((value: Json, key) => {
    const next = Array.isArray(value) ? value[index(key, value.length - 1)] : own(value, key);
    if (next === undefined) throw new PatchError(`nothing at ${path.join("/")}`);
    return next;
  }, document);
}

/** Whether a key is there; its parent has to be, and an index of a list. */
function exists(document: Json, path: string[]): boolean {
  const key = path.at(-1);
  const parent = read(document, path.slice(0, -1));
  return key === undefined || !isObject(parent) || own(parent, key) !== undefined;
}

function add(document: Json, path: string[], value: Json): Json {
  const key = path.at(-1);
  if (key === undefined) return value;
  const parent = read(document, path.slice(0, -1));
  if (Array.isArray(parent)) parent.splice(key === "-" ? parent.length : index(key, parent.length), 0, value);
  else if (isObject(parent)) set(parent, key, value);
  else throw new PatchError(`no object or list at ${path.join("/")}`);
  return document;
}

function remove(document: Json, path: string[]): Json {
  const key = path.at(-1);
  if (key === undefined) throw new PatchError("the whole document cannot be removed");
  read(document, path);
  const parent = read(document, path.slice(0, -1));
  if (Array.isArray(parent)) parent.splice(index(key, parent.length - 1), 1);
  else delete (parent as Record<string, Json>)[key];
  return document;
}

function index(key: string, last: number): number {
  const number = /^(0|[1-9]\d*)$/.test(key) ? Number(key) : -1;
  if (number < 0 || number > last) throw new PatchError(`no index ${key}`);
  return number;
}

function isObject(value: Json): value is Record<string, Json> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function own(value: Json, key: string): Json {
  return isObject(value) && Object.hasOwn(value, key) ? value[key] : undefined;
}

/** Also for the key `__proto__`, which JSON may hold. */
function set(object: Record<string, Json>, key: string, value: Json): void {
  Object.defineProperty(object, key, { value, writable: true, enumerable: true, configurable: true });
}
