/** Renders help texts and completions. Run by the build, so that the programs print them without loading a command. */
import type { Grammar } from "./cli/option.ts";
import type { Prerendered } from "./cli/prerendered.ts";
import { commands, programNames } from "./commands.ts";

/** Renders the help text of every command under each of its names, and lists its flags for completion. */
export async function prerender(): Promise<Prerendered> {
  const { renderHelp } = await import("./cli/help.ts");
  const help: [string, string][] = [];
  const completion: [string, Grammar][] = [];
  for (const [name, { load, summary }] of Object.entries(commands)) {
    const command = await load();
    for (const program of programNames(name)) help.push([program, await renderHelp(program, summary, command)]);
    const { options, positionals } = command;
    completion.push([name, { options, ...(positionals !== undefined && { positionals }) }]);
  }
  return { help: Object.fromEntries(help), completion: Object.fromEntries(completion) };
}
