/** What the build writes beside the programs, so that they answer without loading a command. */
import { readFileSync } from "node:fs";
import type { Grammar } from "./option.ts";

declare const __VERSION__: string | undefined;

export interface Prerendered {
  /** By what a command is called: its help text, as wide as help is at the most. */
  help: Record<string, string>;
  /** By a command's name: what there is to complete. */
  completion: Record<string, Grammar>;
}

/** Reads one of the files that the build wrote; undefined for a program that runs from source. */
export function readPrerendered<What extends keyof Prerendered>(what: What): Prerendered[What] | undefined {
  if (typeof __VERSION__ === "undefined") return undefined;
  return JSON.parse(readFileSync(new URL(`${what}.json`, import.meta.url), "utf8"));
}
