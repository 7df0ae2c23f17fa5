/** Extracts a cluster as a peer for other clusters. */
import { setTimeout as sleep } from "node:timers/promises";
import { type Installation, readInstallation } from "../cilium/installation.ts";
import { REMOTE_CERT } from "../cilium/object-names.ts";
import { describeExternalSource } from "../cilium/volumes.ts";
import type { KubernetesApi } from "../kube/api.ts";
import { unwrap } from "../kube/attempt.ts";
import { APISERVER, type ClusterFacts, isClusterName, type Peer } from "../peer/peer.ts";
import type { TargetFacts } from "../peer/target-facts.ts";
import { EXIT, UserError } from "../util/errors.ts";
import { hasPem, normalizeCa, PemError } from "../x509/pem.ts";
import { chooseEndpoint, type EndpointOptions, LoadBalancerPendingError } from "./endpoint.ts";
import { canHaveExternalWorkloads, readWorkloadCertificate } from "./external-workload.ts";
import { deriveTargetFacts } from "./target-facts.ts";

export interface PeerOptions extends EndpointOptions {
  /** Omit CA, certificate and key even if Secrets have them: importers use their own. */
  keyless?: boolean;
  /** Names covered by the server certificate; they override those read from it, or those of the chart. */
  serverNames?: readonly string[];
  /** The name of the Service, if it is externally created. */
  service?: string | undefined;
}

export interface ExtractOptions extends PeerOptions {
  namespace?: string | undefined;
  /** Extract the client certificate of external workloads instead of that for peers. */
  externalWorkload?: boolean;
}

export interface Extraction {
  peer: Peer;
  /** What the cluster is like as a target; empty for an external workload. */
  targetFacts: TargetFacts;
  /** Assumptions, and problems that do not stop the extraction, one line each. */
  warnings: string[];
  /** Normal, temporary conditions, one line each. */
  notes: string[];
}

/**
 * Reads a cluster and builds the peer that other clusters import. With authMode cluster, or if the certificates are not in
 * Secrets, importers use their own client certificates: the peer has no key, and its facts include the CA if known.
 *
 * @throws UserError if the cluster is not configured for Cluster Mesh or has no usable endpoint; ApiError and
 *   ConnectionError if a required object cannot be read.
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
      `certificates are mounted from ${describeExternalSource(external)}, not from Secrets: extracted without CA and key, ` +
        "so importers use their own common-etcd-client files",
    );
  }
  if (unreadableServerSource) {
    warnings.push(
      `the server certificate is mounted from ${describeExternalSource(unreadableServerSource)} and cannot be read: assuming the chart's ` +
        `names ${installation.serverNames.join(", ")} (override with --server-name)`,
    );
  }
  const pending = waiting === undefined ? [] : [`${facts.name}: ${APISERVER} is not running yet: waiting ${waiting}`];
  return {
    peer,
    targetFacts: options.externalWorkload ? {} : deriveTargetFacts(installation, peer),
    warnings: [...installation.warnings, ...warnings, ...(installation.isAwaitingFirstImport ? [] : pending)],
    notes: installation.isAwaitingFirstImport ? pending : [],
  };
}

/**
 * Waits until the load balancer has an address, then extracts the cluster like {@link extract}.
 *
 * @param timeout - milliseconds to wait.
 * @returns a generator that yields one line when the wait begins, and returns the extraction.
 * @throws as {@link extract}, and UserError on timeout.
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
        const message = `timed out after ${timeout / 1000}s waiting for service/${error.service} to get a load balancer address`;
        throw new UserError(message, EXIT.failed);
      }
      if (isFirst) yield `waiting for service/${error.service} to get a load balancer address`;
      await sleep(Math.min(2_000, Math.max(0, deadline - Date.now())));
    }
  }
}

/** Builds the peer for the agent of a virtual machine, with the client certificate of external workloads. */
async function extractForExternalWorkload(
  api: KubernetesApi,
  installation: Installation,
  options: PeerOptions,
): Promise<ExtractedPeer> {
  const { facts, namespace } = installation;
  if (!canHaveExternalWorkloads(facts)) {
    throw new UserError(
      `external workloads were removed in Cilium 1.18; this cluster runs ${facts.version}`,
      EXIT.failed,
    );
  }
  const found = unwrap(await readWorkloadCertificate(api, namespace));
  if (!found) {
    throw new UserError(
      `no certificate for external workloads found in namespace ${namespace}\n` +
        "  enable external workloads with the Helm value externalWorkloads.enabled=true",
      EXIT.failed,
    );
  }
  const { cert, key } = found;
  const ca = requireCa(installation);
  const { peer, warnings } = await buildPeer(installation, options);
  return { peer: { ...peer, ca: { pem: ca }, client: { cert, key } }, warnings };
}

