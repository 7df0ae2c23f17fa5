/** The arguments of a command, read strictly. Pure: nothing is printed, loaded or contacted. */
import parseFlags from "yargs-parser";
import { EXIT, UserError } from "../../lib/util/errors.ts";
import { type Normalized, normalizeArgs } from "./normalize.ts";
import type { Arguments, Grammar, Option } from "./option.ts";

/**
 * Reads the arguments of a command.
 *
 * @param program what the command is called, for messages.
 * @throws UserError (exit code 2) in the words of kubectl, if a flag or an argument is unknown, empty, out of its range,
 *   or given too often. `--help` beside others is answered by whoever calls this, so values are not judged then.
 */
export function parseArguments<G extends Grammar>(
  program: string,
  { options, positionals }: G,
  argv: readonly string[],
): Arguments<G["options"]> {
  const normalized = normalizeArgs(argv, options, program);
  const values = valuesOf(normalized, options);
  if (values.help !== true) {
    for (const [name, option] of Object.entries(options)) checkValue(name, option, values[name]);
    checkPositionals(program, positionals, normalized.positionals);
  }
  return { ...values, files: normalized.positionals } as Arguments<G["options"]>;
}

/** The values by yargs' parser, which is given each flag with its value, so that it divides nothing by rules of its own. */
function valuesOf({ flags }: Normalized, options: Readonly<Record<string, Option>>): Record<string, unknown> {
  const all = Object.entries(options);
  const namesOf = (...types: Option["type"][]) =>
    all.filter(([, { type }]) => types.includes(type)).map(([name]) => name);
  const { _, ...values } = parseFlags(flags, {
    // A flag that is repeated is an array by itself; one that is declared as such would take what looks like a flag for one.
    string: namesOf("string", "array"),
    boolean: namesOf("boolean"),
    number: namesOf("number"),
    narg: Object.fromEntries(namesOf("string", "array", "number").map((name) => [name, 1])),
    default: Object.fromEntries(
      all.flatMap(([name, { default: value }]) => (value === undefined ? [] : [[name, value]])),
    ),
    configuration: { "nargs-eats-options": true, "camel-case-expansion": false, "dot-notation": false },
  });
  return { ...values, ...Object.fromEntries(namesOf("array").map((name) => [name, [values[name] ?? []].flat()])) };
}

function checkValue(name: string, { type, choices, list, min, max }: Option, value: unknown): void {
  const values = value === undefined ? [] : [value].flat();
  const invalid = (message: string) => new UserError(message, EXIT.refused);
  if (type !== "array" && values.length > 1) throw invalid(`--${name} may be given only once`);
  const wrong = choices && values.find((one) => !choices.includes(String(one)));
  if (wrong !== undefined) {
    throw invalid(`invalid value ${JSON.stringify(wrong)} for --${name}: must be one of ${choices?.join(", ")}`);
  }
  const gap = list && values.find((one) => hasEmptyElement(String(one)));
  if (gap !== undefined) throw invalid(`invalid value ${JSON.stringify(gap)} for --${name}: an element is empty`);
  if (type !== "number" || values.length === 0) return;
  const number = Number(values[0]);
  const [least, most] = [min ?? Number.NEGATIVE_INFINITY, max ?? Number.POSITIVE_INFINITY];
  if (!Number.isInteger(number)) throw invalid(`invalid value for --${name}: must be a whole number`);
  if (number < least || number > most) {
    throw invalid(
      `invalid value for --${name}: must be ${max === undefined ? `at least ${min}` : `from ${min} to ${max}`}`,
    );
  }
}

/** Whether one of several elements is empty. `NAME=` alone is none of several. */
function hasEmptyElement(value: string): boolean {
  const [first = "", ...others] = value.split(",");
  return others.length > 0 && [first.replace(/^[^=]*=/, ""), ...others].some((one) => one.trim() === "");
}

function checkPositionals(program: string, called: string | undefined, values: readonly string[]): void {
  const [first] = values;
  if (called === undefined && first !== undefined) {
    throw new UserError(
      `unexpected argument ${JSON.stringify(first)}: ${program} takes none; see ${program} --help`,
      EXIT.refused,
    );
  }
  const empty = values.find((value) => value.trim() === "");
  if (empty !== undefined) {
    throw new UserError(`invalid argument ${JSON.stringify(empty)}: ${called} must not be empty`, EXIT.refused);
  }
}
