/** Names of peers that a person typed, among those that clusters have. */
import { recordedUsers } from "../import/plan/users.ts";
import { enumerate } from "../util/enumerate.ts";
import { EXIT, UserError } from "../util/errors.ts";
import { findNearestName } from "../util/nearest.ts";
import { existingOf, type Member } from "./member.ts";

/** How many clusters, and peers, are listed for an unknown name. */
const MOST_LISTED = 10;

/** The peers of a cluster, and those of which an earlier run, ended before its last write, left only the etcd user. */
export function peerNames(member: Pick<Member, "target">): string[] {
  return [...existingOf(member).names, ...recordedUsers(member.target.users)];
}

/**
 * Refuses a name that none of these clusters knows, as mistyped.
 *
 * @param members - all clusters that were asked for: of one that could not be read it is unknown what it knows.
 * @param existing - names of clusters that exist besides, whether they are peers or not, such as those of the kubeconfig.
 * @throws UserError (exit code 2)
 */
export function assertKnownPeers(
  names: Iterable<string>,
  members: readonly Member[],
  existing: readonly string[],
): void {
  const peers = new Set(members.flatMap(peerNames));
  const known = new Set([...peers, ...members.flatMap(({ target }) => target.facts.name ?? []), ...existing]);
  const unknown = [...names].find((name) => !known.has(name));
  if (unknown === undefined) return;
  const nearest = findNearestName(unknown, peers) ?? findNearestName(unknown, known);
  const clusters = enumerate(
    members.map(({ source }) => source),
    MOST_LISTED,
  );
  const hint = nearest === undefined ? "" : `; did you mean ${nearest}?`;
  const list = peers.size === 0 ? "none" : enumerate([...peers].sort(), MOST_LISTED);
  throw new UserError(`cluster "${unknown}": not a peer of ${clusters}${hint}\n  peers: ${list}`, EXIT.refused);
}
