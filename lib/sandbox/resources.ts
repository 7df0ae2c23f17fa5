/** A kind served by the sandbox's API. */
export interface ServedResource {
  /** Empty for the core group. */
  group: string;
  plural: string;
  kind: string;
  namespaced: boolean;
  shortNames: string[];
  /** False for kinds whose creation requires controllers, a scheduler or defaulting. */
  creatable: boolean;
  /** Whether an update of a missing object creates it. */
  createdByUpdate: boolean;
  /** Whether an update must have the current resourceVersion. */
  versionedUpdates: boolean;
  /** Whether the kind has the subresource `status`, which writes to the object ignore. */
  status: boolean;
}

/** The target of a request: an object, or a collection. */
export interface ApiTarget {
  resource: ServedResource;
  /** Undefined at the cluster scope. */
  namespace: string | undefined;
  /** Undefined for a collection. */
  name: string | undefined;
}

export type ObjectTarget = ApiTarget & { name: string };

export const RESOURCES: readonly ServedResource[] = [
  resource("", "configmaps", "ConfigMap", { shortNames: ["cm"], creatable: true }),
  resource("", "events", "Event", { shortNames: ["ev"], creatable: true, createdByUpdate: true }),
  resource("", "namespaces", "Namespace", { shortNames: ["ns"], namespaced: false, creatable: true, status: true }),
  resource("", "nodes", "Node", { shortNames: ["no"], namespaced: false, status: true }),
  resource("", "pods", "Pod", { shortNames: ["po"], status: true }),
  resource("", "secrets", "Secret", { creatable: true }),
  resource("", "services", "Service", { shortNames: ["svc"], status: true }),
  resource("apps", "daemonsets", "DaemonSet", { shortNames: ["ds"], status: true }),
  resource("apps", "deployments", "Deployment", { shortNames: ["deploy"], status: true }),
  // The Events of the core group, with other names of their fields.
  resource("events.k8s.io", "events", "Event", { shortNames: ["ev"], creatable: true, createdByUpdate: true }),
  resource("coordination.k8s.io", "leases", "Lease", {
    creatable: true,
    createdByUpdate: true,
    versionedUpdates: true,
  }),
];

/** The groups of stored resources. */
export const STORED_GROUPS: readonly string[] = [...new Set(RESOURCES.map(({ group }) => group))];

/** Users are not stored; the verb `impersonate` is checked on them. */
export const USERS_RESOURCE = resource("", "users", "User", { namespaced: false });

/** Access reviews are answered and not stored. */
export const REVIEW_RESOURCE = resource("authorization.k8s.io", "selfsubjectaccessreviews", "SelfSubjectAccessReview", {
  namespaced: false,
  creatable: true,
});

function resource(group: string, plural: string, kind: string, traits: Partial<ServedResource>): ServedResource {
  const scope = { namespaced: true, shortNames: [], status: false };
  const writes = { creatable: false, createdByUpdate: false, versionedUpdates: false };
  return { group, plural, kind, ...scope, ...writes, ...traits };
}

/** Returns `v1`, or the group with its version, such as `apps/v1`. */
export function apiVersion({ group }: Pick<ServedResource, "group">): string {
  return group ? `${group}/v1` : "v1";
}

/** Returns the resource of a kind, in whose form its objects are stored; undefined if the sandbox does not serve it. */
export function resourceOf(kind: string): ServedResource | undefined {
  return RESOURCES.find((resource) => resource.kind === kind);
}
