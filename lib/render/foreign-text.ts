/** Texts of servers, Secrets and other programs, made safe for one line. Pure. */
import { redactKeys } from "../peer/findings.ts";
import { truncateLine, truncateLineTo } from "../util/line.ts";
import { escapeLine } from "./style.ts";

/** The longest remedy, in characters: a command that is cut cannot be pasted. */
const MAX_REMEDY = 1_000;

/** Redacts keys, joins lines by `; `, and truncates a long text. Keys in it are redacted before, as they have many lines. */
export function joinLines(text: string): string {
  return truncateLine(withoutLines(text));
}

/** {@link joinLines} for a remedy, which is truncated only if it is much longer. */
export function joinRemedy(remedy: string): string {
  return truncateLineTo(withoutLines(remedy), MAX_REMEDY);
}

function withoutLines(text: string): string {
  return redactKeys(text).replace(/\n\s*/g, "; ");
}

/** Makes a text one line for a terminal: {@link joinLines}, then {@link escapeLine}. */
export function cleanText(text: string): string {
  return escapeLine(joinLines(text));
}
