/** `clustermesh-secrets` and `kubectl clustermesh-secrets`: all commands in one program. */
import { basename } from "node:path";
import { EXIT } from "../lib/util/errors.ts";
import { findNearestName } from "../lib/util/nearest.ts";
import { type Completion, formatCompletions } from "./cli/complete.ts";
import { ignoreStreamErrors } from "./cli/streams.ts";
import { log, logError, versionLine } from "./cli/terminal.ts";
import { commands, PLUGIN, PROGRAM } from "./commands.ts";
import { COMPLETE, isHelp, launch, printAndExit } from "./launch.ts";

const calledAs = basename(process.argv[1] ?? "");
const program = calledAs.startsWith("kubectl-") ? PLUGIN : PROGRAM;
// kubectl calls its plugin by this name to complete the words after `kubectl clustermesh-secrets`.
const words = [...(calledAs.startsWith("kubectl_complete-") ? [COMPLETE] : []), ...process.argv.slice(2)];

void (words[0] === COMPLETE ? completeWords(words.slice(1)) : run(words));

async function run([name, ...rest]: string[]): Promise<void> {
  if (isCommand(name)) await launch(`${program} ${name}`, name, rest);
  else if (name === "--version") await printAndExit(versionLine);
  else if (name === "help") await showHelp(rest[0]);
  else if (isHelp(name)) await printAndExit(() => `${renderUsage()}\n`);
  else rejectCommand(name);
}

/** Prints the help of a command, or of the program without a command. */
async function showHelp(name: string | undefined): Promise<void> {
  if (isCommand(name)) await launch(`${program} ${name}`, name, ["--help"]);
  else if (name === undefined || name === "help" || isHelp(name)) await printAndExit(() => `${renderUsage()}\n`);
  else rejectCommand(name);
}

/** Completes the last word. The first word is the command. */
async function completeWords([name = "", ...words]: string[]): Promise<void> {
  if (words.length === 0) await printAndExit(() => formatCompletions(name, listCommands()));
  else if (name === "help" && words.length === 1)
    await printAndExit(() => formatCompletions(words[0] ?? "", listCommands()));
  else if (isCommand(name)) await launch(program, name, [COMPLETE, ...words]);
  else await printAndExit(() => formatCompletions(words.at(-1) ?? "", []));
}

function isCommand(name: string | undefined): name is string {
  return name !== undefined && Object.hasOwn(commands, name);
}

function rejectCommand(name: string | undefined): void {
  ignoreStreamErrors();
  if (name !== undefined) {
    const nearest = findNearestName(name, Object.keys(commands));
    const hint = nearest === undefined ? "" : `; did you mean ${nearest}?`;
    logError(`unknown command: ${JSON.stringify(name)}${hint}`);
  }
  log(renderUsage());
  process.exitCode = EXIT.refused;
}

function listCommands(): Completion[] {
  return Object.entries(commands).map(([command, { summary }]) => [command, summary]);
}

function renderUsage(): string {
  const lines = Object.entries(commands).map(([command, { summary, standalone }]) => {
    const alias = standalone === undefined ? "" : ` (also: ${standalone})`;
    return `  ${command.padEnd(12)}${summary}${alias}`;
  });
  const hint = `Run "${program} COMMAND --help" for flags, examples and exit codes.`;
  return [
    "Exchange Cilium Cluster Mesh secrets between clusters",
    ...["", `Usage: ${program} COMMAND [flags]`, "", "Commands:", ...lines, "", hint],
  ].join("\n");
}
