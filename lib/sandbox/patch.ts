/** The patches of a Kubernetes API: the two that are standards, and a part of its own. None changes what it is given. */
import jsonpatch, { type Operation } from "fast-json-patch";
import { isFields } from "../util/fields.ts";
import { notImplemented } from "./status.ts";

type Json = unknown;

/** JSON Merge Patch, RFC 7386. */
export function mergePatch(target: Json, patch: Json): Json {
  if (!isFields(patch)) return patch;
  const merged = new Map(isFields(target) ? Object.entries(target) : []);
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) merged.delete(key);
    else merged.set(key, mergePatch(merged.get(key), value));
  }
  return Object.fromEntries(merged);
}

/**
 * Kubernetes' strategic merge patch, as far as it is the same as a merge patch: maps are merged, null deletes.
 *
 * @throws StatusError 501 for lists, which are merged by keys that follow from the kind, and for directives (`$patch`)
 */
export function strategicMergePatch(target: Json, patch: Json): Json {
  refuseStrategies(patch);
  return mergePatch(target, patch);
}

function refuseStrategies(patch: Json): void {
  if (Array.isArray(patch)) throw notImplemented("lists in strategic merge patches");
  if (!isFields(patch)) return;
  for (const [key, value] of Object.entries(patch)) {
    if (key.startsWith("$")) throw notImplemented("directives in strategic merge patches");
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
  if (!Array.isArray(patch) || !patch.every(isFields)) throw new TypeError("a JSON patch is a list of operations");
  try {
    return (structuredClone(patch) as unknown as Operation[]).reduce<Json>(
      (document, operation) => jsonpatch.applyOperation(document, adapt(document, operation), true).newDocument,
      structuredClone(target),
    );
  } catch (error) {
    throw new PatchError((error as Error).message);
  }
}

/** An operation for the library, which takes no liberties, but an index with zeros in front and a document taken away. */
function adapt(document: Json, operation: Operation): Operation {
  const { op, path } = operation;
  if (path === "") {
    if (op === "remove") throw new Error("the whole document cannot be removed");
    return operation;
  }
  const parent = jsonpatch.getValueByPointer(document, path.slice(0, path.lastIndexOf("/")));
  if (Array.isArray(parent) && /\/0\d+$/.test(path)) throw new Error(`no index at ${path}`);
  const free = isFields(parent) && jsonpatch.getValueByPointer(document, path) === undefined;
  if (free && op === "replace") return { ...operation, op: "add" };
  if (free && op === "test" && operation.value === null) return { op, path: "", value: document };
  return operation;
}
