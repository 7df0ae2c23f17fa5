/** How `sync` makes commands in its messages ones that can be pasted. */

/** Adds the flags of the call to commands in texts, so that they can be pasted. */
export interface CommandCompletion {
  /** Completes a remedy. */
  inRemedy(text: string): string;
  /** Completes a remedy for users of other clusters, without the kubeconfig and the user of the call. */
  inEvent(text: string): string;
  /** Completes an error in one line, whose parts after the first `; ` are remedies. */
  inError(text: string): string;
}

/** Returns a record with its remedy completed, if it has one and there is a completion. */
export function withCompletedRemedy<T extends { remedy?: string | undefined }>(
  record: T,
  complete: ((text: string) => string) | undefined,
): T {
  return complete && record.remedy !== undefined ? { ...record, remedy: complete(record.remedy) } : record;
}
