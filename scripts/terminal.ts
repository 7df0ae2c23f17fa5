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
