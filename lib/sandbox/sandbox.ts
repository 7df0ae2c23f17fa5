import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "yaml";
import { type ClusterPki, clusterObjects, clusterPki, type PkiOptions } from "./chart.ts";
import { type ClusterDescription, values } from "./description.ts";
import { type Etcd, startEtcd } from "./etcd.ts";
import { isFree, type NodePorts, startNodePorts } from "./node-ports.ts";
import type { KubernetesObject } from "./object.ts";
import { makeCa } from "./pki.ts";
import { type Api, startApi, type User } from "./server.ts";

/** A cluster of the sandbox: what stands in it, and who may come. */
export interface SandboxCluster {
  description: ClusterDescription;
  /** How its certificates are made, or the certificates. Default: ECDSA, which takes no time. */
  pki?: PkiOptions | ClusterPki;
  /** Default: one user `admin` who may do everything. The kubeconfig's context is the first one's. */
  users?: User[];
  /** Whether its clustermesh-apiserver answers, at the addresses of its nodes: these have to be this machine's. */
  serving?: boolean;
}

export interface Sandbox {
  /** Path of a kubeconfig (mode 0600) with a context for each cluster, named as the cluster; the first is the current one. */
  kubeconfig: string;
  /** The private folder that it lies in. */
  dir: string;
  clusters: { description: ClusterDescription; pki: ClusterPki; api: Api; etcd?: Etcd; nodePorts?: NodePorts }[];
  /** Stops the servers and deletes the folder, unless `dir` was given: then only the kubeconfig. */
  stop(): Promise<void>;
}

/**
 * Three clusters as people have them: 1.14 without KVStoreMesh, 1.18 with it, and a default install of 1.20 with it,
 * whose clustermesh-apiserver waits for the ConfigMap `clustermesh-remote-users`.
 */
export function defaultClusters(): SandboxCluster[] {
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
    { description: cluster(1, "1.14.12", 2), pki: { key: "rsa" } },
    { description: cluster(2, "1.18.5", 3) },
    { description: cluster(3, "1.20.2", 1) },
  ];
}

/**
 * The same clusters, or so many of Cilium 1.20, with nodes that answer: each at an address of its own where this machine
 * has the whole of 127.0.0.0/8 (Linux), else all at 127.0.0.1.
 *
 * @param options `count`: other than three; `sharedCa`: one CA for all.
 */
export async function servingClusters(options: { count?: number; sharedCa?: boolean } = {}): Promise<SandboxCluster[]> {
  const { count = 3, sharedCa = false } = options;
  const own = await isFree("127.18.1.2", 0);
  const ca = sharedCa ? makeCa({ cn: "Cilium CA", key: "ec" }) : undefined;
  const usual = count === 3 ? defaultClusters() : many(count);
  const taken = new Set<number>();
  const clusters: SandboxCluster[] = [];
  for (const { description, pki } of usual) {
    const { id, nodes } = description;
    const address = (node: number) => (own ? `127.${18 + (id >> 8)}.${id & 255}.${node + 2}` : "127.0.0.1");
    let port = 30_000 + ((2_378 + id) % 2_768);
    while (taken.has(port) || !(await isFree(address(0), port))) port = 30_000 + ((port - 29_999) % 2_768);
    taken.add(port);
    const served = own ? nodes : nodes.slice(0, 1);
    clusters.push({
      description: {
        ...description,
        nodes: served.map((node, i) => ({ ...node, internalIPs: [address(i)] })),
        service: { ...description.service, nodePort: port },
      },
      pki: { ...(pki as PkiOptions), ...(ca && { ca }) },
      serving: true,
    });
  }
  return clusters;
}

function many(count: number): SandboxCluster[] {
  return Array.from({ length: count }, (_, i) => {
    const id = i + 1;
    const name = `cluster${id}`;
    const nodes = [{ name: `${name}-node1`, internalIPs: [], podCIDRs: [`10.${id & 255}.${id >> 8}.0/24`] }];
    const pools = { clusterPoolCidrs: [`10.${id & 255}.${id >> 8}.0/24`] };
    const maximum = count > 255 ? { maxConnectedClusters: 511 as const } : {};
    return { description: { name, id, version: "1.20.2", nodes, ...pools, ...maximum } };
  });
}

/** Whether a pod of the clustermesh-apiserver is ready. */
function isRunning(description: ClusterDescription, api: Api): boolean {
  const { namespace } = values(description);
  return api.store.all("Pod").some(({ metadata, status }: KubernetesObject) => {
    const conditions: { type: string; status: string }[] = status?.conditions ?? [];
    const ready = conditions.some((one) => one.type === "Ready" && one.status === "True");
    return metadata.namespace === namespace && metadata.labels?.["k8s-app"] === "clustermesh-apiserver" && ready;
  });
}

/** The list of users as the apiserver container has it mounted; where nothing mounts it, none. */
function usersOf(description: ClusterDescription, api: Api): string | undefined {
  const { namespace } = values(description);
  const deployment = api.store.read("Deployment", namespace, "clustermesh-apiserver");
  const mounts = JSON.stringify(deployment?.spec?.template?.spec?.volumes ?? []).includes("clustermesh-remote-users");
  return mounts ? api.store.read("ConfigMap", namespace, "clustermesh-remote-users")?.data?.["users.yaml"] : undefined;
}

/**
 * Starts a Kubernetes API for each cluster on loopback, all in this process, and writes a kubeconfig.
 *
 * @param options `clusters`: names have to differ; `dir`: an existing folder for the kubeconfig
 */
export async function startSandbox(options: { clusters?: SandboxCluster[]; dir?: string } = {}): Promise<Sandbox> {
  const dir = options.dir ?? (await mkdtemp(join(tmpdir(), "clustermesh-sandbox-")));
  const kubeconfig = join(dir, "kubeconfig");
  const clusters: Sandbox["clusters"] = [];
  const stop = async () => {
    await Promise.all(clusters.flatMap(({ api, etcd, nodePorts }) => [api.stop(), etcd?.stop(), nodePorts?.stop()]));
    await rm(options.dir === undefined ? dir : kubeconfig, { recursive: true, force: true });
  };
  try {
    for (const { description, pki: given, users, serving } of options.clusters ?? defaultClusters()) {
      const pki = given && "server" in given ? given : clusterPki(description, { key: "ec", ...given });
      const api = await startApi({
        objects: clusterObjects(description, pki),
        users: users ?? [{ name: "admin", token: `${description.name}-admin` }],
      });
      const cluster: Sandbox["clusters"][number] = { description, pki, api };
      clusters.push(cluster);
      if (serving) {
        cluster.etcd = await startEtcd(description, pki, () => usersOf(description, api));
        const addresses = [...new Set(description.nodes.flatMap(({ internalIPs }) => internalIPs))];
        const port = (description.service === false ? undefined : description.service?.nodePort) ?? 32_379;
        cluster.nodePorts = await startNodePorts(addresses, port, cluster.etcd.port, () => isRunning(description, api));
      }
    }
    await writeFile(kubeconfig, kubeconfigText(clusters), { mode: 0o600 });
  } catch (error) {
    await stop();
    throw error;
  }
  return { kubeconfig, dir, clusters, stop };
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
