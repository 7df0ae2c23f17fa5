/** A real mesh: API servers with Cilium's objects and an etcd for each cluster, joined by our programs and verified by Cilium's. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { V1DaemonSet, V1Deployment, V1Secret } from "@kubernetes/client-node";
import { findMountedFolder, podTemplateOf } from "../../lib/cilium/volumes.ts";
import { type ClusterPki, clusterObjects, clusterPki, type PkiOptions } from "../../lib/sandbox/chart.ts";
import type { ClusterDescription } from "../../lib/sandbox/description.ts";
import { type KeyType, makeCa } from "../../lib/sandbox/pki.ts";
import { type ChartCluster, type ChartDescription, chartCluster } from "./chart.ts";
import { type ProgramResult, run } from "./programs.ts";
import {
  type ApiServer,
  type ApiServers,
  type ChartVersion,
  type ClusterEtcd,
  type ClusterSync,
  createIdentity,
  freeAddress,
  freePort,
  type MountedFiles,
  runClusterSync,
  runKvstoremesh,
  startApiServers,
  startClusterEtcd,
  troubleshoot,
  waitFor,
} from "./real.ts";

const NAMESPACE = "kube-system";
/** Hostname of the local clustermesh-apiserver, where agents read KVStoreMesh's cache. */
export const SERVICE = `clustermesh-apiserver.${NAMESPACE}.svc`;

/** Settings of all clusters of a mesh. */
export interface MeshSpec {
  clusters: number;
  version: ChartVersion;
  kvstoremesh: boolean;
  ca: "own" | "shared";
  authMode: "legacy" | "migration" | "cluster";
  service: "NodePort" | "LoadBalancer";
  /** Whether each cluster has an additional, unreachable address. */
  deadAddress: boolean;
  key: KeyType;
}

/** Three clusters of Cilium 1.20 with the chart's defaults and separate CAs. */
export const THREE_CLUSTERS = {
  clusters: 3,
  version: "1.20",
  kvstoremesh: true,
  ca: "own",
  authMode: "migration",
  service: "NodePort",
  deadAddress: false,
} as const satisfies Omit<MeshSpec, "key">;

export interface MeshOptions extends MeshSpec {
  /** Clusters with certificates in CSI volumes instead of Secrets. */
  csi?: readonly string[];
  /** Whether helm renders the objects from Cilium's real chart; its Service is a NodePort. */
  realChart?: boolean;
  /** Settings of single clusters that differ from those of the others. {@link Mesh.judge} does not know them. */
  own?: Readonly<Record<string, Partial<Pick<MeshSpec, "kvstoremesh" | "service">>>>;
}

export interface Member {
  name: string;
  id: number;
  description: ClusterDescription;
  pki: ClusterPki;
  api: ApiServer;
  etcd: ClusterEtcd;
  sync: ClusterSync;
  /** Address of `clustermesh-apiserver.<ns>.svc` in this cluster. */
  serviceAddress: string;
  /** Address of etcd for other clusters. */
  address: string;
  port: number;
}

export interface Verdict {
  /** Ready peers by cluster. */
  ready: Map<string, string[]>;
  /** Entries of the agents that connect, by cluster; with KVStoreMesh only. */
  agents: Map<string, string[]>;
}

export interface Mesh {
  members: Member[];
  kubeconfig: string;
  /** Extracts each cluster into a file and returns the paths. */
  extract(...args: string[]): Promise<string[]>;
  /** Imports all files into all clusters with one command. */
  import(files: string[], ...args: string[]): Promise<ProgramResult>;
  /**
   * Verifies the objects in the clusters with Cilium's programs.
   *
   * @throws Error if a peer does not become ready
   */
  judge(): Promise<Verdict>;
  stop(): Promise<void>;
}

