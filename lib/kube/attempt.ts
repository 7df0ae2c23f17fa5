/** Answers that may be errors, so that what is not needed does not stop the work. */
import { UserError } from "../util/errors.ts";
import { ApiError } from "./api.ts";

export type Attempt<T> = { value: T } | { error: UserError };

/** The answer, or the UserError it failed with. Anything else is a fault of the program and is thrown. */
export async function attempt<T>(promise: Promise<T>): Promise<Attempt<T>> {
  try {
    return { value: await promise };
  } catch (error) {
    if (error instanceof UserError) return { error };
    throw error;
  }
}

/** @throws the error of an attempt that failed. */
export function unwrap<T>(result: Attempt<T>): T {
  if ("error" in result) throw result.error;
  return result.value;
}

/** The value; undefined where it is forbidden. Other errors are thrown. */
export function unwrapUnlessForbidden<T>(result: Attempt<T>): T | undefined {
  return isForbidden(result) ? undefined : unwrap(result);
}

export function isForbidden(result: Attempt<unknown>): boolean {
  return "error" in result && result.error instanceof ApiError && result.error.status === 403;
}
