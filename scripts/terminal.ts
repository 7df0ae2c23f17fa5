/** Talking to a person: data alone goes to stdout, everything else to stderr. */
import { harmless, type Style, styleFor } from "../lib/show/style.ts";

declare const __VERSION__: string | undefined;

/** Where a person is talked to; data alone goes to stdout. */
export const style: Style = styleFor(process.stderr, process.env);

/** Tells a person a line that has been made harmless where it holds what others wrote. */
export function tell(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** Tells a person of something that is not as it should be, and goes on. */
export function warn(line: string): void {
  tell(`${style.yellow("warning")}: ${harmless(line)}`);
}

/** Tells what `--debug` shows, with the milliseconds since the process started. */
export function traced(line: string): void {
  tell(style.dim(`${performance.now().toFixed(0).padStart(5)} ms  ${harmless(line)}`));
}

/** Prints the version of the programs. */
export function showVersion(): void {
  process.stdout.write(`${typeof __VERSION__ === "undefined" ? "development" : __VERSION__}\n`);
}

/** The nearest of some names by edit distance, if it is near. */
export function nearestOf(name: string, names: readonly string[]): string | undefined {
  const near = names
    .map((other) => ({ other, distance: editDistance(name, other) }))
    .sort((a, b) => a.distance - b.distance)[0];
  return near && near.distance <= Math.max(1, Math.floor(name.length / 3)) ? near.other : undefined;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(substitution, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
