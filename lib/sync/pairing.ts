/** Which members of a `sync` are connected with each other. Pure. */
import { EXIT, UserError } from "../util/errors.ts";
import { truncateLine } from "../util/line.ts";

/** The names by which users refer to a member. */
export interface MemberNames {
  /** Its name in the list of members: a context, or the name from a Secret. */
  entry: string;
  /** Its cluster name, as far as it is known. */
  cluster?: string | undefined;
  /** Other entries that reach its cluster. */
  aliases?: readonly string[] | undefined;
}

/** Two names of members, or `*` for all members. */
export type MemberPair = readonly [string, string];

/** Whether two members are connected. The order does not matter. */
export type Pairing = (one: MemberNames, other: MemberNames) => boolean;

/** Which members are connected; by default all of them. If both are set, both apply. */
export interface PairingOptions {
  /** The name of the only member that the others are connected with. */
  hub?: string | undefined;
  pairs?: readonly MemberPair[] | undefined;
}

/** The name that stands for all members. */
const ALL = "*";

/**
 * Parses a text of pairs: two names a line, separated by white space. A name is that of an entry or of a cluster, or `*` for
 * all members. `#` begins a comment at the start of a line or after white space.
 *
 * @param source - the name of the file, for messages.
 * @throws UserError (exit code 2) for the first invalid line, and if there is no pair: the file may be incomplete.
 */
export function parsePairs(text: string, source: string): MemberPair[] {
  const pairs: MemberPair[] = [];
  for (const [index, line] of text
    .replace(/^\uFEFF/, "")
    .split(/\r\n|\n|\r/)
    .entries()) {
    const names = line
      .replace(/(?:^|\s)#.*$/, "")
      .split(/\s+/)
      .filter((name) => name !== "");
    const [one, other] = names;
    if (one === undefined) continue;
    const refuse = (problem: string) => new UserError(`${source}: line ${index + 1} ${problem}`, EXIT.refused);
    if (other === undefined || names.length > 2) {
      throw refuse(`has ${names.length === 1 ? "1 name" : `${names.length} names`}, expected 2`);
    }
    if (one === other && one !== ALL) throw refuse(`connects ${truncateLine(one)} with itself`);
    pairs.push([one, other]);
  }
  if (pairs.length === 0) throw new UserError(`${source}: no pairs found`, EXIT.refused);
  return pairs;
}

/** Returns which members are connected. A member is never connected with itself. */
export function createPairing({ hub, pairs }: PairingOptions): Pairing {
  const partners = pairs && indexPairs(pairs);
  return (one, other) => {
    if (one.entry === other.entry || (one.cluster !== undefined && one.cluster === other.cluster)) return false;
    const [names, otherNames] = [namesOf(one), namesOf(other)];
    if (hub !== undefined && !names.includes(hub) && !otherNames.includes(hub)) return false;
    if (!partners) return true;
    return [...names, ALL].some((name) => [...otherNames, ALL].some((partner) => partners.get(name)?.has(partner)));
  };
}

/** Returns the names of the hub and of the pairs that no member has, sorted: they are probably misspelled. */
export function findUnknownNames({ hub, pairs = [] }: PairingOptions, members: readonly MemberNames[]): string[] {
  const known = new Set([ALL, ...members.flatMap(namesOf)]);
  const names = new Set([...(hub === undefined ? [] : [hub]), ...pairs.flat()]);
  return [...names].filter((name) => !known.has(name)).sort();
}

function namesOf({ entry, cluster, aliases = [] }: MemberNames): string[] {
  return [entry, ...(cluster === undefined ? [] : [cluster]), ...aliases];
}

/** The names that each name is paired with, in both directions. */
function indexPairs(pairs: readonly MemberPair[]): ReadonlyMap<string, ReadonlySet<string>> {
  const partners = new Map<string, Set<string>>();
  const add = (name: string, partner: string) =>
    partners.set(name, (partners.get(name) ?? new Set<string>()).add(partner));
  for (const [one, other] of pairs) {
    add(one, other);
    add(other, one);
  }
  return partners;
}
