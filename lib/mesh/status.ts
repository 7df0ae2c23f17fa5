/** The state of a mesh: the facts of each cluster, and its configs compared with the other clusters. */

import type { V1Pod } from "@kubernetes/client-node";
import { describePendingCause, isPodReady } from "../cilium/waiting.ts";
import { buildPeer, EXTRACT_DEFAULTS } from "../extract/extract.ts";
import type { Cluster } from "../kube/cluster.ts";
import { checkLoopbackAddresses } from "../peer/checks/endpoint.ts";
import { definitionOf } from "../peer/finding-codes.ts";
import { type Finding, finding, redact } from "../peer/findings.ts";
import type { AuthMode, ClientCertificate, Peer } from "../peer/peer.ts";
import type { PeerProbe, ProbeOptions } from "../probe/probe.ts";
import { limitConcurrency } from "../util/concurrency.ts";
import { dedupe } from "../util/dedupe.ts";
import { toReadError, UserError } from "../util/errors.ts";
import { ParseCache } from "../util/parse-cache.ts";
import { shellQuote } from "../util/shell.ts";
import type { CertificateFact } from "../x509/expiry.ts";
import { externalWorkloads } from "./external-workloads.ts";
import { type ExtractedMember, existingOf, ownOf, peersOf, readMember } from "./member.ts";
import {
  type CertificateStatus,
  checkOwnCertificates,
  describeCertificates,
  peerExpiryRemedy,
} from "./own-certificates.ts";
import { judgePairs, type Pair } from "./pairs.ts";
import { unreadableFinding } from "./unreadable.ts";

/** Maximum number of clusters that are read concurrently. */
const PARALLEL = 16;

export interface StatusOptions {
  namespace?: string | undefined;
  now: Date;
  /** Resolves a host name to its addresses. */
  resolve(name: string): Promise<string[]>;
  /** Warn about certificates that expire within this many milliseconds; 30 days by default. */
  expiresWithin?: number | undefined;
  /** Set to also probe each peer's etcd from this machine; `stepTimeout` in milliseconds. */
  probe?: { stepTimeout: number } | undefined;
}

export interface ContainerState {
  name: string;
  image: string;
  ready: boolean;
  /** The reason why it is not running. */
  waiting?: string | undefined;
}

export interface ClusterStatus {
  /** The context. */
  source: string;
  /** Why the cluster could not be read; then all other facts are missing. */
  error?: string | undefined;
  name?: string | undefined;
  id?: number | undefined;
  version?: string | undefined;
  namespace?: string | undefined;
  kvstoreMesh?: boolean | undefined;
  authMode?: AuthMode | undefined;
  maxConnectedClusters?: number | undefined;
  /** The endpoints that an extraction would write now, and the addresses of their host names. */
  endpoints?: string[] | undefined;
  addresses?: string[] | undefined;
  pods: { name: string; ready: boolean; containers: ContainerState[] }[];
  /** The cluster's own certificates, as far as they can be read. */
  certificates?: CertificateStatus[] | undefined;
  /** What clustermesh-apiserver is waiting for ("for …", "to …"). */
  waitingFor?: string | undefined;
  findings: Finding[];
}

export interface MeshStatus {
  /** In the order of the selection. */
  clusters: ClusterStatus[];
  /** Each importer with each peer that it has or does not have. */
  pairs: Pair[];
  probes?: PeerProbe[];
}

/**
 * Reads all clusters concurrently, each once, and checks the mesh. A cluster that cannot be read is reported as a finding.
 *
 * @throws any error that is not a UserError.
 */
