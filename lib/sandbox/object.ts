/** A Kubernetes object in its JSON form: unlike in client-node's types, times are strings. */
export interface KubernetesObject {
  apiVersion: string;
  kind: string;
  metadata: ObjectMeta;
  // biome-ignore lint/suspicious/noExplicitAny: the fields depend on the kind.
  [field: string]: any;
}

export interface ObjectMeta {
  name: string;
  namespace?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  uid?: string;
  resourceVersion?: string;
  generation?: number;
  /** RFC 3339, whole seconds. */
  creationTimestamp?: string;
  [field: string]: unknown;
}

/** Formats a time as Kubernetes does: RFC 3339, whole seconds. */
export function timestamp(date: Date): string {
  return date.toISOString().replace(/\.\d+/, "");
}

/** Encodes plain values as the `data` of a Secret: in base64. */
export function encode(values: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(values).map(([key, text]) => [key, Buffer.from(text).toString("base64")]));
}
