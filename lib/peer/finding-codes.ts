/** All codes of findings, with their definitions. */
import { CERTIFICATE_CODES } from "./codes/certificate-codes.ts";
import type { CodeDefinition, Trait } from "./codes/code.ts";
import { CONFIG_CODES } from "./codes/config-codes.ts";
import { FILE_CODES } from "./codes/file-codes.ts";
import { IDENTITY_CODES } from "./codes/identity-codes.ts";
import { MESH_CODES } from "./codes/mesh-codes.ts";
import { PROBE_CODES } from "./codes/probe-codes.ts";
import { RENDER_CODES } from "./codes/render-codes.ts";
import { TARGET_CODES } from "./codes/target-codes.ts";

/** The definition of each code. */
export const FINDING_CODES = {
  ...FILE_CODES,
  ...CONFIG_CODES,
  ...CERTIFICATE_CODES,
  ...IDENTITY_CODES,
  ...TARGET_CODES,
  ...PROBE_CODES,
  ...MESH_CODES,
  ...RENDER_CODES,
} as const;

export type FindingCode = keyof typeof FINDING_CODES;

/** The values in the message of a code. */
export type ValuesOf<Code extends FindingCode> =
  (typeof FINDING_CODES)[Code] extends CodeDefinition<infer V extends object> ? V : never;

const DEFINITIONS: Readonly<Record<FindingCode, CodeDefinition<never>>> = FINDING_CODES;

/** Returns the definition of a code. Its functions require the values of this code ({@link ValuesOf}). */
export function definitionOf(code: FindingCode): CodeDefinition<never> {
  return DEFINITIONS[code];
}

/** Whether a code has a trait. */
export function hasTrait({ code }: { code: FindingCode }, trait: Trait): boolean {
  return definitionOf(code).traits?.includes(trait) === true;
}
