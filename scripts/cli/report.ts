/** What the commands that look have in common: when they fail, and how they print for programs. */

import { stringify } from "yaml";
import { type Finding, hasErrors } from "../../lib/peer/findings.ts";
import { toStdout } from "./streams.ts";

/** `--details` of the commands whose reports are otherwise summed up. */
export const detailsOption = {
  type: "boolean",
  default: false,
  describe: "list every cluster, peer and finding by itself",
} as const;

export const failOnOption = {
  type: "string",
  choices: ["error", "warning"],
  default: "error",
  describe: "which findings make the exit code 3",
} as const;

export const expiresWithinOption = {
  type: "string",
  default: "30d",
  describe: "warn of certificates that expire within this time",
} as const;

export const outputOption = {
  type: "string",
  alias: "o",
  choices: ["json", "yaml"],
  describe: "print all of it, for programs; without private keys",
} as const;

/** Whether these findings are the ones that `--fail-on` means. */
export function fails(findings: readonly Finding[], failOn: string): boolean {
  return failOn === "warning" ? findings.length > 0 : hasErrors(findings);
}

/** What findings are grouped by for people is no part of a document. */
const INTERNAL: keyof Finding = "remedyTemplate";

/** Prints a document on stdout; fields without a value are left out. */
export function printDocument(value: object, output: "json" | "yaml"): void {
  const plain: unknown = JSON.parse(JSON.stringify(value, (key, field) => (key === INTERNAL ? undefined : field)));
  toStdout(
    output === "json" ? `${JSON.stringify(plain, null, 2)}\n` : stringify(plain, { lineWidth: 0, version: "1.1" }),
  );
}
