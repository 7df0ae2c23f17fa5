/** What all programs share: arguments as kubectl's users know them, streams, and exit codes. */
import type { Options } from "yargs";
import parseArguments from "yargs-parser";
import { EXIT, UserError } from "../lib/peer/errors.ts";
import { nearestOf } from "../lib/peer/nearest.ts";
import { harmless } from "../lib/show/style.ts";
import type { Completed, Option } from "./complete.ts";
import type { HelpText } from "./help.ts";
import { showVersion, style, tell, traced } from "./terminal.ts";

/** One program or command: its help, its options, and what it does. It answers with its exit code. */
export interface Command<O extends Record<string, Option>> extends HelpText, Completed {
  options: O;
  run(args: Arguments<O>): Promise<number>;
}

type Value<T extends Options> = T extends { type: "boolean" }
  ? boolean
  : T extends { type: "number" }
    ? number
    : T extends { type: "array" } | { array: true }
      ? string[]
      : string;

export type Arguments<O extends Record<string, Option>> = {
  [K in keyof O]: O[K] extends { default: unknown } | { type: "array" } ? Value<O[K]> : Value<O[K]> | undefined;
} & { files: string[] };

/** Options by which every program reaches a cluster; their names are kubectl's. */
export const clusterOptions = {
  kubeconfig: {
    type: "string",
    describe: "path of the kubeconfig; else KUBECONFIG, else ~/.kube/config",
    completes: "files",
  },
  namespace: { type: "string", alias: "n", describe: "Cilium's namespace; else it is looked for" },
  as: { type: "string", describe: "user to impersonate" },
  "as-group": { type: "array", string: true, describe: "group to impersonate (repeatable)" },
  "as-uid": { type: "string", describe: "uid to impersonate" },
  "request-timeout": { type: "string", default: "30s", describe: "how long one request may take; 0 for no limit" },
  debug: { type: "boolean", default: false, describe: "tell each request, and a stack where one goes wrong" },
} as const satisfies Record<string, Option>;

/**
 * Reads a duration as kubectl does: `30s`, `1m30s`, `500ms`, or a plain number of seconds.
 *
 * @returns milliseconds; 0 stands for no limit.
 * @throws UserError (exit code 2)
 */
export function duration(text: string, flag: string): number {
  const units: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
  if (/^\d+$/.test(text)) return Number(text) * 1000;
  if (!/^(\d+(\.\d+)?(ms|s|m|h))+$/.test(text)) {
    throw new UserError(`--${flag} ${JSON.stringify(text)} is no duration; write for example 30s or 5m`, 2);
  }
  return [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)].reduce(
    (sum, [, value, unit]) => sum + Number(value) * (units[unit ?? ""] ?? 0),
    0,
  );
}

/**
 * Runs a command: reads its arguments strictly, and turns what goes wrong into a line or two on stderr and an exit
 * code. Ends the process, as soon as what was written to stdout is out.
 */
export async function main<O extends Record<string, Option>>(
  program: string,
  command: Command<O>,
  argv: string[],
): Promise<void> {
  endQuietlyOnClosedPipe();
  const code = await run(program, command, argv);
  process.exitCode = code;
  // To let connections and timers end by themselves takes milliseconds.
  process.stdout.write("", () => process.stderr.write("", () => process.exit(code)));
}

async function run<O extends Record<string, Option>>(
  program: string,
  command: Command<O>,
  argv: string[],
): Promise<number> {
  try {
    if (argv[0] === "__complete") {
      const { complete } = await import("./complete.ts");
      process.stdout.write(await complete({ ...command, options: { ...command.options, ...common } }, argv.slice(1)));
      return EXIT.done;
    }
    const args = await parse(program, command, argv);
    if (args?.debug) traced("loaded");
    return args === undefined ? EXIT.done : await command.run(args);
  } catch (error) {
    const known = error instanceof UserError;
    const message = error instanceof Error ? error.message : String(error);
    tell(`${style.red("error")}: ${harmless(known ? message : `unexpected: ${message}`)}`);
    if (argv.includes("--debug") && error instanceof Error) tell(harmless(error.stack ?? ""));
    else if (!known) tell("  this is a fault of the program; --debug shows where");
    return known ? error.exitCode : EXIT.failed;
  }
}

