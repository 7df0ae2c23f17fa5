/** Validates names of peers given by the user. */
import { recordedUsers } from "../import/plan/users.ts";
import { enumerate } from "../util/enumerate.ts";
import { EXIT, UserError } from "../util/errors.ts";
import { truncateLine } from "../util/line.ts";
import { findNearestName } from "../util/nearest.ts";
import { existingOf, type Member } from "./member.ts";

/** Maximum number of clusters and of peers listed for an unknown name. */
const MOST_LISTED = 10;

/** Returns the peers of a cluster, including those of which an interrupted removal left only the etcd user. */
export function peerNames(member: Pick<Member, "target">): string[] {
  return [...existingOf(member).names, ...recordedUsers(member.target.users)];
}

/**
 * Rejects a name that is neither that of a peer nor of a known cluster, since it is probably mistyped.
 *
 * @param members - all selected clusters; the check needs every one of them to be readable.
 * @param existing - names of other known clusters, peers or not, such as those of the kubeconfig.
 * @throws UserError (exit code 2) for the first such name, with the nearest known one.
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
  const hint = nearest === undefined ? "" : `; did you mean ${truncateLine(nearest)}?`;
  const list = peers.size === 0 ? "none" : enumerate([...peers].sort().map(truncateLine), MOST_LISTED);
  throw new UserError(`cluster "${unknown}": not a peer of ${clusters}${hint}\n  peers: ${list}`, EXIT.refused);
}
