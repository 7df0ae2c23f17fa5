/** The state of a mesh of any size, without clusters. */
import type { Pair } from "../../lib/mesh/pairs.ts";
import type { ClusterStatus, MeshStatus } from "../../lib/mesh/status.ts";
import type { Finding } from "../../lib/peer/findings.ts";
import { findingWith } from "./findings.ts";

/**
 * A healthy mesh of `cluster1`, `cluster2` and so on.
 *
 * @param broken what differs in a pair, by the indexes of importer and peer.
 */
export function meshOf(
  size: number,
  broken: (importer: number, peer: number) => Partial<Pair> = () => ({}),
): MeshStatus {
  const nameOf = (i: number) => `cluster${i + 1}`;
  const all = Array.from({ length: size }, (_, i) => i);
  const clusters = all.map(
    (i): ClusterStatus => ({
      source: nameOf(i),
      name: nameOf(i),
      id: i + 1,
      version: "1.20.2",
      kvstoreMesh: true,
      pods: [{ name: "p", ready: true, containers: [{ name: "etcd", image: "etcd", ready: true }] }],
      findings: [],
    }),
  );
  const pairs = all.flatMap((i) =>
    all
      .filter((j) => i !== j)
      .map(
        (j): Pair => ({
          importer: nameOf(i),
          peer: nameOf(j),
          context: nameOf(j),
          id: j + 1,
          configured: true,
          findings: [],
          ...broken(i, j),
        }),
      ),
  );
  return { clusters, pairs };
}

/** An outdated endpoint of a peer in an importer of {@link meshOf}, by their indexes. */
export function staleEndpoint(importer: number, peer: number): Finding {
  const [source, key] = [`cluster${importer + 1}`, `cluster${peer + 1}`];
  return findingWith(
    "endpoint-stale",
    { source, key },
    `${key} is now at https://172.18.${peer + 1}.2:32379, configured is https://172.18.${peer + 1}.2:31000`,
    {
      template: "extract-secret --context {peer} | import-secrets --context {importer} -",
      values: { peer: key, importer: source },
    },
  );
}

/** Overlapping pod CIDRs of two clusters of {@link meshOf}: a symmetric warning. */
export function overlappingCidrs(one: number, other: number): Finding {
  const clusters: [string, string] = [`cluster${one + 1}`, `cluster${other + 1}`];
  return findingWith(
    "pod-cidrs-overlap",
    { source: clusters[0], key: clusters[1] },
    "pod CIDR 10.0.0.0/16 is used by both clusters, so their pods cannot reach each other",
    "use non-overlapping pod CIDRs in all clusters",
    { clusters },
  );
}

/**
 * A mesh with some problems: every seventh cluster has moved since others imported it, the first two overlap, the fifth has no
 * config of the fourth, and, if there are more than ten clusters, the tenth cannot be read.
 */
export function troubledMesh(size: number): MeshStatus {
  const status = meshOf(size, (i, j) => {
    if (j % 7 === 6 && i % 3 === 0) return { findings: [staleEndpoint(i, j)] };
    if (i + j === 1) return { findings: [overlappingCidrs(i, j)] };
    if (i === 4 && j === 3) return { configured: false };
    return {};
  });
  const unread = status.clusters[9];
  if (!unread) return status;
  const error = "cannot reach the API server: connection refused";
  const findings = [findingWith("cluster-unreadable", { source: unread.source }, error)];
  status.clusters[9] = { source: unread.source, error, pods: [], findings };
  return { ...status, pairs: status.pairs.filter(({ importer }) => importer !== unread.source) };
}
