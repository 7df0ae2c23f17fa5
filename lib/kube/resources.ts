/** The resources of the API that are used, and the paths of their objects and lists. Pure. */
import type {
  CoreV1Event,
  KubernetesObject,
  V1ConfigMap,
  V1DaemonSet,
  V1Deployment,
  V1Lease,
  V1Node,
  V1Pod,
  V1Secret,
  V1Service,
} from "@kubernetes/client-node";

/** A resource of the API; `T` is the type of its objects. */
export interface Resource<T extends KubernetesObject> {
  group: "" | "apps" | "coordination.k8s.io";
  plural: string;
  kind: string;
  clusterScoped?: boolean;
  /** Never set; carries the type parameter. */
  object?: T;
}

export const secrets: Resource<V1Secret> = { group: "", plural: "secrets", kind: "Secret" };
export const configMaps: Resource<V1ConfigMap> = { group: "", plural: "configmaps", kind: "ConfigMap" };
export const services: Resource<V1Service> = { group: "", plural: "services", kind: "Service" };
export const pods: Resource<V1Pod> = { group: "", plural: "pods", kind: "Pod" };
export const nodes: Resource<V1Node> = { group: "", plural: "nodes", kind: "Node", clusterScoped: true };
export const deployments: Resource<V1Deployment> = { group: "apps", plural: "deployments", kind: "Deployment" };
export const daemonSets: Resource<V1DaemonSet> = { group: "apps", plural: "daemonsets", kind: "DaemonSet" };
/** Its times are strings, as in all objects that are read; client-node's type states `Date`. */
export const leases: Resource<V1Lease> = { group: "coordination.k8s.io", plural: "leases", kind: "Lease" };
export const events: Resource<CoreV1Event> = { group: "", plural: "events", kind: "Event" };

type Verb = "get" | "list" | "watch" | "create" | "patch";

/** The verb of a request, and the object or list that it reads or writes. */
export interface Subject {
  verb: Verb;
  resource: Pick<Resource<KubernetesObject>, "group" | "plural" | "kind" | "clusterScoped">;
  namespace?: string | undefined;
  name?: string | undefined;
}

/** The verbs of requests to an object; others address the collection. */
const OBJECT_VERBS: readonly Verb[] = ["get", "patch"];

/** Returns the path of an object or, for other verbs than get and patch, of its collection. */
export function pathOf({ verb, resource: { group, plural }, namespace, name }: Subject): string {
  const root = group === "" ? "/api/v1" : `/apis/${group}/v1`;
  const scope = namespace === undefined ? "" : `/namespaces/${encodeURIComponent(namespace)}`;
  const isObject = name !== undefined && OBJECT_VERBS.includes(verb);
  return `${root}${scope}/${plural}${isObject ? `/${encodeURIComponent(name)}` : ""}`;
}
