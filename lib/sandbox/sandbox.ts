import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "yaml";
import { type ClusterPki, clusterObjects, clusterPki, type PkiOptions } from "./chart.ts";
import { type ClusterDescription, values } from "./description.ts";
import { type Etcd, startEtcd } from "./etcd.ts";
import { isLocalAddress, type NodePorts, startNodePorts } from "./node-ports.ts";
import type { KubernetesObject } from "./object.ts";
import { type KeyType, makeCa } from "./pki.ts";
import { type Api, startApi, type User } from "./server.ts";

export interface SandboxCluster {
  description: ClusterDescription;
  /** The certificates, or options to generate them. Default: ECDSA, which is fast to generate. */
  pki?: PkiOptions | ClusterPki;
  /** The kubeconfig authenticates as the first one. Default: `admin`, with all permissions. */
  users?: User[];
  /**
   * Whether clustermesh-apiserver serves etcd at the node addresses, which must be local. The node port is the described
   * one, or the next free port.
   */
  serving?: boolean;
}

export interface Sandbox {
  /** Path of a kubeconfig (mode 0600) with a context per cluster, named after it; the first is current. */
  kubeconfig: string;
  /** Folder of the kubeconfig. */
  dir: string;
  clusters: { description: ClusterDescription; pki: ClusterPki; api: Api; etcd?: Etcd; nodePorts?: NodePorts }[];
  /** Stops the servers and deletes the folder, or the kubeconfig alone if `dir` was given. */
  stop(): Promise<void>;
}

/**
 * Returns three typical clusters: Cilium 1.14 without KVStoreMesh, 1.18 with it, and a default installation of 1.20, whose
 * clustermesh-apiserver waits for the ConfigMap `clustermesh-remote-users`.
 *
 * @param key - type of the first cluster's keys. Default: RSA, as in the charts, which takes about a second to generate.
 */
export function defaultClusters(key: KeyType = "rsa"): SandboxCluster[] {
  const nodes = (cluster: number, count: number) =>
    Array.from({ length: count }, (_, index) => ({
      name: `cluster${cluster}-node${index + 1}`,
      internalIPs: [`172.18.${cluster}.${index + 2}`],
      podCIDRs: [`10.${cluster}.${index}.0/24`],
      created: new Date(Date.UTC(2026, cluster, index + 1)),
    }));
  const cluster = (id: number, version: string, count: number): ClusterDescription => ({
    name: `cluster${id}`,
    id,
    version,
    nodes: nodes(id, count),
    service: { nodePort: 32378 + id, clusterIP: `10.9${id}.0.79` },
  });
  return [
    { description: cluster(1, "1.14.12", 2), pki: { key } },
    { description: cluster(2, "1.18.5", 3) },
    { description: cluster(3, "1.20.2", 1) },
  ];
}

/**
 * Returns clusters that serve their etcd: those of {@link defaultClusters} or, with another `count`, clusters of Cilium 1.20.
 * Each node has its own address if this machine has all of 127.0.0.0/8 (Linux), else all nodes have 127.0.0.1.
 *
 * @param options - `count`: default 3; `sharedCa`: one CA for all clusters; `csi`: certificates in CSI volumes, from one CA;
 *   `key`: see {@link defaultClusters}.
 */
export async function servingClusters(
  options: { count?: number; sharedCa?: boolean; csi?: boolean; key?: KeyType } = {},
): Promise<SandboxCluster[]> {
  const { count = 3, csi = false, sharedCa = false, key } = options;
  const hasLoopbackRange = await isLocalAddress("127.18.1.2");
  const ca = sharedCa || csi ? makeCa({ cn: "Cilium CA", key: "ec" }) : undefined;
  return (count === 3 ? defaultClusters(key) : generateClusters(count)).map(({ description, pki }) => {
    const { id, nodes } = description;
    const address = (node: number) =>
      hasLoopbackRange ? `127.${18 + (id >> 8)}.${id & 255}.${node + 2}` : "127.0.0.1";
    return {
      description: {
        ...description,
        nodes: (hasLoopbackRange ? nodes : nodes.slice(0, 1)).map((node, i) => ({
          ...node,
          internalIPs: [address(i)],
        })),
        service: { ...description.service, nodePort: 30_000 + ((2_378 + id) % 2_768) },
        ...(csi && { csiDriver: "csi.cert-manager.io" }),
      },
      pki: { ...(pki as PkiOptions), ...(ca && { ca }) },
      serving: true,
    };
  });
}

