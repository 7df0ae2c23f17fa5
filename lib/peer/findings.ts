/** Findings: what would keep a peer from connecting, each with a code that does not change. One list for every command. */
import type { CertificateFact } from "../x509/expiry.ts";
import type { RemedyTemplate, Severity } from "./codes/code.ts";
import { definitionOf, type FindingCode, type ValuesOf } from "./finding-codes.ts";

/** Where a finding was made: the file (or context), and the key in it. */
export interface Place {
  source: string;
  key?: string | undefined;
}

export interface Finding extends Place {
  code: FindingCode;
  /** The code that it had in earlier versions, if that was another one. */
  formerCode?: string;
  severity: Severity;
  /** One sentence without a full stop. */
  message: string;
  /** What to do about it. */
  remedy?: string | undefined;
  /** What `remedy` was made from, if other findings may have the same one for other clusters. */
  remedyTemplate?: RemedyTemplate;
  /** The two clusters of a symmetric finding, which holds for both and is reported once ({@link dedupeFindings}). */
  clusters?: [string, string];
  /** Set if it is about a peer that exists in the target already and is not imported now. */
  existing?: true;
  /** Values by which findings are summarized together, by name, such as `owner` ({@link CodeDefinition.by}). */
  data?: Readonly<Record<string, string>>;
  /** The certificate that expires, or has expired. */
  certificate?: CertificateFact;
}

/** What a finding may have besides the values of its code. */
export interface FindingDetails extends Pick<Finding, "clusters" | "existing" | "certificate"> {
  /** In place of the remedy of the code. */
  remedy?: string | RemedyTemplate | undefined;
}

/**
 * Makes a finding. Its severity, message and remedy follow from its code.
 *
 * @param given - what its message is made from. They may come from files and clusters: each text is reduced to one line, cut
 *   if it is absurdly long, and redacted if it may be a key.
 */
export function finding<Code extends FindingCode>(
  code: Code,
  { source, key }: Place,
  given: ValuesOf<Code>,
  { clusters, existing, certificate, remedy: otherRemedy }: FindingDetails = {},
): Finding {
  const { severity, message, remedy, by, formerCode } = definitionOf(code);
  // That these are the values of this code is what the signature ensures.
  const values = given as never;
  const template = toTemplate(otherRemedy ?? resolve(remedy, values), given);
  const data = textsOf(by?.(values) ?? {});
  return {
    code,
    ...(formerCode !== undefined && { formerCode }),
    severity,
    source: truncateLine(source),
    key: key === undefined ? undefined : redact(key),
    message: redact(resolve(message, values)),
    remedy: template && fillTemplate(template),
    ...(template && Object.keys(template.values).length > 0 && { remedyTemplate: template }),
    ...(clusters && { clusters: [redact(clusters[0]), redact(clusters[1])] }),
    ...(existing && { existing }),
    ...(Object.keys(data).length > 0 && { data }),
    ...(certificate && { certificate }),
  };
}

function resolve<T>(text: T | ((values: never) => T), values: never): T {
  return text instanceof Function ? text(values) : text;
}

/** The texts and numbers among values, redacted. */
function textsOf(values: object): Record<string, string> {
  return Object.fromEntries(
    Object.entries(values).flatMap(([name, value]) =>
      typeof value === "string" || typeof value === "number" ? [[name, redact(String(value))]] : [],
    ),
  );
}

/** A remedy as a template with the values that it mentions, redacted. */
function toTemplate(remedy: string | RemedyTemplate | undefined, values: object): RemedyTemplate | undefined {
  if (remedy === undefined) return undefined;
  if (typeof remedy === "object") return { ...remedy, values: textsOf(remedy.values) };
  const names = new Set([...remedy.matchAll(PLACEHOLDER)].map(([, name]) => name));
  const used = Object.entries(values).filter(([name]) => names.has(name));
  return { template: remedy, values: textsOf(Object.fromEntries(used)) };
}

const PLACEHOLDER = /\{(\w+)\}/g;

/** A remedy's text; a value that is missing is written as its name in capitals, as a placeholder in a command. */
export function fillTemplate({ template, values }: RemedyTemplate): string {
  return template.replace(PLACEHOLDER, (_, name: string) => values[name] ?? name.toUpperCase());
}

/**
 * Each finding once. A symmetric one is the same from either cluster and from any third one that has both as peers; of
 * these the first stays, and of two codes for one fact the common one ({@link CodeDefinition.sameAs}).
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

/** Makes a text of others safe to print: {@link redactKeys}, then {@link truncateLine}. */
export function redact(text: string): string {
  return truncateLine(redactKeys(text));
}

/** A text without line breaks, of which at most 300 characters are left, from its beginning and its end. */
export function truncateLine(text: string): string {
  const line = text.replace(/\r\n|[\n\v\f\r\u0085\u2028\u2029]/g, "\\n");
  if (line.length <= 300) return line;
  return `${line.slice(0, 180)}… (${(line.length - 260).toLocaleString("en")} more characters) …${line.slice(-80)}`;
}

/** Replaces PEM blocks and long runs of base64, including their continuation lines, by their lengths. */
export function redactKeys(text: string): string {
  const length = (run: string) => `(${run.length} characters)`;
  return text
    .replace(/-----BEGIN [\s\S]*?(?:-----END [^-]*-----|$)/g, length)
    .replace(/[A-Za-z0-9+/=]{40,}(?:[\s\\]+[A-Za-z0-9+/=]{16,})*/g, (run) => (/[A-Z]/.test(run) ? length(run) : run));
}

/** Whether any of these stops the work. */
export function hasErrors(findings: readonly Finding[]): boolean {
  return findings.some(({ severity }) => severity === "error");
}
