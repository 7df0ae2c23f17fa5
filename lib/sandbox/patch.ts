/** JSON patches, merge patches and, in part, strategic merge patches. Pure: arguments are not modified. */
import jsonpatch, { type Operation } from "fast-json-patch";
import { isFields } from "../util/fields.ts";
import { notImplemented } from "./status.ts";

type Json = unknown;

/** Applies a JSON Merge Patch (RFC 7386). */
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
 * Applies a strategic merge patch as far as it equals a merge patch: maps are merged, null deletes.
 *
 * @throws StatusError 501 for lists, whose merge keys depend on the kind, and for directives (`$patch`)
 */
export function strategicMergePatch(target: Json, patch: Json): Json {
  checkSupported(patch);
  return mergePatch(target, patch);
}

function checkSupported(patch: Json): void {
  if (Array.isArray(patch)) throw notImplemented("lists in strategic merge patches");
  if (!isFields(patch)) return;
  for (const [key, value] of Object.entries(patch)) {
    if (key.startsWith("$")) throw notImplemented("directives in strategic merge patches");
    checkSupported(value);
  }
}

/** Thrown if a patch does not apply to the object: a failed `test`, or a missing path. */
export class PatchError extends Error {}

/**
 * Applies a JSON Patch (RFC 6902), with two exceptions that API servers make for a missing key: `replace` adds it, and a
 * `test` for null succeeds.
 *
 * @throws PatchError if an operation does not apply
 * @throws TypeError if the patch is not a list of operations
 */
export function jsonPatch(target: Json, patch: Json): Json {
  if (!Array.isArray(patch) || !patch.every(isFields)) throw new TypeError("a JSON patch must be a list of operations");
  try {
    return (structuredClone(patch) as unknown as Operation[]).reduce<Json>(
      (document, operation) =>
        jsonpatch.applyOperation(document, adaptOperation(document, operation), true).newDocument,
      structuredClone(target),
    );
  } catch (error) {
    throw new PatchError((error as Error).message);
  }
}

/**
 * Adapts an operation to fast-json-patch, which lacks these exceptions, and which accepts leading zeros and the removal of the
 * document.
 */
function adaptOperation(document: Json, operation: Operation): Operation {
  const { op, path } = operation;
  if (path === "") {
    if (op === "remove") throw new Error("the whole document cannot be removed");
    return operation;
  }
  const parent = jsonpatch.getValueByPointer(document, path.slice(0, path.lastIndexOf("/")));
  if (Array.isArray(parent) && /\/0\d+$/.test(path)) throw new Error(`invalid index: ${path}`);
  const isMissing = isFields(parent) && jsonpatch.getValueByPointer(document, path) === undefined;
  if (isMissing && op === "replace") return { ...operation, op: "add" };
  if (isMissing && op === "test" && operation.value === null) return { op, path: "", value: document };
  return operation;
}
