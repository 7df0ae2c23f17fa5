/** Kubeconfigs, loaded and merged by client-go's rules, and the context that is taken from them. */
import type { X509Certificate } from "node:crypto";
import { access, readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import { findNearestName } from "../../util/nearest.ts";
import { describeSystemError } from "../../util/system-error.ts";
import { certificateBlocks, formatCertificates, readCertificates, tryReadPem } from "../../x509/pem.ts";
import {
  type ClusterEntry,
  type ContextEntry,
  type Impersonation,
  KubeconfigError,
  type KubeconfigFile,
  type PemSource,
  readKubeconfigFile,
  type UserEntry,
} from "./kubeconfig-file.ts";

export {
  type AuthProvider,
  type ExecConfig,
  type Impersonation,
  KubeconfigError,
  type UserEntry,
} from "./kubeconfig-file.ts";

/** The merged kubeconfig. */
export interface Kubeconfig extends KubeconfigFile {
  /** The files that were looked for, for messages. */
  files: string[];
}

/** A context with all that is needed to reach its cluster. */
export interface Context {
  name: string;
  /** What the kubeconfig calls its cluster. */
  cluster?: string;
  /** An http or https URL without user, query and closing slash; it may have a path. */
  server: string;
  /** `ca` is PEM; undefined for the system's roots. */
  tls: { ca?: string | undefined; insecure: boolean; serverName?: string | undefined };
  proxyUrl?: string | undefined;
  user: UserEntry;
  /** Whether the user comes, or may come, with a client certificate: then the connection waits for the credentials. */
  presentsCertificate: boolean;
  /** The context's default namespace. */
  namespace?: string | undefined;
  /** What exec plugins are told that want to know the cluster. */
  execCluster?: Record<string, unknown>;
}

export interface KubeconfigSource {
  env: NodeJS.ProcessEnv;
  /** `--kubeconfig`: this file alone, which has to be there. */
  path?: string | undefined;
  /** The folder of a pod's service account. */
  serviceAccount?: string;
}

/**
 * Loads the kubeconfig as kubectl does: the file that `--kubeconfig` names; else those of `KUBECONFIG`, of which
 * missing ones are passed over and the first to name a thing wins, whole; else `~/.kube/config`. Where all that says
 * nothing and this is a pod: one context `in-cluster` by its service account.
 *
 * @throws KubeconfigError
 */
export async function loadKubeconfig({ env, path, serviceAccount }: KubeconfigSource): Promise<Kubeconfig> {
  const listed = env.KUBECONFIG ? env.KUBECONFIG.split(delimiter) : [join(env.HOME || homedir(), ".kube", "config")];
  const list = path === undefined ? listed : [path];
  const files = [...new Set(list)].filter((file) => file !== "");
  const read = await Promise.all(files.map(readKubeconfigFile));
  if (path !== undefined && read[0] === undefined) {
    throw new KubeconfigError(`kubeconfig ${path || '""'}: there is no such file`);
  }
  const merged: Kubeconfig = {
    currentContext: undefined,
    contexts: new Map(),
    clusters: new Map(),
    users: new Map(),
    files,
  };
  for (const one of read) {
    if (!one) continue;
    merged.currentContext ??= one.currentContext;
    for (const [name, context] of one.contexts) if (!merged.contexts.has(name)) merged.contexts.set(name, context);
    for (const [name, cluster] of one.clusters) if (!merged.clusters.has(name)) merged.clusters.set(name, cluster);
    for (const [name, user] of one.users) if (!merged.users.has(name)) merged.users.set(name, user);
  }
  const { currentContext, contexts, clusters, users } = merged;
  const empty = currentContext === undefined && contexts.size + clusters.size + users.size === 0;
  if (empty) await addServiceAccount(merged, env, serviceAccount ?? "/var/run/secrets/kubernetes.io/serviceaccount");
  return merged;
}

/** Adds the API server of the pod that we run in, if we do. */
async function addServiceAccount(kubeconfig: Kubeconfig, env: NodeJS.ProcessEnv, folder: string): Promise<void> {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port } = env;
  const there = (file: string) =>
    access(join(folder, file)).then(
      () => join(folder, file),
      () => undefined,
    );
  const [tokenFile, ca] = await Promise.all([there("token"), there("ca.crt")]);
  if (!host || !port || tokenFile === undefined) return;
  const name = "in-cluster";
  const namespace = await readFile(join(folder, "namespace"), "utf8").catch(() => "");
  kubeconfig.currentContext = name;
  kubeconfig.contexts.set(name, { cluster: name, user: name, namespace: namespace.trim() || undefined });
  kubeconfig.clusters.set(name, {
    disableCompression: false,
    server: `https://${host.includes(":") ? `[${host}]` : host}:${port}`,
    ca: ca === undefined ? undefined : { file: ca },
    insecure: false,
  });
  kubeconfig.users.set(name, { tokenFile });
}

