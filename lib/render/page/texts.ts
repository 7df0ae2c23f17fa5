/** Findings of the page's data as texts. */
import { IMPORTER, type PageData, PEER, type RemedyLine } from "./page-data.ts";

/** A finding as the page shows it. */
export interface FindingText {
  /** Index of its item in the list of findings; -1 if it is not listed. */
  group: number;
  severity: "error" | "warning";
  code: string;
  /** Undefined if the page has only the message of the group. */
  message: string | undefined;
  remedy: RemedyLine[];
}

/** The names of a pair, which replace the placeholders in texts of its findings. */
export interface PairNames {
  importer: string;
  peer: string;
}

/** Returns findings by their indexes in the data. */
export function findingTexts(
  { findings, codes }: PageData,
  indexes: readonly number[],
  names?: PairNames,
): FindingText[] {
  const fill = (text: string) =>
    names ? text.replaceAll(PLACEHOLDERS, (found) => (found === PEER ? names.peer : names.importer)) : text;
  return indexes.flatMap((index) => {
    const entry = findings[index];
    if (!entry) return [];
    const [group, isError, code, message, remedy = []] = entry;
    return {
      group,
      severity: isError ? ("error" as const) : ("warning" as const),
      code: codes[code] ?? "",
      message: message === undefined ? undefined : fill(message),
      remedy: remedy.map((line): RemedyLine => line.map(fill)),
    };
  });
}

const PLACEHOLDERS = new RegExp(`[${IMPORTER}${PEER}]`, "g");

/** Returns the codes of findings, each once. */
export function codesOf({ findings, codes }: PageData, indexes: readonly number[]): string[] {
  return [...new Set(indexes.map((index) => codes[findings[index]?.[2] ?? -1] ?? ""))];
}
