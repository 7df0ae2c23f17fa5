/** Checks of a peer's etcd after it has accepted the connection: user, heartbeat, cluster config and content. */
import type { Peer } from "../peer/peer.ts";
import type { EtcdClient } from "./etcd-client.ts";
import { CHECK_PODS, NotPermitted, StepFailure } from "./steps.ts";

/** Maximum age of a heartbeat in milliseconds. Cilium writes one every minute. */
const HEARTBEAT_LIMIT = 120_000;

/** The prefixes of the resources that every cluster exports. */
const ETCD_CONTENTS = {
  nodes: "cilium/state/nodes/v1",
  identities: "cilium/state/identities/v1",
  endpoints: "cilium/state/ip/v1",
  services: "cilium/state/services/v1",
} as const;

export type EtcdContent = keyof typeof ETCD_CONTENTS;

/**
 * Reads the roles of an etcd user.
 *
 * @throws StepFailure
 */
export async function readRoles(etcd: EtcdClient, user: string): Promise<string[]> {
  try {
    return (await etcd.user(user)).roles;
  } catch (error) {
    throw await explainFailure(etcd, error);
  }
}

/**
 * Returns a missing leader as the cause of an error, otherwise the error itself. Without a leader, etcd rejects other
 * requests, but reports its status.
 */
async function explainFailure(etcd: EtcdClient, error: unknown): Promise<unknown> {
  const { leader } = await etcd.status().catch(() => ({ leader: 1 }));
  return leader === 0 ? new StepFailure("etcd-unavailable", "has no etcd leader", CHECK_PODS) : error;
}

/**
 * Reads the age of the heartbeat.
 *
 * @returns seconds.
 * @throws StepFailure if the heartbeat is missing, invalid or outdated.
 */
export async function readHeartbeatAge(etcd: EtcdClient, now: Date): Promise<number> {
  const text = await etcd.get("cilium/.heartbeat").catch(async (error) => {
    throw await explainFailure(etcd, error);
  });
  if (text === undefined) throw new StepFailure("heartbeat-missing", "has no heartbeat in etcd", CHECK_WRITER);
  const age = now.getTime() - Date.parse(text);
  if (!(age <= HEARTBEAT_LIMIT)) {
    const problem = Number.isNaN(age)
      ? `has an invalid heartbeat: ${JSON.stringify(text.slice(0, 40))}`
      : `has an outdated heartbeat: ${Math.round(age / 1000)}s old`;
    throw new StepFailure("heartbeat-stale", problem, CHECK_WRITER);
  }
  return Math.max(0, Math.round(age / 1000));
}

const CHECK_WRITER = "check the logs of its apiserver container, and its connection to the Kubernetes API server";

interface ClusterConfig {
  id: number;
  maxConnectedClusters: number | undefined;
  canaries: boolean;
}

/**
 * Reads the cluster config in etcd, and compares it with the peer.
 *
 * @param roles - the etcd roles of the client, which reveal another cluster behind the address.
 * @throws StepFailure if the config is missing or invalid, or belongs to another cluster.
 */
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
      `has no cluster config in etcd (${prefix}${name})`,
      "check the logs of its apiserver container",
    );
  }
  const config = parseClusterConfig(text);
  if (config === undefined) {
    throw new StepFailure(
      "cluster-config-missing",
      `has an invalid cluster config in etcd (${prefix}${name})`,
      "check that Cilium writes to this etcd",
    );
  }
  if (facts.id !== undefined && config.id !== facts.id) {
    throw new StepFailure(
      "id-differs",
      `is ${name} with id ${config.id}, but id ${facts.id} is configured`,
      "re-extract the peer",
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

/** Finds the name of the serving cluster by its roles, which since Cilium 1.18 only permit access to its own config. */
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
    `belongs to ${other}, not ${name}`,
    "re-extract the peer; with kube-proxy replacement before Cilium 1.19, clusters need different NodePorts",
  );
}

/** Lists the resources that are not fully synchronized yet. */
export async function listUnsynchronized(etcd: EtcdClient, name: string): Promise<EtcdContent[]> {
  const prefix = `cilium/synced/${name}/`;
  const { keys } = await etcd.list(prefix, 100);
  const synced = new Set(keys.map((key) => key.slice(prefix.length)));
  return (Object.keys(ETCD_CONTENTS) as EtcdContent[]).filter((kind) => !synced.has(ETCD_CONTENTS[kind]));
}

/** Counts the resources of each kind. */
export async function countContents(etcd: EtcdClient): Promise<Record<EtcdContent, number>> {
  const kinds = Object.keys(ETCD_CONTENTS) as EtcdContent[];
  const counts = await Promise.all(kinds.map(async (kind) => (await etcd.list(`${ETCD_CONTENTS[kind]}/`)).count));
  return Object.fromEntries(kinds.map((kind, i) => [kind, counts[i] ?? 0])) as Record<EtcdContent, number>;
}
