/** The help text of a command, by yargs: a file of its own, for yargs takes as long to load as all the rest. */
import type { Options } from "yargs";
import yargs from "yargs/yargs";

/** What a help text is made of. */
export interface HelpText {
  usage: string;
  description: string;
  examples: [command: string, description: string][];
  options: Record<string, Options>;
}

/** The help text of a command that is called `program`. */
export async function helpOf(program: string, { usage, description, examples, options }: HelpText): Promise<string> {
  return yargs([])
    .version(false)
    .help(false)
    .scriptName(program)
    .usage(`${usage.replaceAll("$0", program)}\n\n${description}`)
    .options(Object.fromEntries(Object.entries(options).map(withChoicesInText)))
    .example(examples.map(([line, text]) => [line.replaceAll("$0", program), text]))
    .locale("en")
    .wrap(Math.min(process.stderr.columns ?? 100, 100))
    .getHelp();
}

/** Values are checked by us, for yargs says it in three lines; its help still shows them. */
function withChoicesInText([name, { choices, ...option }]: [string, Options]): [string, Options] {
  return [name, choices ? { ...option, describe: `${option.describe} [${choices.join(", ")}]` } : option];
}
