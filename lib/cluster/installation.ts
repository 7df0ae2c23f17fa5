/** What Cilium is installed in a cluster: where it is found, and all that an exchange asks of it, in two rounds. */
import type {
  KubernetesObject,
  V1ConfigMap,
  V1DaemonSet,
  V1Deployment,
  V1Node,
  V1Pod,
  V1Secret,
  V1Service,
} from "@kubernetes/client-node";
import { isSignedBy, PemError, readCertificates, subjectAltNames } from "../peer/certificate.ts";
import { EXIT, UserError } from "../peer/errors.ts";
import { APISERVER, type ClusterFacts, MESH_DOMAIN, USERS_CONFIG_MAP, versionAtLeast } from "../peer/peer.ts";
import {
  ApiError,
  configMaps,
  daemonSets,
  deployments,
  type KubernetesApi,
  nodes,
  pods,
  type Resource,
  secrets,
  services,
} from "./api.ts";
import type { NodeInfo } from "./endpoint.ts";
import { readFactsOf, takesUsers } from "./facts.ts";
import { type FileSource, type MountedFolder, mountedFolder, volumeObjects } from "./volumes.ts";

const REMOTE_CERT = "clustermesh-apiserver-remote-cert";
const SERVER_CERT = "clustermesh-apiserver-server-cert";
const CA_CERT = "clustermesh-apiserver-ca-cert";
const CONFIG = "cilium-config";
const SELECTOR = `k8s-app=${APISERVER}`;
const GUESS = "kube-system";

export interface InstallationOptions {
  /** Cilium's namespace, where the user says it. */
  namespace?: string | undefined;
  /** The Service, where it is the user's own (1.19+). */
  service?: string | undefined;
  /** Whether nodes, pods and the server certificate are asked for: an extraction needs them. */
  forExtract: boolean;
  /** Further Secrets to read in the same round. */
  secrets?: readonly string[];
  /** Told what is not as it should be, but does not stop the work. */
  warn(line: string): void;
}

export interface Installation {
  namespace: string;
  facts: ClusterFacts;
  deployment: V1Deployment;
  agents: V1DaemonSet | undefined;
  operator: V1Deployment | undefined;
  service: V1Service | undefined;
  pods: V1Pod[];
  /** Throws where nodes may not be listed. */
  nodes(): NodeInfo[];
  /** The certificate that the cluster shows to others, with its key; undefined where there is none or it may not be read. */
  remoteCertificate: { cert: string; key: string } | undefined;
  /** Why {@link remoteCertificate} is not there, where it is known. */
  remoteCertificateError: UserError | undefined;
  /** What the server certificate covers, or would by the chart. */
  serverNames: string[];
  /** The CA (PEM) by which others verify the server. */
  ca: string | undefined;
  /** Cilium's folder as agents, operator and the kvstoremesh container have it. */
  folders: Record<"agents" | "operator" | "kvstoremesh", MountedFolder | undefined>;
  /** Contents of the CA files that {@link folders} take from other objects, by their source. */
  contentOf(source: FileSource): string | undefined;
  users: V1ConfigMap | undefined;
  takesUsers: boolean;
  /** The Secrets that were asked for. */
  secrets: Map<string, V1Secret | undefined>;
  /** What the clustermesh-apiserver pod waits for, if it does. */
  waiting: string | undefined;
}

/** An answer or an error, so that what is not needed does not stop the work. */
type Attempt<T> = { value: T } | { error: UserError };

async function attempt<T>(promise: Promise<T>): Promise<Attempt<T>> {
  try {
    return { value: await promise };
  } catch (error) {
    if (error instanceof UserError) return { error };
    throw error;
  }
}

function need<T>(result: Attempt<T>): T {
  if ("error" in result) throw result.error;
  return result.value;
}

/** The value; undefined where it is forbidden. Other errors are thrown. */
function permitted<T>(result: Attempt<T>): T | undefined {
  if ("value" in result) return result.value;
  if (isForbidden(result.error)) return undefined;
  throw result.error;
}

function isForbidden(error: UserError): boolean {
  return error instanceof ApiError && error.status === 403;
}

/**
 * Reads an installation. All that has a name is asked for by it, at once and in the namespace that it probably is in,
 * while the cluster is asked where it really is; a second round follows only for what the first one points to.
 *
 * @throws UserError where there is no Cilium, no clustermesh-apiserver, several of them (exit code 2), or an external
 *   kvstore; ApiError and ConnectionError where what is indispensable cannot be read.
 */
