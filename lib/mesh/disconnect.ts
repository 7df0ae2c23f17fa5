/** Taking clusters out of others. */
import { importPeers } from "../exchange/import.ts";
import { readStanding } from "../exchange/standing.ts";
import { addedUsers } from "../exchange/users.ts";
import type { MeshResult } from "./connect.ts";
import { asTarget, forbidden, type ReadOptions, readMembers, type WriteOptions } from "./members.ts";
import type { MemberSource } from "./status.ts";

/**
 * Drops peers by their cluster names. The clusters that leave need not be there any more: nobody asks them.
 *
 * @returns the findings that stopped it, or a report for each cluster that has one of them, and the clusters that were left out.
 */
export async function disconnect(
  sources: readonly MemberSource[],
  names: ReadonlySet<string>,
  options: { read: Omit<ReadOptions, "forExtract">; write: WriteOptions; skipUnreachable: boolean },
): Promise<MeshResult> {
  const { members, unread } = await readMembers(sources, { ...options.read, forExtract: false });
  try {
    const findings = options.skipUnreachable ? [] : unread;
    // Where an earlier run was ended before its last write, only the user is left.
    const concerned = members.filter(({ target }) =>
      [...readStanding(target, []).names, ...addedUsers(target.users)].some((name) => names.has(name)),
    );
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
