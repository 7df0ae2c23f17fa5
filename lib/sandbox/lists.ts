import type { KubernetesObject } from "./object.ts";
import { type ApiTarget, apiVersion, type ServedResource } from "./resources.ts";
import { type FieldSelector, labelSelector } from "./selectors.ts";
import { badRequest } from "./status.ts";
import type { Store } from "./store.ts";

/**
 * Lists objects by namespace and name. With `limit`, returns one page; later pages show the state at the time of their
 * request.
 *
 * @throws StatusError 400 for an invalid selector, limit or continue token
 */
export function list(store: Store, { resource, namespace }: ApiTarget, query: URLSearchParams, field: FieldSelector) {
  const selects = listSelector({ resource, namespace, name: undefined }, query, field);
  const limit = query.get("limit") ?? "0";
  if (!/^\d+$/.test(limit)) throw badRequest(`invalid limit ${limit}`);
  const after = decodeToken(query.get("continue") ?? "");
  const found = selectObjects(store, resource, (object) => keyOf(object) > after && selects(object));
  const page = found.slice(0, Number(limit) || undefined);
  const last = page.at(-1);
  const remaining = found.length - page.length;
  // As in kube-apiserver, the remaining objects are not counted if a selector is set.
  const isCounted = !query.get("labelSelector") && !query.get("fieldSelector");
  return {
    kind: `${resource.kind}List`,
    apiVersion: apiVersion(resource),
    metadata: {
      resourceVersion: store.resourceVersion,
      ...(remaining > 0 &&
        last && { continue: encodeToken(keyOf(last)), ...(isCounted && { remainingItemCount: remaining }) }),
    },
    items: page.map(({ apiVersion: _, kind: __, ...rest }) => rest),
  };
}

/**
 * Returns the test of the namespace, the labels and the fields that a list or a watch selects.
 *
 * @throws StatusError 400 for an invalid label selector
 */
export function listSelector({ namespace }: ApiTarget, query: URLSearchParams, field: FieldSelector) {
  const matchesLabels = labelSelector(query.get("labelSelector") ?? "");
  return (object: KubernetesObject): boolean =>
    (namespace === undefined || object.metadata.namespace === namespace) && matchesLabels(object) && field.test(object);
}

/** Returns the objects of a kind that match, by namespace and name. */
export function selectObjects(store: Store, resource: ServedResource, selects: (object: KubernetesObject) => boolean) {
  return store
    .all(resource.kind)
    .filter(selects)
    .sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
}

function keyOf({ metadata: { namespace = "", name } }: KubernetesObject): string {
  return `${namespace}/${name}`;
}

const TOKEN_PREFIX = "after:";

/** Encodes the key of the last object of a page. */
function encodeToken(key: string): string {
  return Buffer.from(TOKEN_PREFIX + key).toString("base64url");
}

function decodeToken(token: string): string {
  const text = Buffer.from(token, "base64url").toString();
  if (token !== "" && !text.startsWith(TOKEN_PREFIX)) throw badRequest("continue key is not valid");
  return text.slice(TOKEN_PREFIX.length);
}
