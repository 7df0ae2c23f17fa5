/** A real etcd of a clustermesh-apiserver, configured as Cilium does. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ClusterPki } from "../../lib/sandbox/chart.ts";
import { flags } from "./real-apiservers.ts";
import { realAssets } from "./real-assets.ts";
import { freePort, type Running, removeFolder, run, start, temporaryFolder, waitFor } from "./real-process.ts";

export interface Listener {
  address: string;
  /** Default: a free node port. */
  port?: number;
}

export interface ClusterEtcdOptions {
  cluster: string;
  /** PEM: the CA of clients, the server certificate, and the client certificate of `admin-<cluster>`. */
  pki: Pick<ClusterPki, "server" | "admin"> & { ca: { cert: string } };
  /**
   * Addresses for clients: a node's, or that of `clustermesh-apiserver.<ns>.svc` with port 2379. A port on 127.0.0.1, which
   * the chart's certificates cover, is added for local programs.
   */
  listen?: readonly Listener[];
}

export interface ClusterEtcd {
  cluster: string;
  /** The addresses of `listen`, with their ports. */
  listeners: { address: string; port: number }[];
  /** `https://127.0.0.1:<port>`, for local programs. */
  url: string;
  /** Path of an etcd client config for local programs, as `admin-<cluster>`. */
  ownConfig: string;
  /** Returns the keys with a prefix. */
  keys(prefix: string): Promise<string[]>;
  /** Returns the value of a key; undefined if it does not exist. */
  get(key: string): Promise<string | undefined>;
  put(key: string, value: string): Promise<void>;
  /** Returns the names of the etcd users. */
  users(): Promise<string[]>;
  /** Watches the keys with a prefix, from the first revision on. */
  follow(prefix: string): KeyEvents;
  /** Restarts etcd with other certificates (PEM), keeping its data. `admin` is the client certificate of local programs. */
  restartWith(material: { ca: string; cert: string; key: string; admin: { cert: string; key: string } }): Promise<void>;
  /**
   * Runs etcdctl as `admin-<cluster>` and returns its stdout.
   *
   * @throws Error if it fails
   */
  etcdctl(...args: string[]): Promise<string>;
  stop(): Promise<void>;
}

/** A watch: all writes and deletions, superseded ones included. */
export interface KeyEvents {
  /**
   * Returns the events in order.
   *
   * @throws Error if the watch ended or its output exceeded the buffer
   */
  events(): { type: "PUT" | "DELETE"; key: string }[];
  stop(): Promise<void>;
}

/** Readable ranges of the role `remote`, since Cilium 1.18. */
const REMOTE_RANGES = (cluster: string) => [
  ["cilium/.heartbeat", "--prefix"],
  ["cilium/state/", "--prefix"],
  [`cilium/cluster-config/${cluster}`],
  [`cilium/synced/${cluster}/`, "--prefix"],
];
const LOCAL_RANGES = [
  ["cilium/.heartbeat", "--prefix"],
  ["cilium/cache/", "--prefix"],
  ["cilium/cluster-config/", "--prefix"],
  ["cilium/synced/", "--prefix"],
];

