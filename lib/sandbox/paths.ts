/** Which request a method and a path make. */
import { type ApiTarget, RESOURCES } from "./resources.ts";
import { methodNotAllowed } from "./status.ts";

/** @returns undefined where the path names no resource that is served */
export function parsePath(path: string): (ApiTarget & { subresource: string | undefined }) | undefined {
  const parts = path.split("/").slice(1).map(decodeURIComponent);
  const [root, first, second] = parts;
  const group = root === "api" && first === "v1" ? "" : root === "apis" && second === "v1" ? first : undefined;
  const rest = parts.slice(group === "" ? 2 : 3);
  const namespace = group === "" || group === "apps" ? namespaceOf(rest) : undefined;
  const [plural, name, subresource, ...more] = namespace === undefined ? rest : rest.slice(2);
  const resource = RESOURCES.find((candidate) => candidate.group === group && candidate.plural === plural);
  if (!resource || more.length > 0 || name === "" || (namespace !== undefined && !resource.namespaced))
    return undefined;
  return { resource, namespace, name, subresource };
}

/** `namespaces/x` itself, and its subresources, are no objects in a namespace. */
function namespaceOf(parts: string[]): string | undefined {
  return parts[0] === "namespaces" && parts.length > 2 && !["status", "finalize"].includes(parts[2] as string)
    ? parts[1]
    : undefined;
}

/** The verbs of Kubernetes, by method: of a request for all of a kind, and of one for an object. */
const VERBS: Record<string, { all?: string; one?: string }> = {
  GET: { all: "list", one: "get" },
  DELETE: { all: "deletecollection", one: "delete" },
  POST: { all: "create" },
  PUT: { one: "update" },
  PATCH: { one: "patch" },
};

/** @throws StatusError 405 */
export function verbOf(method: string, name: string | undefined, query: URLSearchParams): string {
  if (method === "GET" && /^(1|true)$/.test(query.get("watch") ?? "")) return "watch";
  const verb = VERBS[method]?.[name === undefined ? "all" : "one"];
  if (verb === undefined) throw methodNotAllowed();
  return verb;
}
