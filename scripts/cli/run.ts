/** The flags common to all commands, and the run of a command from arguments to exit code. */
import { escapeControlChars } from "../../lib/render/style.ts";
import { EXIT, UsageError, UserError, unexpectedErrors } from "../../lib/util/errors.ts";
import type { ConnectionFlags } from "./given-flags.ts";
import type { Arguments, Command, Grammar, HelpText, Option } from "./option.ts";
import { inGroup } from "./options.ts";
import { parseArguments } from "./parse.ts";
import { exitWith, ignoreStreamErrors, setGivenFlags, writeStdout } from "./streams.ts";
import { log, logError, logHint, logTrace, versionLine } from "./terminal.ts";

const commonOptions = inGroup("Other", {
  help: { alias: "h", type: "boolean", describe: "show this help" },
  version: { type: "boolean", describe: "show the version" },
});

/** A command with the common flags, ready to run. */
export interface Program extends HelpText, Grammar {
  options: Record<string, Option>;
  /**
   * Runs the command, reports an error on stderr, and exits once all output is written.
   *
   * @param program - name of the command as it was called.
   * @param help - returns the help text.
   */
  main(program: string, argv: string[], help: () => Promise<string>): Promise<void>;
}

/** Turns a command into a program. */
export function toProgram<O extends Record<string, Option>>(command: Command<O>): Program {
  const program: Program = {
    ...command,
    options: { ...command.options, ...commonOptions },
    main: async (name, argv, help) => {
      ignoreStreamErrors();
      exitWith(await runCommand(name, command, argv, help));
    },
  };
  return program;
}

async function runCommand<O extends Record<string, Option>>(
  name: string,
  command: Command<O>,
  argv: string[],
  help: () => Promise<string>,
): Promise<number> {
  let args: (Arguments<O & typeof commonOptions> & ConnectionFlags & { diff?: unknown; debug?: unknown }) | undefined;
  try {
    args = parseArguments(name, { ...command, options: { ...command.options, ...commonOptions } }, argv);
    if (args.help === true) {
      writeStdout(await help());
      return EXIT.done;
    }
    if (args.version === true) {
      writeStdout(versionLine());
      return EXIT.done;
    }
    setGivenFlags(args);
    if (args.debug === true) {
      unexpectedErrors.subscribe(logStack);
      logTrace("loaded");
    }
    return await command.run(args, name);
  } catch (error) {
    const isUserError = error instanceof UserError;
    const message = error instanceof Error ? error.message : String(error);
    logError(isUserError ? message : `unexpected: ${message}`);
    if (error instanceof UsageError) logUsageHint(name, command);
    if (argv.includes("--debug") && error instanceof Error) log(escapeControlChars(error.stack ?? ""));
    else if (!isUserError) logHint("  this is a bug; rerun with --debug for a stack trace");
    // As in kubectl diff, 1 means changes.
    if (args?.diff === true) return EXIT.refused;
    return isUserError ? error.exitCode : EXIT.failed;
  }
}

function logStack(error: unknown): void {
  if (error instanceof Error) for (const line of (error.stack ?? "").split("\n")) logTrace(line);
}

/** Logs the first example of a command, and the command that shows its help. */
function logUsageHint(name: string, { examples: [example] }: HelpText): void {
  if (example) logHint(`  example: ${example[0].replaceAll("$0", name)}`);
  logHint(`  see '${name} --help'`);
}
