/** Documents and exit codes of the read-only commands. */
import { stringify } from "yaml";
import { type Finding, hasErrors } from "../../lib/peer/findings.ts";
import { completeRemedy, writeStdout } from "./streams.ts";

/** Whether there are findings of the severity given by `--fail-on`. */
export function hasFailures(findings: readonly Finding[], failOn: string): boolean {
  return failOn === "warning" ? findings.length > 0 : hasErrors(findings);
}

/** Omitted from documents: a field for grouping findings in text output. */
const INTERNAL_FIELD: keyof Finding = "remedyTemplate";

const REMEDY_FIELD: keyof Finding = "remedy";

/** The version of the documents of inspect, verify and status. It changes if a field is renamed or removed. */
const SCHEMA_VERSION = 2;

/** Prints a document to stdout with its schema version, without undefined fields. `docs/reference/schemas` describes it. */
export function printDocument(value: object, output: "json" | "yaml"): void {
  const plain: unknown = JSON.parse(
    JSON.stringify({ schemaVersion: SCHEMA_VERSION, ...value }, (key, field) => {
      if (key === INTERNAL_FIELD) return undefined;
      return key === REMEDY_FIELD && typeof field === "string" ? completeRemedy(field) : field;
    }),
  );
  writeStdout(
    output === "json" ? `${JSON.stringify(plain, null, 2)}\n` : stringify(plain, { lineWidth: 0, version: "1.1" }),
  );
}
