/** Loads and merges kubeconfigs by client-go's rules, and selects a context. */
import type { X509Certificate } from "node:crypto";
import { access, readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import { enumerate } from "../../util/enumerate.ts";
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
  type ClusterEntry,
  type ExecConfig,
  type Impersonation,
  KubeconfigError,
  type KubeconfigFile,
  toKubeconfigFile,
  type UserEntry,
} from "./kubeconfig-file.ts";

/** The merged kubeconfig. */
export interface Kubeconfig extends KubeconfigFile {
  /** Set if its only context is that of the service account of the pod in which we run. */
  isServiceAccount?: true;
  /** The files that exist, for messages. */
  files: string[];
  /** The files of `KUBECONFIG`, or the default file, that do not exist. */
  missing: string[];
}

/** A context with its cluster and user. */
export interface Context {
  name: string;
  /** Set if it is not of the user's kubeconfig, so that its CA does not verify proxies of the user. */
  isForeign?: true;
  /** The name of the cluster entry. */
  cluster?: string;
  /** An http or https URL, possibly with a path; without user, query and trailing slash. */
  server: string;
  /** `ca` is PEM; undefined for the system roots. */
  tls: { ca?: string | undefined; insecure: boolean; serverName?: string | undefined };
  proxyUrl?: string | undefined;
  user: UserEntry;
  /** Whether the user may present a client certificate; the connection then waits for the credentials. */
  presentsCertificate: boolean;
  /** The context's default namespace. */
  namespace?: string | undefined;
  /** Passed to exec plugins with `provideClusterInfo`. */
  execCluster?: Record<string, unknown>;
}

export interface KubeconfigSource {
  env: NodeJS.ProcessEnv;
  /** `--kubeconfig`: the only file, which must exist. */
  path?: string | undefined;
  /** The directory of the pod's service account. Default: the one that Kubernetes mounts. */
  serviceAccount?: string;
}

/**
 * Loads the kubeconfig as kubectl does: the file of `--kubeconfig`, else the files of `KUBECONFIG`, else
 * `~/.kube/config`. Missing files of `KUBECONFIG` are skipped; the first file that defines an entry wins. If all are
 * empty and we run in a pod, the result is the context `in-cluster` of its service account.
 *
 * @throws KubeconfigError if a file is invalid, or the file of `--kubeconfig` does not exist.
 */
export async function loadKubeconfig({ env, path, serviceAccount }: KubeconfigSource): Promise<Kubeconfig> {
  const all = listKubeconfigFiles({ env, path });
  const configs = await Promise.all(all.map(readKubeconfigFile));
  if (path !== undefined && configs[0] === undefined) {
    throw new KubeconfigError(`cannot read kubeconfig ${path || '""'}: no such file or directory`);
  }
  const merged: Kubeconfig = {
    currentContext: undefined,
    contexts: new Map(),
    clusters: new Map(),
    users: new Map(),
    files: all.filter((_, i) => configs[i] !== undefined),
    missing: all.filter((_, i) => configs[i] === undefined),
  };
  for (const config of configs) {
    if (!config) continue;
    merged.currentContext ??= config.currentContext;
    addMissing(merged.contexts, config.contexts);
    addMissing(merged.clusters, config.clusters);
    addMissing(merged.users, config.users);
  }
  const { currentContext, contexts, clusters, users } = merged;
  const isEmpty = currentContext === undefined && contexts.size + clusters.size + users.size === 0;
  const pod = isEmpty
    ? await loadServiceAccount({ env, ...(serviceAccount !== undefined && { serviceAccount }) })
    : undefined;
  return pod ? { ...pod, files: merged.files, missing: merged.missing } : merged;
}

/** Lists the files of `--kubeconfig`, else of `KUBECONFIG`, else the default file, whether or not they exist. */
export function listKubeconfigFiles({ env, path }: Pick<KubeconfigSource, "env" | "path">): string[] {
  const defaults = env.KUBECONFIG ? env.KUBECONFIG.split(delimiter) : [join(env.HOME || homedir(), ".kube", "config")];
  return [...new Set(path === undefined ? defaults : [path])].filter((file) => file !== "");
}

function addMissing<T>(merged: Map<string, T>, entries: Map<string, T>): void {
  for (const [name, entry] of entries) if (!merged.has(name)) merged.set(name, entry);
}

/** The context of the service account of a pod. */
const IN_CLUSTER_CONTEXT = "in-cluster";

/**
 * Returns a kubeconfig with the context `in-cluster` alone: the API server and service account of the pod in which we run,
 * whatever `KUBECONFIG` is. Undefined if we do not run in a pod, or it has no token.
 */
