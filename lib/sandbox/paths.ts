import { booleanOption } from "./list-options.ts";
import { type ApiTarget, RESOURCES } from "./resources.ts";
import { methodNotAllowed } from "./status.ts";

/** Parses a request path; undefined if it addresses no served resource. */
export function parsePath(path: string): (ApiTarget & { subresource: string | undefined }) | undefined {
  const parts = path.split("/").slice(1).map(decodeURIComponent);
  const [root, first, second] = parts;
  const group = root === "api" && first === "v1" ? "" : root === "apis" && second === "v1" ? first : undefined;
  const rest = parts.slice(group === "" ? 2 : 3);
  const namespace = group === undefined ? undefined : namespaceOf(rest);
  const [plural, name, subresource, ...more] = namespace === undefined ? rest : rest.slice(2);
  const resource = RESOURCES.find((candidate) => candidate.group === group && candidate.plural === plural);
  if (!resource || more.length > 0 || name === "" || (namespace !== undefined && !resource.namespaced))
    return undefined;
  return { resource, namespace, name, subresource };
}

/** Returns the namespace of an object path; undefined for `namespaces/x` itself and its subresources. */
function namespaceOf(parts: string[]): string | undefined {
  return parts[0] === "namespaces" && parts.length > 2 && !["status", "finalize"].includes(parts[2] as string)
    ? parts[1]
    : undefined;
}

/** Kubernetes verbs by HTTP method, for collections and for objects. */
const VERBS: Record<string, { collection?: string; object?: string }> = {
  GET: { collection: "list", object: "get" },
  DELETE: { collection: "deletecollection", object: "delete" },
  POST: { collection: "create" },
  PUT: { object: "update" },
  PATCH: { object: "patch" },
};

/** @throws StatusError 405 */
export function verbOf(method: string, name: string | undefined, query: URLSearchParams): string {
  if (method === "GET" && name === undefined && booleanOption(query, "watch")) return "watch";
  const verb = VERBS[method]?.[name === undefined ? "collection" : "object"];
  if (verb === undefined) throw methodNotAllowed();
  return verb;
}
