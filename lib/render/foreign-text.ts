/** Texts of servers, Secrets and other programs, made safe for one line. Pure. */
import { redactKeys } from "../peer/findings.ts";
import { escapeBreaks, truncateLine } from "../util/line.ts";
import { escapeLine } from "./style.ts";

/** The longest remedy, in characters. */
const MAX_REMEDY = 1_000;

/**
 * Redacts keys, joins lines by `; `, and truncates a long text. Keys in it are redacted before, as they have many lines.
 * After the first `; ` is the remedy of an error.
 */
export function joinLines(text: string): string {
  const line = withoutLines(text);
  const end = line.indexOf("; ");
  if (end === -1) return truncateLine(line);
  return `${truncateLine(line.slice(0, end))}; ${joinRemedy(line.slice(end + 2))}`;
}

/** {@link joinLines} for a remedy, which is omitted if it is much longer: a part of a command must not be pasted. */
export function joinRemedy(remedy: string): string {
  const line = escapeBreaks(withoutLines(remedy));
  return line.length <= MAX_REMEDY ? line : `(${line.length.toLocaleString("en")} characters omitted)`;
}

function withoutLines(text: string): string {
  return redactKeys(text).replace(/\n\s*/g, "; ");
}

/** Makes a text one line for a terminal: {@link joinLines}, then {@link escapeLine}. */
export function cleanText(text: string): string {
  return escapeLine(joinLines(text));
}
