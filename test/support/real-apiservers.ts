/** Real Kubernetes API servers on loopback: one kube-apiserver per cluster, with a shared etcd. */
import { generateKeyPairSync, randomInt } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { Agent, request as httpsRequest } from "node:https";
import { join } from "node:path";
import type { KubernetesObject } from "../../lib/sandbox/object.ts";
import { type Issuer, issue, makeCa } from "../../lib/sandbox/pki.ts";
import { realAssets } from "./real-assets.ts";
import { freePort, type Running, removeFolder, run, start, temporaryFolder, waitFor } from "./real-process.ts";

export interface ApiUser {
  name: string;
  /** Groups besides `system:authenticated`. */
  groups?: string[];
}

export interface ApiServersOptions {
  /** Users besides `admin` (in system:masters) and `nobody` (no permissions); tokens are `<name>-token`. */
  users?: ApiUser[];
}

export interface Answer {
  status: number;
  // biome-ignore lint/suspicious/noExplicitAny: bodies have any shape.
  body: any;
}

export interface ApiServer {
  name: string;
  /** `https://127.0.0.1:<port>`. */
  url: string;
  /** Issuer of the server certificate and of client certificates: `issue(ca, { cn: user, usage: "client" })`. */
  ca: Issuer;
  /** Path of a file with the CA certificate. */
  caFile: string;
  /** Path of a kubeconfig for this cluster, as `admin`. */
  kubeconfig: string;
  /**
   * Sends a request as `user` (default `admin`; "": no token), or with another token, and resolves with any status. PATCH is a
   * merge patch unless `contentType` is set.
   */
  request(
    method: string,
    path: string,
    body?: unknown,
    options?: { user?: string; token?: string; contentType?: string },
  ): Promise<Answer>;
  /**
   * Sends a request as `admin` and returns the body.
   *
   * @throws Error if the status is 400 or above
   */
  // biome-ignore lint/suspicious/noExplicitAny: bodies have any shape.
  ask(method: string, path: string, body?: unknown): Promise<any>;
  /**
   * Creates objects, namespaces first, with their `status`.
   *
   * @throws Error if an object is refused
   */
  create(objects: readonly KubernetesObject[]): Promise<void>;
  /**
   * Applies objects by server-side apply, as `admin`; with `dryRun`, only lets the server check them.
   *
   * @throws Error if an object is refused
   */
  apply(objects: readonly KubernetesObject[], options?: { dryRun?: boolean }): Promise<void>;
  /**
   * Grants permissions in a namespace, or cluster-wide without one, which take effect after a moment. The ClusterRoles admin,
   * edit and view are empty without a controller manager, so rules are required.
   */
  allow(user: string, rules: readonly Rule[], namespace?: string): Promise<void>;
}

/** An RBAC policy rule. */
export interface Rule {
  apiGroups: string[];
  resources: string[];
  verbs: string[];
  resourceNames?: string[];
}

export interface ApiServers {
  /** In the order of the names. */
  all: ApiServer[];
  /** @throws Error if there is no server of this name */
  get(name: string): ApiServer;
  /** Writes a kubeconfig with a context per cluster, all as `user`; the first is current. Returns the path. */
  kubeconfigFor(user: string): string;
  /** `kubeconfigFor("admin")`. */
  kubeconfig: string;
  /**
   * Removes the history before a resourceVersion from etcd. Servers still answer from it what they have in their caches,
   * which hold no Events.
   */
  compact(version: string): Promise<void>;
  stop(): Promise<void>;
}

