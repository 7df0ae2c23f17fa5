/** Flags in all the forms that kubectl's users write, brought into one. Pure. */

import { escapeLine } from "../../lib/render/style.ts";
import { EXIT, UserError } from "../../lib/util/errors.ts";
import { findNearestName } from "../../lib/util/nearest.ts";
import type { Option } from "./option.ts";

/** Arguments in one form. */
export interface Normalized {
  /** Long flags; one that takes a value is followed by it, be it what it may. */
  flags: string[];
  positionals: string[];
}

/** What pflag, and so kubectl, takes for a boolean. */
const BOOLEANS: Record<string, boolean> = {
  ...Object.fromEntries(["1", "t", "T", "true", "TRUE", "True"].map((word) => [word, true])),
  ...Object.fromEntries(["0", "f", "F", "false", "FALSE", "False"].map((word) => [word, false])),
};

/**
 * Separates flags from positional arguments as pflag does, and pairs each flag with its value: `--f=v`, `--f v`, `-fv`,
 * `-f=v`, `-f v`. Unlike pflag, a value is never empty, and begins with `-` only behind `=`: so an unset variable does
 * not make a flag vanish, nor have it swallow the flag that follows.
 *
 * @throws UserError (exit code 2) if a flag is unknown, lacks its value, or has one that it does not take.
 */
export function normalizeArgs(
  argv: readonly string[],
  options: Readonly<Record<string, Option>>,
  program: string,
): Normalized {
  const flags: string[] = [];
  const positionals: string[] = [];
  let next = 0;
  while (next < argv.length) {
    const word = argv[next++] ?? "";
    if (word === "--") {
      positionals.push(...argv.slice(next));
      break;
    }
    if (word === "-" || !word.startsWith("-")) positionals.push(word);
    else if (word.startsWith("--")) readLong(word);
    else readShort(word);
  }
  return { flags, positionals };

  function readLong(word: string): void {
    const [, name = "", value] = /^--([^=]*)(?:=([\s\S]*))?$/.exec(word) ?? [];
    const option = optionOf(name);
    if (option) read(name, option, value);
    else if (name.startsWith("no-") && optionOf(name.slice(3))?.type === "boolean") {
      if (value !== undefined) throw new UserError(`--${name} takes no value`, EXIT.refused);
      flags.push(`--${name}`);
    } else throw unknown(`--${name}`);
  }

  /** One letter after the other, until one takes the rest of the word as its value. */
  function readShort(word: string): void {
    for (let rest = word.slice(1); rest !== ""; ) {
      const [name, option] = Object.entries(options).find(([, { alias }]) => alias === rest[0]) ?? [];
      if (name === undefined || option === undefined) throw unknown(word.replace(/(?<=-.+)=.*/s, ""));
      rest = rest.slice(1);
      if (option.type === "boolean" && !rest.startsWith("=")) flags.push(`--${name}`);
      else {
        read(name, option, rest === "" ? undefined : rest.replace(/^=/, ""));
        return;
      }
    }
  }

  /** Reads a flag whose value, if there is one in the same word, is `value`; else the next word may be it. */
  function read(name: string, { type }: Option, value: string | undefined): void {
    if (type !== "boolean") flags.push(`--${name}`, argumentOf(name, value));
    else if (value === undefined) flags.push(`--${name}`);
    else if (Object.hasOwn(BOOLEANS, value)) flags.push(BOOLEANS[value] ? `--${name}` : `--no-${name}`);
    else {
      throw new UserError(`invalid value ${JSON.stringify(value)} for --${name}: must be true or false`, EXIT.refused);
    }
  }

  function argumentOf(name: string, stated: string | undefined): string {
    const value = stated ?? argv[next++] ?? "";
    const isFlag = stated === undefined && value.startsWith("-") && value !== "-";
    if (isFlag || value.trim() === "") throw new UserError(`flag needs an argument: --${name}`, EXIT.refused);
    return value;
  }

  function optionOf(name: string): Option | undefined {
    return Object.hasOwn(options, name) ? options[name] : undefined;
  }

  function unknown(flag: string): UserError {
    const nearest = findNearestName(flag.replace(/^-+(no-)?/, ""), Object.keys(options));
    const hint = nearest === undefined ? `see ${program} --help` : `did you mean --${nearest}?`;
    return new UserError(`unknown flag: ${escapeLine(flag)}; ${hint}`, EXIT.refused);
  }
}
