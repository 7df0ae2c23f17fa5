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
import {
  configMaps,
  daemonSets,
  deployments,
  type KubernetesApi,
  type Resource,
  secrets,
  services,
} from "../kube/api.ts";
import { type Attempt, attempt, isForbidden, unwrap, unwrapUnlessForbidden } from "../kube/attempt.ts";
import { APISERVER, type ClusterFacts, USERS_CONFIG_MAP } from "../peer/peer.ts";
import type { RenewalMethod } from "../peer/renewal.ts";
import { EXIT, UserError } from "../util/errors.ts";
import { isSignedBy } from "../x509/chain.ts";
import {
  type CertificateSources,
  decodeCertificate,
  decodeValue,
  findCertificateSources,
  findContent,
  findExternalSource,
  findServerCa,
  type MountedFolders,
  REMOTE_CERT,
  readReferencedObjects,
  readRemoteSecret,
  readServerCertificate,
  resolveServerNames,
  SERVER_CERT,
  type StoredCertificate,
} from "./certificate-sources.ts";
import { deriveFacts, hasNodePodCidrs, mountsUsersConfigMap } from "./facts.ts";
import {
  createExternalKvstoreError,
  createNotInstalledError,
  DEFAULT_NAMESPACE,
  locateNamespace,
  readPods,
} from "./locate.ts";
import type { NodeInfo } from "./nodes.ts";
import { readNodes } from "./nodes.ts";
import { detectRenewalMethod } from "./renewal-method.ts";
import { type ExternalSource, type FileSource, findMountedFolder, podTemplateOf } from "./volumes.ts";
import { describePendingCause, isAwaitingFirstImport } from "./waiting.ts";

const CILIUM_CONFIG = "cilium-config";

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
  /** With `forExtract`: what the server certificate covers, where the user says it. */
  serverNames?: readonly string[];
  /** Further Secrets to read in the same round. */
  secrets?: readonly string[];
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
  /** The volume that brings the certificates, where they are in no Secret (CSI, Vault, SPIFFE, …). */
  external: ExternalSource | undefined;
  /** What renews {@link remoteCertificate}, if its Secret tells. */
  remoteRenewalMethod: RenewalMethod | undefined;
  /** The server certificate of its etcd; undefined for an import, and if it is in no Secret or may not be read. */
  serverCertificate: StoredCertificate | undefined;
  /** What the server certificate covers, or would by the chart; empty for an import. */
  serverNames: string[];
  /** The volume that hides the server certificate, where {@link serverNames} are the chart's for that reason. */
  unreadableServerSource: ExternalSource | undefined;
  /** The CA (PEM) by which others verify the server; undefined for an import. */
  ca: string | undefined;
  /** Cilium's folder as agents, operator and the kvstoremesh container have it. */
  folders: MountedFolders;
  /** Contents of the CA files that {@link folders} take from other objects, by their source. */
  contentOf(source: FileSource): string | undefined;
  /** `clustermesh-remote-users` as it stands. */
  users: V1ConfigMap | undefined;
  takesUsers: boolean;
  /** The Secrets that were asked for. */
  secrets: Map<string, V1Secret | undefined>;
  /** What the clustermesh-apiserver waits for, if it does: "for …" or "to …". Not known for an import. */
  waiting: string | undefined;
  /** Whether it waits for the first import, which is normal. */
  isAwaitingFirstImport: boolean;
  /** What was assumed, or is wrong and does not stop the work, a line each. */
  warnings: string[];
}

/**
 * Reads an installation. All that has a name is asked for by it, at once and in the namespace that it probably is in,
 * while the cluster is asked where it really is; a second round follows only for what the first one points to.
 *
 * @throws UserError where there is no Cilium, no clustermesh-apiserver, several of them (exit code 2), or an external
 *   kvstore; ApiError and ConnectionError where what is indispensable cannot be read.
 */
