/** The metrics of `status`. Pure. */
import type { ClusterStatus } from "../mesh/status.ts";
import type { MeshReport } from "../mesh/status-report.ts";
import { groupBy } from "../util/group-by.ts";
import { STATES } from "./mesh-matrix.ts";
import {
  ALL_CODES,
  countSamples,
  expirySamples,
  findingSamples,
  MESH_METRICS,
  type Metric,
  type UsedCertificate,
} from "./metric.ts";

type ReportedPair = MeshReport["pairs"][number];

/** A cluster with its peers. */
interface ClusterSubject extends ClusterStatus {
  /** Labels of the cluster as an importer. */
  labels: { context: string; cluster: string };
  /** With the certificates that the servers of the peer presented. */
  pairs: (ReportedPair & { presented: UsedCertificate[] })[];
}

/** The metrics, in the order in which they are printed. */
export const STATUS_METRICS: readonly Metric<ClusterSubject>[] = [
  {
    ...MESH_METRICS.up,
    samplesOf: ({ source: context, error }) => [{ labels: { context }, value: error === undefined }],
  },
  {
    ...MESH_METRICS.info,
    samplesOf: ({ labels, error, id, version = "" }) =>
      error === undefined ? [{ labels: { ...labels, cluster_id: `${id ?? ""}`, version }, value: 1 }] : [],
  },
  {
    name: "clustermesh_peers",
    help: "Other clusters by the state of their configuration in the cluster.",
    labelNames: ["context", "cluster", "state"],
    samplesOf: ({ labels, error, pairs }) => {
      const states = pairs.map(({ state }) => state);
      return error === undefined ? countSamples(labels, "state", STATES, states) : [];
    },
  },
  {
    name: "clustermesh_peer_healthy",
    help: "Whether a peer of the cluster has no errors.",
    labelNames: ["context", "cluster", "peer"],
    samplesOf: ({ labels, pairs }) =>
      pairs
        .filter(({ state }) => state !== "missing")
        .map(({ peer, state }) => ({ labels: { ...labels, peer }, value: state !== "error" })),
  },
  {
    ...MESH_METRICS.expiry,
    samplesOf: ({ labels, certificates = [], pairs }) => [
      ...expirySamples(labels, certificates),
      ...pairs.flatMap(({ peer, certificates: configured = [], presented }) =>
        expirySamples({ ...labels, peer }, [...configured, ...presented]),
      ),
    ],
  },
  {
    ...MESH_METRICS.findings,
    samplesOf: ({ source: context, error, findings, pairs }) =>
      findingSamples(
        { context },
        [...findings, ...pairs.flatMap((pair) => pair.findings)],
        error === undefined ? ALL_CODES : [],
      ),
  },
];

/** Returns each cluster with its pairs and what the probes of these received. */
export function groupByCluster({ clusters, pairs, probes = [] }: MeshReport): ClusterSubject[] {
  const keyOf = (importer: string, peer: string) => JSON.stringify([importer, peer]);
  const probesOf = groupBy(probes, ({ source, name }) => keyOf(source, name));
  const pairsOf = groupBy(pairs, ({ importer }) => importer);
  const presentedIn = (pair: ReportedPair) =>
    (probesOf.get(keyOf(pair.importer, pair.peer)) ?? [])
      .flatMap(({ addresses }) => addresses.flatMap(({ server }) => server ?? []))
      .map(({ expiresAt }) => ({ use: "server" as const, expiresAt }));
  return clusters.map((cluster) => ({
    ...cluster,
    labels: { context: cluster.source, cluster: cluster.name ?? "" },
    pairs: (pairsOf.get(cluster.source) ?? []).map((pair) => ({ ...pair, presented: presentedIn(pair) })),
  }));
}
