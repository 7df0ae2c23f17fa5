/** Texts of servers, Secrets and other programs, made safe for one line. Pure. */
import { redactKeys } from "../peer/findings.ts";
import { truncateLine } from "../util/line.ts";
import { escapeLine } from "./style.ts";

/** Redacts keys, joins lines by `; `, and truncates a long text. Keys in it are redacted before, as they have many lines. */
export function joinLines(text: string): string {
  return truncateLine(redactKeys(text).replace(/\n\s*/g, "; "));
}

/** Makes a text one line for a terminal: {@link joinLines}, then {@link escapeLine}. */
export function cleanText(text: string): string {
  return escapeLine(joinLines(text));
}
