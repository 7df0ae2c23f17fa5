/** Reads the Cilium installation of a cluster, in two rounds of requests. */
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
  readReferencedObjects,
  readRemoteSecret,
  readServerCertificate,
  resolveServerNames,
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
import { type NodeInfo, readNodes } from "./nodes.ts";
import { AGENTS, CILIUM_CONFIG, OPERATOR, REMOTE_CERT, SERVER_CERT } from "./object-names.ts";
import { detectRenewalMethod } from "./renewal-method.ts";
import { type ExternalSource, type FileSource, findMountedFolder, podTemplateOf } from "./volumes.ts";
import { describePendingCause, isAwaitingFirstImport } from "./waiting.ts";

export interface InstallationOptions {
  /** Cilium's namespace, if specified by the user. */
  namespace?: string | undefined;
  /** The name of the Service, if it is externally created (1.19+). */
  service?: string | undefined;
  /**
   * An extraction also reads nodes, pods and the server certificate, and tolerates forbidden workloads. An import requires
   * the workloads and the Secrets in {@link secrets}.
   */
  forExtract: boolean;
  /** With `forExtract`: also require what an import requires. */
  forImport?: boolean;
  /** With `forExtract`: the names covered by the server certificate, if specified by the user. */
  serverNames?: readonly string[];
  /** Names of further Secrets to read in the same round. */
  secrets?: readonly string[];
}

export interface Installation {
  namespace: string;
  /**
   * Identifies the cluster, independent of the context: uid and resourceVersion of its ConfigMap `cilium-config`. Clusters
   * restored from one etcd backup share uids, but differ in cluster name and therefore in resourceVersion.
   */
  identity: string | undefined;
  /** The uid of its ConfigMap `cilium-config`, which stays the same while the cluster exists. */
  uid: string | undefined;
  facts: ClusterFacts;
  deployment: V1Deployment;
  /** Undefined if it does not exist, or if an extraction cannot read it (403). */
  agents: V1DaemonSet | undefined;
  operator: V1Deployment | undefined;
  /** @throws ApiError if the Service cannot be read */
  service(): V1Service | undefined;
  /** @throws ApiError if the pods cannot be listed */
  pods(): V1Pod[];
  /** @throws ApiError if the nodes cannot be listed */
  nodes(): NodeInfo[];
  /** The client certificate that the cluster presents to peers, with its key (PEM); undefined if missing or forbidden. */
  remoteCertificate: { cert: string; key: string } | undefined;
  /** Why {@link remoteCertificate} could not be read. */
  remoteCertificateError: UserError | undefined;
  /** The volume that provides the certificates, if they are not in Secrets (CSI, Vault, SPIFFE, …). */
  external: ExternalSource | undefined;
  /** Undefined if the metadata of the Secret of {@link remoteCertificate} does not show it. */
  remoteRenewalMethod: RenewalMethod | undefined;
  /** The server certificate of etcd; undefined for an import, and if it is not in a Secret or forbidden. */
  serverCertificate: StoredCertificate | undefined;
  /** Names covered by the server certificate, or those of the chart if it is unreadable; empty for an import. */
  serverNames: string[];
  /** The volume of the server certificate, if it is external and {@link serverNames} are therefore those of the chart. */
  unreadableServerSource: ExternalSource | undefined;
  /** The CA (PEM) that peers verify the server with; undefined for an import. */
  ca: string | undefined;
  folders: MountedFolders;
  /** Returns the text of a CA file in {@link folders}. */
  contentOf(source: FileSource): string | undefined;
  /** The existing `clustermesh-remote-users`. */
  users: V1ConfigMap | undefined;
  /** Whether the Deployment mounts {@link users}. */
  takesUsers: boolean;
  /** The Secrets of {@link InstallationOptions.secrets}, by name. */
  secrets: Map<string, V1Secret | undefined>;
  /** What the clustermesh-apiserver is waiting for ("for …", "to …"), if it is not ready; undefined for an import. */
  waiting: string | undefined;
  /** Whether it is waiting for the first import, which is normal. */
  isAwaitingFirstImport: boolean;
  /** Assumptions and problems that do not stop the command, one line each. */
  warnings: string[];
}

/**
 * Reads an installation. The first round requests all objects by name in the probable namespace, and locates the actual
 * one at the same time. The second round requests objects that those of the first refer to.
 *
 * @throws UserError if Cilium or the clustermesh-apiserver is not installed, is installed in several namespaces (exit code
 *   2), or uses an external kvstore; ApiError and ConnectionError if a required object cannot be read.
 */
