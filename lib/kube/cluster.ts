/** Clusters that contexts of a kubeconfig lead to. */
import type { KubernetesApi } from "./api.ts";

/** A cluster that is to be read or written. */
export interface Cluster {
  /** Its context: how it is called in messages. */
  readonly source: string;
  /** What else the kubeconfig calls it: other contexts for the same server, and their entries of clusters. */
  readonly names?: readonly string[];
  /** Connected to when it is first asked for. Throws a UserError if the context leads nowhere. */
  readonly api: KubernetesApi;
  /** Closes the connection; the next use opens another, with credentials as they are then. */
  close?(): void;
}
