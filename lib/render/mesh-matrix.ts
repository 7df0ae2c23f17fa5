/** The matrix of a mesh: its peers, and the state of each in each cluster. Pure. */
import { type Pair, type PairState, stateOf } from "../mesh/pairs.ts";
import type { MeshStatus } from "../mesh/status.ts";

/** A cell of the matrix: the state of a pair, the cluster itself, or unknown. */
export type CellState = PairState | "self" | "unknown";

/** The marks of cells. */
export const MARKS: Record<CellState, string> = {
  ok: "✓",
  warning: "!",
  error: "✗",
  missing: "·",
  "node-local": "⌂",
  self: "–",
  unknown: "?",
};

/** The meanings of marks, as legends state them. */
export const MEANINGS: Record<CellState, string> = {
  ok: "healthy",
  warning: "warnings",
  error: "errors",
  missing: "not configured",
  "node-local": "node-local",
  self: "the cluster itself",
  unknown: "unknown",
};

/** The states of pairs, in the order of legends and columns. */
export const STATES = Object.keys({
  ok: true,
  warning: true,
  error: true,
  missing: true,
  "node-local": true,
} satisfies Record<PairState, true>) as PairState[];

/** Lists the pairs whose endpoint was set with a flag, as `importer → peer`, unless a probe has checked them. */
export function listUncheckedEndpoints({ pairs, probes }: MeshStatus): string[] {
  if (probes !== undefined) return [];
  return pairs.filter(({ endpointGiven }) => endpointGiven).map(({ importer, peer }) => `${importer} → ${peer}`);
}

/** A peer of any cluster. */
export interface PeerColumn {
  name: string;
  /** Its cluster id; undefined if no importer knows it. */
  id?: number | undefined;
}

/** Returns the cluster ids of peers by name, if an importer knows them. */
export function idsInPairs({ pairs }: MeshStatus): Map<string, number> {
  return new Map(pairs.flatMap(({ peer, id }): [string, number][] => (id === undefined ? [] : [[peer, id]])));
}

/**
 * Lists the clusters in the order of the rows, then configured peers without a context. A cluster that cannot be read is
 * listed if it is a peer by the name of its context. Empty for a single cluster.
 */
export function listPeers({ clusters, pairs }: MeshStatus, ids: ReadonlyMap<string, number>): PeerColumn[] {
  const peers = new Map<string, PeerColumn>();
  const configured = new Set(pairs.map(({ peer }) => peer));
  for (const { source, name = source, id = ids.get(name), error } of clusters) {
    if ((error === undefined || configured.has(name)) && !peers.has(name)) peers.set(name, { name, id });
  }
  for (const { peer, id } of pairs) if (!peers.has(peer)) peers.set(peer, { name: peer, id });
  return peers.size > 1 ? [...peers.values()] : [];
}

/** Returns the state of a peer by name. */
export type StateLookup = (peer: string) => CellState;

/** Returns a lookup for each cluster, in the order of the rows. */
export function stateLookups({ clusters, pairs }: MeshStatus): StateLookup[] {
  const byImporter = groupByImporter(pairs);
  return clusters.map(({ source, name = source, error }) => (peer) => {
    const own = byImporter.get(source);
    // A second context for the same cluster has no pairs.
    if (error !== undefined || !own) return "unknown";
    if (peer === name) return "self";
    const pair = own.get(peer);
    return pair ? stateOf(pair) : "missing";
  });
}

/** Groups pairs by the context of the importer, then by the name of the peer. */
export function groupByImporter(pairs: readonly Pair[]): Map<string, Map<string, Pair>> {
  const groups = new Map<string, Map<string, Pair>>();
  for (const pair of pairs) {
    const group = groups.get(pair.importer) ?? new Map<string, Pair>();
    groups.set(pair.importer, group.set(pair.peer, pair));
  }
  return groups;
}

/** Lists the marks in a matrix with their meanings, except that of the cluster itself. */
export function explainMarks(peers: readonly PeerColumn[], rows: readonly StateLookup[]): string {
  const states = new Set(rows.flatMap((stateIn) => peers.map(({ name }) => stateIn(name))));
  return [...STATES, "unknown" as const]
    .filter((state) => states.has(state))
    .map((state) => `${MARKS[state]} ${MEANINGS[state]}`)
    .join(", ");
}
