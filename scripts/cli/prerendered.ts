/** Help texts and completions, which the build writes next to the programs so that they need not load a command. */
import { readFileSync } from "node:fs";
import type { Grammar } from "./option.ts";

declare const __VERSION__: string | undefined;

export interface Prerendered {
  /** Help texts of maximum width, by the name of the command in each program. */
  help: Record<string, string>;
  /** Flags and arguments to complete, by command. */
  completion: Record<string, Grammar>;
}

/** Reads a file that the build wrote; undefined if the program runs from source. */
export function readPrerendered<What extends keyof Prerendered>(what: What): Prerendered[What] | undefined {
  if (typeof __VERSION__ === "undefined") return undefined;
  return JSON.parse(readFileSync(new URL(`${what}.json`, import.meta.url), "utf8"));
}
