/** A mesh on real API servers in a state in which every permission of the table is needed by some command. */
import assert from "node:assert/strict";
import { join } from "node:path";
import type { V1Secret } from "@kubernetes/client-node";
import { clusterObjects } from "../../lib/sandbox/chart.ts";
import type { ClusterDescription } from "../../lib/sandbox/description.ts";
import { encode, type KubernetesObject } from "../../lib/sandbox/object.ts";
import { issue, makeCa } from "../../lib/sandbox/pki.ts";
import { type Sandbox, type SandboxCluster, servingClusters, startSandbox } from "../../lib/sandbox/sandbox.ts";
import { run } from "./programs.ts";
import { type Answer, type ApiServer, type ApiServers, startApiServers } from "./real-apiservers.ts";
import { removeFolder, temporaryFolder } from "./real-process.ts";

const CORE = "/api/v1/namespaces/kube-system";

/** What differs from the embedded clusters, so that a command needs more permissions. */
const VARIANTS: readonly Partial<ClusterDescription>[] = [
  // The agents and the operator connect to the peers, and need host aliases. Up to 1.17 there are external workloads.
  { version: "1.16.9", kvstoremesh: false, operatorMountsSecret: true, ipam: "kubernetes" },
  // The clustermesh-apiserver needs host aliases, and has managed etcd users.
  { version: "1.18.5", authMode: "migration" },
  // After an upgrade: the peers are to be moved to a Secret that does not exist yet.
  { version: "1.20.2" },
];

export interface PermissionMesh {
  servers: ApiServers;
  /** Contexts of the clusters. */
  names: string[];
  folder: string;
  /** The file of a cluster that is not in the mesh yet. */
  file: string;
  /** Copies what kubelets and the users ConfigMap change: embedded etcds serve the users, pods become ready. */
  synchronize(): Promise<void>;
  /** Restores what commands write to its state at the start. */
  reset(): Promise<void>;
  stop(): Promise<void>;
}

