/** Watches the list of members. */
import { describeAnyError } from "../util/errors.ts";
import type { MemberSource } from "./members.ts";
import { pause } from "./pause.ts";

export interface ListWatchOptions {
  /** Called whenever the list may have changed. */
  onChange(): void;
  /** Called if the watch failed, unless it fails again at once for the same cause. */
  onFailure(error: string): void;
  /** The delay before a watch that ended is started again, in milliseconds. */
  retryAfter: number;
  signal: AbortSignal;
}

/** Watches the list of members until the signal is aborted; returns at once if the list never changes. */
export async function watchList(
  { watch }: Pick<MemberSource, "watch">,
  { onChange, onFailure, retryAfter, signal }: ListWatchOptions,
): Promise<void> {
  let reported: string | undefined;
  while (watch && !signal.aborted) {
    const started = performance.now();
    try {
      await watch(onChange, signal);
    } catch (thrown) {
      if (signal.aborted) return;
      const error = describeAnyError(thrown);
      const hasLasted = performance.now() - started > retryAfter;
      if (hasLasted || error !== reported) onFailure(error);
      reported = error;
    }
    await pause(retryAfter, signal);
  }
}
