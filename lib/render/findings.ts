/** Text of findings. Pure. */
import type { Severity } from "../peer/codes/code.ts";
import type { Finding } from "../peer/findings.ts";
import { countGroups, describeGroup, type FindingGroup, groupFindings } from "./finding-groups.ts";
import { count, escapeLine, type Style } from "./style.ts";

/**
 * Prints findings, merged by code and remedy; errors are last, next to the prompt. Remedies are not wrapped, so that their
 * commands can be pasted.
 *
 * @param details - whether to print every finding separately.
 */
export function showFindings(findings: readonly Finding[], style: Style, details = false): string[] {
  const groups = groupFindings(findings, details);
  const groupsOf = (severity: Severity) => groups.filter((group) => group.findings[0].severity === severity);
  return [...groupsOf("warning"), ...groupsOf("error")].flatMap((group) => showGroup(group, style));
}

/** Selects findings that {@link showFindings} merges with others. */
export function sharedFindings(findings: readonly Finding[]): Set<Finding> {
  return new Set(groupFindings(findings).flatMap((group) => (group.findings.length > 1 ? group.findings : [])));
}

/** States that nothing was written, with the number of printed errors. */
export function showRefusal(findings: readonly Finding[], style: Style, details = false): string {
  const { error: errors } = countGroups(groupFindings(findings, details));
  return errors > 0
    ? `${style.red("error")}: nothing was written because of ${count(errors, "error")}`
    : "nothing was written";
}

/** States that nothing was rendered, with the number of printed errors. */
export function showRenderRefusal(findings: readonly Finding[], style: Style, details = false): string {
  const { error: errors } = countGroups(groupFindings(findings, details));
  return `${style.red("error")}: nothing rendered: ${count(errors, "error")}`;
}

function showGroup(group: FindingGroup, style: Style): string[] {
  const { text, messages, more } = describeGroup(group);
  return [
    ...style.wrap(withCode(group.findings[0], text, style)),
    ...messages.flatMap((message) => style.wrap(`  ${escapeLine(message)}`)),
    ...(more > 0 ? [`  … and ${more} more`] : []),
    ...group.remedy.map((line) => `  ${escapeLine(line)}`),
  ];
}

function withCode({ severity, code }: Finding, text: string, style: Style): string {
  const mark = severity === "error" ? style.red("error") : style.yellow("warning");
  return `${mark}: ${escapeLine(text)} ${style.dim(`[${code}]`)}`;
}
