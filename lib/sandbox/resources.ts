/** A kind of objects that the sandbox's API serves. */
export interface ServedResource {
  group: "" | "apps";
  plural: string;
  kind: string;
  namespaced: boolean;
  shortNames: string[];
  /** The kind has a `status`, which a write to the object itself leaves alone. */
  status: boolean;
}

/** What a request is about: an object, or all of a kind. */
export interface ApiTarget {
  resource: ServedResource;
  /** Undefined for the whole cluster. */
  namespace: string | undefined;
  /** Undefined for all of them. */
  name: string | undefined;
}

/** A target that is one object. */
export type ObjectTarget = ApiTarget & { name: string };

export const RESOURCES: readonly ServedResource[] = [
  resource("", "configmaps", "ConfigMap", ["cm"]),
  resource("", "namespaces", "Namespace", ["ns"], { namespaced: false, status: true }),
  resource("", "nodes", "Node", ["no"], { namespaced: false, status: true }),
  resource("", "pods", "Pod", ["po"], { status: true }),
  resource("", "secrets", "Secret", []),
  resource("", "services", "Service", ["svc"], { status: true }),
  resource("apps", "daemonsets", "DaemonSet", ["ds"], { status: true }),
  resource("apps", "deployments", "Deployment", ["deploy"], { status: true }),
];

/** Users are in no API server's store; who impersonates one has to be allowed to. */
export const USERS_RESOURCE = resource("", "users", "User", [], { namespaced: false });

function resource(
  group: ServedResource["group"],
  plural: string,
  kind: string,
  shortNames: string[],
  { namespaced = true, status = false } = {},
): ServedResource {
  return { group, plural, kind, namespaced, shortNames, status };
}

/** The kinds that can be created: the others would need controllers, schedulers and defaults that aren't here. */
export const CREATABLE: readonly string[] = ["ConfigMap", "Secret", "Namespace"];

export function apiVersion(resource: ServedResource): string {
  return resource.group ? `${resource.group}/v1` : "v1";
}

/** The resource of a kind; undefined for one that the sandbox doesn't serve. */
export function resourceOf(kind: string): ServedResource | undefined {
  return RESOURCES.find((resource) => resource.kind === kind);
}
