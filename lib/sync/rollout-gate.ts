/** Restarts workloads of one target at a time: the next only when the last is available. Pure. */
import type { V1DaemonSet, V1Deployment } from "@kubernetes/client-node";
import type { Change } from "../import/plan/change.ts";

/** The workloads of a target, as last read. */
export type Workloads = readonly (V1Deployment | V1DaemonSet | undefined)[];

/** Allows the restarts of one target at a time. */
export class RolloutGate {
  #target: string | undefined;
  #restarted: string[] = [];

  /**
   * Asks for permission to restart workloads of a target. With permission, {@link end} has to follow.
   *
   * @param workloads - the target's, by which its own rollout is judged.
   */
  begin(target: string, workloads: Workloads): boolean {
    if (!this.isOver(target, workloads) || this.#target !== undefined) return false;
    this.#target = target;
    return true;
  }

  /** Whether no rollout of a target is under way. One that is over lets the next target begin. */
  isOver(target: string, workloads: Workloads): boolean {
    if (this.#target !== target) return true;
    const isOver = this.#restarted.every((name) => isAvailable(workloads.find((one) => one?.metadata?.name === name)));
    if (isOver) this.release(target);
    return isOver;
  }

  /** Reports the changes that were made with permission. Without a restart among them, the next target may begin. */
  end(target: string, changes: readonly Change[]): void {
    if (this.#target !== target) return;
    this.#restarted = changes.filter(({ verb }) => verb === "json-patch").map(({ name }) => name);
    if (this.#restarted.length === 0) this.release(target);
  }

  /** Ends the rollout of a target, as when it has left the mesh. */
  release(target: string): void {
    if (this.#target !== target) return;
    this.#target = undefined;
    this.#restarted = [];
  }
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
