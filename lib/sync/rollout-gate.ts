/** Restarts workloads of one target at a time: the next only when the last is available. Pure. */
import type { V1DaemonSet, V1Deployment } from "@kubernetes/client-node";
import { type Change, describeObject } from "../import/plan/change.ts";
import type { PlannedHold } from "./plan-target.ts";

/** The workloads of a target, as last read. */
export type Workloads = readonly (V1Deployment | V1DaemonSet | undefined)[];

/** A rollout that others wait for. */
export interface Rollout {
  target: string;
  /** Such as `deployment/clustermesh-apiserver`. */
  workloads: string[];
  /** When it was permitted. */
  since: Date;
}

/** How long a rollout takes at most without a fault: the default `progressDeadlineSeconds` of a Deployment, in milliseconds. */
const MAX_ROLLOUT_MS = 600_000;

/** A target. Another cluster may have its name. */
export interface RestartTarget {
  target: string;
  /** The uid of its ConfigMap `cilium-config`. */
  uid: string | undefined;
}

/** Allows the restarts of one target at a time. Times of readings are by the monotonic clock, in milliseconds. */
export class RolloutGate {
  #holder: RestartTarget | undefined;
  #restarted: Change[] = [];
  #since = new Date(0);
  /** When the restarts were written; infinite until then. */
  #writtenAt = Number.POSITIVE_INFINITY;
  #isReported = false;

  /**
   * Asks for permission to restart workloads of a target. With permission, {@link end} has to follow.
   *
   * @param changes - what would be written.
   */
  begin(holder: RestartTarget, changes: readonly Change[], now: Date): boolean {
    if (this.#holder) return false;
    this.#holder = holder;
    this.#restarted = changes.filter(isRestart);
    this.#since = now;
    this.#writtenAt = Number.POSITIVE_INFINITY;
    this.#isReported = false;
    return true;
  }

  /**
   * Judges the rollout of a target by a reading. One that is over lets the next target begin. A workload that is missing has
   * no rollout.
   *
   * @param readAt - when the reading began: one from before the restart does not show it.
   */
  noteReading(target: RestartTarget, workloads: Workloads, readAt: number): void {
    if (!this.isUnderWay(target) || readAt < this.#writtenAt) return;
    const restarted = workloads.filter((one) => this.#restarted.some(({ name }) => one?.metadata?.name === name));
    if (restarted.every(isAvailable)) this.release(target);
  }

  /** Whether the rollout of a target is under way. */
  isUnderWay({ target, uid }: RestartTarget): boolean {
    return this.#holder?.target === target && this.#holder.uid === uid;
  }

  /** The rollout under way, if there is one. */
  current(): Rollout | undefined {
    if (!this.#holder) return undefined;
    const workloads = this.#restarted.map(({ kind, name }) => describeObject(kind, name));
    return { target: this.#holder.target, workloads, since: this.#since };
  }

  /** Returns the rollout under way, once, if it takes longer than it should. */
  takeStalled(now: Date): Rollout | undefined {
    if (this.#isReported || now.getTime() - this.#since.getTime() <= MAX_ROLLOUT_MS) return undefined;
    const rollout = this.current();
    this.#isReported = rollout !== undefined;
    return rollout;
  }

  /**
   * Reports the changes that were made with permission. Without a restart among them, the next target may begin.
   *
   * @param writtenAt - when the last of them was made, or later.
   */
  end(holder: RestartTarget, changes: readonly Change[], writtenAt: number): void {
    if (!this.isUnderWay(holder)) return;
    this.#restarted = changes.filter(isRestart);
    this.#writtenAt = writtenAt;
    if (this.#restarted.length === 0) this.release(holder);
  }

  /** Ends the rollout of a target, as when it has left the mesh. */
  release(target: RestartTarget): void {
    if (!this.isUnderWay(target)) return;
    this.#holder = undefined;
    this.#restarted = [];
  }
}

/**
 * Returns what names a rollout in the holds that end with it, which then need no command.
 *
 * @param others - the holds of a plan with the restarts: those do not end with the rollout.
 */
export function explainWait(
  { target, workloads, since }: Rollout,
  others: readonly PlannedHold[],
): (hold: PlannedHold) => PlannedHold {
  const remaining = new Set(others.flatMap(({ reason, peer }) => (reason === "restart" ? [peer] : [])));
  return (hold: PlannedHold): PlannedHold => {
    if (hold.reason !== "restart" || remaining.has(hold.peer)) return hold;
    const rollout = `the rollout of ${workloads.join(" and ")} in ${target} (started ${since.toISOString()})`;
    const message = `${hold.message}; waits until ${rollout} completes`;
    const { remedy: _, ...waiting } = hold;
    return { ...waiting, message };
  };
}

/** Whether a change restarts pods. */
export function isRestart({ verb }: Change): boolean {
  return verb === "json-patch";
}

/** Whether all pods of a workload are of its latest generation and available. */
function isAvailable(workload: V1Deployment | V1DaemonSet | undefined): boolean {
  const { metadata, status } = workload ?? {};
  if ((status?.observedGeneration ?? 0) < (metadata?.generation ?? 0)) return false;
  if (status && "desiredNumberScheduled" in status) {
    const { desiredNumberScheduled, updatedNumberScheduled = 0, numberAvailable = 0 } = status;
    return updatedNumberScheduled >= desiredNumberScheduled && numberAvailable >= desiredNumberScheduled;
  }
  const { updatedReplicas = 0, availableReplicas = 0 } = (status ?? {}) as V1Deployment["status"] & object;
  const wanted = (workload as V1Deployment | undefined)?.spec?.replicas ?? 1;
  return updatedReplicas >= wanted && availableReplicas >= wanted;
}
