/** Connects all clusters of a mesh with each other. */
import { readClusters } from "../cilium/read-clusters.ts";
import type { Cluster } from "../kube/cluster.ts";
import { type Finding, hasErrors } from "../peer/findings.ts";
import { UsageError } from "../util/errors.ts";
import { findDuplicateNames } from "./duplicate-names.ts";
import {
  importTarget,
  type MeshChange,
  type MeshReading,
  peersOf,
  type ReadOptions,
  readMember,
  readMembers,
} from "./member.ts";
import { extractedPeer } from "./own-certificates.ts";

export interface ConnectOptions {
  /** Context of the only cluster that the others are connected with; by default each is connected with each. */
  hub?: string | undefined;
  /** Contexts of new clusters: only pairs with one of them are connected. */
  joining?: ReadonlySet<string> | undefined;
  /** Continue without clusters that cannot be read. */
  skipUnreachable: boolean;
  /** The time at which certificates must be valid. */
  now: Date;
}

/**
 * Plans which peers each cluster imports, so that all are connected. Pure.
 *
 * @param reading - all clusters, each extracted as a peer.
 * @throws UsageError if all clusters can be read, and there are fewer than two.
 */
export function planConnect({ members, unreadable, duplicates }: MeshReading, options: ConnectOptions): MeshChange {
  if (unreadable.length === 0) assertTwoClusters(members);
  const peers = members.flatMap((member) => extractedPeer(member, options.now));
  const contextOf = new Map(members.map(({ source, target }) => [target.facts.name, source]));
  const areConnected = pairing(options, duplicates);
  return {
    targets: members.map((member) =>
      importTarget(
        member,
        peers.filter(
          ({ peer }) =>
            peer.name !== member.target.facts.name && areConnected(member.source, contextOf.get(peer.name) ?? ""),
        ),
      ),
    ),
    peers,
    findings: [...(options.skipUnreachable ? [] : unreadable), ...findDuplicateNames(members)],
    omitted: unreadable,
    notes: [],
  };
}

/**
 * Requires two clusters to connect.
 *
 * @throws UsageError if there are fewer.
 */
export function assertTwoClusters(clusters: readonly unknown[]): void {
  if (clusters.length < 2) throw new UsageError("at least two clusters are required");
}

/** Returns whether two contexts are to be connected. A duplicate counts as the first context of the same cluster. */
function pairing(
  { hub, joining }: ConnectOptions,
  duplicates: ReadonlyMap<string, string>,
): (one: string, other: string) => boolean {
  const firstContext = (context: string) => duplicates.get(context) ?? context;
  const center = hub === undefined ? undefined : firstContext(hub);
  const newcomers = joining === undefined ? undefined : new Set([...joining].map(firstContext));
  return (one, other) =>
    (center === undefined || one === center || other === center) &&
    (newcomers === undefined || newcomers.has(one) || newcomers.has(other));
}

/**
 * Finds the members of the mesh that a new cluster joins: the contexts named as a peer of the joined cluster whose
 * cluster name is the same.
 *
 * @param contexts - the clusters of the kubeconfig by context.
 * @returns also the names of peers without a context, except node-local peers.
 */
export async function meshMembersOf(
  cluster: Cluster,
  contexts: ReadonlyMap<string, Cluster>,
  options: Omit<ReadOptions, "forExtract">,
): Promise<{ found: Cluster[]; missing: string[]; unreadable: Finding[] }> {
  const first = await readMembers([cluster], { ...options, forExtract: false });
  if (hasErrors(first.unreadable)) return { found: [], missing: [], unreadable: first.unreadable };
  const known = first.members.map((member) => peersOf(member));
  const names = known.flatMap(({ peers }) => peers.map(({ peer }) => peer.name));
  const nodeLocal = known.flatMap((one) => one.nodeLocal);
  const candidates = [...names, ...nodeLocal].flatMap((name) => contexts.get(name) ?? []);
  // Without removing duplicates: of two contexts of a cluster, the second may have the name of the cluster.
  const { read } = await readClusters(
    candidates,
    (candidate) => readMember(candidate, { ...options, forExtract: false }),
    () => undefined,
  );
  const confirmed = new Set(
    read.filter(({ source, target }) => target.facts.name === source).map(({ source }) => source),
  );
  return {
    found: candidates.filter(({ source }) => confirmed.has(source)),
    missing: names.filter((name) => !confirmed.has(name)),
    unreadable: [],
  };
}
