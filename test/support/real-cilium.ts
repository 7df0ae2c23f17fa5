/** Runs Cilium's programs: clustermesh-apiserver as synchronization and as KVStoreMesh, and its troubleshooting command. */
import { mkdirSync, readdirSync, readlinkSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { KubernetesObject } from "../../lib/sandbox/object.ts";
import { type ApiServer, flags } from "./real-apiservers.ts";
import { type CiliumVersion, realAssets } from "./real-assets.ts";
import type { ClusterEtcd } from "./real-etcd.ts";
import { freePort, type Hosts, removeFolder, run, start, temporaryFolder, waitFor } from "./real-process.ts";

/** Name and id of a cluster. */
export interface Identity {
  name: string;
  id: number;
}

/** Mount path of the Secret in pods. */
const MOUNT = "/var/lib/cilium/clustermesh";

/** Files to mount: the `data` of a Secret (base64), and extra files (PEM by name), which take precedence. */
export interface MountedFiles {
  data: Readonly<Record<string, string | Buffer>>;
  extraFiles?: Readonly<Record<string, string>>;
}

/**
 * Writes files as kubelet mounts them: symlinks into a folder that is replaced atomically. In configs, the mount path of pods
 * is replaced by `folder`.
 */
function writeMountedFiles(folder: string, { data, extraFiles = {} }: MountedFiles): void {
  const version = `..${process.hrtime.bigint()}`;
  mkdirSync(join(folder, version), { recursive: true, mode: 0o700 });
  const files: Record<string, Buffer> = {};
  for (const [key, value] of Object.entries(data)) {
    files[key] = typeof value === "string" ? Buffer.from(value, "base64") : value;
  }
  for (const [key, text] of Object.entries(extraFiles)) files[key] = Buffer.from(text);
  for (const [key, bytes] of Object.entries(files)) {
    const text = bytes.toString("latin1");
    const content = text.includes("endpoints:") ? text.replaceAll(MOUNT, folder) : text;
    writeFileSync(join(folder, version, key), content, { encoding: "latin1", mode: 0o600 });
  }
  const names = readdirSync(folder);
  const old = names.includes("..data") ? readlinkSync(join(folder, "..data")) : undefined;
  symlinkSync(version, join(folder, "..data_tmp"));
  renameSync(join(folder, "..data_tmp"), join(folder, "..data"));
  for (const key of Object.keys(files)) {
    if (!names.includes(key)) symlinkSync(join("..data", key), join(folder, key));
  }
  for (const name of names) if (!name.startsWith("..") && !(name in files)) rmSync(join(folder, name));
  if (old) rmSync(join(folder, old), { recursive: true });
}

export interface PeerStatus {
  name: string;
  ready: boolean;
  connected: boolean;
  /** Cilium's status message. */
  status: string;
  nodes: number;
  endpoints: number;
  identities: number;
  services: number;
  failures: number;
}

export interface KvstoremeshOptions {
  cluster: Identity;
  /** The local etcd, which holds the cache. */
  etcd: ClusterEtcd;
  files: MountedFiles;
  /** Default: `1.20`. */
  version?: CiliumVersion;
  /** Host aliases of the pod (Linux only). */
  hosts?: Hosts;
}

export interface Kvstoremesh {
  /** The status of the peers, by name, which `kvstoremesh-dbg status` prints. */
  status(): Promise<Map<string, PeerStatus>>;
  /**
   * Waits until all peers are ready and returns their status.
   *
   * @param timeoutMs default 20 s
   * @throws Error on timeout
   */
  ready(peers: readonly string[], timeoutMs?: number): Promise<PeerStatus[]>;
  /** Updates the mounted files, as kubelet does after a change of the Secret. */
  update(files: MountedFiles): void;
  /** Recent output. */
  output(): string;
  stop(): Promise<void>;
}

/** Runs `clustermesh-apiserver kvstoremesh`, which connects to the peers in the files and caches their data. */
export async function runKvstoremesh(options: KvstoremeshOptions): Promise<Kvstoremesh> {
  const program = realAssets().clustermeshApiserver[options.version ?? "1.20"];
  const folder = temporaryFolder(`kvstoremesh-${options.cluster.name}`);
  const mounted = join(folder, "clustermesh");
  writeMountedFiles(mounted, options.files);
  const [health, api] = [await freePort(), `127.0.0.1:${await freePort()}`];
  const own = {
    "cluster-name": options.cluster.name,
    "cluster-id": String(options.cluster.id),
    "kvstore-opt": `etcd.config=${options.etcd.ownConfig}`,
    "clustermesh-config": mounted,
    "health-port": String(health),
    "api-serve-addr": api,
    "enable-heartbeat": "false",
    "enable-gops": "false",
  };
  const name = `kvstoremesh of ${options.cluster.name}`;
  const running = start(name, program, ["kvstoremesh", ...flags(own)], { folder, hosts: options.hosts });
  const stop = async () => {
    // SIGKILL would leave its lock in etcd, and the next process would wait for its expiration.
    await running.stop("gentle");
    removeFolder(folder);
  };
  const status = async () => {
    const response = await fetch(`http://${api}/v1/cluster`, { signal: AbortSignal.timeout(10_000) });
    if (!response.ok) throw new Error(`${name}: GET /v1/cluster: ${response.status} ${await response.text()}`);
    const clusters = ((await response.json()) ?? []) as Record<string, unknown>[];
    return new Map(clusters.map((one) => [String(one.name), peerStatus(one)]));
  };
  const ready = (peers: readonly string[], timeoutMs = 20_000) =>
    waitFor(
      `${peers.join(", ")} to be ready for ${options.cluster.name}`,
      async () => {
        const all = await status();
        const found = peers.flatMap((peer) => all.get(peer) ?? []);
        const notReady = peers.filter((peer) => !all.get(peer)?.ready);
        if (notReady.length === 0) return found;
        throw new Error(notReady.map((peer) => `${peer} ${all.get(peer)?.status ?? "unknown"}`).join("; "));
      },
      { timeoutMs, running: [running] },
    );
  try {
    await waitFor(name, status, { running: [running] });
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    status,
    ready,
    update: (files) => writeMountedFiles(mounted, files),
    output: running.output,
    stop,
  };
}

function peerStatus(one: Record<string, unknown>): PeerStatus {
  return {
    name: String(one.name),
    ready: one.ready === true,
    connected: one.connected === true,
    status: String(one.status ?? ""),
    nodes: Number(one["num-nodes"] ?? 0),
    endpoints: Number(one["num-endpoints"] ?? 0),
    identities: Number(one["num-identities"] ?? 0),
    services: Number(one["num-shared-services"] ?? 0),
    failures: Number(one["num-failures"] ?? 0),
  };
}

export interface Verdict {
  /** Whether etcd answered. */
  connects: boolean;
  /** Lines marked as failures, without the mark. */
  faults: string[];
  /** The whole section of the peer. */
  text: string;
}

/**
 * Runs `kvstoremesh-dbg troubleshoot` on mounted files.
 *
 * @returns the verdict by config; configs that Cilium does not recognize are missing
 * @throws Error if the command fails
 */
export async function troubleshoot(
  files: MountedFiles,
  options: { hosts?: Hosts; version?: CiliumVersion } = {},
): Promise<Map<string, Verdict>> {
  const program = realAssets().clustermeshApiserver[options.version ?? "1.20"];
  const folder = temporaryFolder("troubleshoot");
  try {
    const mounted = join(folder, "clustermesh");
    writeMountedFiles(mounted, files);
    const command = ["kvstoremesh-dbg", "troubleshoot", "--clustermesh-config", mounted];
    const { code, stdout, stderr } = await run(program, command, { folder, hosts: options.hosts, timeoutMs: 120_000 });
    if (code !== 0 || !stdout.startsWith("Found ")) throw new Error(`troubleshoot: ${(stderr || stdout).trim()}`);
    const verdicts = new Map<string, Verdict>();
    for (const section of stdout.split(/^(?=Cluster ".*":$)/m).slice(1)) {
      const name = /^Cluster "(.*)":/.exec(section)?.[1] as string;
      const faults = [...section.matchAll(/❌ *(.*)/g)].map((match) => match[1] as string);
      const connects = section.includes("Etcd connection successfully established");
      verdicts.set(name, { connects, faults, text: section });
    }
    return verdicts;
  } finally {
    removeFolder(folder);
  }
}

export interface ClusterSync {
  /** Recent output. */
  output(): string;
  /** Replaces `users.yaml`, which is read at once or within five seconds. */
  users(yaml: string): void;
  stop(): Promise<void>;
}

/**
 * Runs `clustermesh-apiserver clustermesh`, which synchronizes identities, nodes, endpoints and services from the API server
 * to etcd and creates the etcd users of `users` (content of `users.yaml`). Creates missing CRDs, and resolves after the first
 * synchronization; the key `cilium/.heartbeat` follows a minute later.
 */
export async function runClusterSync(options: {
  cluster: Identity;
  api: ApiServer;
  etcd: ClusterEtcd;
  users?: string;
  version?: CiliumVersion;
}): Promise<ClusterSync> {
  const { cluster, api, etcd } = options;
  await createCiliumCrds(api);
  const folder = temporaryFolder(`clustermesh-${cluster.name}`);
  const usersFile = join(folder, "users.yaml");
  writeFileSync(usersFile, options.users ?? "users: []\n");
  const own = {
    "cluster-name": cluster.name,
    "cluster-id": String(cluster.id),
    "kvstore-opt": `etcd.config=${etcd.ownConfig}`,
    "k8s-kubeconfig-path": api.kubeconfig,
    "health-port": String(await freePort()),
    "enable-gops": "false",
    "cluster-users-enabled": "true",
    "cluster-users-config-path": usersFile,
  };
  const program = realAssets().clustermeshApiserver[options.version ?? "1.20"];
  const running = start(`clustermesh of ${cluster.name}`, program, ["clustermesh", ...flags(own)], { folder });
  const stop = async () => {
    await running.stop("gentle");
    removeFolder(folder);
  };
  try {
    const kinds = ["nodes", "identities", "ip", "services"].map(
      (kind) => `cilium/synced/${cluster.name}/cilium/state/${kind}/v1`,
    );
    await waitFor(
      `first synchronization of ${cluster.name}`,
      async () => {
        const found = await etcd.keys(`cilium/synced/${cluster.name}/`);
        return kinds.every((key) => found.includes(key));
      },
      { running: [running] },
    );
  } catch (error) {
    await stop();
    throw error;
  }
  const users = (yaml: string) => {
    writeFileSync(`${usersFile}.new`, yaml);
    renameSync(`${usersFile}.new`, usersFile);
  };
  return { output: running.output, users, stop };
}

const CRDS = [
  { kind: "CiliumIdentity", version: "v2", scope: "Cluster" },
  { kind: "CiliumNode", version: "v2", scope: "Cluster" },
  { kind: "CiliumEndpoint", version: "v2", scope: "Namespaced" },
  { kind: "CiliumEndpointSlice", version: "v2alpha1", scope: "Cluster" },
];

/** Creates the CRDs that Cilium's synchronization watches, without a schema. */
async function createCiliumCrds(api: ApiServer): Promise<void> {
  await Promise.all(
    CRDS.map(async ({ kind, version, scope }) => {
      const singular = kind.toLowerCase();
      const plural = `${singular}s`.replace(/ys$/, "ies");
      const path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
      const crd = {
        apiVersion: "apiextensions.k8s.io/v1",
        kind: "CustomResourceDefinition",
        metadata: { name: `${plural}.cilium.io` },
        spec: {
          group: "cilium.io",
          scope,
          names: { kind, singular, plural },
          versions: [
            {
              name: version,
              served: true,
              storage: true,
              schema: { openAPIV3Schema: { type: "object", "x-kubernetes-preserve-unknown-fields": true } },
            },
          ],
        },
      };
      const answer = await api.request("POST", path, crd);
      if (answer.status >= 400 && answer.status !== 409) throw new Error(`CRD ${plural}: ${answer.body?.message}`);
      await waitFor(`CRD ${plural}`, async () => {
        return (await api.request("GET", `/apis/cilium.io/${version}/${plural}?limit=1`)).status === 200;
      });
    }),
  );
}

/** Creates a CiliumIdentity for pods with these labels, synchronized to `cilium/state/identities/v1/id/<id>`. */
export async function createIdentity(api: ApiServer, id: number, labels: Record<string, string> = {}): Promise<void> {
  const all = { "io.kubernetes.pod.namespace": "default", "io.cilium.k8s.policy.cluster": api.name, ...labels };
  const identity: KubernetesObject = {
    apiVersion: "cilium.io/v2",
    kind: "CiliumIdentity",
    metadata: { name: String(id), labels: { "io.kubernetes.pod.namespace": "default" } },
    "security-labels": Object.fromEntries(Object.entries(all).map(([key, value]) => [`k8s:${key}`, value])),
  };
  await api.create([identity]);
}

/** Creates a CiliumNode, synchronized to `cilium/state/nodes/v1/<cluster>/<name>`. */
export async function createCiliumNode(api: ApiServer, name: string, address: string): Promise<void> {
  const spec = { addresses: [{ type: "InternalIP", ip: address }] };
  await api.create([{ apiVersion: "cilium.io/v2", kind: "CiliumNode", metadata: { name }, spec }]);
}