export async function loadServiceAccount({
  env,
  serviceAccount: folder = "/var/run/secrets/kubernetes.io/serviceaccount",
}: Pick<KubeconfigSource, "env" | "serviceAccount">): Promise<Kubeconfig | undefined> {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port } = env;
  if (!host || !port) return undefined;
  const pathIfExists = (file: string) =>
    access(join(folder, file)).then(
      () => join(folder, file),
      () => undefined,
    );
  const [tokenFile, ca] = await Promise.all([pathIfExists("token"), pathIfExists("ca.crt")]);
  if (tokenFile === undefined) return undefined;
  const name = IN_CLUSTER_CONTEXT;
  const namespace = await readFile(join(folder, "namespace"), "utf8").catch(() => "");
  const cluster = {
    disableCompression: false,
    server: `https://${host.includes(":") ? `[${host}]` : host}:${port}`,
    ca: ca === undefined ? undefined : { file: ca },
    insecure: false,
  };
  return {
    isServiceAccount: true,
    currentContext: name,
    contexts: new Map([[name, { cluster: name, user: name, namespace: namespace.trim() || undefined }]]),
    clusters: new Map([[name, cluster]]),
    users: new Map([[name, { tokenFile }]]),
    files: [],
    missing: [],
  };
}

/**
 * Resolves a context to its cluster and user, and reads the CA file.
 *
 * @param name - undefined for the current context.
 * @param impersonate - the values of `--as`, `--as-group` and `--as-uid`, which override the kubeconfig.
 * @throws KubeconfigError for each configuration that kubectl rejects, and for a missing user (kubectl then sends no
 *   credentials).
 */
export async function selectContext(
  kubeconfig: Kubeconfig,
  name: string | undefined,
  impersonate: Impersonation = {},
): Promise<Context> {
  const selected = name ?? kubeconfig.currentContext;
  const entry = findContext(kubeconfig, selected);
  const fail = (message: string) => new KubeconfigError(`context ${JSON.stringify(selected)}: ${message}`);
  const cluster = kubeconfig.clusters.get(entry.cluster);
  if (!cluster?.server) throw fail(`cluster ${JSON.stringify(entry.cluster)} has no server in the kubeconfig`);
  const user = entry.user === "" ? {} : kubeconfig.users.get(entry.user);
  if (!user) throw fail(`user ${JSON.stringify(entry.user)} does not exist in the kubeconfig`);
  const problem = findUserProblem(user);
  if (problem !== undefined) throw fail(`user ${JSON.stringify(entry.user)}: ${problem}`);
  const server = normalizeServer(cluster.server);
  if (server === undefined) throw fail("invalid server: must be an http or https URL without user information");
  const pem = cluster.ca && (await readPemSource(cluster.ca, "certificate-authority", fail));
  if (pem !== undefined && cluster.insecure) {
    throw fail("certificate-authority and insecure-skip-tls-verify are mutually exclusive");
  }
  const ca = pem && formatCertificates(readValidCertificates(pem));
  if (ca === "") throw fail("certificate-authority contains no certificate");
  return {
    name: selected ?? "",
    cluster: entry.cluster,
    server,
    tls: { ca, insecure: cluster.insecure, serverName: cluster.serverName },
    proxyUrl: cluster.proxyUrl,
    user: { ...user, impersonate: mergeImpersonation(user.impersonate ?? {}, impersonate, fail) },
    presentsCertificate: user.cert !== undefined || (user.exec !== undefined && !hasTokenOrPassword(user)),
    namespace: entry.namespace,
    execCluster: toExecCluster(cluster, pem),
  };
}

/**
 * Requires at least one context.
 *
 * @throws KubeconfigError that names the files without contexts or, if no file exists, the missing files.
 */
export function assertHasContexts({ contexts, files, missing }: Kubeconfig): void {
  if (contexts.size > 0) return;
  const absent =
    missing.length > 0 ? `${missing.join(", ")}: no such file or directory` : "KUBECONFIG contains no file";
  const cause = files.length > 0 ? `no contexts in ${files.join(", ")}` : absent;
  throw new KubeconfigError(`no kubeconfig: ${cause}; pass --kubeconfig FILE or set KUBECONFIG`);
}

function findContext(kubeconfig: Kubeconfig, name: string | undefined): ContextEntry {
  assertHasContexts(kubeconfig);
  const { contexts } = kubeconfig;
  const available = enumerate([...contexts.keys()]);
  if (name === undefined) {
    throw new KubeconfigError(`current-context is not set; pass --context with one of: ${available}`);
  }
  const found = contexts.get(name);
  if (found) return found;
  // Context names can contain commas, so a list is not split.
  const isList = name.includes(",") && name.split(",").every((part) => contexts.has(part.trim()));
  const nearest = findNearestName(name, contexts.keys());
  const suggestion = nearest === undefined ? "" : `; did you mean ${JSON.stringify(nearest)}?`;
  const hint = isList ? "; specify each context separately, not as a comma-separated list" : suggestion;
  throw new KubeconfigError(`context ${JSON.stringify(name)} does not exist${hint} (available: ${available})`);
}