/** Starts a mesh of clusters that are not connected yet. */
export async function startMesh(spec: MeshOptions): Promise<Mesh> {
  const stops: (() => Promise<unknown>)[] = [];
  const stop = async () => {
    for (const one of stops.splice(0).reverse()) await one();
  };
  try {
    const names = Array.from({ length: spec.clusters }, (_, i) => `cluster${i + 1}`);
    const servers = await startApiServers(names);
    stops.push(servers.stop);
    const folder = await mkdtemp(join(tmpdir(), "mesh-"));
    stops.push(() => rm(folder, { recursive: true, force: true }));
    const ca = spec.ca === "shared" ? makeCa({ cn: "Cilium CA", key: spec.key }) : undefined;
    const members = await Promise.all(
      names.map((name, i) => startMember({ ...spec, ...spec.own?.[name] }, name, i + 1, servers, ca, stops)),
    );
    return {
      members,
      kubeconfig: servers.kubeconfig,
      extract: (...args) => Promise.all(names.map((name) => extract(name, folder, servers.kubeconfig, args))),
      import: (files, ...args) => {
        const contexts = names.flatMap((name) => ["--context", name]);
        return run("import-secrets", [...contexts, ...args, ...files], { kubeconfig: servers.kubeconfig });
      },
      judge: () => judge(spec, members),
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function startMember(
  spec: MeshOptions,
  name: string,
  id: number,
  servers: ApiServers,
  ca: ReturnType<typeof makeCa> | undefined,
  stops: (() => Promise<unknown>)[],
): Promise<Member> {
  const loadBalancer = spec.service === "LoadBalancer";
  if (loadBalancer && spec.realChart)
    throw new Error("a real chart requires service NodePort: no controller assigns load balancer addresses");
  const address = await freeAddress(loadBalancer ? 2379 : undefined);
  const port = loadBalancer ? 2379 : await freePort(address, "node");
  const serviceAddress = await freeAddress(2379);
  const addresses = spec.deadAddress ? [await freeAddress(), address] : [address];
  const description: ClusterDescription = {
    name,
    id,
    version: spec.version,
    kvstoremesh: spec.kvstoremesh,
    authMode: spec.authMode,
    nodes: addresses.map((ip, i) => ({ name: `${name}-node${i}`, internalIPs: [ip] })),
    service: loadBalancer
      ? { type: "LoadBalancer", ingress: addresses.map((ip) => ({ ip })) }
      : { type: "NodePort", nodePort: port },
    tunnelProtocol: "vxlan",
    ...(spec.csi?.includes(name) && { csiDriver: "csi.cert-manager.io" }),
  };
  const api = servers.get(name);
  const options = { key: spec.key, ...(ca && { ca }) };
  const { pki, objects } = spec.realChart
    ? await realChartCluster({ ...description, version: spec.version, nodePort: port }, api, options)
    : sandboxChartCluster(description, options);
  await api.create(objects);
  const etcd = await startClusterEtcd({
    cluster: name,
    pki,
    listen: [
      { address, port },
      { address: serviceAddress, port: 2379 },
    ],
  });
  stops.push(etcd.stop);
  const managesUsers = spec.authMode !== "legacy";
  const sync = await runClusterSync({
    cluster: { name, id },
    api,
    etcd,
    ...(managesUsers && { users: "users: []\n" }),
  });
  stops.push(sync.stop);
  await createIdentity(api, 0x10000 * id + 1, { from: name });
  return { name, id, description, pki, api, etcd, sync, serviceAddress, address, port };
}

function sandboxChartCluster(description: ClusterDescription, options: PkiOptions): ChartCluster {
  const pki = clusterPki(description, options);
  return { pki, objects: clusterObjects(description, pki) };
}

async function realChartCluster(
  description: ChartDescription,
  api: ApiServer,
  options: PkiOptions,
): Promise<ChartCluster> {
  const { gitVersion }: { gitVersion: string } = await api.ask("GET", "/version");
  return chartCluster(description, gitVersion, options);
}

async function extract(context: string, folder: string, kubeconfig: string, more: string[]): Promise<string> {
  const file = join(folder, `${context}-secret.json`);
  const args = ["--context", context, "--output-file", file, ...more];
  const { code, stderr } = await run("extract-secret", args, { kubeconfig });
  assert.equal(code, 0, stderr);
  return file;
}

async function judge(spec: MeshSpec, members: readonly Member[]): Promise<Verdict> {
  // In place of kubelet, which updates the mounted list of users.
  for (const { api, sync } of members) {
    const users = await api.request("GET", `/api/v1/namespaces/${NAMESPACE}/configmaps/clustermesh-remote-users`);
    if (users.status === 200) sync.users(users.body.data["users.yaml"]);
  }
  const judgeMember = async (member: Member) => {
    const peers = members.filter((other) => other !== member);
    const kvstoremesh = await runKvstoremesh({
      cluster: member,
      etcd: member.etcd,
      files: await readMountedFiles(member, spec.kvstoremesh ? "kvstoremesh" : "agents"),
      // 1.19 ignores host aliases in a config and uses those of the workload.
      ...(spec.version !== "1.20" && { version: "1.19", hosts: await workloadHosts(member, spec.kvstoremesh) }),
    });
    try {
      await kvstoremesh.ready(
        peers.map(({ name }) => name),
        45_000,
      );
      for (const { name, id } of peers) {
        const key = `cilium/cache/identities/v1/${name}/id/${0x10000 * id + 1}`;
        await waitFor(
          `identity of ${name} in the etcd of ${member.name}`,
          async () => (await member.etcd.keys(key)).length > 0,
        );
      }
    } finally {
      await kvstoremesh.stop();
    }
    return {
      peers: peers.map(({ name }) => name),
      agents: spec.kvstoremesh ? await judgeAgents(member, peers) : undefined,
    };
  };
  const ended = await Promise.allSettled(members.map(async (member) => ({ member, ...(await judgeMember(member)) })));
  const judged = ended.map((one) => {
    if (one.status === "rejected") throw one.reason;
    return one.value;
  });
  return {
    ready: new Map(judged.map(({ member, peers }) => [member.name, peers])),
    agents: new Map(judged.flatMap(({ member, agents }) => (agents ? [[member.name, agents]] : []))),
  };
}

/**
 * Verifies the agents' entries, which read KVStoreMesh's cache.
 *
 * @returns the names of the entries, sorted
 * @throws AssertionError if an entry does not connect
 */
export async function judgeAgents(member: Member, peers: readonly Member[]): Promise<string[]> {
  const verdicts = await troubleshoot(await readMountedFiles(member, "agents"), {
    hosts: { [SERVICE]: [member.serviceAddress] },
  });
  for (const { name } of peers) {
    const entry = verdicts.get(name);
    assert.deepEqual(
      [entry?.connects, entry?.faults],
      [true, []],
      `${member.name}'s agents to ${name}: ${entry?.text}`,
    );
  }
  return [...verdicts.keys()].sort();
}

const CONTAINERS = {
  agents: ["daemonsets/cilium", "cilium-agent", "cilium-clustermesh"],
  kvstoremesh: ["deployments/clustermesh-apiserver", "kvstoremesh", "cilium-kvstoremesh"],
} as const;

/** Reads the files that a workload mounts: the Secret, and the local certificates of its volumes. */
export async function readMountedFiles({ api, pki }: Member, who: keyof typeof CONTAINERS): Promise<MountedFiles> {
  const [workload, container, secretName] = CONTAINERS[who];
  const path = `/namespaces/${NAMESPACE}`;
  const object: V1DaemonSet | V1Deployment = await api.ask("GET", `/apis/apps/v1${path}/${workload}`);
  const { status, body } = await api.request("GET", `/api/v1${path}/secrets/${secretName}`);
  const secret: V1Secret = status === 200 ? body : {};
  const folder = findMountedFolder(podTemplateOf(object), container);
  assert.ok(folder, `${workload} mounts the folder`);
  assert.ok(folder.secrets.has(secretName), `${workload} mounts ${secretName}`);
  const extraFiles: Record<string, string> = {};
  for (const [file, source] of folder.files) {
    if (source.kind === "external") {
      const text = csiFile(pki, file);
      if (text !== undefined) extraFiles[file] = text;
      continue;
    }
    const kind = source.kind === "Secret" ? "secrets" : "configmaps";
    const { status, body } = await api.request("GET", `/api/v1${path}/${kind}/${source.object}`);
    const value: string | undefined = status === 200 ? body.data?.[source.key] : undefined;
    if (value === undefined) continue;
    extraFiles[file] = source.kind === "Secret" ? Buffer.from(value, "base64").toString() : value;
  }
  return { data: secret.data ?? {}, extraFiles };
}

/** Returns the content of a local certificate file in a CSI volume. */
function csiFile(pki: ClusterPki, file: string): string | undefined {
  const [, use, part] = /^(common|local)-etcd-client(-ca\.crt|\.crt|\.key)$/.exec(file) ?? [];
  if (part === "-ca.crt") return pki.ca.cert;
  const pair = use === "common" ? pki.remote : pki.local;
  return part === undefined ? undefined : part === ".crt" ? pair.cert : pair.key;
}

/**
 * Updates the mounted files of a workload when its Secret changes, as kubelet does.
 *
 * @param delayMs time between the change and the update
 * @returns a function that stops the updates, and rejects if one failed
 */
export function startKubelet(
  member: Member,
  who: keyof typeof CONTAINERS,
  update: (files: MountedFiles) => void,
  delayMs: number,
): () => Promise<void> {
  const path = `/api/v1/namespaces/${NAMESPACE}/secrets/${CONTAINERS[who][2]}`;
  const ended = new AbortController();
  const currentVersion = async (): Promise<string> => {
    const { status, body } = await member.api.request("GET", path);
    return status === 200 ? body.metadata.resourceVersion : "none";
  };
  const sync = async () => {
    let mountedVersion = "";
    while (!ended.signal.aborted) {
      const version = await currentVersion();
      if (version !== mountedVersion) {
        if (mountedVersion !== "") await sleep(delayMs);
        update(await readMountedFiles(member, who));
        mountedVersion = version;
      }
      await sleep(100);
    }
  };
  const done = sync();
  // Awaited by the returned function, which reports the failure.
  done.catch(() => {});
  return () => {
    ended.abort();
    return done;
  };
}

/** Returns the addresses by hostname in the host aliases of a workload. */
export async function workloadHosts({ api }: Member, kvstoremesh: boolean): Promise<Record<string, string[]>> {
  const [workload] = CONTAINERS[kvstoremesh ? "kvstoremesh" : "agents"];
  const { spec }: V1Deployment = await api.ask("GET", `/apis/apps/v1/namespaces/${NAMESPACE}/${workload}`);
  const hosts: Record<string, string[]> = {};
  for (const { ip, hostnames } of spec?.template.spec?.hostAliases ?? []) {
    for (const name of hostnames ?? []) hosts[name] = [...(hosts[name] ?? []), ip];
  }
  return hosts;
}

/** Returns the files of a peer as the old scripts write them, with the node's address in the URL. */
export function oldScriptFiles({ name, address, port, pki }: Member): MountedFiles {
  const mount = "/var/lib/cilium/clustermesh";
  const config = [
    "endpoints:",
    `- https://${address}:${port}`,
    `trusted-ca-file: '${mount}/${name}-ca.crt'`,
    `key-file: '${mount}/${name}.key'`,
    `cert-file: '${mount}/${name}.crt'`,
  ].join("\n");
  const files = {
    [name]: `${config}\n`,
    [`${name}-ca.crt`]: pki.ca.cert,
    [`${name}.crt`]: pki.remote.cert,
    [`${name}.key`]: pki.remote.key,
  };
  return { data: Object.fromEntries(Object.entries(files).map(([key, text]) => [key, Buffer.from(text)])) };
}
