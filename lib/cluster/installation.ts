/** What Cilium is installed in a cluster: where it is found, and all that an exchange asks of it, in two rounds. */
import type {
  KubernetesObject,
  V1ConfigMap,
  V1DaemonSet,
  V1Deployment,
  V1Pod,
  V1Secret,
  V1Service,
} from "@kubernetes/client-node";
import { hasPem, PemError, signedBy } from "../peer/certificate.ts";
import { EXIT, UserError } from "../peer/errors.ts";
import { APISERVER, type ClusterFacts, USERS_CONFIG_MAP } from "../peer/peer.ts";
import { configMaps, daemonSets, deployments, type KubernetesApi, type Resource, secrets, services } from "./api.ts";
import { type Attempt, attempt, isForbidden, need, permitted } from "./attempt.ts";
import type { NodeInfo } from "./endpoint.ts";
import { cidrsOnNodes, readFactsOf, takesUsers } from "./facts.ts";
import { externalKvstore, GUESS, locate, notInstalled, readPods } from "./locate.ts";
import { readNodes } from "./nodes.ts";
import { chartNames, namesOf } from "./server-certificate.ts";
import { type FileSource, type MountedFolder, mountedFolder } from "./volumes.ts";
import { waitingFor } from "./waiting.ts";

const REMOTE_CERT = "clustermesh-apiserver-remote-cert";
const SERVER_CERT = "clustermesh-apiserver-server-cert";
/** Charts up to 1.14 keep the CA there, with its private key: it is read only where nothing else has the CA. */
const CA_CERT = "clustermesh-apiserver-ca-cert";
const CONFIG = "cilium-config";
const COMMON_CA = "common-etcd-client-ca.crt";
const COMMON_CERT = "common-etcd-client.crt";

export interface InstallationOptions {
  /** Cilium's namespace, where the user says it. */
  namespace?: string | undefined;
  /** The Service, where it is the user's own (1.19+). */
  service?: string | undefined;
  /**
   * For an extraction nodes, pods and the server certificate are asked for, and the certificates are what is
   * indispensable; for an import it is the workloads and the Secrets that were asked for.
   */
  forExtract: boolean;
  /** With `forExtract`: what an import needs is indispensable too. */
  forImport?: boolean;
  /** Further Secrets to read in the same round. */
  secrets?: readonly string[];
  /** Told what is not as it should be, but does not stop the work. */
  warn(line: string): void;
}

export interface Installation {
  namespace: string;
  /**
   * By which two ways to one cluster are known: uid and version of its ConfigMap `cilium-config`. A copy of a whole etcd
   * has the same uids, but another name of the cluster, and so another version.
   */
  identity: string | undefined;
  facts: ClusterFacts;
  deployment: V1Deployment;
  /** Undefined where it is not there, or an extraction may not read it. */
  agents: V1DaemonSet | undefined;
  operator: V1Deployment | undefined;
  // These throw where what they give may not be read.
  service(): V1Service | undefined;
  pods(): V1Pod[];
  nodes(): NodeInfo[];
  /** The certificate that the cluster shows to others, with its key; undefined where there is none or it may not be read. */
  remoteCertificate: { cert: string; key: string } | undefined;
  /** Why {@link remoteCertificate} is not there, where it is known. */
  remoteCertificateError: UserError | undefined;
  /** What the server certificate covers, or would by the chart; empty for an import. */
  serverNames: string[];
  /** The CA (PEM) by which others verify the server; undefined for an import. */
  ca: string | undefined;
  /** Cilium's folder as agents, operator and the kvstoremesh container have it. */
  folders: Record<"agents" | "operator" | "kvstoremesh", MountedFolder | undefined>;
  /** Contents of the CA files that {@link folders} take from other objects, by their source. */
  contentOf(source: FileSource): string | undefined;
  /** `clustermesh-remote-users` as it stands. */
  users: V1ConfigMap | undefined;
  takesUsers: boolean;
  /** The Secrets that were asked for. */
  secrets: Map<string, V1Secret | undefined>;
  /** What the clustermesh-apiserver waits for, if it does: "for …" or "to …". Not known for an import. */
  waiting: string | undefined;
}

/**
 * Reads an installation. All that has a name is asked for by it, at once and in the namespace that it probably is in,
 * while the cluster is asked where it really is; a second round follows only for what the first one points to.
 *
 * @throws UserError where there is no Cilium, no clustermesh-apiserver, several of them (exit code 2), or an external
 *   kvstore; ApiError and ConnectionError where what is indispensable cannot be read.
 */
