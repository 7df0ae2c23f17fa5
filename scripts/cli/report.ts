/** How the commands that look end, and how they print for programs. */
import { stringify } from "yaml";
import { type Finding, hasErrors } from "../../lib/peer/findings.ts";
import { toStdout } from "./streams.ts";

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
