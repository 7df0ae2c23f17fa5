/** Abort signals. */
import { setMaxListeners } from "node:events";

/**
 * Waits for a promise until a signal aborts. The work behind it is not stopped.
 *
 * @throws the reason of the signal, or the error of the promise
 */
export async function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  let onAbort = () => {};
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(signal.reason);
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

/**
 * Returns a controller that aborts with a signal, until it is unlinked. A long-lived signal has no listeners of ended requests.
 */
export function linkAbort(signal: AbortSignal | undefined): { abort: AbortController; unlink(): void } {
  const abort = new AbortController();
  if (!signal) return { abort, unlink: () => {} };
  const onAbort = () => abort.abort(signal.reason);
  if (signal.aborted) onAbort();
  setMaxListeners(0, signal);
  signal.addEventListener("abort", onAbort, { once: true });
  return { abort, unlink: () => signal.removeEventListener("abort", onAbort) };
}
