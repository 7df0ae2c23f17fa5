/** Text of findings. Pure. */
import type { Severity } from "../peer/codes/code.ts";
import { definitionOf } from "../peer/finding-codes.ts";
import type { Finding } from "../peer/findings.ts";
import { countGroups, type FindingGroup, groupFindings, placeOf, subjectsOf } from "./finding-groups.ts";
import { count, escapeLine, type Style } from "./style.ts";

/** Maximum number of messages printed below the summary of a group. */
const MAX_MESSAGES = 10;

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

function showGroup({ findings, remedy }: FindingGroup, style: Style): string[] {
  const [first] = findings;
  const remedies = remedy.map((line) => `  ${escapeLine(line)}`);
  if (findings.length === 1) {
    return [...style.wrap(withCode(first, `${placeOf(first)}: ${first.message}`, style)), ...remedies];
  }
  const { summary, each } = definitionOf(first.code);
  const { of, list, source } = subjectsOf(findings);
  const sentence = summary(of, first.data ?? {});
  const head = source === undefined ? sentence : `${source}: ${sentence}`;
  if (!each) return [...style.wrap(withCode(first, `${head}: ${list}`, style)), ...remedies];
  const more = findings.length - MAX_MESSAGES;
  return [
    ...style.wrap(withCode(first, head, style)),
    ...findings
      .slice(0, MAX_MESSAGES)
      .flatMap((one) => style.wrap(`  ${escapeLine(`${placeOf(one)}: ${one.message}`)}`)),
    ...(more > 0 ? [`  … and ${more} more`] : []),
    ...remedies,
  ];
}

function withCode({ severity, code }: Finding, text: string, style: Style): string {
  const mark = severity === "error" ? style.red("error") : style.yellow("warning");
  return `${mark}: ${escapeLine(text)} ${style.dim(`[${code}]`)}`;
}
