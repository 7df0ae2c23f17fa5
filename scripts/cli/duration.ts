/** Durations in flags. Pure. */
import { EXIT, UserError } from "../../lib/util/errors.ts";

/**
 * Parses a duration as kubectl does: `30s`, `1m30s`, `500ms`, or a plain number of seconds.
 *
 * @param flag - name without dashes, for the message.
 * @returns milliseconds; 0 means no limit.
 * @throws UserError (exit code 2) if the text is not a duration.
 */
export function parseDuration(text: string, flag: string): number {
  if (/^\d+$/.test(text)) return Number(text) * 1000;
  return sumUnits(text, { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }) ?? rejectDuration(text, flag, "30s, 5m");
}

/**
 * Parses a duration in days, such as the remaining validity of a certificate: `30d`, `36h`, `90m`, `1d12h`. The unit is
 * required, because a plain number means seconds in other flags.
 *
 * @param flag - name without dashes, for the message.
 * @returns milliseconds.
 * @throws UserError (exit code 2) if the text is not a duration.
 */
export function parseDurationInDays(text: string, flag: string): number {
  return sumUnits(text, { d: 86_400_000, h: 3_600_000, m: 60_000 }) ?? rejectDuration(text, flag, "30d, 36h, 90m");
}

/** Adds up numbers with units, in milliseconds; undefined if the text contains anything else. */
function sumUnits(text: string, units: Readonly<Record<string, number>>): number | undefined {
  const pattern = `(\\d+(?:\\.\\d+)?)(${Object.keys(units).join("|")})`;
  if (!new RegExp(`^(?:${pattern})+$`).test(text)) return undefined;
  const parts = [...text.matchAll(new RegExp(pattern, "g"))];
  return parts.reduce((sum, [, value, unit]) => sum + Number(value) * (units[unit ?? ""] ?? 0), 0);
}

function rejectDuration(text: string, flag: string, examples: string): never {
  throw new UserError(`invalid duration ${JSON.stringify(text)} for --${flag} (examples: ${examples})`, EXIT.refused);
}
