/** Requests for one object: to read, create, replace, patch and delete it. */
import { isFields } from "../util/fields.ts";
import { asksForMetadata, PATCH_TYPES } from "./bodies.ts";
import type { KubernetesObject } from "./object.ts";
import { fieldCheck, isDryRun } from "./options.ts";
import { jsonPatch, mergePatch, PatchError, strategicMergePatch } from "./patch.ts";
import type { ApiTarget, ObjectTarget, ServedResource } from "./resources.ts";
import { badRequest, invalidPatch, notFound, notImplemented, unprocessable } from "./status.ts";
import type { Store } from "./store.ts";
import { DecodeError, decode, decodeBody } from "./validate.ts";

export interface ObjectRequest {
  target: ApiTarget;
  query: URLSearchParams;
  /** The type of the body. */
  type: string;
  body: unknown;
  accept: string | undefined;
}

/**
 * Does what a request asks for.
 *
 * @param verb of Kubernetes, as `get`
 * @throws StatusError
 */
export function handleObject(
  store: Store,
  verb: string,
  { target, query, type, body, accept }: ObjectRequest,
): { status: number; body: unknown; headers?: Record<string, string> } {
  const { resource } = target;
  const one = target as ObjectTarget;
  const shown = (object: KubernetesObject) =>
    asksForMetadata(accept)
      ? { kind: "PartialObjectMetadata", apiVersion: "meta.k8s.io/v1", metadata: object.metadata }
      : object;
  switch (verb) {
    case "get": {
      const object = store.get(one);
      if (!object) throw notFound(resource, one.name);
      return { status: 200, body: shown(object) };
    }
    case "create": {
      const check = fieldCheck("CreateOptions", resource, query);
      const dryRun = isDryRun("CreateOptions", query);
      check.body(body);
      return { status: 201, body: shown(store.create(target, body, dryRun)), headers: check.warnings() };
    }
    case "update": {
      const check = fieldCheck("UpdateOptions", resource, query);
      const dryRun = isDryRun("UpdateOptions", query);
      check.body(body);
      const next = decodeBody(resource, body);
      return { status: 200, body: shown(store.update(one, () => next, { verb, dryRun })), headers: check.warnings() };
    }
    case "patch": {
      const check = fieldCheck("PatchOptions", resource, query);
      const dryRun = isDryRun("PatchOptions", query);
      const change = (current: KubernetesObject) => {
        const result = patched(current, type, body);
        check.patched(result);
        return decodePatched(resource, result);
      };
      return { status: 200, body: shown(store.update(one, change, { verb, dryRun })), headers: check.warnings() };
    }
    case "delete": {
      const { preconditions = {} } = (body ?? {}) as { preconditions?: { uid?: string; resourceVersion?: string } };
      const { uid } = store.delete(one, preconditions, isDryRun("DeleteOptions", query, body)).metadata;
      const details = { name: one.name, ...(resource.group && { group: resource.group }), kind: resource.plural, uid };
      return { status: 200, body: { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success", details } };
    }
    default:
      throw notImplemented(verb);
  }
}

function patched(current: KubernetesObject, type: string, patch: unknown): unknown {
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

function decodePatched(resource: ServedResource, result: unknown): KubernetesObject {
  try {
    return decode(resource, result);
  } catch (error) {
    if (error instanceof DecodeError) throw invalidPatch(result, error.message);
    throw error;
  }
}
