export interface WordException {
  path: string;
  phrase: string;
  reason: string;
}
export interface FoundWord {
  path: string;
  line: number;
  word: string;
  instead: string;
  text: string;
}
export const WORDS: readonly { pattern: RegExp; instead: string }[];
export const EXCEPTIONS: readonly WordException[];
export function findWords(
  files: readonly { path: string; text: string }[],
  exceptions?: readonly WordException[],
): { found: FoundWord[]; stale: WordException[] };
