/** Taking clusters out of others. */
import { importPeers } from "../import/import.ts";
import type { MeshResult } from "./connect.ts";
import type { MemberSource } from "./member.ts";
import { asTarget, forbidden, type ReadOptions, readMembers, type WriteOptions } from "./member.ts";
import { assertKnownPeers, peerNames } from "./peer-names.ts";

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
 * @returns the findings that stopped it, or a report for each cluster that has one of them, and the clusters that were left
 *   out; besides, the contexts of clusters that leave.
 * @throws UserError (exit code 2) for a name that all clusters were asked for, and that is neither a peer of any nor existing.
 */
export async function disconnect(
  sources: readonly MemberSource[],
  names: ReadonlySet<string>,
  options: DisconnectOptions,
): Promise<MeshResult & { leaving: string[] }> {
  const { members, unread: failed } = await readMembers(sources, { ...options.read, forExtract: false });
  try {
    const namesOf = new Map(sources.map((one) => [one.source, [one.source, ...(one.names ?? [])]]));
    const leaves = (source: string) => namesOf.get(source)?.some((name) => names.has(name)) === true;
    // If nothing at all could be read, there is nothing that it may be left out of.
    const skipped = members.length > 0 ? failed.filter(({ source }) => leaves(source)) : [];
    for (const { source, message } of skipped) options.log(`skipped ${source}, which leaves the mesh: ${message}`);
    const unread = failed.filter((one) => !skipped.includes(one));
    if (unread.length === 0)
      assertKnownPeers(names, members, [...(options.existing ?? []), ...[...namesOf.values()].flat()]);
    const findings = options.skipUnreachable ? [] : unread;
    const concerned = members.filter((member) => peerNames(member).some((name) => names.has(name)));
    const result = await importPeers(concerned.map(asTarget), async () => ({ peers: [], findings }), {
      ...options.write,
      plan: { ...options.write.plan, drop: names },
      forbidden,
    });
    const own = members.filter(({ target }) => names.has(target.facts.name ?? ""));
    const leaving = [...skipped, ...own].map(({ source }) => source);
    return "refused" in result ? { ...result, leaving } : { ...result, left: unread, leaving };
  } finally {
    for (const { api } of members) api.close();
  }
}
