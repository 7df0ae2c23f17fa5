/** Removing clusters from others. */
import type { Cluster } from "../kube/cluster.ts";
import { importTarget, type MeshChange, type MeshReading } from "./member.ts";
import { assertKnownPeers, peerNames } from "./peer-names.ts";

export interface DisconnectOptions {
  /** Go on without clusters that cannot be read. */
  skipUnreachable: boolean;
  /** Names of clusters that exist, whether they are peers or not: what the kubeconfig calls them. */
  existing?: Iterable<string>;
}

/**
 * Plans the removal of peers, by cluster name, from all clusters that have them. The removed clusters are not contacted
 * and may no longer exist. An unreadable context is skipped if it leads to one of them: if the context, its cluster in the
 * kubeconfig, or another context of the same server has the name of a removed cluster.
 *
 * The peers are removed by {@link PlanOptions.remove}. Pure.
 *
 * @param clusters - that were read.
 * @returns also the contexts of removed clusters.
 * @throws UserError (exit code 2) for a name that all clusters were asked for, and that is neither a peer of any nor existing.
 */
export function planDisconnect(
  names: ReadonlySet<string>,
  clusters: readonly Cluster[],
  { members, unread: failed }: MeshReading,
  options: DisconnectOptions,
): MeshChange & { leaving: string[] } {
  const namesOf = new Map(clusters.map((one) => [one.source, [one.source, ...(one.names ?? [])]]));
  const leaves = (source: string) => namesOf.get(source)?.some((name) => names.has(name)) === true;
  // If nothing at all could be read, there is nothing that it may be left out of.
  const skipped = members.length > 0 ? failed.filter(({ source }) => leaves(source)) : [];
  const unread = failed.filter((one) => !skipped.includes(one));
  if (unread.length === 0) {
    assertKnownPeers(names, members, [...(options.existing ?? []), ...[...namesOf.values()].flat()]);
  }
  const concerned = members.filter((member) => peerNames(member).some((name) => names.has(name)));
  const own = members.filter(({ target }) => names.has(target.facts.name ?? ""));
  return {
    targets: concerned.map((member) => importTarget(member, [])),
    peers: [],
    findings: options.skipUnreachable ? [] : unread,
    left: unread,
    notes: skipped.map(({ source, message }) => `skipped ${source}, which leaves the mesh: ${message}`),
    leaving: [...skipped, ...own].map(({ source }) => source),
  };
}
