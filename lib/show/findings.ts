/** Findings as lines for a person. Pure. */
import type { Finding } from "../peer/findings.ts";
import { inLine, type Style } from "./style.ts";

/**
 * A line a finding, errors first, and a second line with the remedy where there is one. Findings of one code and
 * remedy beyond the tenth are counted.
 */
export function showFindings(findings: readonly Finding[], style: Style): string[] {
  const errors = findings.filter(({ severity }) => severity === "error");
  const warnings = findings.filter(({ severity }) => severity === "warning");
  const counts = new Map<string, number>();
  const lines: string[] = [];
  for (const { code, severity, source, key, message, remedy } of [...errors, ...warnings]) {
    const count = (counts.get(code) ?? 0) + 1;
    counts.set(code, count);
    if (count > 10) continue;
    const mark = severity === "error" ? style.red("error") : style.yellow("warning");
    const where = key === undefined ? source : `${source} (${key})`;
    lines.push(`${mark}: ${inLine(`${where}: ${message}`)} ${style.dim(`[${code}]`)}`);
    if (remedy !== undefined) lines.push(`  ${inLine(remedy)}`);
  }
  for (const [code, count] of counts) if (count > 10) lines.push(style.dim(`… and ${count - 10} more of ${code}`));
  return lines;
}