export async function readInstallation(api: KubernetesApi, options: InstallationOptions): Promise<Installation> {
  const { forExtract } = options;
  const probable = options.namespace ?? DEFAULT_NAMESPACE;
  const early = readNamed(api, probable, options);
  const earlyNodes = forExtract ? attempt(readNodes(api)) : undefined;
  const located =
    options.namespace === undefined ? await locateNamespace(api) : { namespace: options.namespace, isAssumed: false };
  const { namespace } = located;
  const assumption = `cannot list across namespaces; assuming ${namespace} (override with --namespace)`;
  const named = await (namespace === probable ? early : readNamed(api, namespace, options));

  const deployment = unwrap(named.deployment);
  const addAssumption = (error: UserError) =>
    located.isAssumed ? new UserError(`${error.message}\n  ${assumption}`, error.exitCode) : error;
  if (!deployment) throw addAssumption(createNotInstalledError(namespace, unwrapUnlessForbidden(named.config)?.data));
  const containers = deployment.spec?.template.spec?.containers ?? [];
  if (!containers.some(({ name }) => name === "apiserver")) throw addAssumption(createExternalKvstoreError(namespace));
  const configMap = unwrap(named.config);
  const config = configMap?.data;
  if (!config) {
    throw addAssumption(new UserError(`configmap/${CILIUM_CONFIG} not found in namespace ${namespace}`, EXIT.failed));
  }
  // An import must not treat a forbidden object as missing: it would write the wrong configuration.
  const unwrapWorkload: <T>(result: Attempt<T>) => T | undefined =
    forExtract && !options.forImport ? unwrapUnlessForbidden : unwrap;
  const agents = unwrapWorkload(named.agents);
  const hasKvstoreMesh = containers.some(({ name }) => name === "kvstoremesh");
  const operator = hasKvstoreMesh ? unwrapUnlessForbidden(named.operator) : unwrapWorkload(named.operator);
  const users = mountsUsersConfigMap(deployment) ? unwrapWorkload(named.users) : undefined;

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
    uid,
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
    warnings: located.isAssumed ? [assumption] : [],
  };
  if (!forExtract) return installation;
  const pods = named.pods && unwrapUnlessForbidden(named.pods);
  const hasUsers = isForbidden(named.users) ? undefined : users !== undefined;
  const { warnings, ...trust } = await readServerTrust(api, installation, sources, server, remoteValue, options);
  return {
    ...installation,
    ...trust,
    waiting: pods && describePendingCause(pods, hasUsers),
    isAwaitingFirstImport: pods !== undefined && isAwaitingFirstImport(pods, hasUsers),
    warnings: [...installation.warnings, ...warnings],
  };
}

/** Reads the names of the server, and the CA that peers verify it with. */
async function readServerTrust(
  api: KubernetesApi,
  installation: Installation,
  sources: CertificateSources,
  server: Attempt<StoredCertificate | undefined> | undefined,
  remote: V1Secret | undefined,
  { serverNames = [] }: InstallationOptions,
): Promise<Pick<Installation, "serverCertificate" | "serverNames" | "unreadableServerSource" | "ca" | "warnings">> {
  const { facts, namespace } = installation;
  const resolved = resolveServerNames(server ?? { value: undefined }, sources, facts, serverNames);
  const { stored, names, unreadable, warnings } = resolved;
  const ca = await findServerCa(stored?.pem, installation, sources, remote, (name) =>
    api.get(secrets, namespace, name),
  );
  const isTrusted = stored === undefined || ca === undefined || isSignedBy(stored.pem, ca);
  const untrusted =
    "the server certificate is not signed by the CA of this cluster's workloads, so peers will not trust it";
  return {
    serverCertificate: stored,
    serverNames: names,
    unreadableServerSource: unreadable,
    ca,
    warnings: [...warnings, ...(isTrusted ? [] : [untrusted])],
  };
}

/** Requests all objects with known names in a namespace at once, and waits for all results. */
async function readNamed(api: KubernetesApi, namespace: string, options: InstallationOptions) {
  const get = <T extends KubernetesObject>(resource: Resource<T>, name: string) =>
    attempt(api.get(resource, namespace, name));
  const { forExtract, secrets: names = [] } = options;
  const [config, deployment, agents, operator, service, users, remote, server, pods, others] = await Promise.all([
    get(configMaps, CILIUM_CONFIG),
    get(deployments, APISERVER),
    get(daemonSets, AGENTS),
    get(deployments, OPERATOR),
    get(services, options.service ?? APISERVER),
    get(configMaps, USERS_CONFIG_MAP),
    get(secrets, REMOTE_CERT),
    // Only the certificate of this Secret is kept, not its key.
    forExtract
      ? attempt(api.get(secrets, namespace, SERVER_CERT).then((secret) => decodeCertificate(secret, "tls.crt")))
      : undefined,
    forExtract ? attempt(readPods(api, namespace)) : undefined,
    Promise.all(names.map(async (name) => [name, await get(secrets, name)] as const)),
  ]);
  return { config, deployment, agents, operator, service, users, remote, server, pods, secrets: others };
}
