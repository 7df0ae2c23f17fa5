/** Extraction: a cluster as the peer of others. */
import { setTimeout as sleep } from "node:timers/promises";
import { type Installation, readInstallation } from "../cilium/installation.ts";
import { describeExternalSource } from "../cilium/volumes.ts";
import type { KubernetesApi } from "../kube/api.ts";
import { APISERVER, type ClusterFacts, isClusterName, type Peer } from "../peer/peer.ts";
import { EXIT, UserError } from "../util/errors.ts";
import { hasPem, normalizeCa, PemError } from "../x509/pem.ts";
import { chooseEndpoint, type EndpointOptions, LoadBalancerPendingError } from "./endpoint.ts";
import { canHaveExternalWorkloads, readWorkloadCertificate } from "./external-workload.ts";

export interface PeerOptions extends EndpointOptions {
  /** Without CA and key, also where Secrets have them: importers use their own. */
  keyless?: boolean;
  /** What the server certificate covers, instead of what it says itself or the chart puts there. */
  serverNames?: readonly string[];
  /** The Service, if it is the user's own. */
  service?: string | undefined;
}

export interface ExtractOptions extends PeerOptions {
  namespace?: string | undefined;
  /** With the certificate of external workloads instead of the one for peers. */
  externalWorkload?: boolean;
}

/** A cluster as the peer of others, and what is to be known of it. */
export interface Extraction {
  peer: Peer;
  /** What was assumed, may change, or is wrong and does not stop the extraction, a line each. */
  warnings: string[];
  /** What is normal and passes, a line each. */
  notes: string[];
}

/**
 * Reads a cluster and makes of it the peer that others need. In authMode cluster, and where the certificates are in no
 * Secret, others come with their own certificate, so the peer has none, and its public CA, if known, is among its facts.
 *
 * @throws UserError where the cluster is not set up for a mesh, or cannot be reached by others; ApiError and
 *   ConnectionError.
 */
export async function extract(api: KubernetesApi, options: ExtractOptions): Promise<Extraction> {
  const { namespace, service, serverNames = [] } = options;
  const installation = await readInstallation(api, { namespace, service, serverNames, forExtract: true });
  const { waiting, facts, external, unreadableServerSource } = installation;
  const { peer, warnings } = options.externalWorkload
    ? await extractForExternalWorkload(api, installation, options)
    : await buildPeer(installation, options);
  if (external && !options.keyless && peer.client === "importer") {
    warnings.push(
      `certificates come from ${describeExternalSource(external)}, not from Secrets: extracted without CA and key, so ` +
        "importers use their own common-etcd-client files",
    );
  }
  if (unreadableServerSource) {
    warnings.push(
      `the server certificate comes from ${describeExternalSource(unreadableServerSource)} and cannot be read: assuming the chart's ` +
        `names ${installation.serverNames.join(", ")} (set others with --server-name)`,
    );
  }
  const awaited = waiting === undefined ? [] : [`${facts.name}: ${APISERVER} is not running yet: waiting ${waiting}`];
  return {
    peer,
    warnings: [...installation.warnings, ...warnings, ...(installation.isAwaitingFirstImport ? [] : awaited)],
    notes: installation.isAwaitingFirstImport ? awaited : [],
  };
}

/**
 * As {@link extract}, once the load balancer has an address.
 *
 * @param timeout how long to wait for it, in milliseconds.
 * @returns yields a line when it begins to wait; its result is the extraction.
 * @throws as {@link extract}; UserError if the time is over.
 */
export async function* extractWhenReachable(
  api: KubernetesApi,
  timeout: number,
  options: ExtractOptions,
): AsyncGenerator<string, Extraction> {
  const deadline = Date.now() + timeout;
  for (let isFirst = true; ; isFirst = false) {
    try {
      return await extract(api, options);
    } catch (error) {
      if (!(error instanceof LoadBalancerPendingError)) throw error;
      if (Date.now() >= deadline) {
        throw new UserError(`${error.problem}; waited for ${timeout / 1000} s`, EXIT.failed);
      }
      if (isFirst) yield `${error.problem}; waiting`;
      await sleep(Math.min(2_000, Math.max(0, deadline - Date.now())));
    }
  }
}

/** What a virtual machine's agent needs to join: the cluster as a peer, and the certificate of external workloads. */
async function extractForExternalWorkload(
  api: KubernetesApi,
  installation: Installation,
  options: PeerOptions,
): Promise<ExtractedPeer> {
  const { facts, namespace } = installation;
  if (!canHaveExternalWorkloads(facts)) {
    throw new UserError(`Cilium removed external workloads in 1.18, and this is ${facts.version}`, EXIT.failed);
  }
  const found = await readWorkloadCertificate(api, namespace);
  if (!found) {
    throw new UserError(
      `there is no certificate for external workloads in namespace ${namespace}; enable them by ` +
        "externalWorkloads.enabled=true of the Helm chart",
      EXIT.failed,
    );
  }
  const { cert, key } = found;
  const ca = requireCa(installation);
  const { peer, warnings } = await buildPeer(installation, options);
  return { peer: { ...peer, ca: { pem: ca }, client: { cert, key } }, warnings };
}

