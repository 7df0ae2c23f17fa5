/** Taking clusters out of others. */
import { importPeers } from "../exchange/import.ts";
import { readStanding } from "../exchange/standing.ts";
import { addedUsers } from "../exchange/users.ts";
import { enumerate } from "../peer/enumerate.ts";
import { EXIT, UserError } from "../peer/errors.ts";
import { nearestOf } from "../peer/nearest.ts";
import type { MeshResult } from "./connect.ts";
import { asTarget, forbidden, type OpenMember, type ReadOptions, readMembers, type WriteOptions } from "./members.ts";
import type { MemberSource } from "./status.ts";

/** How many peers are listed for a name that is none of them. */
const MOST_LISTED = 10;

export interface DisconnectOptions {
  read: Omit<ReadOptions, "forExtract">;
  write: WriteOptions;
  /** Go on without clusters that cannot be read. */
  skipUnreachable: boolean;
  /** Names of clusters that exist, whether they are peers or not: what the kubeconfig calls them. */
  existing?: Iterable<string>;
  /** Told of each context that is skipped because its cluster is one of those that leave, and cannot be read. */
  log(line: string): void;
}

/**
 * Drops peers by their cluster names. The clusters that leave need not be there any more: nobody asks them. A context
 * that cannot be read and leads to one of them is skipped. It does so if it, its cluster in the kubeconfig, or another
 * context for the same server has the name of one that leaves.
 *
 * @returns the findings that stopped it, or a report for each cluster that has one of them, and the clusters that were left out.
 * @throws UserError (exit code 2) for a name that all clusters were asked for, and that is neither a peer of any nor existing.
 */
export async function disconnect(
  sources: readonly MemberSource[],
  names: ReadonlySet<string>,
  options: DisconnectOptions,
): Promise<MeshResult> {
  const { members, unread: failed } = await readMembers(sources, { ...options.read, forExtract: false });
  try {
    const own = new Map(sources.map((one) => [one.source, [one.source, ...(one.names ?? [])]]));
    const leaves = (source: string) => own.get(source)?.some((name) => names.has(name)) === true;
    // If nothing at all could be read, there is nothing that it may be left out of.
    const skipped = members.length > 0 ? failed.filter(({ source }) => leaves(source)) : [];
    for (const { source, message } of skipped) options.log(`skipped ${source}, which leaves the mesh: ${message}`);
    const unread = failed.filter((one) => !skipped.includes(one));
    if (unread.length === 0) assertKnown(names, members, [...(options.existing ?? []), ...[...own.values()].flat()]);
    const findings = options.skipUnreachable ? [] : unread;
    const concerned = members.filter((member) => peerNames(member).some((name) => names.has(name)));
    const result = await importPeers(concerned.map(asTarget), async () => ({ peers: [], findings }), {
      ...options.write,
      plan: { ...options.write.plan, drop: names },
      forbidden,
    });
    return "refused" in result ? result : { ...result, left: unread };
  } finally {
    for (const { api } of members) api.close();
  }
}

/** Where an earlier run was ended before its last write, only the user of a peer is left. */
function peerNames({ target }: OpenMember): string[] {
  return [...readStanding(target, []).names, ...addedUsers(target.users)];
}

/** @throws UserError (exit code 2) for a name of no cluster that is heard of: it is mistyped. */
function assertKnown(names: ReadonlySet<string>, members: readonly OpenMember[], existing: readonly string[]): void {
  const peers = new Set(members.flatMap(peerNames));
  const known = new Set([...peers, ...members.flatMap(({ target }) => target.facts.name ?? []), ...existing]);
  const unknown = [...names].find((name) => !known.has(name));
  if (unknown === undefined) return;
  const nearest = nearestOf(unknown, peers) ?? nearestOf(unknown, known);
  const sources = members.map(({ source }) => source);
  const have = peers.size === 0 ? "they have no peers" : `their peers are ${enumerate([...peers].sort(), MOST_LISTED)}`;
  throw new UserError(
    `cluster "${unknown}": not a peer of ${enumerate(sources, MOST_LISTED)}` +
      `${nearest === undefined ? "" : `; did you mean ${nearest}?`}\n  ${have}`,
    EXIT.refused,
  );
}
