/** A command as it would be typed again. Pure. */
import type { Call } from "../../lib/peer/foreign/foreign.ts";
import { shellQuote } from "../../lib/util/shell.ts";
import type { Option } from "./option.ts";

/** Flags that name files besides the arguments. */
const FILES = "filename";

/**
 * The call of a command that reads files: with the flags that it was given, and standard input in place of its files.
 *
 * @param program what the command is called: `import-secrets`, `kubectl clustermesh-secrets import`.
 * @param args the values of its flags; those that are the default are left out.
 */
export function describeCall(
  program: string,
  options: Readonly<Record<string, Option>>,
  args: Readonly<Record<string, unknown>>,
): Call {
  const flags = Object.entries(options)
    .filter(([name]) => name !== FILES)
    .flatMap(([name, option]) => formatFlag(name, option, args[name]));
  // A program of several words has all commands; one of one word has its own alone.
  const [, host] = /^(.+) \S+$/.exec(program) ?? [];
  return {
    rerun: [program, ...flags, "-"].join(" "),
    extract: host === undefined ? "extract-secret" : `${host} extract`,
  };
}

function formatFlag(name: string, { type, default: standard }: Option, value: unknown): string[] {
  if (value === undefined || value === standard) return [];
  if (type === "boolean") return [value === true ? `--${name}` : `--no-${name}`];
  return [value].flat().map((one) => {
    const word = shellQuote(String(one));
    return String(one).startsWith("-") ? `--${name}=${word}` : `--${name} ${word}`;
  });
}
