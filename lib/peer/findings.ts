/** Findings: problems that would keep a peer from connecting, each with a stable code. All commands report the same. */
import { truncateLine } from "../util/line.ts";
import type { CertificateFact } from "../x509/expiry.ts";
import type { RemedyTemplate, Severity } from "./codes/code.ts";
import { definitionOf, type FindingCode, type ValuesOf } from "./finding-codes.ts";

/** The location of a finding: a file or context, and a key in it. */
export interface Place {
  source: string;
  key?: string | undefined;
}

export interface Finding extends Place {
  code: FindingCode;
  /** Its code in earlier versions, if different. */
  formerCode?: string;
  severity: Severity;
  /** One sentence without a full stop. */
  message: string;
  /** How to resolve it. */
  remedy?: string | undefined;
  /** The template of `remedy`, if other findings may have the same remedy with other values. */
  remedyTemplate?: RemedyTemplate;
  /** The two clusters of a symmetric finding, which is about both and reported once ({@link dedupeFindings}). */
  clusters?: [string, string];
  /** Set if it is about an existing peer of the target that is not being imported. */
  existing?: true;
  /** Named values that findings of one summary have in common, such as `owner` ({@link CodeDefinition.by}). */
  data?: Readonly<Record<string, string>>;
  /** The expiring or expired certificate. */
  certificate?: CertificateFact;
}

/** Optional fields of a finding that do not follow from its code. */
export interface FindingDetails extends Pick<Finding, "clusters" | "existing" | "certificate"> {
  /** Overrides the remedy of the code. */
  remedy?: string | RemedyTemplate | undefined;
}

/**
 * Creates a finding. Its code determines severity, message and remedy.
 *
 * @param given - the values in its message. They may be untrusted, so texts are reduced to one line, truncated, and
 *   redacted if they may contain a key.
 */
export function finding<Code extends FindingCode>(
  code: Code,
  { source, key }: Place,
  given: ValuesOf<Code>,
  { clusters, existing, certificate, remedy: otherRemedy }: FindingDetails = {},
): Finding {
  const { severity, message, remedy, by, formerCode } = definitionOf(code);
  // The signature ensures that these are the values of this code.
  const values = given as never;
  const template = toTemplate(otherRemedy ?? evaluate(remedy, values), given);
  const data = toRedactedTexts(by?.(values) ?? {});
  return {
    code,
    ...(formerCode !== undefined && { formerCode }),
    severity,
    source: truncateLine(source),
    key: key === undefined ? undefined : redact(key),
    message: redact(evaluate(message, values)),
    remedy: template && fillTemplate(template),
    ...(template && Object.keys(template.values).length > 0 && { remedyTemplate: template }),
    ...(clusters && { clusters: [redact(clusters[0]), redact(clusters[1])] }),
    ...(existing && { existing }),
    ...(Object.keys(data).length > 0 && { data }),
    ...(certificate && { certificate }),
  };
}

function evaluate<T>(text: T | ((values: never) => T), values: never): T {
  return text instanceof Function ? text(values) : text;
}

/** Selects texts and numbers, and redacts them. */
function toRedactedTexts(values: object): Record<string, string> {
  return Object.fromEntries(
    Object.entries(values).flatMap(([name, value]) =>
      typeof value === "string" || typeof value === "number" ? [[name, redact(String(value))]] : [],
    ),
  );
}

/** Converts a remedy to a template with only the values that it refers to, redacted. Quoted words are never cut. */
function toTemplate(remedy: string | RemedyTemplate | undefined, values: object): RemedyTemplate | undefined {
  if (remedy === undefined) return undefined;
  const { template, values: given } = typeof remedy === "object" ? remedy : { template: remedy, values };
  const names = new Set([...template.matchAll(PLACEHOLDER)].map(([, name]) => name));
  const isCut = (value: unknown) => typeof value === "string" && value.includes("'") && redact(value) !== value;
  const used = Object.entries(given).filter(
    ([name, value]) => (typeof remedy === "object" || names.has(name)) && !isCut(value),
  );
  return { template, values: toRedactedTexts(Object.fromEntries(used)) };
}

const PLACEHOLDER = /\{\{|\{(\w+)\}/g;

/** Fills in the values of a remedy. A missing value becomes its name in capitals, as a placeholder in a command. */
export function fillTemplate({ template, values }: RemedyTemplate): string {
  return template.replace(PLACEHOLDER, (_, name?: string) =>
    name === undefined ? "{" : (values[name] ?? name.toUpperCase()),
  );
}

/**
 * Removes duplicate findings. A symmetric finding may be reported by either of its clusters, and by a third that has
 * both as peers: the first is kept. Of two codes for one fact, the common one is kept ({@link CodeDefinition.sameAs}).
 */
export function dedupeFindings(findings: readonly Finding[]): Finding[] {
  const found = new Map<string, Finding>();
  for (const one of findings) {
    const { code, clusters } = one;
    const { sameAs: fact = code } = definitionOf(code);
    const key = JSON.stringify(clusters ? [fact, ...[...clusters].sort()] : one);
    const other = found.get(key);
    if (!other || (code === fact && other.code !== fact)) found.set(key, one);
  }
  return [...found.values()];
}

/** Makes an untrusted text safe to print: {@link redactKeys}, then {@link truncateLine}. */
export function redact(text: string): string {
  return truncateLine(redactKeys(text));
}

/** Replaces PEM blocks and long runs of base64, including continuation lines, with their lengths. */
export function redactKeys(text: string): string {
  const length = (run: string) => `(${run.length} characters)`;
  return text
    .replace(/-----BEGIN [\s\S]*?(?:-----END [^-]*-----|$)/g, length)
    .replace(/[A-Za-z0-9+/=]{40,}(?:[\s\\]+[A-Za-z0-9+/=]{16,})*/g, (run) => (/[A-Z]/.test(run) ? length(run) : run));
}

/** Whether any finding is an error. */
export function hasErrors(findings: readonly Finding[]): boolean {
  return findings.some(({ severity }) => severity === "error");
}
