/** Strict parsing of arguments. Pure. */
import parseFlags from "yargs-parser";
import { EXIT, UserError } from "../../lib/util/errors.ts";
import { type Normalized, normalizeArgs } from "./normalize.ts";
import type { Arguments, Grammar, Option } from "./option.ts";

/**
 * Parses the arguments of a command.
 *
 * @param program - name of the command, for messages.
 * @throws UserError (exit code 2) if a flag or an argument is unknown, empty, out of range, or repeated. With `--help`,
 *   which the caller answers, values are not validated.
 */
export function parseArguments<G extends Grammar>(
  program: string,
  { options, positionals, exclusive = [] }: G,
  argv: readonly string[],
): Arguments<G["options"]> {
  const normalized = normalizeArgs(argv, options, program);
  const values = parseValues(normalized, options);
  if (values.help !== true) {
    for (const [name, option] of Object.entries(options)) {
      checkValue(name, option, values[name], name === "output" && options["output-file"] !== undefined);
    }
    checkPositionals(program, positionals, normalized.positionals);
    for (const pair of exclusive) {
      const given = pair
        .filter((name) => isGiven(options[name], values[name]))
        .map((name) => formatFlagName(name, values[name]));
      if (given.length > 1) throw new UserError(`${given.join(" and ")} are mutually exclusive`, EXIT.refused);
    }
  }
  return { ...values, files: normalized.positionals } as Arguments<G["options"]>;
}

/** Parses normalized flags with yargs. Each flag is followed by its value, so that yargs does not guess. */
function parseValues({ flags }: Normalized, options: Readonly<Record<string, Option>>): Record<string, unknown> {
  const all = Object.entries(options);
  const namesOfType = (...types: Option["type"][]) =>
    all.filter(([, { type }]) => types.includes(type)).map(([name]) => name);
  const { _, ...values } = parseFlags(flags, {
    // A repeated string becomes an array. An option declared as an array does not accept values that start with a dash.
    string: namesOfType("string", "array"),
    boolean: namesOfType("boolean"),
    number: namesOfType("number"),
    narg: Object.fromEntries(namesOfType("string", "array", "number").map((name) => [name, 1])),
    default: Object.fromEntries(
      all.flatMap(([name, { default: value }]) => (value === undefined ? [] : [[name, value]])),
    ),
    configuration: { "nargs-eats-options": true, "camel-case-expansion": false, "dot-notation": false },
  });
  return { ...values, ...Object.fromEntries(namesOfType("array").map((name) => [name, [values[name] ?? []].flat()])) };
}

/** @param hasFileFlag - whether the flag sets a format, and `--output-file` the file. */
function checkValue(
  name: string,
  { type, choices, list, min, max }: Option,
  value: unknown,
  hasFileFlag: boolean,
): void {
  const values = value === undefined ? [] : [value].flat();
  const invalid = (message: string) => new UserError(message, EXIT.refused);
  if (type !== "array" && values.length > 1) throw invalid(`--${name} can be specified only once`);
  const wrong = choices && values.find((one) => !choices.includes(String(one)));
  if (wrong !== undefined) {
    const message = `invalid value ${JSON.stringify(wrong)} for --${name}: must be one of ${choices?.join(", ")}`;
    throw invalid(hasFileFlag ? `${message}\n  to write to a file, pass --output-file` : message);
  }
  const gap = list && values.find((one) => hasEmptyElement(String(one)));
  if (gap !== undefined)
    throw invalid(`invalid value ${JSON.stringify(gap)} for --${name}: must not contain an empty element`);
  if (type !== "number" || values.length === 0) return;
  const number = Number(values[0]);
  const [least, most] = [min ?? Number.NEGATIVE_INFINITY, max ?? Number.POSITIVE_INFINITY];
  if (!Number.isInteger(number)) throw invalid(`invalid value for --${name}: must be an integer`);
  if (number < least || number > most) {
    throw invalid(
      `invalid value for --${name}: must be ${max === undefined ? `at least ${min}` : `between ${min} and ${max}`}`,
    );
  }
}

/** Whether one of several elements is empty. `NAME=` alone is a single element. */
function hasEmptyElement(value: string): boolean {
  const [first = "", ...others] = value.split(",");
  return others.length > 0 && [first.replace(/^[^=]*=/, ""), ...others].some((one) => one.trim() === "");
}

/** Whether a flag has another value than its default. */
function isGiven(option: Option | undefined, value: unknown): boolean {
  return value !== undefined && value !== option?.default && !(Array.isArray(value) && value.length === 0);
}

function formatFlagName(name: string, value: unknown): string {
  return value === false ? `--no-${name}` : `--${name}`;
}

function checkPositionals(program: string, placeholder: string | undefined, values: readonly string[]): void {
  const [first] = values;
  if (placeholder === undefined && first !== undefined) {
    throw new UserError(
      `unexpected argument ${JSON.stringify(first)}: ${program} accepts no arguments; see '${program} --help'`,
      EXIT.refused,
    );
  }
  const empty = values.find((value) => value.trim() === "");
  if (empty !== undefined) {
    throw new UserError(`invalid argument ${JSON.stringify(empty)}: ${placeholder} must not be empty`, EXIT.refused);
  }
}