/** The defaults of `extract-secret`. */
export const EXTRACT_DEFAULTS = {
  endpoints: [],
  addresses: 3,
  addressTypes: ["InternalIP", "ExternalIP"],
  clusterIp: false,
} as const satisfies Partial<EndpointOptions>;

export interface ExtractedPeer {
  peer: Peer;
  /** One line each. */
  warnings: string[];
}

/**
 * Builds the peer that other clusters import, from an installation read with `forExtract`.
 *
 * @throws UserError if the cluster is not configured for Cluster Mesh or has no usable endpoint; ApiError if a required
 *   object cannot be read.
 */
export async function buildPeer(installation: Installation, options: PeerOptions): Promise<ExtractedPeer> {
  const { facts, serverNames } = installation;
  const name = requireClusterName(installation);
  const { knownCa, warnings: caWarnings, ...tls } = resolvePeerTls(installation, options);
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
  const peerFacts: ClusterFacts = {
    ...facts,
    serverNames,
    ...(knownCa !== undefined && { ca: knownCa }),
    ...(isEndpointChosen(options) && { endpointGiven: true }),
  };
  return { peer: { name, ...endpoint, ...tls, facts: peerFacts }, warnings: [...caWarnings, ...warnings] };
}

/**
 * Whether the options determine the endpoint, which can then differ from the one that `connect`, `rotate` and `status`
 * derive from the cluster. `addresses` does not: it only limits the number of derived addresses.
 */
function isEndpointChosen({ endpoints, service, clusterIp, addressTypes, serverNames = [] }: PeerOptions): boolean {
  const isDefault = addressTypes.join() === EXTRACT_DEFAULTS.addressTypes.join();
  return endpoints.length + serverNames.length > 0 || service !== undefined || clusterIp || !isDefault;
}

/** Resolves CA and client certificate of the peer; `knownCa` is the cluster's CA if the peer does not include it. */
function resolvePeerTls(
  installation: Installation,
  { keyless = false }: PeerOptions,
): Pick<Peer, "ca" | "client"> & { knownCa?: string | undefined; warnings: string[] } {
  const { external, facts, remoteCertificate, remoteCertificateError } = installation;
  const importerTls = { ca: "importer", client: "importer" } as const;
  if (keyless || external) return { ...importerTls, ...readKnownCa(installation) };
  if (!remoteCertificate) throw remoteCertificateError ?? createMissingCertificateError(installation);
  const ca = requireCa(installation);
  return facts.authMode === "cluster"
    ? { ...importerTls, knownCa: ca, warnings: [] }
    : { ca: { pem: ca }, client: remoteCertificate, warnings: [] };
}

function requireClusterName({ facts: { name = "default", id = 0 } }: Installation): string {
  if (name === "default" || id === 0) {
    throw new UserError(
      `Cilium is not configured for Cluster Mesh: cluster-name is ${JSON.stringify(name)} and cluster-id is ${id}\n` +
        "  set the Helm values cluster.name and cluster.id, both unique in the mesh",
      EXIT.failed,
    );
  }
  if (!isClusterName(name)) {
    throw new UserError(
      `invalid cluster name ${JSON.stringify(name)} in configmap/cilium-config: at most 32 of a-z, 0-9 and -`,
      EXIT.failed,
    );
  }
  return name;
}

function createMissingCertificateError({ namespace }: Installation): UserError {
  return new UserError(
    `no client certificate for peers found in namespace ${namespace}: secret/${REMOTE_CERT} with tls.crt and tls.key not ` +
      "found, and no volume provides another\n" +
      "  set the Helm values clustermesh.apiserver.tls, or, if all clusters trust the same CA, run: extract-secret --keyless",
    EXIT.failed,
  );
}

/** @throws UserError if the CA is missing or invalid; ApiError if the Secret that may contain it cannot be read. */
function requireCa({ ca, namespace, remoteCertificateError }: Installation): string {
  if (ca === undefined || !hasPem(ca)) {
    if (remoteCertificateError) throw remoteCertificateError;
    throw new UserError(
      `CA certificate not found in namespace ${namespace}: neither in the object mounted by the agents, nor in ca.crt of ` +
        `secret/${REMOTE_CERT}`,
      EXIT.failed,
    );
  }
  try {
    return normalizeCa(ca);
  } catch (cause) {
    if (!(cause instanceof PemError)) throw cause;
    throw new UserError(`the cluster's CA certificate ${cause.message}`, EXIT.failed);
  }
}

/** Reads the CA, if it is readable: importers compare it with theirs. */
function readKnownCa({ ca }: Installation): { knownCa?: string; warnings: string[] } {
  if (ca === undefined || !hasPem(ca)) return { warnings: [] };
  try {
    return { knownCa: normalizeCa(ca), warnings: [] };
  } catch (error) {
    if (!(error instanceof PemError)) throw error;
    return { warnings: [`the cluster's CA certificate ${error.message}; extracted without it`] };
  }
}
