/** Durations as flags take them. Pure. */
import { EXIT, UserError } from "../../lib/util/errors.ts";

/**
 * Reads a duration as kubectl does: `30s`, `1m30s`, `500ms`, or a plain number of seconds.
 *
 * @returns milliseconds; 0 stands for no limit.
 * @throws UserError (exit code 2)
 */
export function duration(text: string, flag: string): number {
  if (/^\d+$/.test(text)) return Number(text) * 1000;
  return unitsIn(text, { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }) ?? invalidDuration(text, flag, "30s, 5m");
}

/**
 * Reads a duration that is counted in days, such as the time that a certificate is still valid: `30d`, `36h`, `1d12h`. A
 * number without a unit is refused, for it would be seconds elsewhere.
 *
 * @returns milliseconds.
 * @throws UserError (exit code 2)
 */
export function durationInDays(text: string, flag: string): number {
  return unitsIn(text, { d: 86_400_000, h: 3_600_000, m: 60_000 }) ?? invalidDuration(text, flag, "30d, 36h");
}

/** The sum of numbers with units, in milliseconds; undefined if the text is something else. */
function unitsIn(text: string, units: Readonly<Record<string, number>>): number | undefined {
  const one = `(\\d+(?:\\.\\d+)?)(${Object.keys(units).join("|")})`;
  if (!new RegExp(`^(?:${one})+$`).test(text)) return undefined;
  const parts = [...text.matchAll(new RegExp(one, "g"))];
  return parts.reduce((sum, [, value, unit]) => sum + Number(value) * (units[unit ?? ""] ?? 0), 0);
}

function invalidDuration(text: string, flag: string, examples: string): never {
  throw new UserError(`invalid duration ${JSON.stringify(text)} for --${flag} (examples: ${examples})`, EXIT.refused);
}
