/** Renders help texts with yargs. A separate file, because loading yargs takes as long as loading everything else. */
import yargs from "yargs/yargs";
import { wrapLine } from "../../lib/render/wrap.ts";
import { HELP_WIDTH, type HelpText, type Option } from "./option.ts";

/**
 * Renders the help text of a command.
 *
 * @param program - name of the command, for the usage line and the examples.
 * @param summary - one line.
 * @param columns - width of the terminal; example commands are never wrapped.
 */
export async function renderHelp(
  program: string,
  summary: string,
  { usage, description, examples, options, exitCodes }: HelpText,
  columns = HELP_WIDTH,
): Promise<string> {
  const width = Math.min(columns, HELP_WIDTH);
  const head = await yargs([])
    .version(false)
    .help(false)
    .scriptName(program)
    .usage(`${summary}\n\nUsage: ${usage}\n\n${description}`)
    .options(Object.fromEntries(Object.entries(options).map(([name, option]) => [name, describeOption(option)])))
    .locale("en")
    .wrap(width)
    .getHelp();
  const lines = [
    ...(examples.length > 0 ? ["", "Examples:"] : []),
    ...examples.flatMap(([command, text], i) => [
      ...(i > 0 ? [""] : []),
      ...[`  # ${text}`, `  ${command.replaceAll("$0", program)}`],
    ]),
    ...["", "Exit codes:"],
    ...Object.entries(exitCodes).flatMap(([code, text]) => wrapLine(`  ${code}  ${text}`, width)),
  ];
  return `${[head, ...lines].join("\n")}\n`;
}

/** Converts an option for yargs. Choices become text, because yargs would also validate them. */
function describeOption({ choices, default: defaultValue, ...option }: Option) {
  const describe = choices ? `${option.describe} [${choices.join(", ")}]` : option.describe;
  const shown = defaultValue === undefined || defaultValue === false ? {} : { default: defaultValue };
  return { ...option, ...shown, describe };
}
