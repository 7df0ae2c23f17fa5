/** Command lines that repeat a call. Pure. */
import type { Call } from "../../lib/peer/foreign/foreign.ts";
import { shellQuote } from "../../lib/util/shell.ts";
import type { Option } from "./option.ts";

type Options = Readonly<Record<string, Option>>;
type Values = Readonly<Record<string, unknown>>;

/**
 * Formats a command line with the flags of a call, quoted for a shell.
 *
 * @param program - name of the command, such as `import-secrets` or `kubectl clustermesh-secrets import`.
 * @param args - values of the flags; default values are omitted.
 * @param positionals - arguments after the flags.
 */
export function formatCommand(program: string, options: Options, args: Values, positionals: readonly string[]): string {
  const flags = Object.entries(options).flatMap(([name, option]) => formatFlag(name, option, args[name]));
  return [program, ...flags, ...positionals.map(shellQuote)].join(" ");
}

/**
 * Describes the call of a command that reads files: the same call reading stdin, and the matching extract command.
 *
 * @param stdinFlag - the flag whose file is read from stdin; by default, the positional files are.
 */
export function describeCall(
  program: string,
  options: Options,
  args: Values & { files: readonly string[] },
  stdinFlag?: string,
): Call {
  // The name of a program with all commands ends with the command; extract-secret and import-secrets are single words.
  const [, host] = /^(.+) \S+$/.exec(program) ?? [];
  return {
    rerun:
      stdinFlag === undefined
        ? formatCommand(program, options, { ...args, filename: undefined }, ["-"])
        : formatCommand(program, options, { ...args, [stdinFlag]: "-" }, args.files),
    extract: host === undefined ? "extract-secret" : `${host} extract`,
  };
}

function formatFlag(name: string, { type, default: defaultValue }: Option, value: unknown): string[] {
  if (value === undefined || value === defaultValue) return [];
  if (type === "boolean") return [value === true ? `--${name}` : `--no-${name}`];
  return [value].flat().map((one) => {
    const word = shellQuote(String(one));
    return String(one).startsWith("-") ? `--${name}=${word}` : `--${name} ${word}`;
  });
}
