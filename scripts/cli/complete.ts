/** What a shell offers next, in the form that kubectl asks of its plugins: a line each, and at last whether files may do. */
import type { Options } from "yargs";
import { loadKubeconfig } from "../lib/cluster/kubeconfig.ts";
import { harmless } from "../lib/show/style.ts";

/** An option, and what is offered as its value besides its choices. */
export type Option = Options & { completes?: "contexts" | "files" };

/** What there is to complete of a command. */
export interface Completed {
  options: Record<string, Option>;
  /** What its positional arguments are called: files are offered for FILE, contexts for CONTEXT; undefined for none. */
  positionals?: string;
}

/** One thing to offer, and what is said of it. */
export type Offer = [value: string, description?: string];

/** After the colon: whether the shell is to offer files where nothing else is offered, or nothing. */
const FILES = ":0";
const NOTHING_ELSE = ":4";

/**
 * Completes the last of the words that follow the name of a command, which may be empty. A kubeconfig that cannot be
 * read offers no contexts, and no message: a person is in the middle of a line.
 */
export async function complete({ options, positionals }: Completed, words: readonly string[]): Promise<string> {
  const current = words.at(-1) ?? "";
  const before = words.slice(0, -1);
  const optionOf = (flag: string) =>
    Object.entries(options).find(([name, { alias }]) => flag === `--${name}` || flag === `-${alias}`)?.[1];
  const [, flag] = /^(--[^=]+)=/.exec(current) ?? [];
  if (flag !== undefined) {
    const { offers, directive } = await valuesOf(optionOf(flag), before);
    return answer(
      current,
      offers.map(([value, ...said]) => [`${flag}=${value}`, ...said]),
      directive,
    );
  }
  const previous = optionOf(before.at(-1) ?? "");
  if (previous !== undefined && previous.type !== "boolean") {
    const { offers, directive } = await valuesOf(previous, before);
    return answer(current, offers, directive);
  }
  if (current.startsWith("-")) return answer(current, flagsOf(options, before), NOTHING_ELSE);
  if (positionals === "FILE") return answer(current, [], FILES);
  if (positionals === "CONTEXT") return answer(current, await contexts(before), NOTHING_ELSE);
  return answer(current, [], NOTHING_ELSE);
}

/** The lines for a shell: those of the offers that begin with what stands there. */
export function answer(current: string, offers: readonly Offer[], directive: string = NOTHING_ELSE): string {
  const lines = offers.filter(([value]) => value.startsWith(current)).map((offer) => offer.join("\t"));
  return `${[...lines, directive].join("\n")}\n`;
}

async function valuesOf(
  option: Option | undefined,
  before: readonly string[],
): Promise<{ offers: Offer[]; directive: string }> {
  if (option?.completes === "files") return { offers: [], directive: FILES };
  if (option?.completes === "contexts") return { offers: await contexts(before), directive: NOTHING_ELSE };
  const choices = (option?.choices ?? []).map((choice): Offer => [String(choice)]);
  return { offers: choices, directive: NOTHING_ELSE };
}

/** The flags that are not given yet, or that may be given again. */
function flagsOf(options: Record<string, Option>, before: readonly string[]): Offer[] {
  return Object.entries(options).flatMap(([name, { type, default: value, describe = "" }]): Offer[] => {
    const flag = type === "boolean" && value === true ? `--no-${name}` : `--${name}`;
    const given = before.some((word) => word === flag || word.startsWith(`${flag}=`));
    return given && type !== "array" ? [] : [[flag, describe]];
  });
}

/** The contexts that are not named yet, and that can be shown as they are. */
async function contexts(before: readonly string[]): Promise<Offer[]> {
  const named = before.findLast((word, i) => before[i - 1] === "--kubeconfig" || word.startsWith("--kubeconfig="));
  try {
    const kubeconfig = await loadKubeconfig({ env: process.env, path: named?.replace(/^--kubeconfig=/, "") });
    const oneLine = (name: string) => !name.includes("\n") && harmless(name) === name;
    const names = [...kubeconfig.contexts.keys()].filter((name) => oneLine(name) && !before.includes(name));
    return names.map((name) => [name]);
  } catch {
    return [];
  }
}
