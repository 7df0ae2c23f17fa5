/**
 * The Lease that lets one of several replicas of `sync` work, as client-go's `leaderelection` holds it.
 *
 * Clocks of machines are never compared: a holder is replaced when its Lease has not changed for the duration that it states,
 * as measured by the own monotonic clock.
 */
import type { V1Lease } from "@kubernetes/client-node";
import { type KubernetesApi, leases } from "../kube/api.ts";
import { SYNC_OBJECT_NAME } from "../peer/annotations.ts";
import { UserError } from "../util/errors.ts";
import { truncateLine } from "../util/line.ts";
import { pause, raceAgainst } from "./pause.ts";
import { isConflict } from "./state-store.ts";

/** The times of a Lease in milliseconds. A renewal has to fail for the deadline before others wait out the duration. */
export interface LeaseTimes {
  /** How long others wait after the last renewal that they see. Whole seconds, and more than `renewDeadline`. */
  duration: number;
  /** How long a holder works without a renewal. */
  renewDeadline: number;
  renewInterval: number;
  /** How often others look, and a failed renewal is tried again. */
  retryInterval: number;
}

/** With these, the work of a holder that was killed is taken over after 10 to 20 seconds. */
export const LEASE_TIMES: LeaseTimes = {
  duration: 15_000,
  renewDeadline: 10_000,
  renewInterval: 5_000,
  retryInterval: 2_000,
};

/** How a Lease is held. */
export interface LeaseOptions {
  namespace: string;
  /** Unique for each process, such as `HOSTNAME_UUID`. */
  identity: string;
  /** Aborted after the work has ended: the Lease is then released. */
  signal: AbortSignal;
  times?: LeaseTimes;
  /** The time that is written, which is not compared with anything. */
  now?(): Date;
  /** Called when this process becomes the holder. */
  onAcquired(): void;
  /**
   * Called when it stops being the holder, before another process can be: its work must stop at once. Afterwards it tries to
   * become the holder again. Not called when the signal is aborted.
   *
   * @param holder - the identity of the new holder, if there is one.
   */
  onLost(holder?: string): void;
  /** Called with the identity of a holder that this process waits for, once for each holder. */
  onWaiting?(holder: string): void;
  /** Called with the error of a failed request, unless it repeats the last one. */
  log(message: string): void;
}

/**
 * Waits for the Lease `clustermesh-secrets-sync`, renews it, and waits again after it is lost.
 *
 * @returns after the signal is aborted, and the Lease is released if this process held it.
 */
export async function holdLease(api: KubernetesApi, options: LeaseOptions): Promise<void> {
  const candidate = new Candidate(api, options);
  const { signal, onAcquired, onLost } = options;
  while (await candidate.waitForLease()) {
    onAcquired();
    const end = await candidate.keepLease();
    if (signal.aborted) break;
    onLost(end.holder);
  }
  await candidate.release();
}

/** The result of an attempt to become or remain the holder. `sent` is when its write was sent, by the monotonic clock. */
type Attempt = { outcome: "held"; sent: number } | { outcome: "other"; holder: string } | { outcome: "failed" };

/** The Lease as it was last seen. */
interface Observation {
  resourceVersion: string;
  holder: string;
  transitions: number;
  acquireTime: string | undefined;
  /** Milliseconds. */
  duration: number;
  /** All that its holder changes. */
  content: string;
  /** When this content was first seen, by the monotonic clock. */
  since: number;
}

class Candidate {
  readonly #api: KubernetesApi;
  readonly #options: LeaseOptions;
  readonly #times: LeaseTimes;
  #seen: Observation | undefined;
  #pending: Promise<Attempt> | undefined;
  /** When the last successful write was sent, by the monotonic clock. */
  #renewed = Number.NEGATIVE_INFINITY;
  #awaited = "";
  #lastError = "";

  constructor(api: KubernetesApi, options: LeaseOptions) {
    this.#api = api;
    this.#options = options;
    this.#times = options.times ?? LEASE_TIMES;
  }

