/** Waiting, until a signal is aborted. */
import { setTimeout as sleep } from "node:timers/promises";

/** Waits for some milliseconds, or until the signal is aborted. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(Math.max(0, ms), undefined, { signal }).catch((error: Error) => {
    if (error.name !== "AbortError") throw error;
  });
}

/**
 * Waits for a promise for at most some milliseconds, which may be infinite, and until the signal is aborted.
 *
 * @returns undefined if it is not settled by then; the work behind it continues.
 * @throws the error of the promise.
 */
export function raceAgainst<T>(promise: Promise<T>, ms: number, signal: AbortSignal): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const end = () => settle(() => resolve(undefined));
    const timer = Number.isFinite(ms) ? setTimeout(end, Math.max(0, ms)) : undefined;
    const settle = (result: () => void) => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      result();
    };
    if (signal.aborted) end();
    else signal.addEventListener("abort", end);
    promise.then(
      (value) => settle(() => resolve(value)),
      (error: unknown) => settle(() => reject(error)),
    );
  });
}

/** Spreads tasks that would otherwise be due at the same time: 90 to 110 %. */
export function jitter(milliseconds: number): number {
  return milliseconds * (0.9 + 0.2 * Math.random());
}