export async function readInstallation(api: KubernetesApi, options: InstallationOptions): Promise<Installation> {
  const { forExtract, warn } = options;
  const guess = options.namespace ?? GUESS;
  const guessed = readNamed(api, guess, options);
  const earlyNodes = forExtract ? attempt(readNodes(api)) : undefined;
  const namespace = options.namespace ?? (await locate(api, warn));
  const named = await settled(namespace === guess ? guessed : readNamed(api, namespace, options));

  const deployment = need(named.deployment);
  if (!deployment) throw notInstalled(namespace, permitted(named.config)?.data);
  const containers = deployment.spec?.template.spec?.containers ?? [];
  if (!containers.some(({ name }) => name === "apiserver")) throw externalKvstore(namespace);
  const configMap = need(named.config);
  const config = configMap?.data;
  if (!config) {
    throw new UserError(`there is no ConfigMap ${CONFIG} beside ${APISERVER} in namespace ${namespace}`, EXIT.failed);
  }
  // An import that took what it may not read for what is not there would write the wrong thing.
  const weighed: <T>(result: Attempt<T>) => T | undefined = forExtract && !options.forImport ? permitted : need;
  const agents = weighed(named.agents);
  const meshed = containers.some(({ name }) => name === "kvstoremesh");
  const operator = meshed ? permitted(named.operator) : weighed(named.operator);
  const users = takesUsers(deployment) ? weighed(named.users) : undefined;

  const folders = {
    agents: mountedFolder(agents?.spec?.template.spec, "cilium-agent"),
    operator: mountedFolder(operator?.spec?.template.spec, "cilium-operator"),
    kvstoremesh: mountedFolder(deployment.spec?.template.spec, "kvstoremesh"),
  };
  const [remote, objects, nodes] = await Promise.all([
    remoteSecret(api, namespace, folders, named.remote),
    readPointedTo(api, namespace, folders, named.remote),
    earlyNodes ?? (cidrsOnNodes(config) ? attempt(readNodes(api)) : undefined),
  ]);
  const contentOf = (source: FileSource) => contentIn(objects, source);
  const remoteValue = "value" in remote ? remote.value : undefined;
  const cert = textOf(remoteValue, "tls.crt");
  const key = textOf(remoteValue, "tls.key");
  const facts = readFactsOf({
    namespace,
    config,
    deployment,
    agents,
    service: permitted(named.service),
    clientCertificate: cert,
    nodes: nodes && permitted(nodes),
  });
  const { uid, resourceVersion } = configMap.metadata ?? {};
  const installation: Installation = {
    namespace,
    identity: uid === undefined || resourceVersion === undefined ? undefined : `${uid}/${resourceVersion}`,
    facts,
    deployment,
    agents,
    operator,
    service: () => need(named.service),
    pods: () => (named.pods ? need(named.pods) : []),
    nodes: () => (nodes ? need(nodes) : []),
    remoteCertificate: cert !== undefined && key !== undefined ? { cert, key } : undefined,
    remoteCertificateError: "error" in remote ? remote.error : undefined,
    serverNames: [],
    ca: undefined,
    folders,
    contentOf,
    users,
    takesUsers: takesUsers(deployment),
    secrets: new Map(named.secrets.map(([name, result]) => [name, need(result)])),
    waiting: undefined,
  };
  if (forExtract) {
    const pods = named.pods && permitted(named.pods);
    installation.waiting = pods && waitingFor(pods, isForbidden(named.users) ? undefined : users !== undefined);
    const server = serverCertificate(named.server, facts, warn);
    installation.serverNames = server.names;
    installation.ca = await serverCa(server.pem, installation, remoteValue, () => api.get(secrets, namespace, CA_CERT));
    if (server.pem !== undefined && installation.ca !== undefined && !signedBy(server.pem, installation.ca)) {
      warn(
        "the server certificate is not signed by the CA that this cluster's workloads have; peers will not trust it",
      );
    }
  }
  return installation;
}

/** All objects of a namespace that have a name, each under way. */
function readNamed(api: KubernetesApi, namespace: string, options: InstallationOptions) {
  const get = <T extends KubernetesObject>(resource: Resource<T>, name: string) =>
    attempt(api.get(resource, namespace, name));
  const { forExtract } = options;
  return {
    config: get(configMaps, CONFIG),
    deployment: get(deployments, APISERVER),
    agents: get(daemonSets, "cilium"),
    operator: get(deployments, "cilium-operator"),
    service: get(services, options.service ?? APISERVER),
    users: get(configMaps, USERS_CONFIG_MAP),
    remote: get(secrets, REMOTE_CERT),
    // Of this Secret only the certificate is kept.
    server: forExtract
      ? attempt(api.get(secrets, namespace, SERVER_CERT).then((secret) => textOf(secret, "tls.crt")))
      : undefined,
    pods: forExtract ? attempt(readPods(api, namespace)) : undefined,
    secrets: (options.secrets ?? []).map((name) => [name, get(secrets, name)] as const),
  };
}

/** The answers to all of a round. */
async function settled(named: ReturnType<typeof readNamed>) {
  const all = async <T>(pairs: readonly (readonly [string, Promise<T>])[]) =>
    Promise.all(pairs.map(async ([name, result]) => [name, await result] as const));
  const [config, deployment, agents, operator, service, users, remote, server, pods, asked] = await Promise.all([
    named.config,
    named.deployment,
    named.agents,
    named.operator,
    named.service,
    named.users,
    named.remote,
    named.server,
    named.pods,
    all(named.secrets),
  ]);
  return { config, deployment, agents, operator, service, users, remote, server, pods, secrets: asked };
}