/** Starts an etcd with TLS, client certificates, Cilium's users and roles, and authentication on. */
export async function startClusterEtcd({ cluster, pki, listen = [] }: ClusterEtcdOptions): Promise<ClusterEtcd> {
  const assets = realAssets();
  const folder = temporaryFolder(`etcd-${cluster}`);
  const file = (name: string, content: string) => {
    const path = join(folder, name);
    writeFileSync(path, content, { mode: 0o600 });
    return path;
  };
  const ca = file("ca.crt", pki.ca.cert);
  const [adminCert, adminKey] = [file("admin.crt", pki.admin.cert), file("admin.key", pki.admin.key)];
  const listeners = await Promise.all(
    listen.map(async ({ address, port }) => ({ address, port: port ?? (await freePort(address, "node")) })),
  );
  const url = `https://127.0.0.1:${await freePort()}`;
  const peerUrl = `http://127.0.0.1:${await freePort()}`;
  const urls = [url, ...listeners.map(({ address, port }) => `https://${formatHost(address)}:${port}`)].join(",");
  const etcdFlags = {
    name: "clustermesh-apiserver",
    "data-dir": join(folder, "data"),
    "client-cert-auth": "true",
    "trusted-ca-file": ca,
    "cert-file": file("server.crt", pki.server.cert),
    "key-file": file("server.key", pki.server.key),
    "listen-client-urls": urls,
    "advertise-client-urls": url,
    "initial-cluster-token": "clustermesh-apiserver",
    "listen-peer-urls": peerUrl,
    "initial-advertise-peer-urls": peerUrl,
    "initial-cluster": `clustermesh-apiserver=${peerUrl}`,
    "enable-grpc-gateway": "false",
    "auto-compaction-retention": "1",
    "unsafe-no-fsync": "true",
    "log-level": "warn",
  };
  const launch = () => start(`etcd of ${cluster}`, assets.etcd, flags(etcdFlags), { folder });
  let etcd = launch();
  const stop = async () => {
    await etcd.stop();
    removeFolder(folder);
  };
  const client = flags({ endpoints: url, cacert: ca, cert: adminCert, key: adminKey });
  const etcdctl = async (...args: string[]) => {
    const { code, stdout, stderr } = await run(assets.etcdctl, [...client, ...args], { folder });
    if (code !== 0) throw new Error(`etcdctl ${args.join(" ")}: ${stderr.trim()}`);
    return stdout;
  };
  try {
    await waitFor(`etcd of ${cluster}`, async () => (await etcdctl("endpoint", "health")) !== "", {
      running: [etcd],
    });
    const roles = { root: ["root", `admin-${cluster}`], local: [`local-${cluster}`], remote: ["remote"] };
    await Promise.all(
      Object.entries(roles).map(async ([role, users]) => {
        await etcdctl("role", "add", role);
        for (const user of users) {
          await etcdctl("user", "add", user, "--no-password");
          await etcdctl("user", "grant-role", user, role);
        }
      }),
    );
    for (const range of LOCAL_RANGES) await etcdctl("role", "grant-permission", "local", "read", ...range);
    for (const range of REMOTE_RANGES(cluster)) await etcdctl("role", "grant-permission", "remote", "read", ...range);
    await etcdctl("auth", "enable");
  } catch (error) {
    await stop();
    throw error;
  }
  const lines = (text: string) => text.split("\n").filter((line) => line !== "");
  return {
    cluster,
    listeners,
    url,
    ownConfig: file(
      "etcd-config.yaml",
      `endpoints: ["${url}"]\ntrusted-ca-file: ${ca}\ncert-file: ${adminCert}\nkey-file: ${adminKey}\n`,
    ),
    keys: async (prefix) => lines(await etcdctl("get", prefix, "--prefix", "--keys-only")),
    get: async (key) => {
      const text = await etcdctl("get", key, "--print-value-only");
      return text === "" ? undefined : text.replace(/\n$/, "");
    },
    put: async (key, value) => void (await etcdctl("put", "--", key, value)),
    users: async () => lines(await etcdctl("user", "list")),
    follow: (prefix) => {
      const args = [...client, "watch", prefix, "--prefix", "--rev=1", "--write-out=json"];
      const watching = start(`watch of the etcd of ${cluster}`, assets.etcdctl, args, { folder });
      return { events: () => parseWatchOutput(watching), stop: () => watching.stop() };
    },
    etcdctl,
    restartWith: async ({ ca: bundle, cert, key, admin }) => {
      file("ca.crt", bundle);
      file("server.crt", cert);
      file("server.key", key);
      file("admin.crt", admin.cert);
      file("admin.key", admin.key);
      await etcd.stop();
      etcd = launch();
      await waitFor(`etcd of ${cluster}`, async () => (await etcdctl("endpoint", "health")) !== "", {
        running: [etcd],
      });
    },
    stop,
  };
}

function formatHost(address: string): string {
  return address.includes(":") ? `[${address}]` : address;
}

/** Parses the output of `etcdctl watch`: one response per line, the last of which may be incomplete. */
function parseWatchOutput(watching: Running): ReturnType<KeyEvents["events"]> {
  const output = watching.output();
  if (watching.ended() || output.length >= 65_536)
    throw new Error(`${watching.name} is incomplete: ${output.slice(-300)}`);
  const answers = output.slice(0, output.lastIndexOf("\n") + 1).split("\n");
  return answers.flatMap((line) => {
    const { Events = [] }: { Events?: { type?: number; kv: { key: string } }[] } = line === "" ? {} : JSON.parse(line);
    return Events.map(({ type, kv }) => ({
      type: type === 1 ? ("DELETE" as const) : ("PUT" as const),
      key: Buffer.from(kv.key, "base64").toString(),
    }));
  });
}
