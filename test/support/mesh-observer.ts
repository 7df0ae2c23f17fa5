/** Cilium's kvstoremesh in a cluster of a real mesh: when it was not ready for a peer, and how often it connected again. */
import { setTimeout as sleep } from "node:timers/promises";
import { type Member, readMountedFiles, startKubelet } from "./mesh.ts";
import { type KeyEvents, type Kvstoremesh, type PeerStatus, runKvstoremesh } from "./real.ts";

const POLL_MS = 100;
/** Time between a change of a Secret and of the mounted files; a real kubelet takes up to two minutes. */
const KUBELET_DELAY_MS = 100;

/** A period in which kvstoremesh was not ready for a peer. */
export interface Gap {
  peer: string;
  fromMs: number;
  /** Undefined: until now. */
  toMs: number | undefined;
  /** Cilium's status messages. */
  statuses: string[];
}

/** A connection that kvstoremesh made again. */
export interface Reconnect {
  peer: string;
  reason: "config changed" | "connection lost";
}

export interface MeshObserver {
  member: Member;
  kvstoremesh: Kvstoremesh;
  /** The periods without readiness of peers that had been ready, and that are configured, since a time (Date.now()). */
  gaps(sinceMs: number): Gap[];
  /** The connections that were made again since a time (Date.now()). */
  reconnects(sinceMs: number): Reconnect[];
  /** The keys of other clusters that were deleted from the cache, since the start. */
  withdrawn(): string[];
  /** @throws Error if the status or the files could not be read. */
  stop(): Promise<void>;
}

/**
 * Runs kvstoremesh on the files of a workload, updates them as kubelet does, and records its status.
 *
 * @param who - `agents`: kvstoremesh runs in place of the agents of a cluster without KVStoreMesh, which connect as it does.
 */
export async function observeMember(member: Member, who: "kvstoremesh" | "agents"): Promise<MeshObserver> {
  const kvstoremesh = await runKvstoremesh({
    cluster: member,
    etcd: member.etcd,
    files: await readMountedFiles(member, who),
  });
  const events: KeyEvents = member.etcd.follow("cilium/cache/identities/v1/");
  const endKubelet = startKubelet(member, who, (files) => kvstoremesh.update(files), KUBELET_DELAY_MS);
  const endUsers = startUsersKubelet(member);
  const record = new ReadinessRecord();
  const polling = startPolling(async () => record.note([...(await kvstoremesh.status()).values()]));
  return {
    member,
    kvstoremesh,
    gaps: (since) => record.gaps(since),
    reconnects: (since) => parseReconnects(kvstoremesh.output(), since),
    withdrawn: () => events.events().flatMap(({ type, key }) => (type === "DELETE" ? [key] : [])),
    stop: async () => {
      const ended = await Promise.allSettled([polling(), endKubelet(), endUsers()]);
      await events.stop();
      await kvstoremesh.stop();
      for (const one of ended) if (one.status === "rejected") throw one.reason;
    },
  };
}

/** The readiness of each configured peer, by its periods without. */
class ReadinessRecord {
  readonly #gaps: Gap[] = [];
  readonly #ready = new Set<string>();

  note(statuses: readonly Pick<PeerStatus, "name" | "ready" | "status">[]): void {
    const now = Date.now();
    const open = new Map(this.#gaps.filter(({ toMs }) => toMs === undefined).map((gap) => [gap.peer, gap]));
    const present = new Map(statuses.map((one) => [one.name, one]));
    for (const { name, ready, status } of statuses) {
      const gap = open.get(name);
      if (ready) {
        this.#ready.add(name);
        if (gap) gap.toMs = now;
      } else if (gap) {
        if (!gap.statuses.includes(status)) gap.statuses.push(status);
      } else if (this.#ready.has(name)) {
        this.#gaps.push({ peer: name, fromMs: now, toMs: undefined, statuses: [status] });
      }
    }
    // Its config was removed.
    for (const name of this.#ready) if (!present.has(name)) this.#ready.delete(name);
  }

  gaps(sinceMs: number): Gap[] {
    return this.#gaps.filter(({ toMs }) => toMs === undefined || toMs >= sinceMs);
  }
}

/** Repeats a task; the returned function ends it, and rejects if the task failed. */
function startPolling(task: () => Promise<void>): () => Promise<void> {
  const ended = new AbortController();
  const loop = async () => {
    while (!ended.signal.aborted) {
      await task();
      await sleep(POLL_MS);
    }
  };
  const done = loop();
  // Awaited by the returned function, which reports the failure.
  done.catch(() => {});
  return () => {
    ended.abort();
    return done;
  };
}

/** Updates the mounted list of etcd users. */
function startUsersKubelet({ api, sync }: Member): () => Promise<void> {
  let mounted: string | undefined;
  return startPolling(async () => {
    const { status, body } = await api.request(
      "GET",
      "/api/v1/namespaces/kube-system/configmaps/clustermesh-remote-users",
    );
    const users: string | undefined = status === 200 ? body.data?.["users.yaml"] : undefined;
    if (users !== undefined && users !== mounted) sync.users(users);
    mounted = users;
  });
}

/** Cilium's messages (1.20, pkg/clustermesh/common/remote_cluster.go). */
const RECONNECTS = {
  "Connecting to remote cluster": "config changed",
  "Error observed on etcd connection, reconnecting etcd": "connection lost",
} as const;

function parseReconnects(log: string, sinceMs: number): Reconnect[] {
  return log.split("\n").flatMap((line) => {
    const time = Date.parse(/\btime=(\S+)/.exec(line)?.[1] ?? "");
    const [, message = ""] = /\bmsg="([^"]*)"/.exec(line) ?? [];
    const peer = /\bclusterName=(\S+)/.exec(line)?.[1];
    const reason = RECONNECTS[message as keyof typeof RECONNECTS];
    return peer !== undefined && reason !== undefined && time >= sinceMs ? [{ peer, reason }] : [];
  });
}
