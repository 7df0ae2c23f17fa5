/** Requests for a single object. */
import { isFields } from "../util/fields.ts";
import { checkAccess, type User } from "./access.ts";
import { PATCH_TYPES } from "./bodies.ts";
import { toServedEvent } from "./event-conversion.ts";
import type { KubernetesObject } from "./object.ts";
import { fieldValidation, isDryRun } from "./options.ts";
import { jsonPatch, mergePatch, PatchError, strategicMergePatch } from "./patch.ts";
import { type Representation, represent } from "./representations.ts";
import type { ApiTarget, ObjectTarget } from "./resources.ts";
import { badRequest, invalidPatch, notImplemented, type Refusal, unprocessable } from "./status.ts";
import { checkName, type Store } from "./store.ts";
import { decode } from "./validate.ts";

export interface ObjectRequest {
  user: User;
  target: ApiTarget;
  query: URLSearchParams;
  /** Media type of the body. */
  type: string;
  body: unknown;
  representation: Representation;
}

const WRITES = { create: "CreateOptions", update: "UpdateOptions", patch: "PatchOptions" } as const;

/**
 * Gets, creates, updates, patches or deletes an object.
 *
 * @throws StatusError; 501 for other verbs
 */
export function handleObject(
  store: Store,
  verb: string,
  { user, target, query, type, body, representation }: ObjectRequest,
): { status: number; body: unknown; headers?: Record<string, string> } {
  const { resource } = target;
  const objectTarget = target as ObjectTarget;
  if (verb === "get") {
    return { status: 200, body: represent(resource, store.existing(objectTarget), representation) };
  }
  if (verb === "delete") {
    const { preconditions = {} } = (body ?? {}) as { preconditions?: { uid?: string; resourceVersion?: string } };
    const { uid } = store.delete(objectTarget, preconditions, isDryRun("DeleteOptions", query, body)).metadata;
    const details = {
      name: objectTarget.name,
      ...(resource.group && { group: resource.group }),
      kind: resource.plural,
      uid,
    };
    return { status: 200, body: { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success", details } };
  }
  if (verb !== "create" && verb !== "update" && verb !== "patch") throw notImplemented(verb);
  const unknownFieldsOf = fieldValidation(WRITES[verb], resource, query);
  const dryRun = isDryRun(WRITES[verb], query);
  const warnings: string[] = [];
  const read = (value: unknown, refuse: Refusal) => {
    warnings.push(...unknownFieldsOf(value, refuse));
    return decode(resource, value, refuse);
  };
  const creates = verb === "create" || (verb === "update" && resource.createdByUpdate && !store.has(objectTarget));
  const write = (): KubernetesObject => {
    if (verb === "patch") {
      const change = (current: KubernetesObject) => {
        const result = applyPatch(toServedEvent(resource, current), type, body);
        return read(result, (why) => invalidPatch(result, why));
      };
      return store.update(objectTarget, change, { verb, dryRun });
    }
    if (verb === "create" && !resource.creatable) throw notImplemented(`creating ${resource.plural}`);
    const { kind } = resource;
    const given = read(body, (why) => badRequest(`${kind} in version "v1" cannot be handled as a ${kind}: ${why}`));
    if (verb === "create") return store.create(target, given, dryRun);
    if (!creates) return store.update(objectTarget, () => given, { verb, dryRun });
    checkAccess(user, "create", target);
    checkName(given.metadata.name, objectTarget.name);
    return store.create(target, { ...given, metadata: omitVersion(given.metadata) }, dryRun);
  };
  const object = represent(resource, write(), representation);
  const warning = warnings.map((text) => `299 - ${JSON.stringify(text)}`).join(", ");
  return { status: creates ? 201 : 200, body: object, headers: warning ? { warning } : {} };
}

function omitVersion({ resourceVersion: _, ...metadata }: KubernetesObject["metadata"]): KubernetesObject["metadata"] {
  return metadata;
}

function applyPatch(current: KubernetesObject, type: string, patch: unknown): unknown {
  if (type === PATCH_TYPES.json ? !Array.isArray(patch) : !isFields(patch)) throw badRequest("error decoding patch");
  if (type === PATCH_TYPES.strategic) return strategicMergePatch(current, patch);
  if (type === PATCH_TYPES.merge) return mergePatch(current, patch);
  try {
    return jsonPatch(current, patch);
  } catch (error) {
    if (error instanceof PatchError) throw unprocessable();
    throw badRequest(`error decoding patch: ${(error as Error).message}`);
  }
}
