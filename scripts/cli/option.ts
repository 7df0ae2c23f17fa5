/** What a command is made of: its flags, its arguments, its help, and what it does. */
import type { Options } from "yargs";

/** A flag, as yargs describes it, and what more is known of its value. */
export interface Option extends Options {
  type: "string" | "number" | "boolean" | "array";
  /** What a shell offers as its value, besides its choices. */
  completes?: "contexts" | "files";
  /** Set if a value may be several with commas between them, after a `NAME=` if there is one. */
  list?: true;
  /** The least and the greatest number it takes. Numbers are whole numbers. */
  min?: number;
  max?: number;
}

/** The arguments that a command takes. */
export interface Grammar {
  options: Record<string, Option>;
  /** What its positional arguments are called, as in its usage: FILE, CONTEXT; undefined if it takes none. */
  positionals?: string;
}

/** How wide a help text is at the most, and where there is no terminal. */
export const HELP_WIDTH = 100;

/** What a help text is made of. */
export interface HelpText {
  usage: string;
  description: string;
  examples: [command: string, description: string][];
  options: Record<string, Options>;
}

/** One program or command. */
export interface Command<O extends Record<string, Option>> extends HelpText, Grammar {
  options: O;
  /**
   * Does the work. Gives the exit code.
   *
   * @param program what the command is called, to say how to run it again.
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

/** The values of a command's flags by their names, and its positional arguments. */
export type Arguments<O extends Record<string, Option>> = {
  [K in keyof O]: O[K] extends { default: unknown } | { type: "array" } ? Value<O[K]> : Value<O[K]> | undefined;
} & { files: string[] };