export async function readInstallation(api: KubernetesApi, options: InstallationOptions): Promise<Installation> {
  const guess = options.namespace ?? GUESS;
  const guessed = readNamed(api, guess, options);
  const clusterNodes = options.forExtract ? attempt(readNodes(api)) : undefined;
  const located = options.namespace ?? (await locate(api, options.warn));
  const named = located === guess ? guessed : readNamed(api, located, options);

  const config = permitted(await named.config)?.data;
  const deployment = need(await named.deployment);
  if (!deployment) throw notInstalled(located, config !== undefined);
  const containers = deployment.spec?.template.spec?.containers ?? [];
  if (!containers.some(({ name }) => name === "apiserver")) {
    throw new UserError(
      `Cilium in namespace ${located} keeps its state in an external kvstore (kvstoreMode external): its ` +
        `${APISERVER} has no etcd and no certificates of its own, so there is nothing to exchange`,
      EXIT.failed,
    );
  }
  if (!config) throw configMissing(located, await named.config);

  const [agents, operator, service] = [
    permitted(await named.agents),
    permitted(await named.operator),
    permitted(await named.service),
  ];
  const folders = {
    agents: mountedFolder(agents?.spec?.template.spec, "cilium-agent"),
    operator: mountedFolder(operator?.spec?.template.spec, "cilium-operator"),
    kvstoremesh: mountedFolder(deployment.spec?.template.spec, "kvstoremesh"),
  };
  const objects = await readPointedTo(api, located, folders, named);
  const contentOf = (source: FileSource) => contentIn(objects, source);

  const remote = await remoteSecret(api, located, folders.agents, named);
  const remoteValue = "value" in remote ? remote.value : undefined;
  const cert = textOf(remoteValue, "tls.crt");
  const key = textOf(remoteValue, "tls.key");
  const nodeResult = clusterNodes && (await clusterNodes);
  const facts = readFactsOf({
    namespace: located,
    config,
    deployment,
    agents,
    service,
    clientCertificate: cert,
    nodes: nodeResult && "value" in nodeResult ? nodeResult.value : undefined,
  });
  const users = permitted(await named.users);
  const podList = permitted(await named.pods) ?? [];
  const installation: Installation = {
    namespace: located,
    facts,
    deployment,
    agents,
    operator,
    service,
    pods: podList,
    nodes: () => (nodeResult ? need(nodeResult) : []),
    remoteCertificate: cert !== undefined && key !== undefined ? { cert, key } : undefined,
    remoteCertificateError: "error" in remote ? remote.error : undefined,
    serverNames: [],
    ca: undefined,
    folders,
    contentOf,
    users,
    takesUsers: takesUsers(deployment),
    secrets: new Map(),
    waiting: waitingFor(podList, deployment, users),
  };
  for (const [name, result] of named.secrets) installation.secrets.set(name, need(await result));
  if (options.forExtract) {
    const server = await serverCertificate(named, facts, options.warn);
    installation.serverNames = server.names;
    installation.ca = await serverCa(server.pem, folders.agents, contentOf, remoteValue, named, options.warn);
  }
  return installation;
}

type Named = ReturnType<typeof readNamed>;

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
    caCert: get(secrets, CA_CERT),
    server: forExtract
      ? attempt(api.get(secrets, namespace, SERVER_CERT).then((secret) => textOf(secret, "tls.crt")))
      : undefined,
    pods: forExtract ? attempt(readPods(api, namespace)) : Promise.resolve({ value: [] as V1Pod[] }),
    secrets: new Map((options.secrets ?? []).map((name) => [name, get(secrets, name)])),
  };
}

async function readPods(api: KubernetesApi, namespace?: string): Promise<V1Pod[]> {
  const found: V1Pod[] = [];
  for await (const page of api.list(pods, { namespace, labelSelector: SELECTOR })) found.push(...page);
  return found;
}

/** Of each node only what is asked for is kept, page by page: there may be thousands. */
async function readNodes(api: KubernetesApi): Promise<NodeInfo[]> {
  const found: NodeInfo[] = [];
  for await (const page of api.list(nodes)) found.push(...page.map(nodeInfo));
  return found;
}

