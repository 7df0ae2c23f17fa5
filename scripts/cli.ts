/** What all programs share: arguments as kubectl's users know them, streams, and exit codes. */
import type { Options } from "yargs";
import parseArguments from "yargs-parser";
import { EXIT, UserError } from "../lib/peer/errors.ts";
import { nearestOf } from "../lib/peer/nearest.ts";
import { harmless } from "../lib/show/style.ts";
import type { Completed, Option } from "./complete.ts";
import type { HelpText } from "./help.ts";
import { endWith, guardStreams, toStdout } from "./streams.ts";
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
  guardStreams();
  endWith(await run(program, command, argv));
}

async function run<O extends Record<string, Option>>(
  program: string,
  command: Command<O>,
  argv: string[],
): Promise<number> {
  let args: (Arguments<O> & { diff?: unknown }) | undefined;
  try {
    if (argv[0] === "__complete") {
      const { complete } = await import("./complete.ts");
      toStdout(await complete({ ...command, options: { ...command.options, ...common } }, argv.slice(1)));
      return EXIT.done;
    }
    args = await parse(program, command, argv);
    if (args?.debug) traced("loaded");
    return args === undefined ? EXIT.done : await command.run(args);
  } catch (error) {
    const known = error instanceof UserError;
    const message = error instanceof Error ? error.message : String(error);
    tell(`${style.red("error")}: ${harmless(known ? message : `unexpected: ${message}`)}`);
    if (argv.includes("--debug") && error instanceof Error) tell(harmless(error.stack ?? ""));
    else if (!known) tell("  this is a fault of the program; --debug shows where");
    // As for kubectl diff, 1 stands for changes.
    if (args?.diff === true) return EXIT.refused;
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
  const ofType = (wanted: Options["type"]) => all.filter(([, { type }]) => type === wanted).map(([name]) => name);
  const args = parseArguments(plain(argv, all, program), {
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
    toStdout(`${await helpOf(program, { ...command, options: { ...options, ...common } })}\n`);
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

/** What pflag, and so kubectl, takes for a boolean. */
const BOOLEANS: Record<string, boolean> = {
  ...Object.fromEntries(["1", "t", "T", "true", "TRUE", "True"].map((word) => [word, true])),
  ...Object.fromEntries(["0", "f", "F", "false", "FALSE", "False"].map((word) => [word, false])),
};

/**
 * The arguments with each flag in its long form, a value behind `=` where it stands in the same word (`-oyaml`, `-o=yaml`)
 * and a boolean without one. yargs suggests commands but not flags, and takes any word but `true` for false, so what is
 * not understood is answered here.
 */
function plain(argv: readonly string[], options: [string, Option][], program: string): string[] {
  const end = argv.includes("--") ? argv.indexOf("--") : argv.length;
  const words = argv.slice(0, end).flatMap((word) => {
    if (!word.startsWith("-") || word === "-" || /^-\d/.test(word)) return [word];
    return word.startsWith("--") ? long(word) : short(word, word.slice(1));
  });
  return [...words, ...argv.slice(end)];

  function long(word: string): string[] {
    const [, flag = "", value] = /^--([^=]*)(?:=([\s\S]*))?$/.exec(word) ?? [];
    const found = options.find(([name]) => name === flag);
    if (found) return found[1].type === "boolean" && value !== undefined ? boolean(flag, value) : [word];
    const negated = options.find(([name, { type }]) => type === "boolean" && `no-${name}` === flag);
    if (!negated) throw unknown(`--${flag}`, flag);
    if (value !== undefined) throw new UserError(`--${flag} takes no value`, EXIT.refused);
    return [word];
  }

  /** One letter after the other, until one takes the rest as its value. */
  function short(word: string, letters: string): string[] {
    const [letter = "", rest] = [letters[0], letters.slice(1)];
    const found = options.find(([, { alias }]) => alias === letter);
    if (!found) throw unknown(word.replace(/=.*/s, ""), word.replace(/^-|=.*/gs, ""));
    const [name, { type }] = found;
    if (rest === "") return [`--${name}`];
    if (type !== "boolean") return [`--${name}=${rest.replace(/^=/, "")}`];
    return rest.startsWith("=") ? boolean(name, rest.slice(1)) : [`--${name}`, ...short(word, rest)];
  }

  function boolean(name: string, value: string): string[] {
    if (!Object.hasOwn(BOOLEANS, value)) {
      throw new UserError(`--${name} is true or false, not ${JSON.stringify(value)}`, EXIT.refused);
    }
    return [BOOLEANS[value] ? `--${name}` : `--no-${name}`];
  }

  function unknown(flag: string, name: string): UserError {
    const nearest = nearestOf(
      name.replace(/^no-/, ""),
      options.map(([known]) => known),
    );
    const hint = nearest === undefined ? `see ${program} --help` : `did you mean --${nearest}?`;
    return new UserError(`there is no flag ${flag}; ${hint}`, EXIT.refused);
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
