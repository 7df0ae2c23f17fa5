/** Normalization of flags, in all forms that kubectl accepts. Pure. */
import { escapeLine } from "../../lib/render/style.ts";
import { EXIT, UserError } from "../../lib/util/errors.ts";
import { findNearestName } from "../../lib/util/nearest.ts";
import type { Option } from "./option.ts";

/** Normalized arguments. */
export interface Normalized {
  /** Long flags, each followed by its value unless it is a boolean. */
  flags: string[];
  positionals: string[];
}

/** The boolean values of pflag, which kubectl uses. */
const BOOLEANS: Record<string, boolean> = {
  ...Object.fromEntries(["1", "t", "T", "true", "TRUE", "True"].map((word) => [word, true])),
  ...Object.fromEntries(["0", "f", "F", "false", "FALSE", "False"].map((word) => [word, false])),
};

/**
 * Separates flags from positional arguments as pflag does, and pairs each flag with its value: `--f=v`, `--f v`, `-fv`,
 * `-f=v`, `-f v`. Unlike in pflag, a value is never empty, and starts with `-` only after `=`: an unset variable neither
 * hides its flag nor turns the next flag into its value.
 *
 * @param program - name of the command, for messages.
 * @throws UserError (exit code 2) if a flag is unknown, lacks its value, or does not accept one.
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
    else if (word.startsWith("--")) parseLong(word);
    else parseShort(word);
  }
  return { flags, positionals };

  function parseLong(word: string): void {
    const [, name = "", value] = /^--([^=]*)(?:=([\s\S]*))?$/.exec(word) ?? [];
    const option = findOption(name);
    if (option) parseFlag(name, option, value);
    else if (name.startsWith("no-") && findOption(name.slice(3))?.type === "boolean") {
      if (value !== undefined) throw new UserError(`--${name} does not accept a value`, EXIT.refused);
      flags.push(`--${name}`);
    } else throw unknownFlagError(`--${name}`);
  }

  /** Parses single-letter flags; if one takes a value, it is the rest of the word. */
  function parseShort(word: string): void {
    for (let rest = word.slice(1); rest !== ""; ) {
      const [name, option] = Object.entries(options).find(([, { alias }]) => alias === rest[0]) ?? [];
      if (name === undefined || option === undefined) throw unknownFlagError(word.replace(/(?<=-.+)=.*/s, ""));
      rest = rest.slice(1);
      if (option.type === "boolean" && !rest.startsWith("=")) flags.push(`--${name}`);
      else {
        parseFlag(name, option, rest === "" ? undefined : rest.replace(/^=/, ""));
        return;
      }
    }
  }

  /** Parses a flag with the value `value`; without one, the next word is the value. */
  function parseFlag(name: string, { type }: Option, value: string | undefined): void {
    if (type !== "boolean") flags.push(`--${name}`, takeValue(name, value));
    else if (value === undefined) flags.push(`--${name}`);
    else if (Object.hasOwn(BOOLEANS, value)) flags.push(BOOLEANS[value] ? `--${name}` : `--no-${name}`);
    else {
      throw new UserError(`invalid value ${JSON.stringify(value)} for --${name}: must be true or false`, EXIT.refused);
    }
  }

  function takeValue(name: string, inlineValue: string | undefined): string {
    const value = inlineValue ?? argv[next++] ?? "";
    const isFlag = inlineValue === undefined && value.startsWith("-") && value !== "-";
    if (isFlag || value.trim() === "") {
      const { choices } = options[name] ?? {};
      const hint = choices ? ` (one of ${choices.join(", ")})` : "";
      throw new UserError(`flag needs an argument: --${name}${hint}`, EXIT.refused);
    }
    return value;
  }

  function findOption(name: string): Option | undefined {
    return Object.hasOwn(options, name) ? options[name] : undefined;
  }

  function unknownFlagError(flag: string): UserError {
    const [, negation = "", name = ""] = /^-+(no-)?(.*)$/s.exec(flag) ?? [];
    const nearest = findNearestName(name, Object.keys(options));
    if (nearest === undefined)
      return new UserError(`unknown flag: ${escapeLine(flag)}; see '${program} --help'`, EXIT.refused);
    const prefix = options[nearest]?.type === "boolean" ? negation : "";
    return new UserError(`unknown flag: ${escapeLine(flag)}; did you mean --${prefix}${nearest}?`, EXIT.refused);
  }
}
