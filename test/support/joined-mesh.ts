/** A mesh of sandbox clusters, connected by imports, for tests that break it. */
import type { TestContext } from "node:test";
import { EXTRACT_DEFAULTS, type ExtractOptions, extract } from "../../lib/extract/extract.ts";
import { readTarget } from "../../lib/import/read-target.ts";
import type { KubernetesApi } from "../../lib/kube/api.ts";
import type { Cluster } from "../../lib/kube/cluster.ts";
import { openCluster } from "../../lib/kube/open.ts";
import { type MeshStatus, meshStatus, type StatusOptions } from "../../lib/mesh/status.ts";
import { FIELD_MANAGER } from "../../lib/peer/annotations.ts";
import type { Peer } from "../../lib/peer/peer.ts";
import { clusterObjects, clusterPki, type PkiOptions } from "../../lib/sandbox/chart.ts";
import type { ClusterDescription } from "../../lib/sandbox/description.ts";
import type { KubernetesObject } from "../../lib/sandbox/object.ts";
import { type Sandbox, startSandbox } from "../../lib/sandbox/sandbox.ts";
import { runImport } from "./run-import.ts";
import { OPTIONS } from "./targets.ts";

export interface JoinedMesh {
  sandbox: Sandbox;
  /** Status of the mesh, by default from all clusters. */
  status(options?: Partial<StatusOptions>, clusters?: readonly Cluster[]): Promise<MeshStatus>;
  /** Opens a cluster; `source` is its name in results. */
  connectTo(cluster: string, source?: string): Promise<Cluster>;
  /** Extracts a cluster and imports it into another one. */
  exchange(from: string, to: string, options?: Partial<ExtractOptions>): Promise<void>;
  /** Modifies a stored object, bypassing the API. */
  change<T extends KubernetesObject>(cluster: string, kind: string, name: string, mutate: (object: T) => void): void;
  remove(cluster: string, kind: string, name: string): void;
  /** Replaces the certificates of a cluster, CA included, as a rotation does. */
  rotate(cluster: string, options?: PkiOptions): void;
}

export type MemberOptions = Partial<ClusterDescription> & { pki?: PkiOptions };

/** Starts clusters `c1`, `c2`, … and, unless `apart` is set, connects every cluster with every other. */
export async function startJoinedMesh(
  t: TestContext,
  parts: readonly MemberOptions[],
  { apart = false } = {},
): Promise<JoinedMesh> {
  const clusters = parts.map(({ pki, ...part }, i) => {
    const n = i + 1;
    const nodes = [1, 2].map((node) => ({
      name: `c${n}-node${node}`,
      internalIPs: [`172.18.${n}.${node}`],
      podCIDRs: [`10.${n}.${node}.0/24`],
      created: new Date(Date.UTC(2026, 0, node)),
    }));
    const description: ClusterDescription = { name: `c${n}`, id: n, version: "1.20.2", nodes, ...part };
    return { description, ...(pki && { pki }) };
  });
  const sandbox = await startSandbox({ clusters });
  t.after(() => sandbox.stop());
  const opened: KubernetesApi[] = [];
  t.after(() => {
    for (const api of opened) api.close();
  });
  const open = async (context: string) =>
    (await openCluster({ clientName: FIELD_MANAGER, kubeconfig: sandbox.kubeconfig, context })).api;
  const find = (name: string) => {
    const found = sandbox.clusters.find(({ description }) => description.name === name);
    if (!found) throw new Error(`cluster ${name} not found`);
    return found;
  };
  const extractPeer = async (name: string, options: Partial<ExtractOptions>): Promise<Peer> => {
    const api = await open(name);
    try {
      return (await extract(api, { ...EXTRACT_DEFAULTS, resolve: async () => [], ...options })).peer;
    } finally {
      api.close();
    }
  };
  const exchange = async (from: string, to: string, options: Partial<ExtractOptions> = {}) => {
    const api = await open(to);
    const { target } = await readTarget(api, to);
    const peers = [{ peer: await extractPeer(from, options), source: from }];
    const { reports, refused } = await runImport([{ api, target, peers }], { plan: { ...OPTIONS, restarts: "all" } });
    api.close();
    if (reports?.[0]?.state !== "done") throw new Error(JSON.stringify([reports, refused]));
  };
  const connectTo = async (cluster: string, source = cluster): Promise<Cluster> => {
    const api = await open(cluster);
    opened.push(api);
    return { source, api };
  };
  const names = sandbox.clusters.map(({ description: { name } }) => name);
  if (!apart) {
    for (const to of names) for (const from of names) if (from !== to) await exchange(from, to);
  }
  const scope = "kube-system";
  return {
    sandbox,
    status: async (options = {}, opened) => {
      const sources = opened ?? (await Promise.all(names.map((name) => connectTo(name))));
      return meshStatus(sources, { now: new Date(), resolve: async () => [], ...options });
    },
    connectTo,
    exchange,
    change: (cluster, kind, name, mutate) => {
      const { store } = find(cluster).api;
      const object = store.read(kind, kind === "Node" ? undefined : scope, name);
      if (!object) throw new Error(`${kind}/${name} not found`);
      mutate(object as Parameters<typeof mutate>[0]);
      store.put(object);
    },
    remove: (cluster, kind, name) =>
      void find(cluster).api.store.remove(kind, kind === "Node" ? undefined : scope, name),
    rotate: (cluster, options = {}) => {
      const { description, api } = find(cluster);
      const renewed = clusterObjects(description, clusterPki(description, { key: "ec", ...options }));
      const peerSecrets = /^(cilium-clustermesh|cilium-kvstoremesh)$/;
      for (const object of renewed) {
        if (object.kind === "Secret" && !peerSecrets.test(object.metadata.name)) api.store.put(object);
      }
    },
  };
}
