/** What a shell offers next, in the form that kubectl asks of its plugins: a line each, and at last whether files may do. */
import type { Grammar, Option } from "./option.ts";

/** One thing to offer, and what is said of it. */
export type Offer = [value: string, description?: string];

/** After the colon: whether the shell is to offer files where nothing else is offered, or nothing. */
const FILES = ":0";
const NOTHING_ELSE = ":4";

/** Gives what of the kubeconfig may follow these words. */
export interface Names {
  contexts(before: readonly string[]): Promise<string[]>;
  /** Names that Cilium's clusters may have. */
  clusters(before: readonly string[]): Promise<string[]>;
}

/**
 * Completes the last of the words that follow the name of a command, which may be empty. Files are offered for positional
 * arguments called FILE, contexts for CONTEXT, and for CLUSTER what the kubeconfig calls its clusters.
 */
export async function complete(
  { options, positionals }: Grammar,
  words: readonly string[],
  names: Names,
): Promise<string> {
  const current = words.at(-1) ?? "";
  const before = words.slice(0, -1);
  const contexts = async () => offersOf(await names.contexts(before));
  const optionOf = (flag: string) =>
    Object.entries(options).find(([name, { alias }]) => flag === `--${name}` || flag === `-${alias}`)?.[1];
  const [, flag] = /^(--[^=]+)=/.exec(current) ?? [];
  if (flag !== undefined) {
    const { offers, directive } = await valuesOf(optionOf(flag), contexts);
    return answer(
      current,
      offers.map(([value, ...said]) => [`${flag}=${value}`, ...said]),
      directive,
    );
  }
  const previous = optionOf(before.at(-1) ?? "");
  if (previous !== undefined && previous.type !== "boolean") {
    const { offers, directive } = await valuesOf(previous, contexts);
    return answer(current, offers, directive);
  }
  if (current.startsWith("-")) return answer(current, flagsOf(options, before), NOTHING_ELSE);
  if (positionals === "FILE") return answer(current, [], FILES);
  if (positionals === "CONTEXT") return answer(current, await contexts(), NOTHING_ELSE);
  if (positionals === "CLUSTER") return answer(current, offersOf(await names.clusters(before)), NOTHING_ELSE);
  return answer(current, [], NOTHING_ELSE);
}

function offersOf(names: readonly string[]): Offer[] {
  return names.map((name) => [name]);
}

/** The lines for a shell: those of the offers that begin with what stands there. */
export function answer(current: string, offers: readonly Offer[], directive: string = NOTHING_ELSE): string {
  const lines = offers.filter(([value]) => value.startsWith(current)).map((offer) => offer.join("\t"));
  return `${[...lines, directive].join("\n")}\n`;
}

async function valuesOf(
  option: Option | undefined,
  contexts: () => Promise<Offer[]>,
): Promise<{ offers: Offer[]; directive: string }> {
  if (option?.completes === "files") return { offers: [], directive: FILES };
  if (option?.completes === "contexts") return { offers: await contexts(), directive: NOTHING_ELSE };
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
