/**
 * Files other than Secrets with peers: encrypted files, files of other tools, and Kubernetes files from whose clusters
 * peers can be extracted. Pure.
 */

import { shellQuotePath } from "../../util/shell.ts";
import type { RemedyTemplate } from "../codes/code.ts";
import { type Finding, fillTemplate, finding } from "../findings.ts";

/** The description of a file or its content, with a remedy. */
export interface ForeignFile {
  /** `encrypted-file` if it may be a Secret with peers after decryption, otherwise `foreign-file`. */
  code: "encrypted-file" | "foreign-file";
  /** Continues the name of the file: `is encrypted with SOPS`. */
  message: string;
  /**
   * A command with the placeholders `{file}`, `{rerun}` and `{extract}`. A missing value is printed as its name in
   * capitals. Values are printed unchanged, so they must be quoted for a shell and contain no secrets.
   */
  remedy: RemedyTemplate;
}

/** The command line of the caller, for remedies that pipe into it. */
export interface Call {
  /** The same command with standard input in place of its files: `import-secrets --context c1 -`. */
  rerun: string;
  /** The command for extraction: `extract-secret`. */
  extract: string;
}

export const DEFAULT_CALL: Call = { rerun: "import-secrets -", extract: "extract-secret" };

/** The maximum length of a file name in a remedy. */
const MAX_CHARACTERS = 1_000;

/** Creates a remedy, by default with the values of {@link foreignFinding} only. */
export function createRemedy(template: string, values: RemedyTemplate["values"] = {}): RemedyTemplate {
  return { template, values };
}

/** The remedy for a file of a cluster: extract the cluster instead. */
export const EXTRACT = createRemedy("{extract} --context {context} | {rerun}");

/** The remedy for a file that can never contain peers. */
export const OMIT = createRemedy("omit it: pass the files written by {extract}");

/** Creates the remedy that reads a Secret from its cluster. Unknown values become placeholders. */
export function getSecretCommand(values: {
  namespace?: string | undefined;
  name?: string | undefined;
}): RemedyTemplate {
  const known = Object.entries(values).filter((entry): entry is [string, string] => entry[1] !== undefined);
  return createRemedy(
    "kubectl --context {context} --namespace {namespace} get secret {name} --output yaml | {rerun}",
    Object.fromEntries(known),
  );
}

/**
 * Creates the finding about a foreign file.
 *
 * @param source - the name of the file in findings.
 * @param path - its path in the shell; undefined for standard input.
 */
export function foreignFinding(
  { code, message, remedy }: ForeignFile,
  source: string,
  path: string | undefined,
  call: Call,
): Finding {
  const file = path === undefined ? undefined : shellQuotePath(path);
  const values = {
    ...remedy.values,
    ...call,
    ...(file !== undefined && file.length <= MAX_CHARACTERS && { file }),
  };
  const remedyTemplate = { template: remedy.template, values };
  // finding() would truncate or redact the file name, and so break the command.
  return { ...finding(code, { source }, { problem: message }), remedy: fillTemplate(remedyTemplate), remedyTemplate };
}
