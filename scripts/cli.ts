/** What all programs share: options to reach a cluster, and how a command runs and ends. */
import { EXIT, UserError } from "../lib/peer/errors.ts";
import { harmless } from "../lib/show/style.ts";
import type { Arguments, Command, Grammar, HelpText, Option } from "./cli/option.ts";
import { parseArguments } from "./cli/parse.ts";
import { endWith, guardStreams, toStdout } from "./streams.ts";
import { style, tell, traced, version } from "./terminal.ts";

export type { Arguments, Command } from "./cli/option.ts";

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
  if (/^\d+$/.test(text)) return Number(text) * 1000;
  return unitsIn(text, { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }) ?? invalidDuration(text, flag, "30s, 5m");
}

/**
 * Reads a duration that is counted in days, such as the time that a certificate is still valid: `30d`, `36h`, `1d12h`. A
 * number without a unit is refused, for it would be seconds elsewhere.
 *
 * @returns milliseconds.
 * @throws UserError (exit code 2)
 */
export function durationInDays(text: string, flag: string): number {
  return unitsIn(text, { d: 86_400_000, h: 3_600_000, m: 60_000 }) ?? invalidDuration(text, flag, "30d, 36h");
}

/** The sum of numbers with units, in milliseconds; undefined if the text is something else. */
function unitsIn(text: string, units: Readonly<Record<string, number>>): number | undefined {
  const one = `(\\d+(?:\\.\\d+)?)(${Object.keys(units).join("|")})`;
  if (!new RegExp(`^(?:${one})+$`).test(text)) return undefined;
  const parts = [...text.matchAll(new RegExp(one, "g"))];
  return parts.reduce((sum, [, value, unit]) => sum + Number(value) * (units[unit ?? ""] ?? 0), 0);
}

function invalidDuration(text: string, flag: string, examples: string): never {
  throw new UserError(`invalid duration ${JSON.stringify(text)} for --${flag} (examples: ${examples})`, EXIT.refused);
}

const commonOptions = {
  help: { alias: "h", type: "boolean", describe: "show this" },
  version: { type: "boolean", describe: "show the version" },
} as const satisfies Record<string, Option>;

/** A command, with the flags that all have, ready to run. */
export interface Program extends HelpText, Grammar {
  options: Record<string, Option>;
  /**
   * Runs it as `program`: what goes wrong becomes a line or two on stderr and an exit code. Ends the process, as soon as
   * what was written to stdout is out.
   */
  main(program: string, argv: string[]): Promise<void>;
}

/** Makes a command one that can be run. */
export function runnable<O extends Record<string, Option>>(command: Command<O>): Program {
  const program: Program = {
    ...command,
    options: { ...command.options, ...commonOptions },
    main: async (name, argv) => {
      guardStreams();
      endWith(await run(name, program, command, argv));
    },
  };
  return program;
}

async function run<O extends Record<string, Option>>(
  name: string,
  program: Program,
  command: Command<O>,
  argv: string[],
): Promise<number> {
  let args: (Arguments<O & typeof commonOptions> & { diff?: unknown; debug?: unknown }) | undefined;
  try {
    args = parseArguments(name, { ...command, options: { ...command.options, ...commonOptions } }, argv);
    if (args.help === true) {
      const { renderHelp } = await import("./cli/help.ts");
      toStdout(await renderHelp(name, program, process.stderr.columns));
      return EXIT.done;
    }
    if (args.version === true) {
      toStdout(version());
      return EXIT.done;
    }
    if (args.debug === true) traced("loaded");
    return await command.run(args, name);
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
