/** Observes objects for as long as a program runs: lists them, then watches them, and recovers from every error. */
import { setTimeout as sleep } from "node:timers/promises";
import type { KubernetesObject } from "@kubernetes/client-node";
import type { UserError } from "../util/errors.ts";
import { ApiError, type KubernetesApi, type ObjectSelection, type Resource, type WatchEvent } from "./api.ts";
import { attempt } from "./attempt.ts";
import { ConnectionError } from "./transport/transport.ts";

/** All objects, or a change of one. A list follows if changes may have been missed; it replaces what was known. */
export type ObjectChange<T extends KubernetesObject> =
  | { kind: "listed"; objects: T[] }
  /** Never a BOOKMARK. */
  | { kind: "event"; event: WatchEvent<T> };

/**
 * Why a watch is started again: the server ended it regularly (`ended`), its version is compacted and a list follows
 * (`expired`), or it, or a list, failed (`error`).
 */
export type RestartReason = "ended" | "expired" | "error";

export interface ObserveOptions<T extends KubernetesObject> extends ObjectSelection {
  /** Ends the observation. */
  signal: AbortSignal;
  /** Called with the list first, then with each change. It must not take long. */
  onChange(change: ObjectChange<T>): void;
  /**
   * @param error - set unless the watch ended regularly.
   * @param isRepeated - whether it failed before too, and has not lasted since.
   */
  onRestart?(reason: RestartReason, error: UserError | undefined, isRepeated: boolean): void;
  timing?: Partial<ObserveTiming>;
}

/** Times in milliseconds. */
export interface ObserveTiming {
  /** Delay after the first failure in a row; doubled by each further one. Default: 500. */
  minDelay: number;
  /** Default: 30,000. */
  maxDelay: number;
  /** How long a watch has to last to be no failure. Default: 5,000. */
  steady: number;
  /** Duration of a watch; up to twice as long. Default: 300,000, as in client-go. */
  duration: number;
}

const TIMING: ObserveTiming = { minDelay: 500, maxDelay: 30_000, steady: 5_000, duration: 300_000 };
/** Failures in a row after which the version is not trusted any more. */
const MAX_RESUMES = 3;

/**
 * Lists objects and watches them from the version of the list, until the signal aborts. A watch that ends is resumed from the
 * last version that it has reached. After a lost connection, a 429 or an error of the server (5xx), it is resumed as well; after
 * three such failures in a row, after a 410 and any other error, the objects are listed again. Restarts are delayed by 0.5 to
 * 30 s, with jitter, if a list failed or a watch did not last 5 s.
 *
 * If etcd is restored from a backup, versions go back, and changes are missed until the server has reached the version of the
 * watch again. Callers that must not miss any have to read the objects from time to time.
 *
 * @returns a promise that resolves when the signal aborts
 * @throws what `onChange` and `onRestart` throw; never a UserError of the API
 */
export async function observeObjects<T extends KubernetesObject>(
  api: KubernetesApi,
  resource: Resource<T>,
  options: ObserveOptions<T>,
): Promise<void> {
  const { signal, onRestart } = options;
  const timing = { ...TIMING, ...options.timing };
  let version: string | undefined;
  let failures = 0;
  let hasFailed = false;
  while (!signal.aborted) {
    const end = await observeOnce(api, resource, options, { version, timing });
    if (signal.aborted) return;
    failures = end.isSteady ? 0 : failures + 1;
    version = failures >= MAX_RESUMES || (end.error && !isResumable(end.error)) ? undefined : end.version;
    onRestart?.(end.reason, end.error, hasFailed && !end.isSteady);
    hasFailed = end.error !== undefined;
    // A version can expire while the cluster is away, and the list is then due.
    const isImmediate = end.reason === "ended" || (end.reason === "expired" && failures <= 1);
    if (!isImmediate) await pause(delayAfter(failures, timing), signal);
  }
}

/** How a watch, or the list before it, has ended. */
interface WatchEnd {
  reason: RestartReason;
  error?: UserError;
  /** The version that was reached. */
  version: string | undefined;
  /** Whether the watch lasted long enough to be no failure. */
  isSteady: boolean;
}

/**
 * Lists unless there is a version, and watches until the watch ends.
 *
 * @throws what `onChange` throws
 */
async function observeOnce<T extends KubernetesObject>(
  api: KubernetesApi,
  resource: Resource<T>,
  options: ObserveOptions<T>,
  { version: from, timing }: { version: string | undefined; timing: ObserveTiming },
): Promise<WatchEnd> {
  const { signal, onChange } = options;
  let version = from;
  let opened = Number.POSITIVE_INFINITY;
  const onOpen = () => {
    opened = performance.now();
  };
  const steps = readChanges(api, resource, options, { version, duration: timing.duration, onOpen });
  try {
    for (;;) {
      const next = await attempt(steps.next());
      const isSteady = performance.now() - opened >= timing.steady;
      if ("error" in next) {
        const { error } = next;
        const isExpired = error instanceof ApiError && error.status === 410;
        return { reason: isExpired ? "expired" : "error", error, version, isSteady };
      }
      if (signal.aborted || (next.value.done && isSteady)) return { reason: "ended", version, isSteady };
      if (next.value.done) {
        const error = new ConnectionError(`the server ended the watch of ${resource.plural} at once`);
        return { reason: "error", error, version, isSteady };
      }
      version = next.value.value.version;
      const { change } = next.value.value;
      if (change) onChange(change);
    }
  } finally {
    await steps.return();
  }
}

/** Yields the changes of a list and of the watch that follows it, and the version that each reaches; none for a BOOKMARK. */
async function* readChanges<T extends KubernetesObject>(
  api: KubernetesApi,
  resource: Resource<T>,
  { namespace, name, labelSelector, metadataOnly, signal }: ObserveOptions<T>,
  { version, duration, onOpen }: { version: string | undefined; duration: number; onOpen: () => void },
): AsyncGenerator<{ version: string; change?: ObjectChange<T> }, void> {
  const selection: ObjectSelection = { namespace, name, labelSelector, metadataOnly };
  let resourceVersion = version;
  try {
    if (resourceVersion === undefined) {
      const list = await api.listAt(resource, selection, signal);
      resourceVersion = list.resourceVersion;
      yield { version: resourceVersion, change: { kind: "listed", objects: list.items } };
    }
    const timeoutSeconds = Math.ceil((duration * (1 + Math.random())) / 1_000);
    const watch = api.watch(resource, { ...selection, resourceVersion, timeoutSeconds, signal, onOpen });
    for await (const event of watch) {
      const reached = event.object.metadata?.resourceVersion as string;
      yield { version: reached, ...(event.type !== "BOOKMARK" && { change: { kind: "event", event } }) };
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/** Whether the version of a watch is as good as before its error. */
function isResumable(error: UserError): boolean {
  return !(error instanceof ApiError) || error.status === 429 || error.status >= 500;
}

/** Returns the delay after a number of failures in a row, with up to half as much of jitter, in milliseconds. */
function delayAfter(failures: number, { minDelay, maxDelay }: ObserveTiming): number {
  return Math.min(maxDelay / 1.5, minDelay * 2 ** Math.max(0, failures - 1)) * (1 + Math.random() / 2);
}

async function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  try {
    await sleep(milliseconds, undefined, { signal });
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}