/**
 * The Secret with the certificate that the cluster shows to others: the one that a workload's volume names, or the
 * usual one, or, where there is neither, the one of older installs.
 */
async function remoteSecret(
  api: KubernetesApi,
  namespace: string,
  folders: Installation["folders"],
  usual: Attempt<V1Secret | undefined>,
): Promise<Attempt<V1Secret | undefined>> {
  const mounted = Object.values(folders).map((folder) => folder?.files.get(COMMON_CERT)?.object);
  const others = new Set(mounted.filter((name) => name !== undefined && name !== REMOTE_CERT) as string[]);
  const read = (name: string) => attempt(api.get(secrets, namespace, name));
  const found = await Promise.all([...others].map(read));
  if (isAbsent(usual)) found.push(await read(`${REMOTE_CERT}s`));
  else found.push(usual);
  return found.find((result) => !isAbsent(result) && "value" in result) ?? found.find(isError) ?? usual;
}

const isError = (result: Attempt<unknown>) => "error" in result;
const isAbsent = (result: Attempt<unknown>) => "value" in result && result.value === undefined;

type Objects = Map<string, V1Secret | V1ConfigMap | undefined>;

const keyOf = ({ kind, object }: Pick<FileSource, "kind" | "object">) => `${kind}/${object}`;

/** The objects that the folders take their CA files from; those that were not asked for yet, in a second round. */
async function readPointedTo(
  api: KubernetesApi,
  namespace: string,
  folders: Installation["folders"],
  remote: Attempt<V1Secret | undefined>,
): Promise<Objects> {
  const objects = new Map<string, Promise<Attempt<V1Secret | V1ConfigMap | undefined>>>([
    [keyOf({ kind: "Secret", object: REMOTE_CERT }), Promise.resolve(remote)],
  ]);
  for (const source of caSources(folders)) {
    if (objects.has(keyOf(source))) continue;
    const read: Promise<V1Secret | V1ConfigMap | undefined> =
      source.kind === "Secret"
        ? api.get(secrets, namespace, source.object)
        : api.get(configMaps, namespace, source.object);
    objects.set(keyOf(source), attempt(read));
  }
  const all: Objects = new Map();
  for (const [key, result] of objects) all.set(key, permitted(await result));
  return all;
}

/** Where workloads take the CA from by which they verify others: agents first. */
function caSources(folders: Installation["folders"]): FileSource[] {
  return [folders.agents, folders.kvstoremesh, folders.operator]
    .map((folder) => folder?.files.get(COMMON_CA))
    .filter((source) => source !== undefined);
}

function contentIn(objects: Objects, source: FileSource): string | undefined {
  const object = objects.get(keyOf(source));
  return source.kind === "ConfigMap" ? object?.data?.[source.key] : textOf(object as V1Secret, source.key);
}

function textOf(secret: V1Secret | undefined, key: string): string | undefined {
  const value = secret?.data?.[key];
  return value ? Buffer.from(value, "base64").toString() : undefined;
}

/** The server certificate and its names; those of the chart where it is not there or may not be read. */
function serverCertificate(
  result: Attempt<string | undefined> | undefined,
  facts: ClusterFacts,
  warn: (line: string) => void,
): { pem: string | undefined; names: string[] } {
  const pem = result && permitted(result);
  const because = (why: string) =>
    warn(`${why}, so the names that the chart gives the server certificate are taken: ${chartNames(facts).join(", ")}`);
  if (pem === undefined) {
    because(`Secret ${SERVER_CERT} ${result && isForbidden(result) ? "may not be read" : "is not there"}`);
    return { pem: undefined, names: chartNames(facts) };
  }
  try {
    return { pem, names: namesOf(pem) };
  } catch (error) {
    if (!(error instanceof PemError)) throw error;
    because(`tls.crt of Secret ${SERVER_CERT} ${error.message}`);
    return { pem: undefined, names: chartNames(facts) };
  }
}

/**
 * The CA by which others verify the server: where the workloads' volumes take it from, else the remote certificate's
 * `ca.crt`, else the Secret of charts up to 1.14; of these the first that did sign the server certificate.
 */
async function serverCa(
  server: string | undefined,
  { folders, contentOf }: Installation,
  remote: V1Secret | undefined,
  older: () => Promise<V1Secret | undefined>,
): Promise<string | undefined> {
  const candidates = [...caSources(folders).map(contentOf), textOf(remote, "ca.crt")].filter(
    (pem) => pem !== undefined && hasPem(pem),
  );
  const good = server === undefined ? candidates[0] : candidates.find((pem) => signedBy(server, pem as string));
  if (good !== undefined) return good;
  const last = textOf(permitted(await attempt(older())), "ca.crt");
  return last !== undefined && (server === undefined || signedBy(server, last)) ? last : (candidates[0] ?? last);
}
