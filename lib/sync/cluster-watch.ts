/** Watches the objects of one cluster, by their metadata only: neither keys nor large Secrets are kept in memory. */
import type { KubernetesObject } from "@kubernetes/client-node";
import type { WatchedObject } from "../cilium/watched-objects.ts";
import type { KubernetesApi } from "../kube/api.ts";
import { type ObjectChange, observeObjects, type RestartReason } from "../kube/observe.ts";
import { describeAnyError, EXIT, UserError } from "../util/errors.ts";
import { pause } from "./pause.ts";
import type { WrittenVersion } from "./write-plan.ts";

/** The delay after a failure that is not one of the API: a server that causes it would cause it again. */
const FAILURE_DELAY_MS = 60_000;

export interface ClusterWatchOptions {
  api: KubernetesApi;
  /**
   * Called if an object changed, or if a watch has begun, since the object may have changed before; not for what this process
   * has written itself ({@link ClusterWatch.write}).
   */
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
  /** The versions of objects that were written last. */
  #own: ReadonlySet<string> = new Set();
  /** The versions that were seen while something is written: which of them are our own is known afterwards. */
  #seen: Set<string> | undefined;

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

  /**
   * Runs a write to the cluster; only one at a time. Changes that are seen meanwhile are reported afterwards, except for the
   * versions that the write returns.
   *
   * @throws what the write throws
   */
  async write<T extends { versions: readonly WrittenVersion[] }>(write: () => Promise<T>): Promise<T> {
    const seen = new Set<string>();
    this.#seen = seen;
    try {
      const result = await write();
      this.#own = new Set(result.versions.map((one) => versionOf(one.kind, one.name, one.resourceVersion)));
      return result;
    } finally {
      this.#seen = undefined;
      if ([...seen].some((version) => !this.#own.has(version))) this.#options.onChange();
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
        if (!fingerprints.update(change)) return;
        const version = versionOfChange(resource.kind, change);
        if (this.#own.has(version)) return;
        if (this.#seen) this.#seen.add(version);
        else onChange();
      },
      onRestart: (...restart) => onRestart(describe(watched), ...restart),
    });
  }
}

/** Returns the version of an object that an event is about; an empty one for a list, and for the end of an object. */
function versionOfChange(kind: string, change: ObjectChange<KubernetesObject>): string {
  if (change.kind === "listed" || change.event.type === "DELETED") return "";
  const { name = "", resourceVersion = "" } = change.event.object.metadata ?? {};
  return versionOf(kind, name, resourceVersion);
}

function versionOf(kind: string, name: string, resourceVersion: string): string {
  return JSON.stringify([kind, name, resourceVersion]);
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
