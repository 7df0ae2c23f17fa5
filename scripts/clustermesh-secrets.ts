/** `clustermesh-secrets`, and `kubectl clustermesh-secrets`: all commands in one program. */
import { basename } from "node:path";
import { escapeControlChars } from "../lib/render/style.ts";
import { EXIT } from "../lib/util/errors.ts";
import { findNearestName } from "../lib/util/nearest.ts";
import { answer, type Offer } from "./cli/complete.ts";
import { guardStreams } from "./cli/streams.ts";
import { log, style, version } from "./cli/terminal.ts";
import { commands, PLUGIN, PROGRAM } from "./commands.ts";
import { COMPLETE, isHelp, launch, printAndExit } from "./launch.ts";

const called = basename(process.argv[1] ?? "");
const program = called.startsWith("kubectl-") ? PLUGIN : PROGRAM;
// By the other name kubectl asks for what the words after `kubectl clustermesh-secrets` may go on with.
const given = [...(called.startsWith("kubectl_complete-") ? [COMPLETE] : []), ...process.argv.slice(2)];

void (given[0] === COMPLETE ? completeWords(given.slice(1)) : run(given));

async function run([name, ...rest]: string[]): Promise<void> {
  if (isCommand(name)) await launch(`${program} ${name}`, name, rest);
  else if (name === "--version") await printAndExit(version);
  else if (name === "help") await help(rest[0]);
  else if (isHelp(name)) await printAndExit(() => `${usage()}\n`);
  else refuse(name);
}

/** Shows the help of a command, or of the program if none is named. */
async function help(name: string | undefined): Promise<void> {
  if (isCommand(name)) await launch(`${program} ${name}`, name, ["--help"]);
  else if (name === undefined || name === "help" || isHelp(name)) await printAndExit(() => `${usage()}\n`);
  else refuse(name);
}

/** Completes the last of the words, of which the first is the command. */
async function completeWords([name = "", ...words]: string[]): Promise<void> {
  if (words.length === 0) await printAndExit(() => answer(name, offers()));
  else if (name === "help" && words.length === 1) await printAndExit(() => answer(words[0] ?? "", offers()));
  else if (isCommand(name)) await launch(program, name, [COMPLETE, ...words]);
  else await printAndExit(() => answer(words.at(-1) ?? "", []));
}

function isCommand(name: string | undefined): name is string {
  return name !== undefined && Object.hasOwn(commands, name);
}

function refuse(name: string | undefined): void {
  guardStreams();
  if (name !== undefined) {
    const nearest = findNearestName(name, Object.keys(commands));
    const hint = nearest === undefined ? "" : `; did you mean ${nearest}?`;
    log(`${style.red("error")}: unknown command: ${escapeControlChars(JSON.stringify(name))}${hint}`);
  }
  log(usage());
  process.exitCode = EXIT.refused;
}

function offers(): Offer[] {
  return Object.entries(commands).map(([command, { summary }]) => [command, summary]);
}

function usage(): string {
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
