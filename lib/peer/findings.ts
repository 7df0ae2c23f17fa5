/** Findings: what would keep a peer from connecting, each with a code that does not change. One list for every command. */
import type { CertificateFact } from "../x509/expiry.ts";
import { type CodeAttributes, FINDING_CODES, type FindingCode, type Severity } from "./finding-codes.ts";

/** Where a finding was made: the file (or context), and the key in it. */
export interface Place {
  source: string;
  key?: string | undefined;
}

/** A remedy with its variable parts apart, so that findings with the same remedy can be reported together. */
export interface RemedyTemplate {
  /** Variable parts are written as `{name}`. */
  template: string;
  values: Readonly<Record<string, string>>;
}

export interface Finding extends Place {
  code: FindingCode;
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
  /** What a summary of several has to say too, by name, such as `owner`; findings that differ in it are not summed up. */
  data?: Readonly<Record<string, string>>;
  /** The certificate that expires, or has expired. */
  certificate?: CertificateFact;
}

/**
 * Makes a finding; its severity follows from its code. What files and clusters say is told in it, each text in one line
 * and cut where it is absurdly long, but nothing that may be a key.
 */
export function finding(
  code: FindingCode,
  { source, key }: Place,
  message: string,
  remedy?: string | RemedyTemplate,
  { clusters, existing, data, certificate }: Pick<Finding, "clusters" | "existing" | "data" | "certificate"> = {},
): Finding {
  const template = typeof remedy === "object" ? redactedTemplate(remedy) : undefined;
  // Of a template only the values are others' words: a command of ours is never cut.
  const text = template ? fillTemplate(template) : typeof remedy === "string" ? redact(remedy) : undefined;
  return {
    code,
    severity: FINDING_CODES[code].severity,
    source: truncateLine(source),
    key: key === undefined ? undefined : redact(key),
    message: redact(message),
    remedy: text,
    ...(template && { remedyTemplate: template }),
    ...(clusters && { clusters: [redact(clusters[0]), redact(clusters[1])] }),
    ...(existing && { existing }),
    ...(data && { data: redactedValues(data) }),
    ...(certificate && { certificate }),
  };
}

/** A remedy's text; a value that is missing is written as its name in capitals, as a placeholder in a command. */
export function fillTemplate({ template, values }: RemedyTemplate): string {
  return template.replace(/\{(\w+)\}/g, (_, name: string) => values[name] ?? name.toUpperCase());
}

function redactedTemplate({ template, values }: RemedyTemplate): RemedyTemplate {
  return { template, values: redactedValues(values) };
}

function redactedValues(values: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, redact(value)]));
}

/**
 * Each finding once. A symmetric one is the same from either cluster and from any third one that has both as peers; of
 * these the first stays, and of two codes for one fact the common one ({@link CodeAttributes}).
 */
export function dedupeFindings(findings: readonly Finding[]): Finding[] {
  const found = new Map<string, Finding>();
  for (const one of findings) {
    const { code, clusters } = one;
    const { sameAs: fact = code }: CodeAttributes = FINDING_CODES[code];
    const key = JSON.stringify(clusters ? [fact, ...[...clusters].sort()] : one);
    const other = found.get(key);
    if (!other || (code === fact && other.code !== fact)) found.set(key, one);
  }
  return [...found.values()];
}

/** What others wrote, as it may be told: {@link truncateLine}, and {@link redactKeys}. */
export function redact(text: string): string {
  return truncateLine(redactKeys(text));
}

/** A text without line breaks, of which at most 300 characters are left, from its beginning and its end. */
export function truncateLine(text: string): string {
  const line = text.replace(/\r\n|[\n\v\f\r\u0085\u2028\u2029]/g, "\\n");
  if (line.length <= 300) return line;
  return `${line.slice(0, 180)}… (${(line.length - 260).toLocaleString("en")} more characters) …${line.slice(-80)}`;
}

/** A text in which PEM blocks and long runs of base64, with the lines that go on with them, are told by their length. */
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
