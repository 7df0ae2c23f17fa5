/** Documents and exit codes of the read-only commands. */
import { type Finding, hasErrors } from "../../lib/peer/findings.ts";
import { EXIT, UserError } from "../../lib/util/errors.ts";
import { writeOrdinaryFile, writePublicFile } from "../../lib/util/private-file.ts";
import { formatYaml } from "../../lib/util/yaml.ts";
import { completeRemedy, writeStdout } from "./streams.ts";

/** The flags for the output of commands that can write it to a file that others may read. */
export interface OutputArguments {
  output?: string | undefined;
  "output-file"?: string | undefined;
}

/** Whether there are findings of the severity given by `--fail-on`. */
export function hasFailures(findings: readonly Finding[], failOn: string): boolean {
  return failOn === "warning" ? findings.length > 0 : hasErrors(findings);
}

/**
 * Checks that `--output-file` is combined with one of the outputs that it is for.
 *
 * @throws UserError (exit code 2) if it is not.
 */
export function validateOutputFile({ output, "output-file": path }: OutputArguments, outputs: readonly string[]): void {
  if (path !== undefined && !outputs.includes(output ?? "")) {
    throw new UserError(`--output-file requires -o ${outputs.join(" or -o ")}`, EXIT.refused);
  }
}

/**
 * Prints a text to stdout, or writes it to `--output-file`: metrics for the user of a collector, other outputs with the usual
 * mode.
 *
 * @throws UserError (exit code 1) if it cannot be written.
 */
export async function printOutput(text: string, { output, "output-file": path }: OutputArguments): Promise<void> {
  if (path === undefined) writeStdout(text);
  else await (output === "prometheus" ? writePublicFile : writeOrdinaryFile)(path, text);
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
  writeStdout(output === "json" ? `${JSON.stringify(plain, null, 2)}\n` : formatYaml(plain));
}
