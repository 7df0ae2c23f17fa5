/** Findings as lines for a person. Pure. */
import type { Severity } from "../peer/codes/code.ts";
import { definitionOf } from "../peer/finding-codes.ts";
import { type Finding, hasErrors } from "../peer/findings.ts";
import { type FindingGroup, groupFindings, placeOf, subjectsOf } from "./finding-groups.ts";
import { count, escapeLine, type Style } from "./style.ts";

/** How many of a group are printed by themselves. */
const MOST_EACH = 10;

/**
 * Findings of one code and one remedy as one, with what they are about; errors last, where the eye is. The line with the
 * remedy is not wrapped, so that a command in it can be pasted.
 *
 * @param details - each by itself.
 */
export function showFindings(findings: readonly Finding[], style: Style, details = false): string[] {
  const groups = groupFindings(findings, details);
  const of = (severity: Severity) => groups.filter((group) => group.findings[0].severity === severity);
  return [...of("warning"), ...of("error")].flatMap((group) => showGroup(group, style));
}

/** Those that {@link showFindings} prints together with others, and so not beneath each that they are about. */
export function sharedFindings(findings: readonly Finding[]): Set<Finding> {
  return new Set(groupFindings(findings).flatMap((group) => (group.findings.length > 1 ? group.findings : [])));
}

/** How many errors and warnings {@link showFindings} prints: several that are summed up are one. */
export function countFindings(findings: readonly Finding[], details = false): Record<Severity, number> {
  const groups = groupFindings(findings, details);
  const errors = groups.filter((group) => hasErrors(group.findings)).length;
  return { error: errors, warning: groups.length - errors };
}

/** The last line of what was refused: how many errors were printed, if any. */
export function showRefusal(findings: readonly Finding[], style: Style, details = false): string {
  const { error: errors } = countFindings(findings, details);
  return errors > 0 ? `${style.red("error")}: ${count(errors, "error")}, nothing was written` : "nothing was written";
}

function showGroup({ findings, remedy }: FindingGroup, style: Style): string[] {
  const [first] = findings;
  const remedies = remedy === undefined ? [] : [`  ${escapeLine(remedy)}`];
  if (findings.length === 1) {
    return [...style.wrap(titled(first, `${placeOf(first)}: ${first.message}`, style)), ...remedies];
  }
  const { summary, each } = definitionOf(first.code);
  const { of, list, source } = subjectsOf(findings);
  const sentence = summary(of, first.data ?? {});
  const head = source === undefined ? sentence : `${source}: ${sentence}`;
  if (!each) return [...style.wrap(titled(first, `${head}: ${list}`, style)), ...remedies];
  const more = findings.length - MOST_EACH;
  return [
    ...style.wrap(titled(first, head, style)),
    ...findings.slice(0, MOST_EACH).flatMap((one) => style.wrap(`  ${escapeLine(`${placeOf(one)}: ${one.message}`)}`)),
    ...(more > 0 ? [`  … and ${more} more`] : []),
    ...remedies,
  ];
}

function titled({ severity, code }: Finding, text: string, style: Style): string {
  const mark = severity === "error" ? style.red("error") : style.yellow("warning");
  return `${mark}: ${escapeLine(text)} ${style.dim(`[${code}]`)}`;
}
