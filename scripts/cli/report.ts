/** Documents and exit codes of the read-only commands. */
import { stringify } from "yaml";
import { type Finding, hasErrors } from "../../lib/peer/findings.ts";
import { EXIT, UserError } from "../../lib/util/errors.ts";
import { writePublicFile } from "../../lib/util/private-file.ts";
import { completeRemedy, writeStdout } from "./streams.ts";

/** The flags of commands that print metrics. */
export interface MetricsArguments {
  output?: string | undefined;
  "output-file"?: string | undefined;
}

/** Whether there are findings of the severity given by `--fail-on`. */
export function hasFailures(findings: readonly Finding[], failOn: string): boolean {
  return failOn === "warning" ? findings.length > 0 : hasErrors(findings);
}

/**
 * Checks that `--output-file` is combined with the output that it is for.
 *
 * @throws UserError (exit code 2) if it is not.
 */
export function validateMetricsFile({ output, "output-file": path }: MetricsArguments): void {
  if (path !== undefined && output !== "prometheus") {
    throw new UserError("--output-file requires -o prometheus", EXIT.refused);
  }
}

/**
 * Prints metrics to stdout, or writes them to `--output-file`.
 *
 * @throws UserError (exit code 1) if they cannot be written.
 */
export async function printMetrics(text: string, { "output-file": path }: MetricsArguments): Promise<void> {
  if (path === undefined) writeStdout(text);
  else await writePublicFile(path, text);
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
