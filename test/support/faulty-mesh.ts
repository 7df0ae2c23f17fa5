/** Sandbox clusters behind relays, with accounts whose tokens expire, for programs that run while they change and fail. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ClusterPki } from "../../lib/sandbox/chart.ts";
import type { ClusterDescription } from "../../lib/sandbox/description.ts";
import { type SandboxCluster, startSandbox } from "../../lib/sandbox/sandbox.ts";
import type { Api, User } from "../../lib/sandbox/server.ts";
import { run } from "./programs.ts";
import { removeFolder, temporaryFolder } from "./real-process.ts";
import { type Relay, startRelay } from "./relay.ts";
import { WriteLedger } from "./write-ledger.ts";

export interface FaultyCluster {
  name: string;
  description: ClusterDescription;
  pki: ClusterPki;
  api: Api;
  relay: Relay;
  ledger: WriteLedger;
  /** The accounts, by which requests are distinguished; their tokens may be changed. */
  users: User[];
}

export interface FaultyMesh {
  dir: string;
  /** Contexts of the names of the clusters, without relays, as `admin`. */
  kubeconfig: string;
  clusters: FaultyCluster[];
  /** Writes a kubeconfig through the relays, as an account whose tokens are read from files. Returns its path. */
  kubeconfigOf(user: string): string;
  /** Replaces the token of an account in one cluster; its file has the old one until `renewToken`. */
  expireToken(cluster: FaultyCluster, user: string): void;
  renewToken(cluster: FaultyCluster, user: string): void;
  /** Connects all clusters with each other, bypassing the relays. */
  connect(): Promise<void>;
  /** Whether `connect` would change nothing; else its output. */
  findDifferences(): Promise<string | undefined>;
  /** What must never happen, and did. */
  violations(): string[];
  stop(): Promise<void>;
}

export interface FaultyMeshOptions {
  clusters: number;
  /** Accounts besides `admin`. */
  users: readonly string[];
}

/** Starts clusters `c1`, `c2`, … of Cilium 1.20, each with its own CA and a NodePort; the last one has no KVStoreMesh. */
export async function startFaultyMesh({ clusters: count, users }: FaultyMeshOptions): Promise<FaultyMesh> {
  const dir = temporaryFolder("faulty-mesh");
  const accounts = Array.from({ length: count }, (_, i): User[] =>
    ["admin", ...users].map((name) => ({ name, token: `${name}-c${i + 1}-1` })),
  );
  const sandbox = await startSandbox({
    dir,
    clusters: accounts.map(
      (own, i): SandboxCluster => ({
        description: describeMember(i + 1, i + 1 < count),
        users: own,
        pki: { key: "ec" },
      }),
    ),
  });
  const clusters = await Promise.all(
    sandbox.clusters.map(
      async ({ description, pki, api }, i): Promise<FaultyCluster> => ({
        ...{ name: description.name, description, pki, api, users: accounts[i] ?? [] },
        relay: await startRelay({ url: api.url, ca: api.ca.cert }),
        ledger: new WriteLedger(description.name, api),
      }),
    ),
  );
  const contexts = clusters.map(({ name }) => name);
  const tokenFile = (user: string, { name }: FaultyCluster) => join(dir, user, `${name}.token`);
  const renewToken = (cluster: FaultyCluster, user: string) =>
    writeFileSync(tokenFile(user, cluster), tokenOf(cluster, user), { mode: 0o600 });
  return {
    dir,
    kubeconfig: sandbox.kubeconfig,
    clusters,
    kubeconfigOf: (user) => {
      const path = join(dir, `kubeconfig-${user}`);
      mkdirSync(join(dir, user), { recursive: true });
      for (const cluster of clusters) renewToken(cluster, user);
      writeFileSync(path, JSON.stringify(toKubeconfig(clusters, (cluster) => tokenFile(user, cluster))), {
        mode: 0o600,
      });
      return path;
    },
    expireToken: (cluster, user) => {
      const account = accountOf(cluster, user);
      account.token = String(account.token).replace(/\d+$/, (generation) => String(Number(generation) + 1));
    },
    renewToken,
    connect: async () => {
      const { code, stderr } = await run("clustermesh-secrets", ["connect", ...contexts, "--yes"], sandbox);
      if (code !== 0) throw new Error(`connect: exit code ${code}: ${stderr}`);
    },
    findDifferences: async () => {
      const { code, stdout, stderr } = await run("clustermesh-secrets", ["connect", ...contexts, "--diff"], sandbox);
      return code === 0 ? undefined : `connect --diff: exit code ${code}\n${stdout}${stderr}`;
    },
    violations: () => clusters.flatMap(({ ledger }) => ledger.violations),
    stop: async () => {
      for (const { ledger } of clusters) ledger.close();
      await Promise.all(clusters.map(({ relay }) => relay.stop()));
      await sandbox.stop();
      removeFolder(dir);
    },
  };
}

/** Returns the current token of an account. */
export function tokenOf(cluster: FaultyCluster, user: string): string {
  return accountOf(cluster, user).token ?? "";
}

/** @throws Error if a cluster has no such account */
function accountOf({ name, users }: FaultyCluster, user: string): User {
  const account = users.find((one) => one.name === user);
  if (!account) throw new Error(`cluster ${name} has no account ${user}`);
  return account;
}

function describeMember(id: number, kvstoremesh: boolean): ClusterDescription {
  const name = `c${id}`;
  const nodes = [{ name: `${name}-node1`, internalIPs: [`172.18.${id}.1`], podCIDRs: [`10.${id}.0.0/24`] }];
  return { name, id, version: "1.20.2", kvstoremesh, nodes, service: { nodePort: 32_000 + id } };
}

function toKubeconfig(clusters: readonly FaultyCluster[], tokenFile: (cluster: FaultyCluster) => string): object {
  return {
    apiVersion: "v1",
    kind: "Config",
    clusters: clusters.map(({ name, relay }) => ({
      name,
      cluster: { server: relay.url, "certificate-authority-data": Buffer.from(relay.ca.cert).toString("base64") },
    })),
    users: clusters.map((cluster) => ({ name: cluster.name, user: { tokenFile: tokenFile(cluster) } })),
    contexts: clusters.map(({ name }) => ({ name, context: { cluster: name, user: name, namespace: "kube-system" } })),
    "current-context": clusters[0]?.name ?? "",
  };
}
