/** Spans of time as kubectl prints them. Pure. */

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const YEAR = 365 * DAY;

/** From which span on which units are printed: `duration.HumanDuration` of k8s.io/apimachinery 0.33. */
const FORMS: readonly [from: number, unit: number, suffix: string, rest?: [unit: number, suffix: string]][] = [
  [8 * YEAR, YEAR, "y"],
  [2 * YEAR, YEAR, "y", [DAY, "d"]],
  [8 * DAY, DAY, "d"],
  [2 * DAY, DAY, "d", [HOUR, "h"]],
  [8 * HOUR, HOUR, "h"],
  [3 * HOUR, HOUR, "h", [MINUTE, "m"]],
  [10 * MINUTE, MINUTE, "m"],
  [2 * MINUTE, MINUTE, "m", [SECOND, "s"]],
];

/** Formats a span in milliseconds: `90s`, `5m30s`, `3h`, `2d4h`, `3y`. A negative one is `0s`. */
export function formatAge(milliseconds: number): string {
  const span = Math.max(0, milliseconds);
  const [, unit, suffix, rest] = FORMS.find(([from]) => span >= from) ?? [0, SECOND, "s"];
  const whole = `${Math.floor(span / unit)}${suffix}`;
  if (!rest) return whole;
  const more = Math.floor((span % unit) / rest[0]);
  return more === 0 ? whole : `${whole}${more}${rest[1]}`;
}
