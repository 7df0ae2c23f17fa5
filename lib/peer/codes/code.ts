/** How a code of findings is defined: all that follows from it, the words included. */

export type Severity = "error" | "warning";

/**
 * What a code means for those who look at findings.
 *
 * - `illegible`: a file, or a peer in it, cannot be read, so nothing more is known about it.
 * - `unprobeable`: the peer's etcd cannot be reached like this, so there is no point in asking it.
 * - `disprovable`: a response of the peer's etcd proves the finding wrong.
 * - `of-pair`: it matters to a peer that is configured already, so `status` reports it if the plan of an import has it.
 * - `undecided`: the server certificate decides, which no file contains and a probe sees.
 * - `unconnected`: an existing peer does not connect, so an import has not achieved all that was asked for.
 * - `skippable`: it stops the work on a mesh, unless `--skip-unreachable` leaves the cluster out.
 */
export type Trait = "illegible" | "unprobeable" | "disprovable" | "of-pair" | "undecided" | "unconnected" | "skippable";

/** What findings are about, in the plural. */
export type Noun = "peers" | "clusters" | "contexts" | "files" | "values" | "objects" | "permissions" | "entries";

/** A remedy with its variable parts apart, so that findings with the same remedy can be reported together. */
export interface RemedyTemplate {
  /** Variable parts are written as `{name}`. */
  template: string;
  values: Readonly<Record<string, string>>;
}

/** Of a code without values. */
export type NoValues = Readonly<Record<string, never>>;

/** A code of findings; `V` are the values that its message and remedy are made from. */
export interface CodeDefinition<V> {
  /** An error stops an import before anything is written. */
  severity: Severity;
  traits?: readonly Trait[];
  /** Another code for the same fact, which is reported instead if both are found. */
  sameAs?: string;
  /** A code whose fact has this one as its consequence: of the same peer, only that one is reported. */
  impliedBy?: string;
  /** The code that this one had in earlier versions. */
  formerCode?: string;
  /** One sentence without a full stop. */
  message: string | ((values: V) => string);
  /**
   * What to do about it: a template in which `{name}` stands for a value. Findings with the same template are reported
   * together, with `NAME` in place of values that differ: a value that the reader could not supply is written out instead.
   */
  remedy?: string | ((values: V) => string | RemedyTemplate | undefined);
  /** In what findings must agree to be summarized together, by name. */
  by?(values: V): Readonly<Record<string, string | undefined>>;
  /** What is counted in a summary; by default peers, or clusters if the findings have no key. */
  noun?: Noun;
  /** Set if each message has its own cause: a summary then prints each of them, not only what it is about. */
  each?: true;
  /**
   * One sentence for several findings.
   *
   * @param of - how many of what, such as `20 existing peers`.
   * @param data - the values of {@link by}.
   */
  summary(of: string, data: Readonly<Record<string, string>>): string;
}

type Details<V> = Omit<CodeDefinition<V>, "severity">;

/** Defines a code that stops an import. */
export function error<V = NoValues>(details: Details<V>): CodeDefinition<V> {
  return { severity: "error", ...details };
}

/** Defines a code that is reported and stops nothing. */
export function warning<V = NoValues>(details: Details<V>): CodeDefinition<V> {
  return { severity: "warning", ...details };
}

/** Two different values, in one order whichever is given first. */
export function bothValues(one: string | number | undefined, other: string | number | undefined): string {
  return [`${one}`, `${other}`].sort().join(" and ");
}

/** A value in parentheses after a summary, if there is one. */
export function inParentheses(text: string | undefined): string {
  return text === undefined ? "" : ` (${text})`;
}

/** A remedy for whatever a fresh extract file fixes. */
export const RE_EXTRACT = "re-extract the peer with extract-secret";