function nodeInfo({ metadata, spec, status }: V1Node): NodeInfo {
  const ready = status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True") === true;
  const excluded = metadata?.labels?.["node.kubernetes.io/exclude-from-external-load-balancers"] !== undefined;
  return {
    name: metadata?.name ?? "",
    created: String(metadata?.creationTimestamp ?? ""),
    eligible: ready && !excluded && spec?.unschedulable !== true,
    addresses: (status?.addresses ?? []).map(({ type, address }) => ({ type, address })),
    podCidrs: spec?.podCIDRs ?? (spec?.podCIDR ? [spec.podCIDR] : []),
  };
}

/** The namespace of the one clustermesh-apiserver there is. */
async function locate(api: KubernetesApi, warn: (line: string) => void): Promise<string> {
  const byName = async () => {
    const found: V1Deployment[] = [];
    for await (const page of api.list(deployments, { fieldSelector: `metadata.name=${APISERVER}` }))
      found.push(...page);
    return found;
  };
  const results = await Promise.all([
    attempt<KubernetesObject[]>(byName()),
    attempt<KubernetesObject[]>(readPods(api)),
  ]);
  const answers = results.map(permitted);
  if (answers.every((answer) => answer === undefined)) {
    warn(`not allowed to look for Cilium in all namespaces; ${GUESS} is taken, -n says another`);
    return GUESS;
  }
  const namespaces = new Set(
    answers.flatMap((objects) => objects ?? []).map(({ metadata }) => metadata?.namespace ?? ""),
  );
  if (namespaces.size > 1) {
    throw new UserError(
      `there are several installations of Cilium, in namespaces ${[...namespaces].sort().join(" and ")}; say which with -n`,
      EXIT.refused,
    );
  }
  const [only] = namespaces;
  return only ?? GUESS;
}

function notInstalled(namespace: string, hasConfig: boolean): UserError {
  return new UserError(
    hasConfig
      ? `Cilium in namespace ${namespace} has no ${APISERVER}; enable it by clustermesh.useAPIServer=true of the Helm chart`
      : `no Cilium was found: neither ${CONFIG} nor ${APISERVER} in namespace ${namespace}; -n says another`,
    EXIT.failed,
  );
}

function configMissing(namespace: string, result: Attempt<V1ConfigMap | undefined>): UserError {
  if ("error" in result) return result.error;
  return new UserError(
    `there is no ConfigMap ${CONFIG} in namespace ${namespace}; is Cilium installed there?`,
    EXIT.failed,
  );
}

/** The remote certificate's Secret, under the name that the agents' volume has for it, or one that older installs used. */
async function remoteSecret(
  api: KubernetesApi,
  namespace: string,
  agents: MountedFolder | undefined,
  named: Named,
): Promise<Attempt<V1Secret | undefined>> {
  const first = await named.remote;
  if ("error" in first || first.value) return first;
  const mounted = agents?.files.get("common-etcd-client.crt")?.object;
  const others = [mounted, `${REMOTE_CERT}s`].filter((name) => name !== undefined && name !== REMOTE_CERT) as string[];
  const found = await Promise.all(others.map((name) => attempt(api.get(secrets, namespace, name))));
  return found.find((result) => "value" in result && result.value) ?? first;
}

type Objects = Map<string, V1Secret | V1ConfigMap | undefined>;

const keyOf = ({ kind, object }: Pick<FileSource, "kind" | "object">) => `${kind}/${object}`;

/** The objects that the folders take their CA files from; those that were not asked for yet, in a second round. */
async function readPointedTo(
  api: KubernetesApi,
  namespace: string,
  folders: Installation["folders"],
  named: Named,
): Promise<Objects> {
  const sources = Object.values(folders)
    .map((folder) => folder?.files.get("common-etcd-client-ca.crt"))
    .filter((source) => source !== undefined);
  const objects = new Map<string, Promise<Attempt<V1Secret | V1ConfigMap | undefined>>>([
    [`Secret/${REMOTE_CERT}`, named.remote],
    [`Secret/${CA_CERT}`, named.caCert],
  ]);
  for (const source of sources) {
    if (objects.has(keyOf(source))) continue;
    const read =
      source.kind === "Secret"
        ? api.get(secrets, namespace, source.object)
        : api.get(configMaps, namespace, source.object);
    objects.set(keyOf(source), attempt<V1Secret | V1ConfigMap | undefined>(read));
  }
  const all: Objects = new Map();
  for (const [key, result] of objects) all.set(key, permitted(await result));
  return all;
}

