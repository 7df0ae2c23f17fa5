/** The help text of a command, by yargs: a file of its own, for yargs takes as long to load as all the rest. */
import type { Options } from "yargs";
import yargs from "yargs/yargs";
import { HELP_WIDTH, type HelpText } from "./option.ts";

/** The help text of a command that is called `program`, for a terminal of so many columns, if it is one. */
export async function renderHelp(
  program: string,
  { usage, description, examples, options }: HelpText,
  columns = HELP_WIDTH,
): Promise<string> {
  const text = await yargs([])
    .version(false)
    .help(false)
    .scriptName(program)
    .usage(`${usage.replaceAll("$0", program)}\n\n${description}`)
    .options(Object.fromEntries(Object.entries(options).map(withChoicesInText)))
    .example(examples.map(([line, text]) => [line.replaceAll("$0", program), text]))
    .locale("en")
    .wrap(Math.min(columns, HELP_WIDTH))
    .getHelp();
  return `${text}\n`;
}

/** Values are checked by us, for yargs says it in three lines; its help still shows them. */
function withChoicesInText([name, { choices, ...option }]: [string, Options]): [string, Options] {
  return [name, choices ? { ...option, describe: `${option.describe} [${choices.join(", ")}]` } : option];
}
