/** A cluster, selected by a context of the kubeconfig, and its API. */
import type { KubernetesApi } from "./api.ts";

export interface Cluster {
  /** The name of its context, for messages. */
  readonly source: string;
  /** Its other names in the kubeconfig: contexts for the same server, and their cluster entries. */
  readonly names?: readonly string[];
  /** Changes if its server or its credentials in the kubeconfig change. */
  readonly revision?: string;
  /** The API, opened on first use. @throws UserError if the context is invalid. */
  readonly api: KubernetesApi;
  /** Closes the connection. The next use opens another one with new credentials. */
  close?(): void;
}