export async function meshStatus(sources: readonly Cluster[], options: StatusOptions): Promise<MeshStatus> {
  const enter = limitConcurrency(PARALLEL);
  const cache = new ParseCache();
  const read = await Promise.all(sources.map((source) => enter(() => readStatus(source, options, cache))));
  const clusters = read.map(({ status }) => status);
  const once = dedupe(
    read.filter(isRead),
    ({ member }) => member.target.identity,
    (same, { status }) => {
      status.findings.push(finding("same-cluster", { source: status.source }, { other: same.status.source }));
    },
  );
  checkUniqueness(once.map(({ status }) => status));
  const seen = once.map(({ member }) => member);
  const failed = sources.filter((_, i) => clusters[i]?.error !== undefined);
  const unreadable = new Set(failed.flatMap(({ source, names = [] }) => [source, ...names]));
  const pairs = judgePairs(seen, { ...options, unreadable });
  if (!options.probe) return { clusters: withoutRepeated(clusters, pairs), pairs };
  const probes = await probeAll(seen, pairs, { ...options, ...options.probe });
  for (const [member, found] of probes) {
    for (const probe of found) {
      const pair = pairs.find(({ importer, peer }) => importer === member.source && peer === probe.name);
      const known = new Set<string>(pair?.findings.map(({ code }) => code));
      const isKnown = ({ code }: Finding) => known.has(code) || known.has(definitionOf(code).impliedBy ?? "");
      // A response proves that it is running, even if none of its pods is ready.
      if (probe.addresses.some(({ steps, failed }) => steps.length > 0 && failed === undefined))
        delete pair?.notRunning;
      // The finding about a peer that is not running is its cluster's.
      if (pair?.notRunning) known.add("pod-not-ready");
      pair?.findings.push(...probe.findings.filter((one) => !isKnown(one)));
    }
  }
  return { clusters: withoutRepeated(clusters, pairs), pairs, probes: probes.flatMap(([, found]) => found) };
}

/** Removes findings about certificates of clusters that pairs have too. */
function withoutRepeated(clusters: readonly ClusterStatus[], pairs: readonly Pair[]): ClusterStatus[] {
  const keyOf = ({ code, certificate }: Finding) => certificate && `${code} ${certificate.fingerprint}`;
  const ofPairs = new Set(pairs.flatMap(({ findings }) => findings.map(keyOf)));
  return clusters.map((cluster) => ({
    ...cluster,
    findings: cluster.findings.filter(
      (one) => one.certificate === undefined || one.key !== undefined || !ofPairs.has(keyOf(one)),
    ),
  }));
}

interface ReadResult {
  status: ClusterStatus;
  member?: ExtractedMember;
}

function isRead(result: ReadResult): result is Required<ReadResult> {
  return result.member !== undefined;
}

async function readStatus(cluster: Cluster, options: StatusOptions, cache: ParseCache): Promise<ReadResult> {
  const findings: Finding[] = [];
  const { source } = cluster;
  const place = { source };
  try {
    const member = await readMember(cluster, { namespace: options.namespace, cache, forExtract: true });
    const { installation } = member;
    const { facts, namespace } = installation;
    findings.push(...checkOwnCertificates(member, options), ...(await externalWorkloads(member, options)));
    let peer: Peer | undefined;
    try {
      ({ peer } = await buildPeer(installation, { ...EXTRACT_DEFAULTS, resolve: options.resolve }));
      findings.push(...checkLoopbackAddresses(peer, place));
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      findings.push(finding("cluster-unreadable", place, { problem: error.singleLineMessage, isReadable: true }));
    }
    const pods = installation.pods();
    if (installation.waiting !== undefined) {
      const { waiting: waitingFor, isAwaitingFirstImport: isAwaitingImport } = installation;
      const hasPeers = existingOf(member).names.size > 0;
      const quoted = { importer: shellQuote(source), namespace: shellQuote(namespace) };
      findings.push(finding("pod-not-ready", place, { waitingFor, isAwaitingImport, hasPeers, ...quoted }));
    }
    const status: ClusterStatus = {
      source,
      name: facts.name,
      id: facts.id,
      version: facts.version,
      namespace,
      kvstoreMesh: facts.kvstoreMesh,
      authMode: facts.authMode,
      maxConnectedClusters: facts.maxConnectedClusters,
      endpoints: peer?.endpoints,
      addresses: peer?.hostAliases.flatMap(({ ips }) => ips),
      pods: pods.map((pod) => ({
        name: pod.metadata?.name ?? "",
        ready: isPodReady(pod),
        containers: containersOf(pod),
      })),
      certificates: describeCertificates(member, options),
      waitingFor: installation.waiting ?? (pods.some(isPodReady) ? undefined : describePendingCause(pods, undefined)),
      findings,
    };
    return { status, member: { ...member, peer } };
  } catch (error) {
    const failure = toReadError(error);
    findings.push(unreadableFinding(source, failure));
    return { status: { source, error: failure.singleLineMessage, pods: [], findings } };
  } finally {
    // The next check connects again, so that a failed connection or credential is not reused.
    cluster.close?.();
  }
}

