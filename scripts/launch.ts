/** Starts a command. Help and completions are rendered by the build, and printed without loading the command. */
import { EXIT, UserError } from "../lib/util/errors.ts";
import { enableCompileCache } from "./cli/compile-cache.ts";
import { complete } from "./cli/complete.ts";
import { HELP_WIDTH } from "./cli/option.ts";
import { readPrerendered } from "./cli/prerendered.ts";
import { exitWith, ignoreStreamErrors, writeStdout } from "./cli/streams.ts";
import { logError, versionLine } from "./cli/terminal.ts";
import { commands } from "./commands.ts";

/** The command with which shells request completions of the words after it. */
export const COMPLETE = "__complete";

/** Runs a command under the name `program`, and exits. */
export async function launch(program: string, name: string, argv: string[]): Promise<void> {
  const [first, ...words] = argv;
  if (first === COMPLETE) await printAndExit(() => getCompletions(name, words));
  else if (isHelp(first) && words.length === 0) await printAndExit(() => getHelp(program, name));
  else if (first === "--version" && words.length === 0) await printAndExit(versionLine);
  else {
    enableCompileCache(process.env);
    await (await loadCommand(name)).main(program, argv, () => renderHelpOf(program, name));
  }
}

/** Whether a word is `--help` or `-h`. */
export function isHelp(word: string | undefined): boolean {
  return word === "--help" || word === "-h";
}

/** Prints a text to stdout, and exits. */
export async function printAndExit(text: () => string | Promise<string>): Promise<void> {
  ignoreStreamErrors();
  exitWith(await tryPrint(text));
}

async function tryPrint(text: () => string | Promise<string>): Promise<number> {
  try {
    writeStdout(await text());
    return EXIT.done;
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    logError(error.message);
    return error.exitCode;
  }
}

async function getHelp(program: string, name: string): Promise<string> {
  const isNarrow = (process.stderr.columns ?? HELP_WIDTH) < HELP_WIDTH;
  return (isNarrow ? undefined : readPrerendered("help")?.[program]) ?? (await renderHelpOf(program, name));
}

async function renderHelpOf(program: string, name: string): Promise<string> {
  const { renderHelp } = await import("./cli/help.ts");
  return renderHelp(program, commands[name]?.summary ?? "", await loadCommand(name), process.stderr.columns);
}

async function getCompletions(name: string, words: readonly string[]): Promise<string> {
  const grammar = readPrerendered("completion")?.[name] ?? (await loadCommand(name));
  return complete(grammar, words, {
    contexts: async (before) => (await import("./cli/contexts.ts")).listContextNames(before),
    clusters: async (before) => (await import("./cli/contexts.ts")).listClusterNames(before),
  });
}

function loadCommand(name: string) {
  const command = commands[name];
  if (!command) throw new Error(`unknown command: ${name}`);
  return command.load();
}
