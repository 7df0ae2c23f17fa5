/** Removes peers from clusters. */
import type { Cluster } from "../kube/cluster.ts";
import { enumerate } from "../util/enumerate.ts";
import { importTarget, type MeshChange, type MeshReading } from "./member.ts";
import { assertKnownPeers, peerNames } from "./peer-names.ts";

export interface DisconnectOptions {
  /** Continue without clusters that cannot be read. */
  skipUnreachable: boolean;
  /** Names of all known clusters, peers or not: those of the kubeconfig. */
  existing?: Iterable<string>;
}

/**
 * Plans the removal of peers, by cluster name, from all clusters that have them. The removed clusters are not contacted
 * and may no longer exist. An unreadable context is skipped if it leads to one of them: if the context, its cluster in the
 * kubeconfig, or another context of the same server has the name of a removed cluster.
 *
 * The peers are removed by {@link PlanOptions.remove}. Pure.
 *
 * @param clusters - the clusters that were read or could not be read.
 * @returns the change, and the contexts of removed clusters.
 * @throws UserError (exit code 2) if all clusters were read, and a name is neither that of a peer nor of a known cluster.
 */
export function planDisconnect(
  names: ReadonlySet<string>,
  clusters: readonly Cluster[],
  { members, unreadable: failed }: MeshReading,
  options: DisconnectOptions,
): MeshChange & { leaving: string[] } {
  const namesOf = new Map(clusters.map((one) => [one.source, [one.source, ...(one.names ?? [])]]));
  const leaves = (source: string) => namesOf.get(source)?.some((name) => names.has(name)) === true;
  // If no cluster could be read, the unreadable ones are an error, even those to remove.
  const skipped = members.length > 0 ? failed.filter(({ source }) => leaves(source)) : [];
  const unread = failed.filter((one) => !skipped.includes(one));
  if (unread.length === 0) {
    assertKnownPeers(names, members, [...(options.existing ?? []), ...[...namesOf.values()].flat()]);
  }
  const concerned = members.filter((member) => peerNames(member).some((name) => names.has(name)));
  const own = members.filter(({ target }) => names.has(target.facts.name ?? ""));
  const kept = [...names].filter(
    (name) =>
      !skipped.some(({ source }) => namesOf.get(source)?.includes(name)) &&
      !concerned.some(({ target }) => target.facts.name === name),
  );
  return {
    targets: concerned.map((member) => importTarget(member, [])),
    peers: [],
    findings: options.skipUnreachable ? [] : unread,
    omitted: unread,
    notes: [
      ...skipped.map(({ source, message }) => `skipped ${source}, which leaves the mesh: ${message}`),
      ...(concerned.length > 0 && kept.length > 0 ? [`not changed: the peers configured in ${enumerate(kept)}`] : []),
    ],
    leaving: [...skipped, ...own].map(({ source }) => source),
  };
}
