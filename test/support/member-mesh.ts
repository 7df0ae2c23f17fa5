/** Embedded clusters whose Secrets are in a management cluster, and that sync connects. */
import type { TestContext } from "node:test";
import { clusterObjects, clusterPki } from "../../lib/sandbox/chart.ts";
import type { ClusterDescription } from "../../lib/sandbox/description.ts";
import type { KubernetesObject } from "../../lib/sandbox/object.ts";
import { type Sandbox, startSandbox } from "../../lib/sandbox/sandbox.ts";
import type { User } from "../../lib/sandbox/server.ts";
import type { Credentials, MemberAccess } from "./documented-secrets.ts";
import type { SyncProcess } from "./sync-process.ts";

const NAMESPACE = "kube-system";
const MANAGEMENT = "management";

/** A cluster that sync may connect. */
export interface ListedCluster {
  name: string;
  /** Where it is, and as whom it is accessed; changed by {@link ListedCluster.renewCredentials}. */
  access: MemberAccess;
  /**
   * Adds another user with all permissions, and accesses the cluster as this user.
   *
   * @returns a function that revokes the previous credentials.
   */
  renewCredentials(): () => void;
  /** The name of the user of the last request. */
  lastUser(): string | undefined;
  /** Renews the client certificate for other clusters, under the same CA. Returns its PEM. */
  renewCertificate(): string;
  /** The names of its peers, sorted; undefined while its Secrets and its etcd users differ in them. */
  peers(): string[] | undefined;
  /** The client certificate of a peer (PEM). */
  certificateOf(peer: string): string | undefined;
  /** The versions of the objects that an import writes. */
  versions(): string;
}

export interface MemberMesh {
  /** Path of a kubeconfig whose current context is the management cluster. */
  kubeconfig: string;
  clusters: ListedCluster[];
  /** Starts another cluster, which may have the name or id of an existing one. */
  startCluster(overrides: Partial<ClusterDescription>): Promise<ListedCluster>;
  /** Stores Secrets in the management cluster. */
  put(secrets: readonly KubernetesObject[]): void;
  /** Deletes Secrets from the management cluster. */
  remove(secrets: readonly KubernetesObject[]): void;
  /** Fails all requests to the management cluster with this status, until it is undefined. */
  failManagement(status: number | undefined): void;
}

/** Starts a management cluster without Cilium's mesh, and clusters `cluster1`, `cluster2` and so on. */
export async function startMemberMesh(
  t: TestContext,
  count: number,
  credentials: "token" | "certificate" = "token",
): Promise<MemberMesh> {
  const management = await startSandbox({ clusters: [{ description: describe(MANAGEMENT, 250) }] });
  t.after(() => management.stop());
  const api = management.clusters[0]?.api;
  if (!api) throw new Error("no management cluster");
  const { store } = api;
  const startCluster = async (overrides: Partial<ClusterDescription>) => {
    const description = { ...describe("cluster", 1), ...overrides };
    const users: User[] = [];
    const sandbox = await startSandbox({ clusters: [{ description, users }] });
    t.after(() => sandbox.stop());
    return listedCluster(sandbox, users, credentials);
  };
  const clusters = await Promise.all(
    Array.from({ length: count }, (_, i) => startCluster(describe(`cluster${i + 1}`, i + 1))),
  );
  return {
    kubeconfig: management.kubeconfig,
    clusters,
    startCluster,
    put: (secrets) => secrets.forEach((secret) => void store.put(secret)),
    failManagement: (code) => {
      const status = { apiVersion: "v1", kind: "Status", status: "Failure", code };
      api.onRequest = code === undefined ? undefined : () => ({ status: code, body: status });
    },
    remove: (secrets) =>
      secrets.forEach(({ kind, metadata }) => void store.remove(kind, metadata.namespace, metadata.name)),
  };
}

function describe(name: string, id: number): ClusterDescription {
  return { name, id, version: "1.20.2", nodes: [{ name: `${name}-node`, internalIPs: [`172.18.${id}.2`] }] };
}

function listedCluster({ clusters }: Sandbox, users: User[], kind: "token" | "certificate"): ListedCluster {
  const [cluster] = clusters;
  if (!cluster) throw new Error("no cluster");
  const { api, description } = cluster;
  const { store } = api;
  const addUser = (): Credentials => {
    const name = `user-${users.length + 1}`;
    const token = `${description.name}-${name}`;
    users.push({ name, ...(kind === "token" && { token }) });
    return kind === "token" ? { token } : api.clientCertificate(name);
  };
  const access: MemberAccess = {
    server: api.url,
    ca: Buffer.from(api.ca.cert).toString("base64"),
    credentials: addUser(),
  };
  const read = (object: string, name: string) => store.read(object, NAMESPACE, name);
  const configs = (secret: string) =>
    Object.keys(read("Secret", secret)?.data ?? {}).filter((key) => !key.includes("."));
  return {
    name: description.name,
    access,
    renewCredentials: () => {
      const before = users.length - 1;
      access.credentials = addUser();
      return () => {
        // Its position is kept, for the names of further users.
        users[before] = { name: "revoked", allow: [] };
      };
    },
    lastUser: () => api.requests.at(-1)?.user,
    renewCertificate: () => {
      const pki = { ...cluster.pki, remote: clusterPki(description, { key: "ec", ca: cluster.pki.ca }).remote };
      const secret = clusterObjects(description, pki).find(
        ({ metadata }) => metadata.name === "clustermesh-apiserver-remote-cert",
      );
      if (!secret) throw new Error("no Secret clustermesh-apiserver-remote-cert");
      store.put(secret);
      return pki.remote.cert;
    },
    peers: () => {
      const users: string = read("ConfigMap", "clustermesh-remote-users")?.data?.["users.yaml"] ?? "";
      const granted = [...users.matchAll(/remote-(\S+)/g)].map(([, name = ""]) => name);
      const all = [configs("cilium-kvstoremesh"), configs("cilium-clustermesh"), granted].map((names) =>
        names.sort().join(),
      );
      return new Set(all).size === 1 ? granted.sort() : undefined;
    },
    certificateOf: (peer) => {
      const value = read("Secret", "cilium-kvstoremesh")?.data?.[`${peer}.etcd-client.crt`];
      return value === undefined ? undefined : Buffer.from(value, "base64").toString();
    },
    versions: () => {
      const objects = [
        read("Secret", "cilium-clustermesh"),
        read("Secret", "cilium-kvstoremesh"),
        read("ConfigMap", "clustermesh-remote-users"),
      ];
      return objects.map((object) => object?.metadata.resourceVersion ?? "none").join(" ");
    },
  };
}

/** Waits until each of these clusters has the others as its peers, and no other. */
export function untilConnected(sync: SyncProcess, clusters: readonly ListedCluster[]): Promise<unknown> {
  const names = clusters.map(({ name }) => name).sort();
  return sync.eventually(`${names.join(", ")} to be connected`, () =>
    clusters.every(({ name, peers }) => peers()?.join() === names.filter((other) => other !== name).join()),
  );
}

/** Renews the certificate of a cluster, and waits until the importers have it. */
export async function untilRenewed(
  sync: SyncProcess,
  cluster: ListedCluster,
  importers: readonly ListedCluster[],
): Promise<void> {
  const renewed = cluster.renewCertificate();
  await sync.eventually(`the certificate of ${cluster.name} to be distributed`, () =>
    importers.every((importer) => importer.certificateOf(cluster.name) === renewed),
  );
}