/** Starts an API server for each name. Three are ready within about five seconds; each uses 300 MB. */
export async function startApiServers(names: readonly string[], options: ApiServersOptions = {}): Promise<ApiServers> {
  const assets = realAssets();
  const folder = temporaryFolder("apiservers");
  const processes: Running[] = [];
  const agent = new Agent({ keepAlive: true });
  const stop = async () => {
    agent.destroy();
    await Promise.all(processes.map((one) => one.stop()));
    removeFolder(folder);
  };
  try {
    const [client, peer] = [await freePort(), await freePort()];
    const storage = `http://127.0.0.1:${client}`;
    const etcdFlags = {
      "data-dir": join(folder, "etcd"),
      "listen-client-urls": storage,
      "advertise-client-urls": storage,
      "listen-peer-urls": `http://127.0.0.1:${peer}`,
      "initial-advertise-peer-urls": `http://127.0.0.1:${peer}`,
      "initial-cluster": `default=http://127.0.0.1:${peer}`,
      "unsafe-no-fsync": "true",
      "log-level": "error",
    };
    processes.push(start("etcd", assets.etcd, flags(etcdFlags), { folder }));

    const users: ApiUser[] = [
      { name: "admin", groups: ["system:masters"] },
      { name: "nobody" },
      ...(options.users ?? []),
    ];
    writeFileSync(
      join(folder, "tokens.csv"),
      users.map(({ name, groups = [] }) => `${name}-token,${name},${name},"${groups.join(",")}"\n`).join(""),
    );
    const accounts = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
    writeFileSync(join(folder, "accounts.pub"), accounts.publicKey.export({ type: "spki", format: "pem" }));
    writeFileSync(join(folder, "accounts.key"), accounts.privateKey.export({ type: "sec1", format: "pem" }));

    const all = await Promise.all(
      names.map(async (name, index) => {
        const home = join(folder, name);
        mkdirSync(home);
        const port = await freePort();
        const ca = makeCa({ cn: `kubernetes-${name}` });
        const serving = issue(ca, {
          cn: "kube-apiserver",
          dns: ["localhost", "kubernetes.default.svc"],
          ips: ["127.0.0.1"],
          usage: "server",
        });
        writeFileSync(join(home, "ca.crt"), ca.cert);
        writeFileSync(join(home, "tls.crt"), serving.cert);
        writeFileSync(join(home, "tls.key"), serving.key);
        const server = apiServer(name, `https://127.0.0.1:${port}`, ca, join(home, "ca.crt"), agent);
        writeFileSync(server.kubeconfig, kubeconfigOf([server], "admin"));
        const apiFlags = {
          "etcd-servers": storage,
          "etcd-prefix": `/${name}`,
          "secure-port": String(port),
          "bind-address": "127.0.0.1",
          "cert-dir": home,
          "tls-cert-file": join(home, "tls.crt"),
          "tls-private-key-file": join(home, "tls.key"),
          "client-ca-file": join(home, "ca.crt"),
          "service-cluster-ip-range": `10.${90 + index}.0.0/16`,
          "token-auth-file": join(folder, "tokens.csv"),
          "authorization-mode": "RBAC",
          "service-account-issuer": "https://kubernetes.default.svc",
          "service-account-key-file": join(folder, "accounts.pub"),
          "service-account-signing-key-file": join(folder, "accounts.key"),
          "api-audiences": "api",
          // No controller creates service accounts or removes the taint "not ready" from nodes.
          "disable-admission-plugins": "ServiceAccount,TaintNodesByCondition",
          "endpoint-reconciler-type": "none",
          "allow-privileged": "true",
          // Bursts of requests must not be queued or refused.
          "enable-priority-and-fairness": "false",
        };
        const running = start(`kube-apiserver of ${name}`, assets.kubeApiserver, flags(apiFlags), { folder: home });
        processes.push(running);
        await waitFor(
          `API server of ${name}`,
          async () => {
            const ready = await server.request("GET", "/readyz");
            return (
              ready.status === 200 && (await server.request("GET", "/api/v1/namespaces/kube-system")).status === 200
            );
          },
          { timeoutMs: 90_000, running: [running, ...processes.slice(0, 1)] },
        );
        return server;
      }),
    );

    const kubeconfigFor = (user: string) => {
      const path = join(folder, `kubeconfig-${user}.json`);
      writeFileSync(path, kubeconfigOf(all, user), { mode: 0o600 });
      return path;
    };
    const get = (name: string) => {
      const found = all.find((server) => server.name === name);
      if (!found) throw new Error(`API server ${name} not found`);
      return found;
    };
    const compact = async (version: string) => {
      const { code, stderr } = await run(assets.etcdctl, [`--endpoints=${storage}`, "compact", version], { folder });
      if (code !== 0) throw new Error(`etcdctl compact ${version}: ${stderr.trim()}`);
    };
    return { all, get, kubeconfigFor, kubeconfig: kubeconfigFor("admin"), compact, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Formats flags as `--name=value`. */
export function flags(values: Record<string, string>): string[] {
  return Object.entries(values).map(([name, value]) => `--${name}=${value}`);
}

/** Returns a client of an API server, real or embedded, whose tokens are `<name>-token`. */
export function apiServer(name: string, url: string, ca: Issuer, caFile: string, agent: Agent): ApiServer {
  const request: ApiServer["request"] = (
    method,
    path,
    body,
    { user = "admin", token = user && `${user}-token`, contentType } = {},
  ) =>
    new Promise((resolve, reject) => {
      const headers = {
        accept: "application/json",
        ...(token && { authorization: `Bearer ${token}` }),
        ...(body !== undefined && {
          "content-type": contentType ?? (method === "PATCH" ? "application/merge-patch+json" : "application/json"),
        }),
      };
      const call = httpsRequest(new URL(path, url), { method, headers, agent, ca: ca.cert }, (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (chunk: string) => {
          text += chunk;
        });
        response.on("error", reject);
        response.on("end", () => {
          // A watch answers with several objects.
          const json = (response.headers["content-type"] ?? "").includes("json") && !/[?&]watch=/.test(path);
          resolve({ status: response.statusCode ?? 0, body: json ? JSON.parse(text) : text });
        });
      });
      call.on("error", reject);
      call.setTimeout(30_000, () => call.destroy(new Error(`${method} ${path}: no answer in 30 s`)));
      call.end(body === undefined ? undefined : JSON.stringify(body));
    });
  const ask: ApiServer["ask"] = async (method, path, body) => {
    const answer = await request(method, path, body);
    if (answer.status < 400) return answer.body;
    throw new Error(`${name}: ${method} ${path}: ${answer.status} ${answer.body?.message ?? answer.body}`);
  };
  const createOne = async (object: KubernetesObject) => {
    const { resourceVersion: _, ...metadata } = object.metadata;
    const collection = collectionPath(object);
    await ask("POST", collection, { ...object, metadata });
    if (object.status) await ask("PATCH", `${collection}/${metadata.name}/status`, { status: object.status });
  };
  const create: ApiServer["create"] = async (objects) => {
    const exists = ({ kind, metadata }: KubernetesObject) =>
      kind === "Namespace" && /^(default|kube-system|kube-public)$/.test(metadata.name);
    const missing = objects.filter((object) => !exists(object));
    for (const object of missing.filter(({ kind }) => kind === "Namespace")) await createOne(object);
    await Promise.all(missing.filter(({ kind }) => kind !== "Namespace").map(createOne));
  };
  const apply: ApiServer["apply"] = async (objects, { dryRun = false } = {}) => {
    const query = `fieldManager=test&fieldValidation=Strict${dryRun ? "&dryRun=All" : ""}`;
    for (const object of objects) {
      const path = `${collectionPath(object)}/${object.metadata.name}?${query}`;
      const { status, body } = await request("PATCH", path, object, { contentType: "application/apply-patch+yaml" });
      if (status >= 400) throw new Error(`${name}: apply ${path}: ${status} ${body?.message ?? body}`);
    }
  };
  const allow: ApiServer["allow"] = async (user, rules, namespace) => {
    const [apiGroup, scope] = ["rbac.authorization.k8s.io", namespace ? "" : "Cluster"];
    const metadata = { name: `${user}-${randomInt(2 ** 40)}`, ...(namespace && { namespace }) };
    const roleRef = { apiGroup, kind: `${scope}Role`, name: metadata.name };
    const subjects = [{ apiGroup, kind: "User", name: user }];
    await createOne({ apiVersion: `${apiGroup}/v1`, kind: roleRef.kind, metadata, rules });
    await createOne({ apiVersion: `${apiGroup}/v1`, kind: `${scope}RoleBinding`, metadata, roleRef, subjects });
  };
  return {
    name,
    url,
    ca,
    caFile,
    kubeconfig: join(caFile, "..", "kubeconfig.json"),
    request,
    ask,
    create,
    apply,
    allow,
  };
}

/** Returns the path of a kind; plurals have the endings -s, -ies and -sses. */
function collectionPath({ apiVersion, kind, metadata }: KubernetesObject): string {
  const plural = `${kind.toLowerCase()}s`.replace(/ys$/, "ies").replace(/ss$/, "sses");
  const root = apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
  return metadata.namespace ? `${root}/namespaces/${metadata.namespace}/${plural}` : `${root}/${plural}`;
}

/** Returns a kubeconfig with a context per server, all as `user`; the first is current. It is JSON, and therefore YAML. */
export function kubeconfigOf(servers: readonly Pick<ApiServer, "name" | "url" | "ca">[], user: string): string {
  const config = {
    apiVersion: "v1",
    kind: "Config",
    "current-context": servers[0]?.name ?? "",
    clusters: servers.map(({ name, url, ca }) => ({
      name,
      cluster: { server: url, "certificate-authority-data": Buffer.from(ca.cert).toString("base64") },
    })),
    users: [{ name: user, user: { token: `${user}-token` } }],
    contexts: servers.map(({ name }) => ({ name, context: { cluster: name, user } })),
  };
  return `${JSON.stringify(config, null, 2)}\n`;
}