/** Starts three API servers, with embedded etcds, and connects cluster1 with cluster2. */
export async function startPermissionMesh(): Promise<PermissionMesh> {
  const folder = temporaryFolder("permissions");
  let sandbox: Sandbox | undefined;
  let servers: ApiServers | undefined;
  const stop = async () => {
    await Promise.all([servers?.stop(), sandbox?.stop()]);
    removeFolder(folder);
  };
  try {
    sandbox = await startSandbox({ clusters: await permissionClusters() });
    const clusters = sandbox.clusters.slice(0, VARIANTS.length);
    const file = join(folder, "cluster4.json");
    await succeed("extract-secret", ["--context", "cluster4", "--output-file", file], sandbox.kubeconfig);
    const names = clusters.map(({ description: { name } }) => name);
    servers = await startApiServers(names);
    for (const { description, pki } of clusters) {
      await servers.get(description.name).create(clusterObjects(description, pki));
    }
    await prepare(servers, folder);
    const started = { sandbox, servers };
    const restore = await saveTargets(servers.all);
    const reset = () => Promise.all(restore.map((one) => one())).then(() => undefined);
    return {
      servers,
      names,
      folder,
      file,
      synchronize: () => synchronize(started.sandbox, started.servers),
      reset,
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Returns the clusters of the mesh, and cluster4, which is not in it. Their etcds listen on loopback addresses. */
export async function permissionClusters(): Promise<SandboxCluster[]> {
  return [...(await servingClusters({ key: "ec" })).map(vary), newcomer()];
}

function vary({ description, ...cluster }: SandboxCluster, index: number): SandboxCluster {
  const { nodePort } = description.service || {};
  const service = { ...(nodePort && { nodePort }), ...(index === 1 && { externalTrafficPolicy: "Local" as const }) };
  return { ...cluster, description: { ...description, ...VARIANTS[index], service } };
}

function newcomer(): SandboxCluster {
  const nodes = [{ name: "cluster4-node1", internalIPs: ["172.18.4.2"], podCIDRs: ["10.4.0.0/24"] }];
  return { description: { name: "cluster4", id: 4, version: "1.20.2", nodes, service: { nodePort: 32_004 } } };
}

/**
 * Connects cluster1 with cluster2, as after an upgrade by Helm, which resets host aliases and etcd users. cluster3 has
 * cluster1 as before an upgrade of Cilium.
 */
async function prepare(servers: ApiServers, folder: string): Promise<void> {
  const [first, second, third] = servers.all as [ApiServer, ApiServer, ApiServer];
  const workloads = "/apis/apps/v1/namespaces/kube-system";
  await createWorkloadCertificate(first);
  const flags = ["--yes", "--restart-agents"];
  await succeed("clustermesh-secrets", ["connect", first.name, second.name, ...flags], servers.kubeconfig);
  const withoutAliases = { spec: { template: { spec: { hostAliases: null } } } };
  await first.ask("PATCH", `${workloads}/daemonsets/cilium`, withoutAliases);
  await first.ask("PATCH", `${workloads}/deployments/cilium-operator`, withoutAliases);
  await second.ask("PATCH", `${workloads}/deployments/clustermesh-apiserver`, withoutAliases);
  await second.ask("PATCH", `${CORE}/configmaps/clustermesh-remote-users`, { data: { "users.yaml": "users: []\n" } });
  const file = join(folder, "cluster1.json");
  await succeed("extract-secret", ["--context", first.name, "--output-file", file], servers.kubeconfig);
  await succeed("import-secrets", ["--context", third.name, file], servers.kubeconfig);
  const remote: V1Secret = await third.ask("GET", `${CORE}/secrets/cilium-kvstoremesh`);
  for (const name of ["cilium-kvstoremesh", "cilium-clustermesh"]) {
    await third.ask("DELETE", `${CORE}/secrets/${name}`);
  }
  await third.ask("DELETE", `${CORE}/configmaps/clustermesh-remote-users`);
  const { annotations = {} } = remote.metadata ?? {};
  await third.ask("POST", `${CORE}/secrets`, { ...remote, metadata: { name: "cilium-clustermesh", annotations } });
}

/** Saves what imports write to clusters. Returns a function for each, which restores it. */
function saveTargets(servers: readonly ApiServer[]): Promise<(() => Promise<void>)[]> {
  const objects = ["secrets/cilium-clustermesh", "secrets/cilium-kvstoremesh", "configmaps/clustermesh-remote-users"];
  const workloads = ["deployments/clustermesh-apiserver", "deployments/cilium-operator", "daemonsets/cilium"];
  const apps = "/apis/apps/v1/namespaces/kube-system";
  return Promise.all(
    servers.map(async (server) => {
      const saved = await Promise.all(objects.map((path) => server.request("GET", `${CORE}/${path}`)));
      const specs = await Promise.all(workloads.map((path) => server.request("GET", `${apps}/${path}`)));
      return async () => {
        for (const [i, path] of objects.entries()) {
          await server.request("DELETE", `${CORE}/${path}`);
          const { status, body } = saved[i] as Answer;
          if (status !== 200) continue;
          const { kind, apiVersion, data, metadata } = body;
          const { name, labels, annotations } = metadata;
          const object = { kind, apiVersion, data, metadata: { name, labels, annotations } };
          await server.ask("POST", `${CORE}/${path.replace(/\/.*/, "")}`, object);
        }
        for (const [i, path] of workloads.entries()) {
          const { status, body } = specs[i] as Answer;
          const hostAliases = status === 200 ? (body.spec.template.spec.hostAliases ?? null) : null;
          const patch = { spec: { template: { spec: { hostAliases } } } };
          if (status === 200) await server.ask("PATCH", `${apps}/${path}`, patch);
        }
      };
    }),
  );
}

/** Creates the client certificate of external workloads. */
async function createWorkloadCertificate(server: ApiServer): Promise<void> {
  const { cert, key } = issue(makeCa({ cn: "Cilium CA", key: "ec" }), { cn: "externalworkload", usage: "client" });
  const metadata = { name: "clustermesh-apiserver-client-cert" };
  const data = encode({ "tls.crt": cert, "tls.key": key });
  await server.ask("POST", `${CORE}/secrets`, { apiVersion: "v1", kind: "Secret", metadata, data });
}

/** Runs a program that has to succeed. */
async function succeed(program: string, args: readonly string[], kubeconfig: string): Promise<void> {
  const { code, stderr } = await run(program, args, { kubeconfig });
  assert.equal(code, 0, `${program} ${args.join(" ")}\n${stderr}`);
}

async function synchronize(sandbox: Sandbox, servers: ApiServers): Promise<void> {
  for (const server of servers.all) {
    const { store } = sandbox.clusters.find(({ description: { name } }) => name === server.name)?.api ?? {};
    const users = await server.request("GET", `${CORE}/configmaps/clustermesh-remote-users`);
    if (users.status === 200) store?.put(withoutVersion(users.body as KubernetesObject));
    for (const { metadata, status } of store?.all("Pod") ?? []) {
      await server.request("PATCH", `${CORE}/pods/${metadata.name}/status`, { status });
    }
  }
}

function withoutVersion({ metadata, ...object }: KubernetesObject): KubernetesObject {
  const { name, namespace } = metadata;
  return { ...object, metadata: { name, ...(namespace !== undefined && { namespace }) } } as KubernetesObject;
}
