/** A Kubernetes object as it goes over the wire. Its metadata keep times as strings, unlike client-node's types. */
export interface KubernetesObject {
  apiVersion: string;
  kind: string;
  metadata: ObjectMeta;
  // biome-ignore lint/suspicious/noExplicitAny: every kind has fields of its own, down to any depth.
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

/** The time as Kubernetes writes it. */
export function timestamp(date: Date): string {
  return date.toISOString().replace(/\.\d+/, "");
}

/** The `data` of a Secret from plain texts. */
export function encode(texts: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(texts).map(([key, text]) => [key, Buffer.from(text).toString("base64")]));
}
