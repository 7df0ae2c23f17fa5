import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "yaml";
import { type ClusterPki, clusterObjects, clusterPki, type PkiOptions } from "./chart.ts";
import { type ClusterDescription, values } from "./description.ts";
import { type Etcd, startEtcd } from "./etcd.ts";
import { isOwn, type NodePorts, startNodePorts } from "./node-ports.ts";
import type { KubernetesObject } from "./object.ts";
import { type KeyType, makeCa } from "./pki.ts";
import { type Api, startApi, type User } from "./server.ts";

/** A cluster of the sandbox: what stands in it, and who may come. */
export interface SandboxCluster {
  description: ClusterDescription;
  /** How its certificates are made, or the certificates. Default: ECDSA, which takes no time. */
  pki?: PkiOptions | ClusterPki;
  /** Default: one user `admin` who may do everything. The kubeconfig's context is the first one's. */
  users?: User[];
  /**
   * Whether its clustermesh-apiserver answers, at the addresses of its nodes: these have to be this machine's. Its node
   * port is the described one, or the next that is free there.
   */
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
 *
 * @param key of the first one's certificates. Default: RSA, as the charts make them; that takes about a second.
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
 * The same clusters, or so many of Cilium 1.20, with nodes that answer: each at an address of its own where this machine
 * has the whole of 127.0.0.0/8 (Linux), else all at 127.0.0.1.
 *
 * @param options `count`: other than three; `sharedCa`: one CA for all; `csi`: certificates by CSI volumes, of one CA;
 *   `key`: as of {@link defaultClusters}.
 */
export async function servingClusters(
  options: { count?: number; sharedCa?: boolean; csi?: boolean; key?: KeyType } = {},
): Promise<SandboxCluster[]> {
  const { count = 3, csi = false, sharedCa = false, key } = options;
  const own = await isOwn("127.18.1.2");
  const ca = sharedCa || csi ? makeCa({ cn: "Cilium CA", key: "ec" }) : undefined;
  return (count === 3 ? defaultClusters(key) : many(count)).map(({ description, pki }) => {
    const { id, nodes } = description;
    const address = (node: number) => (own ? `127.${18 + (id >> 8)}.${id & 255}.${node + 2}` : "127.0.0.1");
    return {
      description: {
        ...description,
        nodes: (own ? nodes : nodes.slice(0, 1)).map((node, i) => ({ ...node, internalIPs: [address(i)] })),
        service: { ...description.service, nodePort: 30_000 + ((2_378 + id) % 2_768) },
        ...(csi && { csiDriver: "csi.cert-manager.io" }),
      },
      pki: { ...(pki as PkiOptions), ...(ca && { ca }) },
      serving: true,
    };
  });
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

/** The addresses that a cluster's node port is to answer at, and which port it is to be. */
function portsOf({ nodes, service }: ClusterDescription): [addresses: string[], preferred: number] {
  const addresses = nodes.flatMap(({ internalIPs }) => internalIPs);
  return [[...new Set(addresses)], (service === false ? undefined : service?.nodePort) ?? 32_379];
}

/**
 * Starts a Kubernetes API for each cluster on loopback, all in this process, and writes a kubeconfig.
 *
 * @param options `clusters`: names have to differ; `dir`: an existing folder for the kubeconfig
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
    for (const { description: asked, pki: given, users, serving } of options.clusters ?? defaultClusters()) {
      let route = (): number | undefined => undefined;
      const nodePorts = serving ? await startNodePorts(...portsOf(asked), () => route()) : undefined;
      if (nodePorts) started.push(nodePorts);
      const description: ClusterDescription = nodePorts
        ? { ...asked, service: { ...asked.service, nodePort: nodePorts.port } }
        : asked;
      const pki = given && "server" in given ? given : clusterPki(description, { key: "ec", ...given });
      const api = await startApi({
        objects: clusterObjects(description, pki),
        users: users ?? [{ name: "admin", token: `${description.name}-admin` }],
      });
      started.push(api);
      const etcd = serving ? await startEtcd(description, pki, () => usersOf(description, api)) : undefined;
      if (etcd) started.push(etcd);
      route = () => (isRunning(description, api) ? etcd?.port : undefined);
      clusters.push({ description, pki, api, ...(etcd && { etcd }), ...(nodePorts && { nodePorts }) });
    }
    // Last, so that a start that is cut off leaves nothing.
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
