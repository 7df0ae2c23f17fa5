/**
 * Files that are something else than a Secret with peers: encrypted, made for another tool, or a file of Kubernetes that
 * peers can be extracted with. Pure.
 */

import { shellQuotePath } from "../../util/shell.ts";
import type { RemedyTemplate } from "../codes/code.ts";
import { type Finding, fillTemplate, finding } from "../findings.ts";

/** What a file is, or holds, and what to do about it. */
export interface ForeignFile {
  /** `encrypted-file`: decrypted, it may be a Secret with peers; `foreign-file`: something else. */
  code: "encrypted-file" | "foreign-file";
  /** After the file's name: `is encrypted by SOPS`. */
  message: string;
  /**
   * A command as a template: `{file}`, `{rerun}` and `{extract}` are filled in; a value that is missing stays a
   * placeholder in capitals. Values are printed as they are: they are quoted for a shell, and no secrets.
   */
  remedy: RemedyTemplate;
}

/** The call that reads the files, for remedies that pipe into it. */
export interface Call {
  /** The same command with standard input in place of its files: `import-secrets --context c1 -`. */
  rerun: string;
  /** The command that extracts: `extract-secret`. */
  extract: string;
}

export const DEFAULT_CALL: Call = { rerun: "import-secrets -", extract: "extract-secret" };

/** A longer name is not written into a command. */
const MOST_CHARACTERS = 1_000;

/** A remedy that is the same for every file of a form. */
export function createRemedy(template: string, values: RemedyTemplate["values"] = {}): RemedyTemplate {
  return { template, values };
}

/** Extracts the cluster instead. */
export const EXTRACT = createRemedy("{extract} --context {context} | {rerun}");

/** The remedy for a file that can never contain peers. */
export const OMIT = createRemedy("omit it: pass the files written by {extract}");

/** Takes a Secret out of the cluster where it is; what is not known stays a placeholder. */
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
 * Reports a foreign file.
 *
 * @param source - how the file is called in findings.
 * @param path - what the shell knows it by; undefined for standard input.
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
    ...(file !== undefined && file.length <= MOST_CHARACTERS && { file }),
  };
  const remedyTemplate = { template: remedy.template, values };
  // Not by finding(): a file name that is truncated or redacted would break the command.
  return { ...finding(code, { source }, { problem: message }), remedy: fillTemplate(remedyTemplate), remedyTemplate };
}