function containersOf({ spec, status }: V1Pod): ContainerState[] {
  return (spec?.containers ?? []).map(({ name, image = "" }) => {
    const state = status?.containerStatuses?.find((one) => one.name === name);
    return { name, image, ready: state?.ready ?? false, waiting: state?.state?.waiting?.reason };
  });
}

/** Checks that names and ids are unique, and that max-connected-clusters is the same everywhere. */
function checkUniqueness(clusters: readonly ClusterStatus[]): void {
  const names = new Map<string, string>();
  const ids = new Map<number, ClusterStatus>();
  const called = (one: ClusterStatus) => one.name ?? one.source;
  const first = clusters.find(({ maxConnectedClusters }) => maxConnectedClusters !== undefined);
  for (const cluster of clusters) {
    const { source, name, id, maxConnectedClusters: maximum, findings } = cluster;
    const place = { source };
    const same = name === undefined ? undefined : names.get(name);
    if (name !== undefined && same !== undefined) {
      findings.push(finding("name-duplicate", place, { name, other: same }, { clusters: [same, source] }));
    } else if (name !== undefined) names.set(name, source);
    const other = id === undefined ? undefined : ids.get(id);
    if (other !== undefined) {
      const clusters: [string, string] = [called(other), called(cluster)];
      findings.push(finding("id-duplicate", place, { id: `${id}`, other: other.source }, { clusters }));
    } else if (id !== undefined) ids.set(id, cluster);
    const otherMaximum = first?.maxConnectedClusters;
    if (first && otherMaximum !== undefined && maximum !== undefined && maximum !== otherMaximum) {
      const clusters: [string, string] = [called(first), called(cluster)];
      findings.push(finding("maximum-differs", place, { maximum, other: first.source, otherMaximum }, { clusters }));
    }
  }
}

async function probeAll(
  members: readonly ExtractedMember[],
  pairs: readonly Pair[],
  options: Omit<ProbeOptions, "own" | "remedyFor">,
): Promise<[ExtractedMember, PeerProbe[]][]> {
  // gRPC is loaded only for probes.
  const { MAX_CONCURRENT_PROBES: PROBES, probePeers, toSkippedProbe } = await import("../probe/probe.ts");
  const enter = limitConcurrency(PROBES);
  const byName = new Map(members.map((member) => [member.target.facts.name, member]));
  return Promise.all(
    members.map(async (member): Promise<[ExtractedMember, PeerProbe[]]> => {
      const own: { ca?: string | undefined; client?: ClientCertificate | undefined } = ownOf(member);
      const remedyFor = (peer: Peer, certificate: CertificateFact) =>
        peerExpiryRemedy(peer, certificate, {
          ...options,
          importer: member,
          importers: pairs
            .filter((one) => one.configured && one.peer === redact(peer.name))
            .map(({ importer }) => importer),
          owner: byName.get(peer.name),
        });
      const { peers, nodeLocal } = peersOf(member);
      const { source: importer, target } = member;
      const contextOf = (name: string) => byName.get(name)?.source;
      const shared = { ...options, cache: target.cache };
      const probes = await probePeers(peers, { ...shared, own, importer, contextOf, remedyFor }, enter);
      return [member, [...probes, ...nodeLocal.map((name) => toSkippedProbe(name, member.source))]];
    }),
  );
}
