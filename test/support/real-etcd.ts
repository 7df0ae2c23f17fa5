/** The etcd of a cluster's clustermesh-apiserver, as Cilium runs it. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ClusterPki } from "../../lib/sandbox/chart.ts";
import { flags } from "./real-apiservers.ts";
import { realAssets } from "./real-assets.ts";
import { freePort, type Running, removeFolder, run, start, temporaryFolder, waitFor } from "./real-process.ts";

export interface Listener {
  address: string;
  /** Default: a free one, from the range of node ports. */
  port?: number;
}

export interface ClusterEtcdOptions {
  /** Name of the cluster. */
  cluster: string;
  /** PEM material: the CA that clients are judged by, the server's certificate, the one of `admin-<cluster>`. */
  pki: Pick<ClusterPki, "server" | "admin"> & { ca: { cert: string } };
  /**
   * Where others find it: a node's address, or `clustermesh-apiserver.<ns>.svc` at port 2379. A port on 127.0.0.1, which
   * the chart's certificates cover, is added for the cluster's own programs.
   */
  listen?: readonly Listener[];
}

export interface ClusterEtcd {
  cluster: string;
  /** As asked for by `listen`, with the ports that were found. */
  listeners: { address: string; port: number }[];
  /** `https://127.0.0.1:<port>`, for the cluster's own programs. */
  url: string;
  /** Path of an etcd client config for those, as user `admin-<cluster>`. */
  ownConfig: string;
  /** Keys that begin with `prefix`. */
  keys(prefix: string): Promise<string[]>;
  /** The value of a key; undefined where there is none. */
  get(key: string): Promise<string | undefined>;
  put(key: string, value: string): Promise<void>;
  /** Names of the etcd users. */
  users(): Promise<string[]>;
  /** Follows the keys that begin with `prefix`, from this etcd's first revision on. */
  follow(prefix: string): KeyEvents;
  /**
   * Starts it anew, with other CAs for its clients and another certificate (PEM); what it keeps stays. `admin` is the
   * certificate by which its own programs come from then on.
   */
  restartWith(material: { ca: string; cert: string; key: string; admin: { cert: string; key: string } }): Promise<void>;
  /** Runs etcdctl as `admin-<cluster>`; gives its stdout. Throws where it fails. */
  etcdctl(...args: string[]): Promise<string>;
  stop(): Promise<void>;
}

/** What has happened to keys, a delete as well as a write that nobody else would see any more. */
export interface KeyEvents {
  /** In their order. Throws where more happened than is kept, or where it no longer follows. */
  events(): { type: "PUT" | "DELETE"; key: string }[];
  stop(): Promise<void>;
}

/** What the role `remote` may read, since Cilium 1.18. */
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
  const urls = [url, ...listeners.map(({ address, port }) => `https://${host(address)}:${port}`)].join(",");
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
    await waitFor(`the etcd of ${cluster}`, async () => (await etcdctl("endpoint", "health")) !== "", {
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
      const watching = start(`watch of ${cluster}'s etcd`, assets.etcdctl, args, { folder });
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
      await waitFor(`the etcd of ${cluster}`, async () => (await etcdctl("endpoint", "health")) !== "", {
        running: [etcd],
      });
    },
    stop,
  };
}

function host(address: string): string {
  return address.includes(":") ? `[${address}]` : address;
}

/** What etcdctl tells of a watch: an answer a line, which may be under way still. */
function parseWatchOutput(watching: Running): ReturnType<KeyEvents["events"]> {
  const output = watching.output();
  if (watching.ended() || output.length >= 65_536)
    throw new Error(`${watching.name} missed some: ${output.slice(-300)}`);
  const answers = output.slice(0, output.lastIndexOf("\n") + 1).split("\n");
  return answers.flatMap((line) => {
    const { Events = [] }: { Events?: { type?: number; kv: { key: string } }[] } = line === "" ? {} : JSON.parse(line);
    return Events.map(({ type, kv }) => ({
      type: type === 1 ? ("DELETE" as const) : ("PUT" as const),
      key: Buffer.from(kv.key, "base64").toString(),
    }));
  });
}
