/**
 * An in-process etcd of a clustermesh-apiserver: gRPC over mutual TLS, with the users, roles and keys of Cilium. It serves
 * the reads of peers; writes are not implemented.
 */
import {
  type handleUnaryCall,
  type Metadata,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServiceError,
  status,
} from "@grpc/grpc-js";
import { parse } from "yaml";
import { ETCD, prefixRangeEnd, type RangeRequest, type RangeResponse } from "../probe/etcd-api.ts";
import type { ClusterPki } from "./chart.ts";
import { type ClusterDescription, values } from "./description.ts";

/** State that a test may change at run time. */
export interface EtcdState {
  /** Time of the last heartbeat, RFC 3339; `now`: the time of the read; undefined: no heartbeat. */
  heartbeat: string | undefined;
  /** Value of `cilium/cluster-config/<name>`; undefined: no such key. */
  clusterConfig: string | undefined;
  /** Kinds whose synchronization is complete. */
  synced: string[];
  /** Whether there is a leader; without one, reads fail. */
  leader: boolean;
  /** Returns the content of `users.yaml`; undefined if the container does not mount it. */
  users(): string | undefined;
}

export interface Etcd {
  /** On 127.0.0.1. */
  port: number;
  state: EtcdState;
  /** Closes the server and its connections. */
  stop(): Promise<void>;
}

const KINDS = ["nodes", "identities", "ip", "services"] as const;

/** Starts the etcd on a free port of 127.0.0.1. */
export async function startEtcd(
  description: ClusterDescription,
  pki: ClusterPki,
  users: () => string | undefined,
): Promise<Etcd> {
  const { name, id, since, kvstoremesh } = values(description);
  const state: EtcdState = {
    heartbeat: "now",
    clusterConfig: JSON.stringify({
      id,
      capabilities: {
        ...(since("1.14") && { syncedCanaries: true }),
        ...(since("1.15") && { maxConnectedClusters: description.maxConnectedClusters ?? 255 }),
      },
    }),
    synced: since("1.14") ? KINDS.map((kind) => `cilium/state/${kind}/v1`) : [],
    leader: true,
    users,
  };
  const exported = exportedKeys(description);
  const keys = (): [string, string][] => {
    const now = new Date().toISOString();
    const dynamic: [string, string | undefined][] = [
      ["cilium/.heartbeat", state.heartbeat === "now" ? now : state.heartbeat],
      [`cilium/cluster-config/${name}`, state.clusterConfig],
      ...state.synced.map((kind): [string, string] => [`cilium/synced/${name}/${kind}`, now]),
    ];
    return [...exported, ...dynamic.filter((entry): entry is [string, string] => entry[1] !== undefined)];
  };
  const roles = rolesOf(name, since);
  const roleOf = (user: string): string | undefined => {
    if (user === "root" || user === `admin-${name}`) return "root";
    if (user === `local-${name}`) return kvstoremesh ? "local" : undefined;
    return user === "remote" ? "remote" : rolesByUser(state.users()).get(user);
  };

  const server = new Server();
  const handle =
    <Q, A>(respond: (request: Q, user: string, role: string) => A): handleUnaryCall<Q, A> =>
    (call, callback) => {
      const user = userOf(call);
      const role = roleOf(user);
      // etcd rejects every request of an unknown user, including status.
      if (role === undefined) return callback(unknownUser());
      try {
        callback(null, respond(call.request, user, role));
      } catch (error) {
        callback(error as ServiceError);
      }
    };
  server.addService(
    { range: ETCD.range, userGet: ETCD.userGet, roleGet: ETCD.roleGet, status: ETCD.status },
    {
      range: handle<RangeRequest, RangeResponse>((request, _, role) => {
        if (!state.leader) throw failure(status.UNAVAILABLE, "etcdserver: no leader");
        const [from, to] = rangeOf(request);
        checkPermission(
          role,
          (roles[role] ?? []).some(([start, end]) => start <= from && to <= end),
        );
        const found = keys()
          .filter(([key]) => from <= key && key < to)
          .sort(([a], [b]) => (a < b ? -1 : 1));
        const { limit = 0, keys_only = false, count_only = false } = request;
        const page = count_only ? [] : limit > 0 ? found.slice(0, limit) : found;
        const kvs = page.map(([key, value]) => ({
          key: Buffer.from(key),
          value: Buffer.from(keys_only ? "" : value),
          mod_revision: 1,
        }));
        return { kvs, more: !count_only && page.length < found.length, count: found.length };
      }),
      userGet: handle<{ name: string }, { roles: string[] }>((request, user, role) => {
        checkPermission(role, request.name === user);
        const requested = roleOf(request.name);
        if (requested === undefined) throw unknownUser();
        return { roles: [requested] };
      }),
      roleGet: handle<{ role: string }, object>((request, _, role) => {
        checkPermission(role, request.role === role);
        return {
          perm: (roles[request.role] ?? []).map(([start, end]) => ({
            permType: "READ",
            key: Buffer.from(start),
            range_end: Buffer.from(end === `${start}\0` ? "" : end),
          })),
        };
      }),
      status: handle<object, { version: string; leader: number }>(() => ({
        version: "3.6.16",
        leader: state.leader ? 1 : 0,
      })),
    },
  );
  const credentials = ServerCredentials.createSsl(
    Buffer.from(pki.ca.cert),
    [{ cert_chain: Buffer.from(pki.server.cert), private_key: Buffer.from(pki.server.key) }],
    true,
  );
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", credentials, (error, bound) => (error ? reject(error) : resolve(bound)));
  });
  return { port, state, stop: async () => server.forceShutdown() };
}