/** What `extract-secret` takes where nothing else is said. */
export const EXTRACT_DEFAULTS = {
  endpoints: [],
  addresses: 3,
  addressTypes: ["InternalIP", "ExternalIP"],
  clusterIp: false,
} as const satisfies Partial<EndpointOptions>;

/** A peer, and warnings about it, a line each. */
export interface ExtractedPeer {
  peer: Peer;
  warnings: string[];
}

/**
 * The peer that others need of an installation that was read for an extraction.
 *
 * @throws UserError where it is not set up for a mesh, or cannot be reached by others; ApiError for what may not be read.
 */
export async function buildPeer(installation: Installation, options: PeerOptions): Promise<ExtractedPeer> {
  const { facts, serverNames } = installation;
  const name = requireClusterName(installation);
  const { knownCa, warnings: ofCa, ...tls } = resolvePeerTls(installation, options);
  const { warnings, ...endpoint } = await chooseEndpoint(
    {
      cluster: name,
      serverNames,
      givenNames: options.serverNames ?? [],
      service: installation.service,
      nodes: installation.nodes,
      pods: installation.pods,
    },
    options,
  );
  const more: ClusterFacts = {
    ...(knownCa !== undefined && { ca: knownCa }),
    ...(isEndpointChosen(options) && { endpointGiven: true }),
  };
  const peer = { name, ...endpoint, ...tls, facts: { ...facts, serverNames, ...more } };
  return { peer, warnings: [...ofCa, ...warnings] };
}

/**
 * Whether these options choose another endpoint than the one that a cluster itself says, which is what `connect`, `rotate`
 * and `status` read of it. How many addresses there are at the most is no such choice: they still follow the nodes.
 */
function isEndpointChosen({ endpoints, service, clusterIp, addressTypes, serverNames = [] }: PeerOptions): boolean {
  const usual: readonly string[] = EXTRACT_DEFAULTS.addressTypes;
  const isUsual = addressTypes.length === usual.length && addressTypes.every((type, i) => type === usual[i]);
  return endpoints.length + serverNames.length > 0 || service !== undefined || clusterIp || !isUsual;
}

/** With which CA and certificate others come; `knownCa` is the cluster's CA where the peer does not bring it. */
function resolvePeerTls(
  installation: Installation,
  { keyless = false }: PeerOptions,
): Pick<Peer, "ca" | "client"> & { knownCa?: string | undefined; warnings: string[] } {
  const { external, facts, remoteCertificate, remoteCertificateError } = installation;
  const own = { ca: "importer", client: "importer" } as const;
  if (keyless || external) {
    return { ...own, ...knownCa(installation) };
  }
  if (!remoteCertificate) throw remoteCertificateError ?? createMissingCertificateError(installation);
  const ca = requireCa(installation);
  const warnings: string[] = [];
  return facts.authMode === "cluster"
    ? { ...own, knownCa: ca, warnings }
    : { ca: { pem: ca }, client: remoteCertificate, warnings };
}

function requireClusterName({ facts: { name = "default", id = 0 } }: Installation): string {
  if (name === "default" || id === 0) {
    throw new UserError(
      `Cilium is not set up for a mesh: cluster-name is ${name} and cluster-id ${id}; set cluster.name and cluster.id ` +
        "of the Helm chart, each of its own in the mesh",
      EXIT.failed,
    );
  }
  if (!isClusterName(name)) {
    throw new UserError(
      `cluster-name ${JSON.stringify(name)} is none that others take: at most 32 of a-z, 0-9 and -`,
      EXIT.failed,
    );
  }
  return name;
}

function createMissingCertificateError({ namespace }: Installation): UserError {
  return new UserError(
    `no client certificate for peers in namespace ${namespace}: secret/clustermesh-apiserver-remote-cert with tls.crt and ` +
      "tls.key not found, and no volume brings it from elsewhere\n" +
      "  set up clustermesh.apiserver.tls, or, if all clusters trust one CA, extract without a key: extract-secret --keyless",
    EXIT.failed,
  );
}

/** @throws UserError where the CA was not found, or cannot be read. */
function requireCa({ ca, namespace }: Installation): string {
  if (ca === undefined || !hasPem(ca)) {
    throw new UserError(
      `the CA certificate was not found in namespace ${namespace}: neither where the agents' volume takes it from, ` +
        "nor in ca.crt of Secret clustermesh-apiserver-remote-cert",
      EXIT.failed,
    );
  }
  try {
    return normalizeCa(ca);
  } catch (cause) {
    if (!(cause instanceof PemError)) throw cause;
    throw new UserError(`the CA certificate of the cluster ${cause.message}`, EXIT.failed);
  }
}

/** The CA where it can be read: importers compare it with theirs. */
function knownCa({ ca }: Installation): { knownCa?: string; warnings: string[] } {
  if (ca === undefined || !hasPem(ca)) return { warnings: [] };
  try {
    return { knownCa: normalizeCa(ca), warnings: [] };
  } catch (error) {
    if (!(error instanceof PemError)) throw error;
    return { warnings: [`the CA certificate of the cluster ${error.message}, so the file does not tell it`] };
  }
}
