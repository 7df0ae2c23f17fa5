/** Extraction: a cluster as the peer of others. */
import { setTimeout as sleep } from "node:timers/promises";
import { type Installation, readInstallation } from "../cilium/installation.ts";
import { describeExternal } from "../cilium/volumes.ts";
import type { KubernetesApi } from "../kube/api.ts";
import { APISERVER, type ClusterFacts, isClusterName, type Peer } from "../peer/peer.ts";
import { EXIT, UserError } from "../util/errors.ts";
import { hasPem, normalizeCa, PemError } from "../x509/pem.ts";
import { chooseEndpoint, type EndpointOptions, NoAddressYet } from "./endpoint.ts";
import { hasExternalWorkloads, workloadCertificate } from "./external-workload.ts";

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
  /** Told what is normal and passes; by default as a warning. */
  note?(line: string): void;
  /** How long to wait for a load balancer's address, in milliseconds; 0 for not at all. */
  waitTimeout: number;
  /** With the certificate of external workloads instead of the one for peers. */
  externalWorkload?: boolean;
}

/**
 * Reads a cluster and makes of it the peer that others need. In authMode cluster, and where the certificates are in no
 * Secret, others come with their own certificate, so the peer has none, and its public CA, if known, is among its facts.
 *
 * @throws UserError where the cluster is not set up for a mesh, or cannot be reached by others; ApiError and
 *   ConnectionError.
 */
export async function extract(api: KubernetesApi, options: ExtractOptions): Promise<Peer> {
  const deadline = Date.now() + options.waitTimeout;
  const warned = new Set<string>();
  const warn = (line: string) => {
    if (!warned.has(line)) options.warn(line);
    warned.add(line);
  };
  for (let told = false; ; told = true) {
    try {
      return await extractOnce(api, { ...options, warn });
    } catch (error) {
      if (!(error instanceof NoAddressYet) || options.waitTimeout === 0) throw error;
      if (Date.now() >= deadline) {
        throw new UserError(
          `${error.message.replace(/;.*/, "")}; waited for ${options.waitTimeout / 1000} s`,
          EXIT.failed,
        );
      }
      const note = options.note ?? warn;
      if (!told) note(`${error.message.replace(/;.*/, "")}; waiting`);
      await sleep(Math.min(2_000, Math.max(0, deadline - Date.now())));
    }
  }
}

async function extractOnce(api: KubernetesApi, options: ExtractOptions): Promise<Peer> {
  const { namespace, service, serverNames = [], warn } = options;
  const installation = await readInstallation(api, { namespace, service, serverNames, forExtract: true, warn });
  const { waiting, facts, external, namesHiddenBy } = installation;
  const peer = options.externalWorkload
    ? await forExternalWorkload(api, installation, options)
    : await peerOf(installation, options);
  if (external && !options.keyless && peer.client === "importer") {
    warn(
      `certificates come from ${describeExternal(external)}, not from Secrets: extracted without CA and key, so ` +
        "importers use their own common-etcd-client files",
    );
  }
  if (namesHiddenBy) {
    warn(
      `the server certificate comes from ${describeExternal(namesHiddenBy)} and cannot be read: assuming the chart's ` +
        `names ${installation.serverNames.join(", ")} (set others with --server-name)`,
    );
  }
  const log = installation.awaitsFirstImport ? (options.note ?? warn) : warn;
  if (waiting !== undefined) log(`${facts.name}: ${APISERVER} is not running yet: waiting ${waiting}`);
  return peer;
}

/** What a virtual machine's agent needs to join: the cluster as a peer, and the certificate of external workloads. */
async function forExternalWorkload(
  api: KubernetesApi,
  installation: Installation,
  options: PeerOptions,
): Promise<Peer> {
  const { facts, namespace } = installation;
  if (!hasExternalWorkloads(facts)) {
    throw new UserError(`Cilium removed external workloads in 1.18, and this is ${facts.version}`, EXIT.failed);
  }
  const found = await workloadCertificate(api, namespace);
  if (!found) {
    throw new UserError(
      `there is no certificate for external workloads in namespace ${namespace}; enable them by ` +
        "externalWorkloads.enabled=true of the Helm chart",
      EXIT.failed,
    );
  }
  const { cert, key } = found;
  const ca = requiredCa(installation);
  return { ...(await peerOf(installation, options)), ca: { pem: ca }, client: { cert, key } };
}

/** What `extract-secret` takes where nothing else is said. */
export const EXTRACT_DEFAULTS = {
  endpoints: [],
  addresses: 3,
  addressTypes: ["InternalIP", "ExternalIP"],
  clusterIp: false,
} as const satisfies Partial<EndpointOptions>;

/**
 * The peer that others need of an installation that was read for an extraction.
 *
 * @throws UserError where it is not set up for a mesh, or cannot be reached by others; ApiError for what may not be read.
 */
export async function peerOf(installation: Installation, options: PeerOptions): Promise<Peer> {
  const { facts, serverNames } = installation;
  const name = checkName(installation);
  const { knownCa, ...tls } = tlsOf(installation, options);
  const endpoint = await chooseEndpoint(
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
    ...(isEndpointGiven(options) && { endpointGiven: true }),
  };
  return { name, ...endpoint, ...tls, facts: { ...facts, serverNames, ...more } };
}

/**
 * Whether these options choose another endpoint than the one that a cluster itself says, which is what `connect`, `rotate`
 * and `status` read of it. How many addresses there are at the most is no such choice: they still follow the nodes.
 */
function isEndpointGiven({ endpoints, service, clusterIp, addressTypes, serverNames = [] }: PeerOptions): boolean {
  const usual: readonly string[] = EXTRACT_DEFAULTS.addressTypes;
  const isUsual = addressTypes.length === usual.length && addressTypes.every((type, i) => type === usual[i]);
  return endpoints.length + serverNames.length > 0 || service !== undefined || clusterIp || !isUsual;
}

/** With which CA and certificate others come; `knownCa` is the cluster's CA where the peer does not bring it. */
function tlsOf(
  installation: Installation,
  { keyless = false, warn }: PeerOptions,
): Pick<Peer, "ca" | "client"> & { knownCa?: string | undefined } {
  const { external, facts, remoteCertificate, remoteCertificateError } = installation;
  const own = { ca: "importer", client: "importer" } as const;
  if (keyless || external) {
    return { ...own, knownCa: knownCa(installation, warn) };
  }
  if (!remoteCertificate) throw remoteCertificateError ?? noCertificate(installation);
  const ca = requiredCa(installation);
  return facts.authMode === "cluster" ? { ...own, knownCa: ca } : { ca: { pem: ca }, client: remoteCertificate };
}

function checkName({ facts: { name = "default", id = 0 } }: Installation): string {
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

function noCertificate({ namespace }: Installation): UserError {
  return new UserError(
    `no client certificate for peers in namespace ${namespace}: secret/clustermesh-apiserver-remote-cert with tls.crt and ` +
      "tls.key not found, and no volume brings it from elsewhere\n" +
      "  set up clustermesh.apiserver.tls, or, if all clusters trust one CA, extract without a key: extract-secret --keyless",
    EXIT.failed,
  );
}

/** @throws UserError where the CA was not found, or cannot be read. */
function requiredCa({ ca, namespace }: Installation): string {
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
function knownCa({ ca }: Installation, warn: (line: string) => void): string | undefined {
  if (ca === undefined || !hasPem(ca)) return undefined;
  try {
    return normalizeCa(ca);
  } catch (error) {
    if (!(error instanceof PemError)) throw error;
    warn(`the CA certificate of the cluster ${error.message}, so the file does not tell it`);
    return undefined;
  }
}
