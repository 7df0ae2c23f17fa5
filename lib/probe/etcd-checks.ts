/** What a peer's etcd is asked once it has accepted the connection: users, heartbeat, config and content. */
import type { Peer } from "../peer/peer.ts";
import type { EtcdClient } from "./etcd-client.ts";
import { NotPermitted, StepFailure } from "./steps.ts";

/** A heartbeat older than this many milliseconds means that nobody writes it: Cilium does so every minute. */
const HEARTBEAT_LIMIT = 120_000;

/** The kinds that every cluster exports, and under which prefix. */
const ETCD_CONTENTS = {
  nodes: "cilium/state/nodes/v1",
  identities: "cilium/state/identities/v1",
  endpoints: "cilium/state/ip/v1",
  services: "cilium/state/services/v1",
} as const;

export type EtcdContent = keyof typeof ETCD_CONTENTS;

export async function readRoles(etcd: EtcdClient, user: string): Promise<string[]> {
  try {
    return (await etcd.user(user)).roles;
  } catch (error) {
    // An etcd without a leader answers nothing, but says that it has none.
    const { leader } = await etcd.status().catch(() => ({ leader: 1 }));
    if (leader === 0) throw createNoLeaderFailure();
    throw error;
  }
}

function createNoLeaderFailure(): StepFailure {
  return new StepFailure(
    "etcd-unavailable",
    "has an etcd without a leader",
    "look at the pods of the clustermesh-apiserver there",
  );
}

/** @returns the seconds since the last one. */
export async function readHeartbeatAge(etcd: EtcdClient, now: Date): Promise<number> {
  const text = await etcd.get("cilium/.heartbeat").catch(async (error) => {
    const { leader } = await etcd.status().catch(() => ({ leader: 1 }));
    throw leader === 0 ? createNoLeaderFailure() : error;
  });
  const stopped = "its apiserver container does not write: look at its logs, and whether it reaches its API server";
  if (text === undefined)
    throw new StepFailure("heartbeat-missing", "has an etcd without a heartbeat: nobody writes to it", stopped);
  const age = now.getTime() - Date.parse(text);
  if (!(age <= HEARTBEAT_LIMIT)) {
    const since = Number.isNaN(age)
      ? `${JSON.stringify(text.slice(0, 40))} is no time`
      : `${Math.round(age / 1000)} s old`;
    throw new StepFailure("heartbeat-stale", `has an old heartbeat (${since})`, stopped);
  }
  return Math.max(0, Math.round(age / 1000));
}

interface ClusterConfig {
  id: number;
  maxConnectedClusters: number | undefined;
  canaries: boolean;
}

/** What the cluster says of itself, judged against what its file says. */
export async function readClusterConfig(
  etcd: EtcdClient,
  { name, facts }: Peer,
  roles: string[],
): Promise<ClusterConfig> {
  const prefix = "cilium/cluster-config/";
  let text: string | undefined;
  try {
    text = await etcd.get(prefix + name);
  } catch (error) {
    const other = error instanceof NotPermitted ? await findServedCluster(etcd, roles) : undefined;
    throw other === undefined ? error : createOtherClusterFailure(other, name);
  }
  if (text === undefined) {
    const [other] = (await etcd.list(prefix, 1).catch(() => ({ keys: [] as string[] }))).keys;
    if (other !== undefined) throw createOtherClusterFailure(other.slice(prefix.length), name);
    throw new StepFailure(
      "cluster-config-missing",
      `has an etcd that does not say which cluster it is (${prefix}${name})`,
      "look at the logs of its apiserver container",
    );
  }
  const config = parseClusterConfig(text);
  if (config === undefined) {
    throw new StepFailure(
      "cluster-config-missing",
      `says of itself what is no JSON (${prefix}${name})`,
      "is it Cilium's?",
    );
  }
  if (facts.id !== undefined && config.id !== facts.id) {
    throw new StepFailure(
      "id-differs",
      `is ${name} with id ${config.id}, its file says ${facts.id}`,
      "extract the peer anew",
    );
  }
  return config;
}

function parseClusterConfig(text: string): ClusterConfig | undefined {
  try {
    const { id, capabilities = {} } = JSON.parse(text);
    if (typeof id !== "number") return undefined;
    return {
      id,
      maxConnectedClusters: capabilities.maxConnectedClusters,
      canaries: capabilities.syncedCanaries === true,
    };
  } catch {
    return undefined;
  }
}

/** The name of the cluster by what its role may read: from Cilium 1.18 on its own config alone. */
async function findServedCluster(etcd: EtcdClient, roles: string[]): Promise<string | undefined> {
  const prefix = "cilium/cluster-config/";
  for (const role of roles) {
    const { perm } = await etcd.role(role).catch(() => ({ perm: [] }));
    const keys = perm.map(({ key }) => key.toString()).filter((key) => key.startsWith(prefix) && key !== prefix);
    if (keys[0] !== undefined) return keys[0].slice(prefix.length);
  }
  return undefined;
}

function createOtherClusterFailure(other: string, name: string): StepFailure {
  return new StepFailure(
    "other-cluster",
    `is ${other}, not ${name}`,
    "the address has gone to another cluster: extract the peer anew, and mind equal node ports with kube-proxy replacement",
  );
}

/** The kinds that are not complete yet. */
export async function listUnsynchronized(etcd: EtcdClient, name: string): Promise<EtcdContent[]> {
  const prefix = `cilium/synced/${name}/`;
  const { keys } = await etcd.list(prefix, 100);
  const synced = new Set(keys.map((key) => key.slice(prefix.length)));
  return (Object.keys(ETCD_CONTENTS) as EtcdContent[]).filter((kind) => !synced.has(ETCD_CONTENTS[kind]));
}

export async function countContents(etcd: EtcdClient): Promise<Record<EtcdContent, number>> {
  const kinds = Object.keys(ETCD_CONTENTS) as EtcdContent[];
  const counts = await Promise.all(kinds.map(async (kind) => (await etcd.list(`${ETCD_CONTENTS[kind]}/`)).count));
  return Object.fromEntries(kinds.map((kind, i) => [kind, counts[i] ?? 0])) as Record<EtcdContent, number>;
}
