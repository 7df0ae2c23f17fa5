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

/** Allows the restarts of one target at a time. */
export class RolloutGate {
  #target: string | undefined;
  #restarted: Change[] = [];
  #since = new Date(0);
  #isReported = false;

  /**
   * Asks for permission to restart workloads of a target. With permission, {@link end} has to follow.
   *
   * @param workloads - the target's, by which its own rollout is judged.
   * @param changes - what would be written.
   */
  begin(target: string, workloads: Workloads, changes: readonly Change[], now: Date): boolean {
    if (!this.isOver(target, workloads) || this.#target !== undefined) return false;
    this.#target = target;
    this.#restarted = changes.filter(isRestart);
    this.#since = now;
    this.#isReported = false;
    return true;
  }

  /** Whether no rollout of a target is under way. One that is over lets the next target begin. */
  isOver(target: string, workloads: Workloads): boolean {
    if (this.#target !== target) return true;
    const isOver = this.#restarted.every(({ name }) =>
      isAvailable(workloads.find((one) => one?.metadata?.name === name)),
    );
    if (isOver) this.release(target);
    return isOver;
  }

  /** The rollout under way, if there is one. */
  current(): Rollout | undefined {
    if (this.#target === undefined) return undefined;
    const workloads = this.#restarted.map(({ kind, name }) => describeObject(kind, name));
    return { target: this.#target, workloads, since: this.#since };
  }

  /** Returns the rollout of a target, once, if it takes longer than it should. */
  takeStalled(target: string, now: Date): Rollout | undefined {
    const isStalled = now.getTime() - this.#since.getTime() > MAX_ROLLOUT_MS;
    if (this.#target !== target || !isStalled || this.#isReported) return undefined;
    this.#isReported = true;
    return this.current();
  }

  /** Reports the changes that were made with permission. Without a restart among them, the next target may begin. */
  end(target: string, changes: readonly Change[]): void {
    if (this.#target !== target) return;
    this.#restarted = changes.filter(isRestart);
    if (this.#restarted.length === 0) this.release(target);
  }

  /** Ends the rollout of a target, as when it has left the mesh. */
  release(target: string): void {
    if (this.#target !== target) return;
    this.#target = undefined;
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
    const message = `${hold.message}, after ${workloads.join(" and ")} of ${target}, restarted at ${since.toISOString()}, is available`;
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
