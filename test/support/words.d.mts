export interface AllowedLine {
  path: string;
  text: string;
  reason: string;
}
export interface FoundWord {
  line: number;
  word: string;
  instead: string;
  text: string;
  reason?: string;
}
export const WORDS: readonly { pattern: RegExp; instead: string }[];
export const ALLOWED: readonly AllowedLine[];
export function findWords(path: string, text: string, allowed?: readonly AllowedLine[]): FoundWord[];
