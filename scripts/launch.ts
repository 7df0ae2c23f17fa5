/** Starts a command. Help and completion, which the build knows beforehand, are answered without loading it. */

import { escapeControlChars } from "../lib/render/style.ts";
import { EXIT, UserError } from "../lib/util/errors.ts";
import { enableCompileCache } from "./cli/compile-cache.ts";
import { complete } from "./cli/complete.ts";
import { HELP_WIDTH } from "./cli/option.ts";
import { readPrerendered } from "./cli/prerendered.ts";
import { endWith, guardStreams, toStdout } from "./cli/streams.ts";
import { log, style, version } from "./cli/terminal.ts";
import { commands } from "./commands.ts";

/** What a shell writes before the words that it wants completed. */
export const COMPLETE = "__complete";

/** Runs a command as `program`, and ends the process. */
export async function launch(program: string, name: string, argv: string[]): Promise<void> {
  const [first, ...words] = argv;
  if (first === COMPLETE) await printAndExit(() => completionOf(name, words));
  else if (isHelp(first) && words.length === 0) await printAndExit(() => helpOf(program, name));
  else if (first === "--version" && words.length === 0) await printAndExit(version);
  else {
    enableCompileCache(process.env);
    await (await load(name)).main(program, argv, () => helpOf(program, name));
  }
}

export function isHelp(word: string | undefined): boolean {
  return word === "--help" || word === "-h";
}

/** Prints a text on stdout, and ends the process. */
export async function printAndExit(text: () => string | Promise<string>): Promise<void> {
  guardStreams();
  endWith(await printed(text));
}

async function printed(text: () => string | Promise<string>): Promise<number> {
  try {
    toStdout(await text());
    return EXIT.done;
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    log(`${style.red("error")}: ${escapeControlChars(error.message)}`);
    return error.exitCode;
  }
}

async function helpOf(program: string, name: string): Promise<string> {
  const { columns = HELP_WIDTH } = process.stderr;
  const text = columns < HELP_WIDTH ? undefined : readPrerendered("help")?.[program];
  if (text !== undefined) return text;
  const { renderHelp } = await import("./cli/help.ts");
  return renderHelp(program, commands[name]?.summary ?? "", await load(name), columns);
}

async function completionOf(name: string, words: readonly string[]): Promise<string> {
  const grammar = readPrerendered("completion")?.[name] ?? (await load(name));
  return complete(grammar, words, {
    contexts: async (before) => (await import("./cli/contexts.ts")).contextNames(before),
    clusters: async (before) => (await import("./cli/contexts.ts")).clusterNames(before),
  });
}

function load(name: string) {
  const command = commands[name];
  if (!command) throw new Error(`there is no command ${name}`);
  return command.load();
}
