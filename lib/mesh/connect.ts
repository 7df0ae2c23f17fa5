/** Connecting clusters with each other, all at once. */
import { importPeers, type TargetReport } from "../import/import.ts";
import { type Finding, finding, hasErrors } from "../peer/findings.ts";
import type { SourcedPeer } from "../peer/peer.ts";
import { EXIT, UserError } from "../util/errors.ts";
import type { MemberSource } from "./member.ts";
import {
  asTarget,
  forbidden,
  type OpenMember,
  peersOf,
  type ReadOptions,
  readEach,
  readMembers,
  type WriteOptions,
} from "./member.ts";
import { checkExtracted } from "./own-certificates.ts";

export interface ConnectOptions {
  read: Omit<ReadOptions, "forExtract">;
  write: WriteOptions;
  /** Context of the one that all others are connected with, and with nobody else; else each with each. */
  hub?: string | undefined;
  /** Contexts that come new: only pairs with one of them are connected. */
  joining?: ReadonlySet<string> | undefined;
  /** Go on without clusters that cannot be read. */
  skipUnreachable: boolean;
}

export type MeshResult = { refused: Finding[] } | { reports: TargetReport[]; left: Finding[] };

/**
 * Connects clusters: each is read once, everything is checked, and then each is written.
 *
 * @returns the findings that stopped it, or a report for each cluster and the clusters that were left out.
 */
export async function connectMesh(sources: readonly MemberSource[], options: ConnectOptions): Promise<MeshResult> {
  const { members, unread, same } = await readMembers(sources, { ...options.read, forExtract: true });
  try {
    if (members.length < 2 && unread.length === 0) {
      throw new UserError("connecting takes two clusters or more", EXIT.refused);
    }
    const { now } = options.write.plan;
    const peers = members.flatMap(({ peer, source }): SourcedPeer[] => (peer ? [{ peer, source }] : []));
    const findings = [
      ...(options.skipUnreachable ? [] : unread),
      ...members.flatMap((member) => checkExtracted(member, now)),
      ...clashes(members),
    ];
    const contextOf = new Map(members.map(({ source, target }) => [target.facts.name, source]));
    const meets = pairing(options, same);
    const result = await importPeers(members.map(asTarget), async () => ({ peers, findings }), {
      ...options.write,
      forbidden,
      peersFor: ({ source, facts }, all) =>
        all.filter(({ peer }) => peer.name !== facts.name && meets(source, contextOf.get(peer.name) ?? "")),
    });
    return "refused" in result ? result : { ...result, left: unread };
  } finally {
    for (const { api } of members) api.close();
  }
}

/** Whether two contexts are to be connected; one that was left out is meant by the one that stays for its cluster. */
function pairing(
  { hub, joining }: ConnectOptions,
  same: ReadonlyMap<string, string>,
): (one: string, other: string) => boolean {
  const staying = (context: string) => same.get(context) ?? context;
  const centre = hub === undefined ? undefined : staying(hub);
  const newcomers = joining === undefined ? undefined : new Set([...joining].map(staying));
  return (one, other) =>
    (centre === undefined || one === centre || other === centre) &&
    (newcomers === undefined || newcomers.has(one) || newcomers.has(other));
}

/** Two contexts of one cluster name would pass each other over as their own. */
function clashes(members: readonly OpenMember[]): Finding[] {
  return members.flatMap(({ source, target: { facts } }, i) => {
    const other = members.slice(0, i).find(({ target }) => target.facts.name === facts.name);
    if (other === undefined || facts.name === undefined) return [];
    const message = `cluster-name is ${facts.name}, as in ${other.source}`;
    const remedy = "clusters of a mesh have distinct names";
    return [finding("name-twice", { source }, message, remedy, { clusters: [other.source, source] })];
  });
}

/**
 * Those who come with a newcomer: the contexts whose name is that of a peer of the one it comes to, and whose
 * cluster-name confirms it.
 *
 * @param contexts what the kubeconfig leads to, by name.
 * @returns the names of its peers that no context leads to, too; not of those that only a node can reach.
 */
export async function meshMembersOf(
  member: MemberSource,
  contexts: ReadonlyMap<string, MemberSource>,
  options: Omit<ReadOptions, "forExtract">,
): Promise<{ found: MemberSource[]; missing: string[]; unread: Finding[] }> {
  const first = await readMembers([member], { ...options, forExtract: false });
  const known = first.members.map((member) => peersOf(member));
  const names = known.flatMap(({ peers }) => peers.map(({ peer }) => peer.name));
  const nodeLocal = known.flatMap((one) => one.nodeLocal);
  for (const { api } of first.members) api.close();
  if (hasErrors(first.unread)) return { found: [], missing: [], unread: first.unread };
  const candidates = [...names, ...nodeLocal].flatMap((name) => contexts.get(name) ?? []);
  // Of two contexts for one cluster, the second may be the one that is called as it is.
  const { members } = await readEach(candidates, { ...options, forExtract: false });
  for (const { api } of members) api.close();
  const confirmed = new Set(
    members.filter(({ source, target }) => target.facts.name === source).map((one) => one.source),
  );
  return {
    found: candidates.filter(({ source }) => confirmed.has(source)),
    missing: names.filter((name) => !confirmed.has(name)),
    unread: [],
  };
}
