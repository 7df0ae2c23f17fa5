/** A cluster as the rest of the code sees it: a context and its API. */
import type { KubernetesApi } from "./api.ts";

export interface Cluster {
  /** The name of its context, which messages use. */
  readonly source: string;
  /** Its other names in the kubeconfig: contexts for the same server, and their cluster entries. */
  readonly names?: readonly string[];
  /** The API, opened on first use. @throws UserError if the context is invalid. */
  readonly api: KubernetesApi;
  /** Closes the connection. The next use opens another one with new credentials. */
  close?(): void;
}
