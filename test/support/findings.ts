/** Findings whose texts are set by a test, not by their codes. */

import type { RemedyTemplate } from "../../lib/peer/codes/code.ts";
import type { FindingCode } from "../../lib/peer/finding-codes.ts";
import { definitionOf } from "../../lib/peer/finding-codes.ts";
import { type Finding, fillTemplate, type Place } from "../../lib/peer/findings.ts";

/**
 * Returns a finding with its remedy filled in.
 *
 * @param remedy a text, or a template with its values.
 */
export function findingWith(
  code: FindingCode,
  { source, key }: Place,
  message: string,
  remedy?: string | RemedyTemplate,
  more: Pick<Finding, "clusters" | "existing" | "data" | "certificate"> = {},
): Finding {
  const { severity } = definitionOf(code);
  const template = typeof remedy === "object" ? { remedy: fillTemplate(remedy), remedyTemplate: remedy } : { remedy };
  return { code, severity, source, key, message, ...template, ...more };
}
