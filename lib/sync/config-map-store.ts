/** Stores the state of `sync` in a ConfigMap. */
import { configMaps, type KubernetesApi } from "../kube/api.ts";
import { SYNC_OBJECT_NAME } from "../peer/annotations.ts";
import { isConflict, parseStoredState, type StateStore } from "./state-store.ts";
import { formatState } from "./state-text.ts";

const STATE_KEY = "state.json";

/**
 * Creates a store in the ConfigMap `clustermesh-secrets-sync`, which the first save creates. Only the holder of the Lease may
 * save: a ConfigMap that changed meanwhile is read again and overwritten.
 */
export function createConfigMapStore(api: KubernetesApi, namespace: string): StateStore {
  return new ConfigMapStore(api, namespace);
}

class ConfigMapStore implements StateStore {
  readonly #api: KubernetesApi;
  readonly #namespace: string;
  /** Undefined: unknown, or it does not exist. */
  #resourceVersion: string | undefined;
  /** The stored text, if known. */
  #text: string | undefined;

  constructor(api: KubernetesApi, namespace: string) {
    this.#api = api;
    this.#namespace = namespace;
  }

  describe(): string {
    return `configmap/${SYNC_OBJECT_NAME} in namespace ${this.#namespace}`;
  }

  async claim(): Promise<void> {}

  async release(): Promise<void> {}

  async load() {
    await this.#read();
    return this.#text === undefined ? undefined : parseStoredState(this.#text, this);
  }

  async save(state: Parameters<StateStore["save"]>[0]): Promise<void> {
    const text = formatState(state);
    if (text === this.#text) return;
    try {
      await this.#write(text);
    } catch (error) {
      this.#text = undefined;
      if (!isConflict(error)) throw error;
      await this.#read();
      await this.#write(text);
    }
    this.#text = text;
  }

  async #read(): Promise<void> {
    const found = await this.#api.get(configMaps, this.#namespace, SYNC_OBJECT_NAME);
    this.#resourceVersion = found?.metadata?.resourceVersion;
    const text: unknown = found?.data?.[STATE_KEY];
    this.#text = typeof text === "string" ? text : undefined;
  }

  async #write(text: string): Promise<void> {
    const namespace = this.#namespace;
    const data = { [STATE_KEY]: text };
    const resourceVersion = this.#resourceVersion;
    const options = { metadataOnly: true };
    const metadata = { name: SYNC_OBJECT_NAME, namespace };
    const { metadata: written } =
      resourceVersion === undefined
        ? await this.#api.create(
            configMaps,
            namespace,
            { apiVersion: "v1", kind: "ConfigMap", metadata, data },
            options,
          )
        : await this.#api.mergePatch(
            configMaps,
            namespace,
            SYNC_OBJECT_NAME,
            { metadata: { resourceVersion }, data },
            options,
          );
    this.#resourceVersion = written?.resourceVersion;
  }
}
