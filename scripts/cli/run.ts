/** The flags that every command has, and how a command runs and ends. */
import { escapeControlChars } from "../../lib/render/style.ts";
import { EXIT, UserError } from "../../lib/util/errors.ts";
import type { Arguments, Command, Grammar, HelpText, Option } from "./option.ts";
import { parseArguments } from "./parse.ts";
import { endWith, guardStreams, toStdout } from "./streams.ts";
import { log, style, traced, version } from "./terminal.ts";

const commonOptions = {
  help: { alias: "h", type: "boolean", describe: "show this help" },
  version: { type: "boolean", describe: "show the version" },
} as const satisfies Record<string, Option>;

/** A command, with the flags that all have, ready to run. */
export interface Program extends HelpText, Grammar {
  options: Record<string, Option>;
  /**
   * Runs it as `program`: what goes wrong becomes a line or two on stderr and an exit code. Ends the process, as soon as
   * what was written to stdout is out.
   */
  main(program: string, argv: string[], help: () => Promise<string>): Promise<void>;
}

/** Makes a command one that can be run. */
export function runnable<O extends Record<string, Option>>(command: Command<O>): Program {
  const program: Program = {
    ...command,
    options: { ...command.options, ...commonOptions },
    main: async (name, argv, help) => {
      guardStreams();
      endWith(await run(name, command, argv, help));
    },
  };
  return program;
}

async function run<O extends Record<string, Option>>(
  name: string,
  command: Command<O>,
  argv: string[],
  help: () => Promise<string>,
): Promise<number> {
  let args: (Arguments<O & typeof commonOptions> & { diff?: unknown; debug?: unknown }) | undefined;
  try {
    args = parseArguments(name, { ...command, options: { ...command.options, ...commonOptions } }, argv);
    if (args.help === true) {
      toStdout(await help());
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
    log(`${style.red("error")}: ${escapeControlChars(known ? message : `unexpected: ${message}`)}`);
    if (argv.includes("--debug") && error instanceof Error) log(escapeControlChars(error.stack ?? ""));
    else if (!known) log("  this is a fault of the program; --debug shows where");
    // As for kubectl diff, 1 stands for changes.
    if (args?.diff === true) return EXIT.refused;
    return known ? error.exitCode : EXIT.failed;
  }
}
