/** When failed tasks of `sync` are tried again. All durations are in milliseconds. */
import { jitter } from "./pause.ts";

/** The delay before the first retry, doubled for each further one. */
export const FIRST_RETRY_MS = 5_000;
const LAST_RETRY_MS = 300_000;
/** How often a target that other clients keep changing is read and written again before that is a failure. */
const MAX_CONFLICTS = 10;
/** The delay before that, doubled for each further conflict. */
const FIRST_CONFLICT_RETRY_MS = 50;
const LAST_CONFLICT_RETRY_MS = 1_000;

/**
 * Returns the delay before a failed task is tried again, at most the interval.
 *
 * @param failures - in a row, at least 1.
 */
export function retryDelay(failures: number, interval: number): number {
  return jitter(Math.min(FIRST_RETRY_MS * 2 ** (failures - 1), LAST_RETRY_MS, interval));
}

/**
 * Returns the delay before a write that another client prevented is tried again; undefined if that is a failure now.
 *
 * @param conflicts - in a row, at least 1.
 */
export function conflictDelay(conflicts: number): number | undefined {
  if (conflicts > MAX_CONFLICTS) return undefined;
  return Math.random() * Math.min(FIRST_CONFLICT_RETRY_MS * 2 ** conflicts, LAST_CONFLICT_RETRY_MS);
}