function generateClusters(count: number): SandboxCluster[] {
  return Array.from({ length: count }, (_, i) => {
    const id = i + 1;
    const name = `cluster${id}`;
    const nodes = [{ name: `${name}-node1`, internalIPs: [], podCIDRs: [`10.${id & 255}.${id >> 8}.0/24`] }];
    const pools = { clusterPoolCidrs: [`10.${id & 255}.${id >> 8}.0/24`] };
    const maximum = count > 255 ? { maxConnectedClusters: 511 as const } : {};
    return { description: { name, id, version: "1.20.2", nodes, ...pools, ...maximum } };
  });
}

/** Whether a clustermesh-apiserver pod is ready. */
function isApiserverReady(description: ClusterDescription, api: Api): boolean {
  const { namespace } = values(description);
  return api.store.all("Pod").some(({ metadata, status }: KubernetesObject) => {
    const conditions: { type: string; status: string }[] = status?.conditions ?? [];
    const ready = conditions.some((one) => one.type === "Ready" && one.status === "True");
    return metadata.namespace === namespace && metadata.labels?.["k8s-app"] === "clustermesh-apiserver" && ready;
  });
}

/** Returns `users.yaml` as the apiserver container mounts it; undefined if it does not. */
function mountedUsers(description: ClusterDescription, api: Api): string | undefined {
  const { namespace } = values(description);
  const deployment = api.store.read("Deployment", namespace, "clustermesh-apiserver");
  const mounts = JSON.stringify(deployment?.spec?.template?.spec?.volumes ?? []).includes("clustermesh-remote-users");
  return mounts ? api.store.read("ConfigMap", namespace, "clustermesh-remote-users")?.data?.["users.yaml"] : undefined;
}

/** Returns the node addresses of a cluster, and its preferred node port. */
function nodePortOf({ nodes, service }: ClusterDescription): [addresses: string[], preferred: number] {
  const addresses = nodes.flatMap(({ internalIPs }) => internalIPs);
  return [[...new Set(addresses)], (service === false ? undefined : service?.nodePort) ?? 32_379];
}

/**
 * Starts a Kubernetes API for each cluster in this process, on loopback, and writes a kubeconfig.
 *
 * @param options - `clusters`: with unique names; `dir`: existing folder for the kubeconfig, default a new temporary one
 */
export async function startSandbox(options: { clusters?: SandboxCluster[]; dir?: string } = {}): Promise<Sandbox> {
  let dir = options.dir;
  const clusters: Sandbox["clusters"] = [];
  const started: { stop(): Promise<void> }[] = [];
  const stop = async () => {
    await Promise.all(started.map((server) => server.stop()));
    const path = options.dir === undefined ? dir : join(options.dir, "kubeconfig");
    if (path !== undefined) await rm(path, { recursive: true, force: true });
  };
  try {
    for (const { description: requested, pki: given, users, serving } of options.clusters ?? defaultClusters()) {
      let route = (): number | undefined => undefined;
      const nodePorts = serving ? await startNodePorts(...nodePortOf(requested), () => route()) : undefined;
      if (nodePorts) started.push(nodePorts);
      const description: ClusterDescription = nodePorts
        ? { ...requested, service: { ...requested.service, nodePort: nodePorts.port } }
        : requested;
      const pki = given && "server" in given ? given : clusterPki(description, { key: "ec", ...given });
      const api = await startApi({
        objects: clusterObjects(description, pki),
        users: users ?? [{ name: "admin", token: `${description.name}-admin` }],
      });
      started.push(api);
      const etcd = serving ? await startEtcd(description, pki, () => mountedUsers(description, api)) : undefined;
      if (etcd) started.push(etcd);
      route = () => (isApiserverReady(description, api) ? etcd?.port : undefined);
      clusters.push({ description, pki, api, ...(etcd && { etcd }), ...(nodePorts && { nodePorts }) });
    }
    // Created last, so that an interrupted start leaves no folder.
    dir ??= await mkdtemp(join(tmpdir(), "clustermesh-sandbox-"));
    const kubeconfig = join(dir, "kubeconfig");
    await writeFile(kubeconfig, kubeconfigText(clusters), { mode: 0o600 });
    return { kubeconfig, dir, clusters, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

function kubeconfigText(clusters: Sandbox["clusters"]): string {
  const entries = clusters.map(({ description: { name }, api }) => ({ name, api }));
  return stringify({
    apiVersion: "v1",
    kind: "Config",
    "current-context": entries[0]?.name ?? "",
    clusters: entries.map(({ name, api }) => ({
      name,
      cluster: { server: api.url, "certificate-authority-data": Buffer.from(api.ca.cert).toString("base64") },
    })),
    users: entries.map(({ name, api }) => ({ name, user: { token: api.token } })),
    contexts: entries.map(({ name }) => ({ name, context: { cluster: name, user: name, namespace: "kube-system" } })),
  });
}
