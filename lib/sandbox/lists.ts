import { listOptions } from "./list-options.ts";
import type { KubernetesObject } from "./object.ts";
import { type Representation, represent } from "./representations.ts";
import { type ApiTarget, apiVersion, type ServedResource } from "./resources.ts";
import { type FieldSelector, labelSelector } from "./selectors.ts";
import { badRequest, expired, expiredContinuation, tooLargeVersion } from "./status.ts";
import type { Store } from "./store.ts";

/**
 * Lists objects by namespace and name. With `limit`, returns one page; later pages show the version of the first one.
 *
 * @throws StatusError 400 or 422 for invalid parameters, 410 for a compacted version, 504 for one that the server does not have
 */
export function list(
  store: Store,
  target: ApiTarget,
  query: URLSearchParams,
  field: FieldSelector,
  representation: Representation,
) {
  const { resource } = target;
  const { latest } = store.history;
  const { limit, minimum, continuation, version = latest } = listOptions(query);
  const selects = listSelector(target, query, field);
  if (minimum > latest) throw tooLargeVersion(minimum, latest);
  if (store.history.isCompacted(version)) throw expired("list");
  const from = continuation ? resume(store, continuation) : { version, after: "" };
  const found = selectObjects(store, resource, (object) => keyOf(object) > from.after && selects(object), from.version);
  const page = found.slice(0, limit || undefined);
  const last = page.at(-1);
  const remaining = found.length - page.length;
  // As in kube-apiserver, the remaining objects are not counted if a selector is set.
  const isCounted = !query.get("labelSelector") && !query.get("fieldSelector");
  const isWhole = representation === "object";
  const items = page.map((object) => {
    const { apiVersion: version, kind, ...rest } = represent(resource, object, representation);
    return isWhole ? rest : { kind, apiVersion: version, ...rest };
  });
  return {
    kind: isWhole ? `${resource.kind}List` : "PartialObjectMetadataList",
    apiVersion: isWhole ? apiVersion(resource) : "meta.k8s.io/v1",
    metadata: {
      resourceVersion: String(from.version),
      ...(remaining > 0 &&
        last && {
          continue: encodeToken({ version: from.version, after: keyOf(last) }),
          ...(isCounted && { remainingItemCount: remaining }),
        }),
    },
    items: isWhole || items.length > 0 ? items : null,
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

/** Returns the objects of a kind that match, by namespace and name; by default the current ones. */
export function selectObjects(
  store: Store,
  resource: ServedResource,
  selects: (object: KubernetesObject) => boolean,
  version?: number,
) {
  return store
    .all(resource.kind, version)
    .filter(selects)
    .sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
}

function keyOf({ metadata: { namespace = "", name } }: KubernetesObject): string {
  return `${namespace}/${name}`;
}

/** Where a page starts: after the key of an object. */
interface Position {
  version: number;
  after: string;
}

/** The version of a token that continues at the current version. */
const CURRENT = -1;

/** @throws StatusError 400, or 410 with another token if the version is compacted */
function resume(store: Store, token: string): Position {
  const position = decodeToken(token);
  const { history } = store;
  if (position.version === CURRENT) return { ...position, version: history.latest };
  if (history.isCompacted(position.version)) throw expiredContinuation(encodeToken({ ...position, version: CURRENT }));
  return position;
}

function encodeToken({ version, after }: Position): string {
  return Buffer.from(JSON.stringify({ v: "meta.k8s.io/v1", rv: version, start: after })).toString("base64url");
}

function decodeToken(token: string): Position {
  try {
    const { rv, start } = JSON.parse(Buffer.from(token, "base64url").toString());
    if (Number.isInteger(rv) && typeof start === "string") return { version: rv, after: start };
  } catch {}
  throw badRequest("continue key is not valid");
}
