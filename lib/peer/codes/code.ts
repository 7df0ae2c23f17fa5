/** Definitions of finding codes, including their texts. */

export type Severity = "error" | "warning";

/**
 * Properties of codes on which commands base decisions.
 *
 * - `illegible`: a file, or a peer in it, is unreadable, so it has not been checked further.
 * - `unprobeable`: the peer's data does not allow a connection, so its etcd is not probed.
 * - `disprovable`: a response from the peer's etcd disproves the finding.
 * - `of-pair`: affects existing peers, too, so `status` reports it if the plan of an import contains it.
 * - `undecided`: depends on the server certificate, which only a probe receives.
 * - `unconnected`: an existing peer does not connect, so an import succeeds only in part.
 * - `skippable`: stops commands for a mesh, unless `--skip-unreachable` excludes the cluster.
 */
export type Trait = "illegible" | "unprobeable" | "disprovable" | "of-pair" | "undecided" | "unconnected" | "skippable";

/** The subjects of findings, in the plural. */
export type Noun = "peers" | "clusters" | "contexts" | "files" | "values" | "objects" | "permissions" | "entries";

/** A remedy with separate values, so that findings with the same remedy can be reported together. */
export interface RemedyTemplate {
  /** A text with placeholders: `{name}`; a brace is written as `{{` ({@link literal}). Each line has one command. */
  template: string;
  values: Readonly<Record<string, string>>;
}

/** The values of a code without any. */
export type NoValues = Readonly<Record<string, never>>;

/** The definition of a code. `V` is the type of the values in its message and remedy. */
export interface CodeDefinition<V> {
  /** An error stops an import before anything is written. */
  severity: Severity;
  traits?: readonly Trait[];
  /** Another code for the same fact. If both are found, only that one is reported. */
  sameAs?: string;
  /** A code that implies this one. If both are found for a peer, only that one is reported. */
  impliedBy?: string;
  /** The name of the code in earlier versions. */
  formerCode?: string;
  /** One sentence without a full stop. */
  message: string | ((values: V) => string);
  /**
   * How to resolve it: a template with placeholders (`{name}`) for values. Findings with the same template are reported
   * together, with `NAME` in place of different values, so values that a reader could not supply must be part of the
   * template.
   */
  remedy?: string | ((values: V) => string | RemedyTemplate | undefined);
  /** Returns named values that must be equal for findings to be summarized together. */
  by?(values: V): Readonly<Record<string, string | undefined>>;
  /** The subjects that a summary counts; by default peers, or clusters if the findings have no key. */
  noun?: Noun;
  /** Set if messages have individual causes: a summary then prints all of them, instead of their subjects only. */
  each?: true;
  /**
   * Formats a sentence about several findings.
   *
   * @param of - their number and subjects, such as `20 existing peers`.
   * @param data - the values of {@link by}.
   */
  summary(of: string, data: Readonly<Record<string, string>>): string;
}

type Details<V> = Omit<CodeDefinition<V>, "severity">;

/** Defines a code that stops an import. */
export function error<V = NoValues>(details: Details<V>): CodeDefinition<V> {
  return { severity: "error", ...details };
}

/** Defines a code that is reported without stopping an import. */
export function warning<V = NoValues>(details: Details<V>): CodeDefinition<V> {
  return { severity: "warning", ...details };
}

/** Formats two values in an order that does not depend on the arguments'. */
export function bothValues(one: string | number | undefined, other: string | number | undefined): string {
  return [`${one}`, `${other}`].sort().join(" and ");
}

/** Formats a value in parentheses, for the end of a summary; an empty text without a value. */
export function inParentheses(text: string | undefined): string {
  return text === undefined ? "" : ` (${text})`;
}

/** The remedy for findings that a new extraction resolves. */
export const RE_EXTRACT = "re-extract with extract-secret, then import the new file";

/** Escapes a text for use in a template, so that no part of it is replaced by a value. */
export function literal(text: string): string {
  return text.replaceAll("{", "{{");
}