export async function readInstallation(api: KubernetesApi, options: InstallationOptions): Promise<Installation> {
  const { forExtract } = options;
  const guess = options.namespace ?? DEFAULT_NAMESPACE;
  const guessed = readNamed(api, guess, options);
  const earlyNodes = forExtract ? attempt(readNodes(api)) : undefined;
  const located =
    options.namespace === undefined ? await locateNamespace(api) : { namespace: options.namespace, isAssumed: false };
  const { namespace } = located;
  const assumed = `not allowed to look for Cilium in all namespaces; ${namespace} is taken, -n says another`;
  const named = await settled(namespace === guess ? guessed : readNamed(api, namespace, options));

  const deployment = unwrap(named.deployment);
  const explain = (error: UserError) =>
    located.isAssumed ? new UserError(`${error.message}\n  ${assumed}`, error.exitCode) : error;
  if (!deployment) throw explain(createNotInstalledError(namespace, unwrapUnlessForbidden(named.config)?.data));
  const containers = deployment.spec?.template.spec?.containers ?? [];
  if (!containers.some(({ name }) => name === "apiserver")) throw explain(createExternalKvstoreError(namespace));
  const configMap = unwrap(named.config);
  const config = configMap?.data;
  if (!config) {
    const message = `there is no ConfigMap ${CILIUM_CONFIG} beside ${APISERVER} in namespace ${namespace}`;
    throw explain(new UserError(message, EXIT.failed));
  }
  // An import that took what it may not read for what is not there would write the wrong thing.
  const weighed: <T>(result: Attempt<T>) => T | undefined =
    forExtract && !options.forImport ? unwrapUnlessForbidden : unwrap;
  const agents = weighed(named.agents);
  const meshed = containers.some(({ name }) => name === "kvstoremesh");
  const operator = meshed ? unwrapUnlessForbidden(named.operator) : weighed(named.operator);
  const users = mountsUsersConfigMap(deployment) ? weighed(named.users) : undefined;

  const folders = {
    agents: findMountedFolder(podTemplateOf(agents), "cilium-agent"),
    operator: findMountedFolder(podTemplateOf(operator), "cilium-operator"),
    kvstoremesh: findMountedFolder(podTemplateOf(deployment), "kvstoremesh"),
  };
  const sources = findCertificateSources(deployment, folders);
  const [remote, objects, server, nodes] = await Promise.all([
    readRemoteSecret(api, namespace, folders, sources, named.remote),
    readReferencedObjects(api, namespace, folders, named.remote),
    named.server && readServerCertificate(api, namespace, sources, named.server),
    earlyNodes ?? (hasNodePodCidrs(config) ? attempt(readNodes(api)) : undefined),
  ]);
  const contentOf = (source: FileSource) => findContent(objects, source);
  const remoteValue = "value" in remote ? remote.value : undefined;
  const cert = decodeValue(remoteValue, "tls.crt");
  const key = decodeValue(remoteValue, "tls.key");
  const remoteCertificate = cert !== undefined && key !== undefined ? { cert, key } : undefined;
  const remoteCertificateError = "error" in remote ? remote.error : undefined;
  const facts = deriveFacts({
    namespace,
    config,
    deployment,
    agents,
    service: unwrapUnlessForbidden(named.service),
    clientCertificate: cert,
    nodes: nodes && unwrapUnlessForbidden(nodes),
  });
  const { uid, resourceVersion } = configMap.metadata ?? {};
  const installation: Installation = {
    namespace,
    identity: uid === undefined || resourceVersion === undefined ? undefined : `${uid}/${resourceVersion}`,
    facts,
    deployment,
    agents,
    operator,
    service: () => unwrap(named.service),
    pods: () => (named.pods ? unwrap(named.pods) : []),
    nodes: () => (nodes ? unwrap(nodes) : []),
    remoteCertificate,
    remoteCertificateError,
    external: findExternalSource(sources, (remoteCertificate ?? remoteCertificateError) !== undefined),
    remoteRenewalMethod: detectRenewalMethod(remoteValue?.metadata),
    serverCertificate: undefined,
    serverNames: [],
    unreadableServerSource: undefined,
    ca: undefined,
    folders,
    contentOf,
    users,
    takesUsers: mountsUsersConfigMap(deployment),
    secrets: new Map(named.secrets.map(([name, result]) => [name, unwrap(result)])),
    waiting: undefined,
    isAwaitingFirstImport: false,
    warnings: located.isAssumed ? [assumed] : [],
  };
  if (!forExtract) return installation;
  const pods = named.pods && unwrapUnlessForbidden(named.pods);
  const hasUsers = isForbidden(named.users) ? undefined : users !== undefined;
  const { warnings, ...serving } = await readServing(api, installation, sources, server, remoteValue, options);
  return {
    ...installation,
    ...serving,
    waiting: pods && describePendingCause(pods, hasUsers),
    isAwaitingFirstImport: pods !== undefined && isAwaitingFirstImport(pods, hasUsers),
    warnings: [...installation.warnings, ...warnings],
  };
}

/** By which names others know the server, and by which CA they verify it. */
async function readServing(
  api: KubernetesApi,
  installation: Installation,
  sources: CertificateSources,
  server: Attempt<StoredCertificate | undefined> | undefined,
  remote: V1Secret | undefined,
  { serverNames = [] }: InstallationOptions,
): Promise<Pick<Installation, "serverCertificate" | "serverNames" | "unreadableServerSource" | "ca" | "warnings">> {
  const { facts, namespace } = installation;
  const { held, names, hiddenBy, warnings } = resolveServerNames(
    server ?? { value: undefined },
    sources,
    facts,
    serverNames,
  );
  const ca = await findServerCa(held?.pem, installation, sources, remote, (name) => api.get(secrets, namespace, name));
  const isTrusted = held === undefined || ca === undefined || isSignedBy(held.pem, ca);
  const untrusted =
    "the server certificate is not signed by the CA that this cluster's workloads have; peers will not trust it";
  return {
    serverCertificate: held,
    serverNames: names,
    unreadableServerSource: hiddenBy,
    ca,
    warnings: [...warnings, ...(isTrusted ? [] : [untrusted])],
  };
}

/** All objects of a namespace that have a name, each under way. */
function readNamed(api: KubernetesApi, namespace: string, options: InstallationOptions) {
  const get = <T extends KubernetesObject>(resource: Resource<T>, name: string) =>
    attempt(api.get(resource, namespace, name));
  const { forExtract } = options;
  return {
    config: get(configMaps, CILIUM_CONFIG),
    deployment: get(deployments, APISERVER),
    agents: get(daemonSets, "cilium"),
    operator: get(deployments, "cilium-operator"),
    service: get(services, options.service ?? APISERVER),
    users: get(configMaps, USERS_CONFIG_MAP),
    remote: get(secrets, REMOTE_CERT),
    // Of this Secret only the certificate is kept.
    server: forExtract
      ? attempt(api.get(secrets, namespace, SERVER_CERT).then((secret) => decodeCertificate(secret, "tls.crt")))
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
