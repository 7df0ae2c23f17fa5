/** Two clusters, Cilium 1.20 and 1.18, behind relays that inject faults: on the sandbox or on real API servers. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { Agent } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { V1Secret } from "@kubernetes/client-node";
import { clusterObjects, clusterPki } from "../../lib/sandbox/chart.ts";
import type { ClusterDescription } from "../../lib/sandbox/description.ts";
import type { KubernetesObject } from "../../lib/sandbox/object.ts";
import { startSandbox } from "../../lib/sandbox/sandbox.ts";
import { type ApiServer, apiServer, kubeconfigOf, startApiServers } from "./real-apiservers.ts";
import { type Relay, startRelay } from "./relay.ts";

/** The objects that a command may change, for each cluster. */
export type State = KubernetesObject[][];

export interface RelayedClusters {
  dir: string;
  /** Contexts `c1` and `c2`, through the relays. */
  kubeconfig: string;
  relays: Relay[];
  servers: ApiServer[];
  state(): Promise<State>;
  /** Restores a state, bypassing the relays. */
  restore(state: State): Promise<void>;
  /** Replaces the certificates of `c2`, CA included, as a rotation does. */
  rotate(): Promise<void>;
  stop(): Promise<void>;
}

const NAMESPACE = "kube-system";
const LISTS = ["secrets", "configmaps"].map((plural) => `/api/v1/namespaces/${NAMESPACE}/${plural}`);
const WORKLOADS = ["daemonsets/cilium", "deployments/clustermesh-apiserver"].map(
  (path) => `/apis/apps/v1/namespaces/${NAMESPACE}/${path}`,
);
/** The Secrets of a mesh, in the order of writing. */
const SECRETS = ["cilium-kvstoremesh", "cilium-clustermesh"] as const;

const descriptions = ["1.20.2", "1.18.5"].map(
  (version, i): ClusterDescription => ({
    name: `c${i + 1}`,
    id: i + 1,
    version,
    nodes: [{ name: `c${i + 1}-node`, internalIPs: [`172.18.${i}.2`], podCIDRs: [`10.${i}.0.0/24`] }],
  }),
);

/** Starts the clusters and their relays. */
export async function startRelayedClusters(on: "sandbox" | "real"): Promise<RelayedClusters> {
  const dir = mkdtempSync(join(tmpdir(), "behind-relays-"));
  const agent = new Agent({ keepAlive: true });
  const { servers, stop: stopServers } = on === "real" ? await startReal() : await startEmbedded();
  const relays = await Promise.all(servers.map(({ url, ca }) => startRelay({ url, ca: ca.cert })));
  const kubeconfig = join(dir, "kubeconfig");
  const named = relays.map(({ url, ca }, i) => ({ name: `c${i + 1}`, url, ca }));
  writeFileSync(kubeconfig, kubeconfigOf(named, "admin"), { mode: 0o600 });

  async function startReal() {
    const started = await startApiServers(descriptions.map(({ name }) => name));
    for (const [i, server] of started.all.entries()) await server.create(objectsOf(i));
    return { servers: started.all, stop: started.stop };
  }
  async function startEmbedded() {
    const users = [{ name: "admin", token: "admin-token" }];
    const sandbox = await startSandbox({ clusters: descriptions.map((description) => ({ description, users })), dir });
    const all = sandbox.clusters.map(({ description, api }) => apiServer(description.name, api.url, api.ca, "", agent));
    return { servers: all, stop: sandbox.stop };
  }

  return {
    dir,
    kubeconfig,
    relays,
    servers,
    state: () => Promise.all(servers.map(stateOf)),
    restore: async (state) => {
      await Promise.all(relays.map((relay) => relay.mend()));
      await Promise.all(servers.map((server, i) => restore(server, state[i] ?? [])));
    },
    rotate: async () => {
      const secrets = objectsOf(1).filter(({ kind }) => kind === "Secret");
      for (const { metadata, ...rest } of secrets) {
        const { resourceVersion: _, uid: __, ...kept } = metadata;
        await servers[1]?.ask("PUT", `${LISTS[0]}/${metadata.name}`, { ...rest, metadata: kept });
      }
    },
    stop: async () => {
      await Promise.all(relays.map((relay) => relay.stop()));
      await stopServers();
      agent.destroy();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** Returns the two Secrets of one cluster's state; undefined for a missing one. */
export function secretsOf(state: readonly KubernetesObject[]): (V1Secret | undefined)[] {
  return SECRETS.map(
    (name) => state.find((one) => one.kind === "Secret" && one.metadata.name === name) as unknown as V1Secret,
  );
}

/** Serializes the data of peers and users, for comparison. */
export function peerDataOf(state: State): string {
  const isUsers = (one: KubernetesObject) =>
    one.kind === "ConfigMap" && one.metadata.name === "clustermesh-remote-users";
  const sortFields = (data: object = {}) => Object.fromEntries(Object.entries(data).sort());
  return JSON.stringify(
    state.map((objects) => [...secretsOf(objects), objects.find(isUsers)].map((one) => sortFields(one?.data))),
  );
}

function objectsOf(index: number): KubernetesObject[] {
  const description = descriptions[index];
  if (!description) throw new Error(`no cluster at index ${index}`);
  return clusterObjects(description, clusterPki(description, { key: "ec" }));
}

async function stateOf({ ask }: ApiServer): Promise<KubernetesObject[]> {
  const lists = await Promise.all(LISTS.map((path) => ask("GET", path)));
  const workloads = await Promise.all(WORKLOADS.map((path) => ask("GET", path)));
  const items = lists.flatMap(({ items }: { items: KubernetesObject[] }, i) =>
    items.map((item) => ({ ...item, apiVersion: "v1", kind: i === 0 ? "Secret" : "ConfigMap" })),
  );
  return [...items, ...workloads];
}

async function restore(server: ApiServer, desired: KubernetesObject[]): Promise<void> {
  const serializeContent = ({ data, spec, metadata }: KubernetesObject) =>
    JSON.stringify([data, spec, metadata.annotations, metadata.labels]);
  const isSameObject = (a: KubernetesObject, b: KubernetesObject) =>
    a.kind === b.kind && a.metadata.name === b.metadata.name;
  const current = await stateOf(server);
  for (const object of current.filter((one) => !desired.some((other) => isSameObject(one, other)))) {
    await server.ask("DELETE", pathOf(object));
  }
  for (const object of desired) {
    const existing = current.find((one) => isSameObject(one, object));
    if (existing && serializeContent(existing) === serializeContent(object)) continue;
    const { resourceVersion: _, uid: __, creationTimestamp: ___, ...metadata } = object.metadata;
    const path = pathOf(object);
    await server.ask(existing ? "PUT" : "POST", existing ? path : path.replace(/\/[^/]+$/, ""), {
      ...object,
      metadata,
    });
  }
}

function pathOf({ kind, metadata: { name } }: KubernetesObject): string {
  const index = ["Secret", "ConfigMap"].indexOf(kind);
  return index === -1 ? (WORKLOADS[kind === "DaemonSet" ? 0 : 1] ?? "") : `${LISTS[index]}/${name}`;
}
