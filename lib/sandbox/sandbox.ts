import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "yaml";
import { type ClusterPki, clusterObjects, clusterPki, type PkiOptions } from "./chart.ts";
import type { ClusterDescription } from "./description.ts";
import { type Api, startApi, type User } from "./server.ts";

/** A cluster of the sandbox: what stands in it, and who may come. */
export interface SandboxCluster {
  description: ClusterDescription;
  /** How its certificates are made, or the certificates. Default: ECDSA, which takes no time. */
  pki?: PkiOptions | ClusterPki;
  /** Default: one user `admin` who may do everything. The kubeconfig's context is the first one's. */
  users?: User[];
}

export interface Sandbox {
  /** Path of a kubeconfig (mode 0600) with a context for each cluster, named as the cluster; the first is the current one. */
  kubeconfig: string;
  /** The private folder that it lies in. */
  dir: string;
  clusters: { description: ClusterDescription; pki: ClusterPki; api: Api }[];
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
 * Starts a Kubernetes API for each cluster on loopback, all in this process, and writes a kubeconfig.
 *
 * @param options `clusters`: names have to differ; `dir`: an existing folder for the kubeconfig
 */
export async function startSandbox(options: { clusters?: SandboxCluster[]; dir?: string } = {}): Promise<Sandbox> {
  const dir = options.dir ?? (await mkdtemp(join(tmpdir(), "clustermesh-sandbox-")));
  const kubeconfig = join(dir, "kubeconfig");
  const clusters: Sandbox["clusters"] = [];
  const stop = async () => {
    await Promise.all(clusters.map(({ api }) => api.stop()));
    await rm(options.dir === undefined ? dir : kubeconfig, { recursive: true, force: true });
  };
  try {
    for (const { description, pki: given, users } of options.clusters ?? defaultClusters()) {
      const pki = given && "server" in given ? given : clusterPki(description, { key: "ec", ...given });
      const api = await startApi({
        objects: clusterObjects(description, pki),
        users: users ?? [{ name: "admin", token: `${description.name}-admin` }],
      });
      clusters.push({ description, pki, api });
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
