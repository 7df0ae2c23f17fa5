/** Watches the objects of one cluster, by their metadata only: neither keys nor large Secrets are kept in memory. */
import type { KubernetesObject } from "@kubernetes/client-node";
import type { WatchedObject } from "../cilium/watched-objects.ts";
import type { KubernetesApi } from "../kube/api.ts";
import { type ObjectChange, observeObjects, type RestartReason } from "../kube/observe.ts";
import { describeAnyError, EXIT, UserError } from "../util/errors.ts";
import { pause } from "./pause.ts";

/** The delay after a failure that is not one of the API: a server that causes it would cause it again. */
const FAILURE_DELAY_MS = 60_000;

export interface ClusterWatchOptions {
  api: KubernetesApi;
  /** Called if an object changed, or if a watch has begun, since the object may have changed before. */
  onChange(): void;
  /**
   * @param object - `secrets/NAME`, or the plural alone.
   * @param isRepeated - whether this watch failed before too, and has not lasted since.
   */
  onRestart(object: string, reason: RestartReason, error: UserError | undefined, isRepeated: boolean): void;
}

/** The watches of one cluster. */
export class ClusterWatch {
  readonly #options: ClusterWatchOptions;
  readonly #watches = new Map<string, AbortController>();

  constructor(options: ClusterWatchOptions) {
    this.#options = options;
  }

  /** Starts and stops watches, so that exactly these objects are watched. */
  update(objects: readonly WatchedObject[]): void {
    const wanted = new Map(objects.map((one) => [keyOf(one), one]));
    for (const [key, controller] of this.#watches) {
      if (wanted.has(key)) continue;
      controller.abort();
      this.#watches.delete(key);
    }
    for (const [key, object] of wanted) {
      if (this.#watches.has(key)) continue;
      const controller = new AbortController();
      this.#watches.set(key, controller);
      void this.#keepObserving(object, controller.signal);
    }
  }

  /** Stops all watches. */
  close(): void {
    this.update([]);
  }

  /** Observes an object until the signal aborts. What a server sends must not end the process: any failure is reported. */
  async #keepObserving(watched: WatchedObject, signal: AbortSignal): Promise<void> {
    for (let hasFailed = false; !signal.aborted; hasFailed = true) {
      const started = performance.now();
      try {
        await this.#observe(watched, signal);
      } catch (error) {
        const failure = new UserError(describeAnyError(error), EXIT.failed, { cause: error });
        const isRepeated = hasFailed && performance.now() - started < FAILURE_DELAY_MS;
        this.#options.onRestart(describe(watched), "error", failure, isRepeated);
        await pause(FAILURE_DELAY_MS, signal);
      }
    }
  }

  async #observe(watched: WatchedObject, signal: AbortSignal): Promise<void> {
    const { api, onChange, onRestart } = this.#options;
    const { resource, name, namespace, part } = watched;
    const fingerprints = new Fingerprints(resource.plural === "nodes" ? nodeFingerprint : FINGERPRINTS[part]);
    await observeObjects(api, resource, {
      ...(namespace !== undefined && { namespace }),
      ...(name !== undefined && { name }),
      metadataOnly: true,
      signal,
      onChange: (change) => {
        if (fingerprints.update(change)) onChange();
      },
      onRestart: (...restart) => onRestart(describe(watched), ...restart),
    });
  }
}

function describe({ resource, name }: WatchedObject): string {
  return name === undefined ? resource.plural : `${resource.plural}/${name}`;
}

function keyOf({ resource, name = "", namespace = "", part }: WatchedObject): string {
  return JSON.stringify([resource.plural, namespace, name, part]);
}

type Fingerprint = (object: KubernetesObject) => string;

const FINGERPRINTS: Record<WatchedObject["part"], Fingerprint> = {
  any: ({ metadata }) => `${metadata?.uid} ${metadata?.resourceVersion}`,
  // Only changes of the spec increase the generation.
  spec: ({ metadata }) => `${metadata?.uid} ${metadata?.generation}`,
};

/** Nodes report their status every few minutes, so only new nodes and labels count; the next resync sees the rest. */
function nodeFingerprint({ metadata }: KubernetesObject): string {
  return JSON.stringify([metadata?.uid, metadata?.deletionTimestamp, metadata?.labels]);
}

/** The last known state of the objects of a watch. */
class Fingerprints {
  readonly #of: Fingerprint;
  #known: Map<string, string> | undefined;

  constructor(of: Fingerprint) {
    this.#of = of;
  }

  /** Returns whether an object changed, or whether this is the first list. */
  update(change: ObjectChange<KubernetesObject>): boolean {
    if (change.kind === "listed") {
      const listed = new Map(change.objects.map((one) => [nameOf(one), this.#of(one)]));
      const before = this.#known;
      this.#known = listed;
      return before?.size !== listed.size || [...listed].some(([name, value]) => before.get(name) !== value);
    }
    const { type, object } = change.event;
    const known = this.#known ?? new Map<string, string>();
    this.#known = known;
    const name = nameOf(object);
    if (type === "DELETED") return known.delete(name);
    const value = this.#of(object);
    const isChanged = known.get(name) !== value;
    known.set(name, value);
    return isChanged;
  }
}

function nameOf({ metadata }: KubernetesObject): string {
  return metadata?.name ?? "";
}
