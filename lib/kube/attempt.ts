/** Results that may be errors, for reads whose failure is not fatal. */
import { toReadError, type UserError } from "../util/errors.ts";
import { ApiError } from "./api.ts";

export type Attempt<T> = { value: T } | { error: UserError };

/** Captures the result of a read, or its error. */
export async function attempt<T>(promise: Promise<T>): Promise<Attempt<T>> {
  try {
    return { value: await promise };
  } catch (error) {
    return { error: toReadError(error) };
  }
}

/**
 * Returns the value of an attempt.
 *
 * @throws the error of a failed attempt.
 */
export function unwrap<T>(result: Attempt<T>): T {
  if ("error" in result) throw result.error;
  return result.value;
}

/**
 * Returns the value of an attempt; undefined if the API server denied the request (403).
 *
 * @throws the error of an attempt that failed otherwise.
 */
export function unwrapUnlessForbidden<T>(result: Attempt<T>): T | undefined {
  return isForbidden(result) ? undefined : unwrap(result);
}

/** Whether the API server denied the request (403). */
export function isForbidden(result: Attempt<unknown>): boolean {
  return "error" in result && result.error instanceof ApiError && result.error.status === 403;
}