/** Whether the user has a token or password, which precede an exec plugin. */
function hasTokenOrPassword({ token, tokenFile, username }: UserEntry): boolean {
  return [token, tokenFile, username].some((value) => value !== undefined);
}

/** Returns why a user is invalid by the rules of client-go (`clientcmd/validation.go`); undefined if it is valid. */
function findUserProblem({
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
    return "token and username are mutually exclusive";
  }
  if (cert && !key) return "client-certificate without client-key";
  if (!exec) return undefined;
  if (authProvider) return "exec and auth-provider are mutually exclusive";
  if (exec.command === "") return "exec: command is missing";
  if (exec.env.some(({ name }) => name === "")) return "exec: env entry without name";
  if (exec.apiVersion === "") return "exec: apiVersion is missing";
  if (exec.interactiveMode === "" && exec.apiVersion.endsWith("/v1")) return "exec: interactiveMode is missing";
  if (!["", "Never", "IfAvailable", "Always"].includes(exec.interactiveMode)) {
    return `exec: invalid interactiveMode ${JSON.stringify(exec.interactiveMode)}`;
  }
  return undefined;
}

/** Normalizes a server URL; the scheme defaults to http, as in kubectl. Undefined if invalid. */
function normalizeServer(server: string): string | undefined {
  const url = parseUrl(server.includes("://") ? server : `http://${server}`);
  if (!url || !/^https?:$/.test(url.protocol) || url.username || url.password) return undefined;
  return url.origin + url.pathname.replace(/\/{2,}/g, "/").replace(/\/$/, "");
}

/** Names a context in messages; a foreign one is the name of a cluster to the user. */
export function describeContext({ name, isForeign }: Pick<Context, "name" | "isForeign">): string {
  return `${isForeign ? "cluster" : "context"} ${JSON.stringify(name)}`;
}

/** Parses a URL; undefined if invalid. (`URL.parse` requires Node 22.) */
export function parseUrl(text: string): URL | undefined {
  return URL.canParse(text) ? new URL(text) : undefined;
}

function mergeImpersonation(
  entry: Impersonation,
  flags: Impersonation,
  fail: (message: string) => KubeconfigError,
): Impersonation | undefined {
  const user = flags.user || entry.user;
  const groups = flags.groups && flags.groups.length > 0 ? flags.groups : entry.groups;
  const uid = flags.uid || entry.uid;
  if (user !== undefined) return { user, groups, uid, extra: entry.extra };
  if ((groups ?? uid ?? entry.extra) !== undefined) throw fail("impersonating a group or uid requires a user (--as)");
  return undefined;
}

/**
 * Reads the PEM text of a source.
 *
 * @param field - the field of the kubeconfig, for the message.
 * @throws the result of `fail` if its file cannot be read.
 */
export async function readPemSource(
  source: PemSource,
  field: string,
  fail: (message: string) => KubeconfigError,
): Promise<string> {
  if ("pem" in source) return source.pem;
  try {
    return await readFile(source.file, "utf8");
  } catch (error) {
    throw fail(`cannot read ${field} ${source.file}: ${describeSystemError(error)}`);
  }
}

/** Reads the valid certificates of a PEM text; invalid ones are skipped, as in Go's `AppendCertsFromPEM`. */
function readValidCertificates(pem: string): X509Certificate[] {
  return certificateBlocks(pem).flatMap((block) => tryReadPem(() => readCertificates(block)) ?? []);
}

function toExecCluster(cluster: ClusterEntry, ca: string | undefined): Record<string, unknown> {
  const { server, serverName, insecure, proxyUrl, disableCompression, execExtension } = cluster;
  const url = parseUrl(server);
  return {
    // As written in the kubeconfig, without the parts that client-go removes from a server with a path.
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
 * Returns a key that is equal for contexts of the same API server: URL, server name, trusted CAs and proxy. Contexts with
 * different keys may still use the same server.
 */
export function apiServerKey({ server, tls: { ca = "", serverName }, proxyUrl = "" }: Context): string {
  const trusted = readValidCertificates(ca).map(({ fingerprint256 }) => fingerprint256);
  const proxy = parseUrl(proxyUrl)?.href ?? proxyUrl;
  return JSON.stringify([server, serverName ?? new URL(server).hostname, trusted.sort(), proxy]);
}
