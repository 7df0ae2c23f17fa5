/** The parts of a command: flags, arguments, help and action. */
import type { Options } from "yargs";

/** A flag as yargs describes it, and the constraints on its value. */
export interface Option extends Options {
  type: "string" | "number" | "boolean" | "array";
  /** What the shell completes for the value, besides the choices. */
  completes?: "contexts" | "files";
  /** Set if a value can be a comma-separated list, after an optional `NAME=`. */
  list?: true;
  /** Range of a number, inclusive. Numbers are integers. */
  min?: number;
  max?: number;
}

/** The arguments of a command. */
export interface Grammar {
  options: Record<string, Option>;
  /** Placeholder of the positional arguments in the usage line: FILE, CONTEXT; undefined if there are none. */
  positionals?: string;
  /** Pairs of flags that are mutually exclusive. */
  exclusive?: readonly (readonly [string, string])[];
}

/** Maximum width of a help text, and its width without a terminal. */
export const HELP_WIDTH = 100;

/** The content of a help text. In `usage` and `examples`, `$0` stands for the program. */
export interface HelpText {
  usage: string;
  description: string;
  examples: [command: string, description: string][];
  options: Record<string, Option>;
  exitCodes: Readonly<Record<number, string>>;
}

export interface Command<O extends Record<string, Option>> extends HelpText, Grammar {
  options: O;
  /**
   * Runs the command.
   *
   * @param program - name of the command as it was called, such as `kubectl clustermesh-secrets import`.
   * @returns the exit code.
   */
  run(args: Arguments<O>, program: string): Promise<number>;
}

type Value<T extends Options> = T extends { type: "boolean" }
  ? boolean
  : T extends { type: "number" }
    ? number
    : T extends { type: "array" }
      ? string[]
      : string;

/** The values of a command's flags by name, and its positional arguments. */
export type Arguments<O extends Record<string, Option>> = {
  [K in keyof O]: O[K] extends { default: unknown } | { type: "array" } ? Value<O[K]> : Value<O[K]> | undefined;
} & { files: string[] };
