import type { KubernetesObject } from "./object.ts";
import { type ApiTarget, apiVersion } from "./resources.ts";
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
  const matchesLabels = labelSelector(query.get("labelSelector") ?? "");
  const limit = query.get("limit") ?? "0";
  if (!/^\d+$/.test(limit)) throw badRequest(`invalid limit ${limit}`);
  const after = decodeToken(query.get("continue") ?? "");
  const found = store
    .all(resource.kind)
    .filter((object) => keyOf(object) > after && matchesLabels(object) && field.test(object))
    .filter(({ metadata }) => namespace === undefined || metadata.namespace === namespace)
    .sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
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
