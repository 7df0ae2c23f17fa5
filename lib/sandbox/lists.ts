/** Requests for all objects of a kind. */
import { type ApiTarget, apiVersion } from "./resources.ts";
import { type FieldSelector, labelSelector } from "./selectors.ts";
import { badRequest } from "./status.ts";
import type { Store } from "./store.ts";

/**
 * Answers a list, page by page where the query has a `limit`.
 *
 * @throws StatusError 400
 */
export function list(store: Store, { resource, namespace }: ApiTarget, query: URLSearchParams, field: FieldSelector) {
  const label = labelSelector(query.get("labelSelector") ?? "");
  const limit = query.get("limit") ?? "0";
  if (!/^\d+$/.test(limit)) throw badRequest(`invalid limit ${limit}`);
  const page = store.list(resource, {
    namespace,
    test: (object) => label(object) && field.test(object),
    selective: Boolean(query.get("labelSelector") || query.get("fieldSelector")),
    limit: Number(limit),
    continue: query.get("continue") || undefined,
  });
  const items = page.items.map(({ apiVersion: _, kind: __, ...rest }) => rest);
  return { kind: `${resource.kind}List`, apiVersion: apiVersion(resource), ...page, items };
}