function failure(code: status, details: string): ServiceError {
  return Object.assign(new Error(details), { code, details, metadata: undefined as unknown as Metadata });
}

function unknownUser(): ServiceError {
  return failure(status.FAILED_PRECONDITION, "etcdserver: user name not found");
}

/** @throws ServiceError unless granted; `root` has all permissions */
function checkPermission(role: string, granted: boolean): void {
  if (role !== "root" && !granted) throw failure(status.PERMISSION_DENIED, "etcdserver: permission denied");
}

function userOf<Q, A>(call: ServerUnaryCall<Q, A>): string {
  const name: string | string[] = call.getAuthContext()?.sslPeerCertificate?.subject.CN ?? "";
  return String(name);
}

/** Returns the first key of a range, and its exclusive end. */
function rangeOf({ key, range_end = Buffer.alloc(0) }: RangeRequest): [string, string] {
  const from = key.toString();
  return [from, range_end.length === 0 ? `${from}\0` : range_end.toString()];
}

type Range = [string, string];
const prefix = (start: string): Range => [start, prefixRangeEnd(start).toString()];
const single = (key: string): Range => [key, `${key}\0`];

/** Returns the ranges that each role can read; `remote`: all keys up to 1.15, only the cluster's own keys since 1.18. */
function rolesOf(name: string, since: (version: string) => boolean): Record<string, Range[]> {
  const cacheRanges = [prefix("cilium/cache/"), prefix("cilium/cluster-config/"), prefix("cilium/synced/")];
  const remote: Range[] = !since("1.16")
    ? [["", "\uffff"]]
    : [
        prefix("cilium/.heartbeat"),
        prefix("cilium/state/"),
        ...(since("1.18") ? [single(`cilium/cluster-config/${name}`), prefix(`cilium/synced/${name}/`)] : cacheRanges),
      ];
  return { remote, local: [prefix("cilium/.heartbeat"), ...cacheRanges] };
}

/** Parses `users.yaml`. */
function rolesByUser(text: string | undefined): Map<string, string> {
  const { users = [] }: { users?: { name: string; role: string }[] } = (text && parse(text)) || {};
  return new Map(users.map(({ name, role }) => [name, role]));
}

/** Returns the keys and values that clustermesh-apiserver exports for a small cluster. */
function exportedKeys({ name, id, nodes }: ClusterDescription): [string, string][] {
  const identity = id * 65_536 + 1;
  const nodeKeys = nodes.map(({ name: node, internalIPs = [] }): [string, string] => [
    `cilium/state/nodes/v1/${name}/${node}`,
    JSON.stringify({
      Name: node,
      Cluster: name,
      ClusterID: id,
      IPAddresses: internalIPs.map((IP) => ({ Type: "InternalIP", IP })),
    }),
  ]);
  return [
    ...nodeKeys,
    [`cilium/state/identities/v1/id/${identity}`, "k8s:io.kubernetes.pod.namespace=default;"],
    [`cilium/state/ip/v1/default/10.${id % 256}.0.17`, JSON.stringify({ IP: `10.${id % 256}.0.17`, ID: identity })],
    [
      `cilium/state/services/v1/${name}/default/echo`,
      JSON.stringify({ cluster: name, namespace: "default", name: "echo" }),
    ],
  ];
}