/**
 * A context with its cluster and user; the CA is read. What kubectl calls an invalid configuration is an error, and so
 * is a user that the kubeconfig does not have (kubectl then asks without any credentials).
 *
 * @param name the context; undefined for the current one.
 * @param impersonate what `--as`, `--as-group` and `--as-uid` say, over what the kubeconfig says.
 * @throws KubeconfigError
 */
export async function selectContext(
  kubeconfig: Kubeconfig,
  name: string | undefined,
  impersonate: Impersonation = {},
): Promise<Context> {
  const wanted = name ?? kubeconfig.currentContext;
  const entry = findContext(kubeconfig, wanted);
  const fail = (message: string) => new KubeconfigError(`context ${wanted}: ${message}`);
  const cluster = kubeconfig.clusters.get(entry.cluster);
  if (!cluster?.server) throw fail(`the kubeconfig has no server for cluster ${JSON.stringify(entry.cluster)}`);
  const user = entry.user === "" ? {} : kubeconfig.users.get(entry.user);
  if (!user) throw fail(`the kubeconfig has no user ${JSON.stringify(entry.user)}`);
  const wrong = whatIsWrong(user);
  if (wrong !== undefined) throw fail(`user ${JSON.stringify(entry.user)} ${wrong}`);
  const server = serverUrl(cluster.server);
  if (server === undefined) throw fail("the server is no http or https URL, or has a user in it");
  const pem = cluster.ca && (await readPemSource(cluster.ca, `context ${wanted}: certificate-authority`));
  if (pem !== undefined && cluster.insecure) {
    throw fail("certificate-authority and insecure-skip-tls-verify exclude each other");
  }
  const ca = pem && formatCertificates(authorities(pem));
  if (ca === "") throw fail("certificate-authority holds no certificate");
  return {
    name: wanted ?? "",
    cluster: entry.cluster,
    server,
    tls: { ca, insecure: cluster.insecure, serverName: cluster.serverName },
    proxyUrl: cluster.proxyUrl,
    user: { ...user, impersonate: impersonation(user.impersonate ?? {}, impersonate, fail) },
    presentsCertificate: user.cert !== undefined || (user.exec !== undefined && !says(user)),
    namespace: entry.namespace,
    execCluster: execCluster(cluster, pem),
  };
}

function findContext({ contexts, files }: Kubeconfig, wanted: string | undefined): ContextEntry {
  if (contexts.size === 0) {
    const where = files.length > 0 ? `there is no context in ${files.join(", ")}` : "KUBECONFIG names no file";
    throw new KubeconfigError(`no kubeconfig: ${where}; say --kubeconfig FILE, or set KUBECONFIG`);
  }
  const known = some([...contexts.keys()]);
  if (wanted === undefined) {
    throw new KubeconfigError(`the kubeconfig has no current context; say --context, one of ${known}`);
  }
  const found = contexts.get(wanted);
  if (found) return found;
  const nearest = findNearestName(wanted, contexts.keys());
  const hint = nearest === undefined ? "" : `; did you mean ${JSON.stringify(nearest)}?`;
  throw new KubeconfigError(`the kubeconfig has no context ${JSON.stringify(wanted)}${hint} (it has ${known})`);
}

/** Whether the user itself says a token or a password: then no plugin is asked. */
function says({ token, tokenFile, username }: UserEntry): boolean {
  return [token, tokenFile, username].some((value) => value !== undefined);
}