function contentIn(objects: Objects, source: FileSource): string | undefined {
  const object = objects.get(keyOf(source));
  if (!object) return undefined;
  const { data } = object;
  return source.kind === "ConfigMap" ? data?.[source.key] : textOf(object as V1Secret, source.key);
}

function textOf(secret: V1Secret | undefined, key: string): string | undefined {
  const value = secret?.data?.[key];
  return value ? Buffer.from(value, "base64").toString() : undefined;
}

/** The names of the server certificate, by its Secret, or by the chart where that may not be read. */
async function serverCertificate(
  named: Named,
  { version, namespace }: ClusterFacts,
  warn: (line: string) => void,
): Promise<{ pem: string | undefined; names: string[] }> {
  const result = named.server && (await named.server);
  if (result && "error" in result && !isForbidden(result.error)) throw result.error;
  const pem = result && "value" in result ? result.value : undefined;
  if (pem !== undefined) {
    try {
      const [leaf] = readCertificates(pem);
      if (leaf) return { pem, names: subjectAltNames(leaf) };
    } catch (error) {
      if (!(error instanceof PemError)) throw error;
      warn(`tls.crt of Secret ${SERVER_CERT} ${error.message}; the chart's default names are taken`);
    }
  } else {
    const why = result && "error" in result ? "may not be read" : "is not there";
    warn(`Secret ${SERVER_CERT} ${why}, so the chart's default names of the server certificate are taken`);
  }
  const names = [
    `*.${MESH_DOMAIN}`,
    ...(versionAtLeast(version, "1.20") === true ? [] : ["clustermesh-apiserver.cilium.io"]),
    ...(versionAtLeast(version, "1.14") === false ? [] : [`${APISERVER}.${namespace}.svc`]),
    "127.0.0.1",
    ...(versionAtLeast(version, "1.11") === false ? [] : ["::1"]),
  ];
  return { pem: undefined, names };
}

/**
 * The CA by which others verify the server: where the agents' volume takes it from, else the remote certificate's
 * `ca.crt`, else the Secret of charts up to 1.14; of these the one that did sign the server certificate.
 */
async function serverCa(
  serverPem: string | undefined,
  agents: MountedFolder | undefined,
  contentOf: Installation["contentOf"],
  remote: V1Secret | undefined,
  named: Named,
  warn: (line: string) => void,
): Promise<string | undefined> {
  const source = agents?.files.get("common-etcd-client-ca.crt");
  const candidates = [
    source && contentOf(source),
    textOf(remote, "ca.crt"),
    textOf(permitted(await named.caCert), "ca.crt"),
  ].filter((pem) => pem !== undefined);
  if (serverPem === undefined) return candidates[0];
  const signing = candidates.find((pem) => {
    try {
      return isSignedBy(readCertificates(serverPem), readCertificates(pem));
    } catch (error) {
      if (error instanceof PemError) return false;
      throw error;
    }
  });
  if (signing === undefined && candidates.length > 0) {
    warn("the server certificate is not signed by the CA that this cluster's workloads have; peers will not trust it");
  }
  return signing ?? candidates[0];
}

/** What keeps the clustermesh-apiserver from running, as far as its pods and volumes tell. */
function waitingFor(
  podList: readonly V1Pod[],
  deployment: V1Deployment,
  users: V1ConfigMap | undefined,
): string | undefined {
  const waiting = podList.length > 0 && podList.every(({ status }) => status?.phase === "Pending");
  if (!waiting) return undefined;
  const mounted = volumeObjects(deployment.spec?.template.spec).find(({ name }) => name === USERS_CONFIG_MAP);
  if (mounted && !mounted.optional && !users) {
    return `for ConfigMap ${USERS_CONFIG_MAP}, which the first import into this cluster creates`;
  }
  const states = podList.flatMap(({ status }) => status?.containerStatuses ?? []).map(({ state }) => state?.waiting);
  const unscheduled = podList
    .flatMap(({ status }) => status?.conditions ?? [])
    .find(({ type, status }) => type === "PodScheduled" && status === "False");
  const state = states.find((one) => one?.reason);
  return state?.reason ?? (unscheduled ? `to be scheduled (${unscheduled.message ?? unscheduled.reason})` : "to start");
}
