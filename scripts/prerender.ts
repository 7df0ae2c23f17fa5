/** Run by the build: works out what the programs know without loading a command. */
import type { Grammar } from "./cli/option.ts";
import type { Prerendered } from "./cli/prerendered.ts";
import { commands, programNames } from "./commands.ts";

/** The help text of every command by each of its names, and what there is to complete of it. */
export async function prerender(): Promise<Prerendered> {
  const { renderHelp } = await import("./cli/help.ts");
  const help: [string, string][] = [];
  const completion: [string, Grammar][] = [];
  for (const [name, { load }] of Object.entries(commands)) {
    const command = await load();
    for (const program of programNames(name)) help.push([program, await renderHelp(program, command)]);
    const { options, positionals } = command;
    completion.push([name, { options, ...(positionals !== undefined && { positionals }) }]);
  }
  return { help: Object.fromEntries(help), completion: Object.fromEntries(completion) };
}