/** What client-go finds invalid in a user; the second half of a sentence. */
function whatIsWrong({
  token,
  tokenFile,
  username,
  password,
  cert,
  key,
  exec,
  authProvider,
}: UserEntry): string | undefined {
  if ((token ?? tokenFile) !== undefined && (username ?? password) !== undefined) {
    return "has a token and a password; only one of them can be sent";
  }
  if (cert && !key) return "has a client-certificate without client-key";
  if (!exec) return undefined;
  if (authProvider) return "has an exec plugin and an auth-provider; only one of them can be asked";
  if (exec.command === "") return "has an exec plugin without command";
  if (exec.env.some(({ name }) => name === "")) return "has an exec plugin with a variable without name";
  if (exec.apiVersion === "") return "has an exec plugin without apiVersion";
  if (exec.interactiveMode === "" && exec.apiVersion.endsWith("/v1")) {
    return "has an exec plugin without interactiveMode";
  }
  if (!["", "Never", "IfAvailable", "Always"].includes(exec.interactiveMode)) {
    return `has an exec plugin with an unknown interactiveMode ${JSON.stringify(exec.interactiveMode)}`;
  }
  return undefined;
}

/** As kubectl: a server without a scheme is an http one. */
function serverUrl(server: string): string | undefined {
  const url = parseUrl(server.includes("://") ? server : `http://${server}`);
  if (!url || !/^https?:$/.test(url.protocol) || url.username || url.password) return undefined;
  return url.origin + url.pathname.replace(/\/{2,}/g, "/").replace(/\/$/, "");
}

/** Undefined where it is none. (`URL.parse` came with Node 22.) */
export function parseUrl(text: string): URL | undefined {
  return URL.canParse(text) ? new URL(text) : undefined;
}

function impersonation(
  said: Impersonation,
  given: Impersonation,
  fail: (message: string) => KubeconfigError,
): Impersonation | undefined {
  const user = given.user || said.user;
  const groups = given.groups && given.groups.length > 0 ? given.groups : said.groups;
  const uid = given.uid || said.uid;
  if (user !== undefined) return { user, groups, uid, extra: said.extra };
  if ((groups ?? uid ?? said.extra) !== undefined) throw fail("a group or uid is impersonated only with a user (--as)");
  return undefined;
}

/**
 * The PEM text of a source.
 *
 * @param what what it is, for the error.
 * @throws KubeconfigError where its file cannot be read.
 */
export async function readPemSource(source: PemSource, what: string): Promise<string> {
  if ("pem" in source) return source.pem;
  try {
    return await readFile(source.file, "utf8");
  } catch (error) {
    throw new KubeconfigError(`${what}: ${source.file} cannot be read: ${describeSystemError(error)}`);
  }
}

/** The certificates of a PEM text; as in Go, those that cannot be read are passed over. */
function authorities(pem: string): X509Certificate[] {
  return certificateBlocks(pem).flatMap((block) => tryReadPem(() => readCertificates(block)) ?? []);
}

function execCluster(cluster: ClusterEntry, ca: string | undefined): Record<string, unknown> {
  const { server, serverName, insecure, proxyUrl, disableCompression, execExtension } = cluster;
  const url = parseUrl(server);
  return {
    // As it is written, but for what client-go takes off a server with a path.
    server: url && url.pathname.length > 1 ? server.replace(/[?#].*$/, "") : server,
    ...(serverName !== undefined && { "tls-server-name": serverName }),
    ...(insecure && { "insecure-skip-tls-verify": true }),
    ...(ca !== undefined && { "certificate-authority-data": Buffer.from(ca).toString("base64") }),
    ...(proxyUrl !== undefined && { "proxy-url": proxyUrl }),
    ...(disableCompression && { "disable-compression": true }),
    config: execExtension ?? null,
  };
}

/**
 * By what two contexts are seen to reach the same API server: its URL, the name it is asked for, the CAs that vouch for
 * it and the proxy before it. Two contexts that differ in one of these may still reach the same.
 */
export function apiServerKey({ server, tls: { ca = "", serverName }, proxyUrl = "" }: Context): string {
  const trusted = authorities(ca).map(({ fingerprint256 }) => fingerprint256);
  const proxy = parseUrl(proxyUrl)?.href ?? proxyUrl;
  return JSON.stringify([server, serverName ?? new URL(server).hostname, trusted.sort(), proxy]);
}

function some(names: string[]): string {
  return names.length > 10 ? `${names.slice(0, 10).join(", ")} and ${names.length - 10} more` : names.join(", ");
}