const common = {
  help: { alias: "h", type: "boolean", describe: "show this" },
  version: { type: "boolean", describe: "show the version" },
} as const satisfies Record<string, Option>;

/**
 * Reads the arguments by yargs' parser. yargs itself is loaded for the help alone; what it would check is checked here.
 */
async function parse<O extends Record<string, Option>>(
  program: string,
  command: Command<O>,
  argv: string[],
): Promise<Arguments<O> | undefined> {
  const { options, positionals } = command;
  const all = Object.entries<Option>({ ...options, ...common });
  const aliases = Object.fromEntries(all.map(([name, { alias }]) => [name, [alias ?? []].flat()]));
  checkFlags(argv, Object.entries(aliases).flat(2), program);
  const ofType = (wanted: Options["type"]) => all.filter(([, { type }]) => type === wanted).map(([name]) => name);
  const args = parseArguments(argv, {
    alias: aliases,
    string: ofType("string"),
    boolean: ofType("boolean"),
    number: ofType("number"),
    array: ofType("array").map((key) => ({ key, string: true })),
    default: Object.fromEntries(
      all.flatMap(([name, { default: value }]) => (value === undefined ? [] : [[name, value]])),
    ),
    configuration: {
      "greedy-arrays": false,
      "camel-case-expansion": false,
      "dot-notation": false,
      "parse-positional-numbers": false,
    },
  });
  if (args.help) {
    const { helpOf } = await import("./help.ts");
    process.stdout.write(`${await helpOf(program, { ...command, options: { ...options, ...common } })}\n`);
    return undefined;
  }
  if (args.version) {
    showVersion();
    return undefined;
  }
  for (const [name, option] of Object.entries(options)) checkValue(name, option, args[name], program);
  const files = args._.map(String);
  if (positionals === undefined && files.length > 0) {
    throw new UserError(`${files[0]} is not understood: ${program} takes no files; see ${program} --help`, 2);
  }
  const lists = ofType("array").map((name) => [name, args[name] ?? []]);
  return { ...args, ...Object.fromEntries(lists), files } as Arguments<O>;
}

/** yargs suggests commands but not flags, so an unknown flag is answered here. */
function checkFlags(argv: readonly string[], allowed: readonly string[], program: string): void {
  for (const argument of argv) {
    if (argument === "--") return;
    const match = /^--?(?:no-)?([^=\s]+)/.exec(argument);
    if (!match?.[1] || argument === "-" || /^-\d/.test(argument)) continue;
    const name = match[1];
    if (!argument.startsWith("--") && name.length > 1 && allowed.includes(name[0] ?? "")) continue;
    if (allowed.includes(name)) continue;
    const nearest = nearestOf(
      name,
      allowed.filter((flag) => flag.length > 1),
    );
    const hint = nearest === undefined ? `see ${program} --help` : `did you mean --${nearest}?`;
    throw new UserError(`there is no flag ${argument.replace(/=.*/, "")}; ${hint}`, 2);
  }
}

function checkValue(name: string, option: Options, value: unknown, program: string): void {
  const values = value === undefined ? [] : [value].flat();
  if (option.type !== "array" && values.length > 1) {
    throw new UserError(`--${name} was given ${values.length} times; ${program} takes one`, 2);
  }
  if (option.type === "boolean") return;
  if (values.some((one) => one === "" || Number.isNaN(one))) throw new UserError(`--${name} wants a value`, 2);
  const choices = option.choices as string[] | undefined;
  const wrong = choices && values.find((one) => !choices.includes(String(one)));
  if (wrong !== undefined) throw new UserError(`--${name} is one of ${choices?.join(", ")}, not ${String(wrong)}`, 2);
}

/** A reader that has read enough (`| head -1`) ends the program without a word. */
function endQuietlyOnClosedPipe(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on("error", (error: NodeJS.ErrnoException) => {
      // EIO: the terminal is gone.
      if (error.code !== "EPIPE" && error.code !== "EIO") throw error;
      process.exit(process.exitCode ?? EXIT.done);
    });
  }
}
