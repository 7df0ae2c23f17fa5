/** Completions in the format that kubectl expects of plugins: one per line, and a directive in the last line. */
import type { Grammar, Option } from "./option.ts";

/** A completion and its description. */
export type Completion = [value: string, description?: string];

/** Directives of cobra: whether the shell completes files if there are no completions. */
const DIRECTIVE_FILES = ":0";
const DIRECTIVE_NO_FILES = ":4";

/** Lists names from the kubeconfig that can follow the given words. */
export interface NameSource {
  /** Names of contexts in the kubeconfig that the preceding words select. */
  contexts(before: readonly string[]): Promise<string[]>;
  /** Names that are valid for a Cilium cluster. */
  clusters(before: readonly string[]): Promise<string[]>;
}

/**
 * Completes the last of the words after the name of a command.
 *
 * @param words - can end with an empty word. Positional arguments complete by their placeholder: FILE to files, CONTEXT to
 *   contexts, and CLUSTER to the cluster names of the kubeconfig.
 */
export async function complete(
  { options, positionals }: Grammar,
  words: readonly string[],
  names: NameSource,
): Promise<string> {
  const current = words.at(-1) ?? "";
  const before = words.slice(0, -1);
  const contexts = async () => toCompletions(await names.contexts(before));
  const findOption = (flag: string) =>
    Object.entries(options).find(([name, { alias }]) => flag === `--${name}` || flag === `-${alias}`)?.[1];
  const [, flag] = /^(--[^=]+)=/.exec(current) ?? [];
  if (flag !== undefined) {
    const { completions, directive } = await completeValue(findOption(flag), contexts);
    return formatCompletions(
      current,
      completions.map(([value, ...description]) => [`${flag}=${value}`, ...description]),
      directive,
    );
  }
  const previous = findOption(before.at(-1) ?? "");
  if (previous !== undefined && previous.type !== "boolean") {
    const { completions, directive } = await completeValue(previous, contexts);
    return formatCompletions(current, completions, directive);
  }
  if (current.startsWith("-")) return formatCompletions(current, completeFlags(options, before), DIRECTIVE_NO_FILES);
  if (positionals === "FILE") return formatCompletions(current, [], DIRECTIVE_FILES);
  if (positionals === "CONTEXT") return formatCompletions(current, await contexts(), DIRECTIVE_NO_FILES);
  if (positionals === "CLUSTER")
    return formatCompletions(current, toCompletions(await names.clusters(before)), DIRECTIVE_NO_FILES);
  return formatCompletions(current, [], DIRECTIVE_NO_FILES);
}

function toCompletions(names: readonly string[]): Completion[] {
  return names.map((name) => [name]);
}

/** Formats the completions that start with the current word. */
export function formatCompletions(
  current: string,
  completions: readonly Completion[],
  directive: string = DIRECTIVE_NO_FILES,
): string {
  const lines = completions.filter(([value]) => value.startsWith(current)).map((one) => one.join("\t"));
  return `${[...lines, directive].join("\n")}\n`;
}

async function completeValue(
  option: Option | undefined,
  contexts: () => Promise<Completion[]>,
): Promise<{ completions: Completion[]; directive: string }> {
  if (option?.completes === "files") return { completions: [], directive: DIRECTIVE_FILES };
  if (option?.completes === "contexts") return { completions: await contexts(), directive: DIRECTIVE_NO_FILES };
  const choices = (option?.choices ?? []).map((choice): Completion => [String(choice)]);
  return { completions: choices, directive: DIRECTIVE_NO_FILES };
}

/** Lists the flags that are not in use yet, or can be repeated. */
function completeFlags(options: Record<string, Option>, before: readonly string[]): Completion[] {
  return Object.entries(options).flatMap(([name, { type, default: value, describe = "" }]): Completion[] => {
    const flag = type === "boolean" && value === true ? `--no-${name}` : `--${name}`;
    const given = before.some((word) => word === flag || word.startsWith(`${flag}=`));
    return given && type !== "array" ? [] : [[flag, describe]];
  });
}