  /** Returns whether this process holds the Lease; false if the signal was aborted. */
  async waitForLease(): Promise<boolean> {
    const { signal, onWaiting } = this.#options;
    const { retryInterval, renewDeadline } = this.#times;
    while (!signal.aborted) {
      const attempt = await raceAgainst(this.#attempt(), Number.POSITIVE_INFINITY, signal);
      if (!attempt || signal.aborted) return false;
      if (attempt.outcome === "held") {
        // A write that was answered late may be outdated: it is made again.
        if (performance.now() - attempt.sent < renewDeadline) return true;
        continue;
      }
      if (attempt.outcome === "other" && attempt.holder !== this.#awaited) {
        this.#awaited = attempt.holder;
        onWaiting?.(attempt.holder);
      }
      await pause(retryInterval * (1 + Math.random() * 0.2), signal);
    }
    return false;
  }

  /** Renews until the Lease is lost, or the signal is aborted. */
  async keepLease(): Promise<{ holder?: string }> {
    const { signal } = this.#options;
    const { renewInterval, retryInterval, renewDeadline } = this.#times;
    const left = () => this.#renewed + renewDeadline - performance.now();
    let wait = renewInterval;
    for (;;) {
      await pause(Math.min(wait, left()), signal);
      if (signal.aborted || left() <= 0) return {};
      const attempt = await raceAgainst(this.#attempt(), left(), signal);
      if (attempt?.outcome === "other") {
        this.#awaited = attempt.holder;
        return { holder: attempt.holder };
      }
      wait = attempt?.outcome === "held" ? renewInterval : retryInterval;
    }
  }

  /** Releases the Lease if this process holds it, as client-go's `ReleaseOnCancel`. Gives up after the renew deadline. */
  async release(): Promise<void> {
    const never = new AbortController().signal;
    await raceAgainst(this.#release(), this.#times.renewDeadline, never);
  }

  async #release(): Promise<void> {
    await this.#pending;
    if (this.#seen?.holder !== this.#options.identity) return;
    const time = this.#time();
    const change = { holderIdentity: "", leaseDurationSeconds: 1, acquireTime: time, renewTime: time };
    try {
      await this.#write(this.#seen, change);
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      this.#logError(error);
    }
  }

  /** Tries to become or remain the holder. There is one attempt at a time: an earlier one that hangs is awaited. */
  #attempt(): Promise<Attempt> {
    this.#pending ??= this.#acquireOrRenew()
      .then((attempt) => {
        this.#lastError = "";
        return attempt;
      })
      .catch((error: unknown): Attempt => {
        if (!(error instanceof UserError)) throw error;
        // Another process was faster.
        if (!isConflict(error)) this.#logError(error);
        return { outcome: "failed" };
      })
      .finally(() => {
        this.#pending = undefined;
      });
    return this.#pending;
  }

  async #acquireOrRenew(): Promise<Attempt> {
    const { identity } = this.#options;
    if (this.#seen?.holder === identity) {
      try {
        return await this.#renew(this.#seen);
      } catch (error) {
        if (!isConflict(error)) throw error;
      }
    }
    const { namespace } = this.#options;
    const existing = await this.#api.get(leases, namespace, SYNC_OBJECT_NAME);
    if (!existing) return await this.#create();
    const seen = this.#observe(existing);
    if (seen.holder === identity) return await this.#renew(seen);
    if (seen.holder !== "" && performance.now() - seen.since < seen.duration) {
      return { outcome: "other", holder: seen.holder };
    }
    return await this.#takeOver(seen);
  }

  #renew(seen: Observation): Promise<Attempt> {
    const { acquireTime = this.#time(), transitions } = seen;
    return this.#claim(seen, acquireTime, transitions);
  }

  #takeOver(seen: Observation): Promise<Attempt> {
    return this.#claim(seen, this.#time(), seen.transitions + 1);
  }

  async #claim(seen: Observation, acquireTime: string, leaseTransitions: number): Promise<Attempt> {
    const sent = performance.now();
    await this.#write(seen, { ...this.#ownFields(acquireTime), leaseTransitions });
    this.#renewed = sent;
    return { outcome: "held", sent };
  }

  async #create(): Promise<Attempt> {
    const { namespace } = this.#options;
    const sent = performance.now();
    const lease = {
      apiVersion: "coordination.k8s.io/v1",
      kind: "Lease",
      metadata: { name: SYNC_OBJECT_NAME, namespace },
      spec: { ...this.#ownFields(this.#time()), leaseTransitions: 0 },
    };
    // client-node states Date for the times, which are strings in JSON.
    this.#observe(await this.#api.create(leases, namespace, lease as unknown as V1Lease));
    this.#renewed = sent;
    return { outcome: "held", sent };
  }

  #ownFields(acquireTime: string): object {
    return {
      holderIdentity: this.#options.identity,
      leaseDurationSeconds: Math.ceil(this.#times.duration / 1000),
      acquireTime,
      renewTime: this.#time(),
    };
  }

  async #write({ resourceVersion }: Observation, spec: object): Promise<void> {
    const patch = { metadata: { resourceVersion }, spec };
    this.#observe(await this.#api.mergePatch(leases, this.#options.namespace, SYNC_OBJECT_NAME, patch));
  }

  #observe({ metadata, spec = {} }: V1Lease): Observation {
    const { holderIdentity, leaseDurationSeconds, leaseTransitions, acquireTime } = spec as Record<string, unknown>;
    const content = JSON.stringify(spec);
    const seconds = typeof leaseDurationSeconds === "number" ? leaseDurationSeconds : this.#times.duration / 1000;
    this.#seen = {
      resourceVersion: metadata?.resourceVersion ?? "",
      holder: typeof holderIdentity === "string" ? holderIdentity : "",
      transitions: typeof leaseTransitions === "number" ? leaseTransitions : 0,
      acquireTime: typeof acquireTime === "string" ? acquireTime : undefined,
      duration: seconds * 1000,
      content,
      since: this.#seen?.content === content ? this.#seen.since : performance.now(),
    };
    return this.#seen;
  }

  #logError(error: UserError): void {
    const message = truncateLine(error.singleLineMessage);
    if (message !== this.#lastError) this.#options.log(message);
    this.#lastError = message;
  }

  /** Formats the time as a MicroTime, which has six digits of a second. */
  #time(): string {
    const now = this.#options.now?.() ?? new Date();
    return now.toISOString().replace(/\.(\d{3})Z$/, ".$1000Z");
  }
}
