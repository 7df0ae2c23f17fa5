/** The clusters of a mesh: each read once, as what others extract and as what is imported into. */
import { type Installation, readInstallation } from "../cilium/installation.ts";
import { readClusters } from "../cilium/read-clusters.ts";
import { buildPeer, EXTRACT_DEFAULTS } from "../extract/extract.ts";
import {
  type ExistingConfig,
  existingPeer,
  isEndpointGiven,
  isNodeLocalPeer,
  readExistingConfig,
} from "../import/plan/existing.ts";
import type { Target } from "../import/plan/target.ts";
import type { ImportTarget } from "../import/prepare.ts";
import { targetOf } from "../import/read-target.ts";
import type { KubernetesApi } from "../kube/api.ts";
import type { Cluster } from "../kube/cluster.ts";
import { endpointHostnames } from "../peer/etcd-config.ts";
import { type Finding, finding } from "../peer/findings.ts";
import {
  AGENTS_SECRET,
  type ClientCertificate,
  KVSTOREMESH_SECRET,
  type Peer,
  type SourcedPeer,
  versionAtLeast,
} from "../peer/peer.ts";
import { ParseCache } from "../util/parse-cache.ts";

export interface Member {
  /** Its context. */
  source: string;
  api: KubernetesApi;
  installation: Installation;
  target: Target;
}

/** A member, and what others would extract from it now. */
export interface ExtractedMember extends Member {
  /** Undefined where it cannot be extracted, or was not to be. */
  peer: Peer | undefined;
}

/**
 * Reads a cluster once, as a target and, if wanted, as what others extract.
 *
 * @param options - `forImport`: whether it is going to be written, so that all that an import needs is indispensable.
 * @throws UserError, ApiError and ConnectionError as {@link readInstallation}.
 */
export async function readMember(
  { api, source }: Cluster,
  options: { namespace?: string | undefined; forExtract: boolean; forImport?: boolean; cache?: ParseCache | undefined },
): Promise<Member> {
  const installation = await readInstallation(api, { ...options, secrets: [AGENTS_SECRET, KVSTOREMESH_SECRET] });
  return { source, api, installation, target: targetOf(installation, source, options.cache) };
}

/** The CA and certificate that an importer uses if a peer's config refers to the importer's own files. */
export function ownOf({ installation, target }: Member): {
  ca?: string | undefined;
  client?: ClientCertificate | undefined;
} {
  return { ca: target.common?.ca, client: installation.remoteCertificate };
}

/** What a cluster is configured for, read once however often it is asked for. */
export function existingOf({ target }: Pick<Member, "target">): ExistingConfig {
  return target.cache.parse(readExistingConfig, target);
}

/**
 * The peers that a cluster is configured for, with the host aliases that its Cilium uses: before 1.20 those of the
 * workloads.
 *
 * @returns also the names of peers that only a node can reach, which are not among `peers`, and a finding for each peer
 *   that cannot be read.
 */
export function peersOf(member: Pick<Member, "target">): {
  peers: SourcedPeer[];
  nodeLocal: string[];
  findings: Finding[];
} {
  const { target } = member;
  const existing = existingOf(member);
  const nodeLocal = [...existing.names].filter((name) => isNodeLocalPeer(existing, name)).sort();
  const peers: SourcedPeer[] = [];
  const findings: Finding[] = [];
  for (const name of [...existing.names].filter((one) => !nodeLocal.includes(one)).sort()) {
    const one = existingPeer(target, existing, name);
    if ("peer" in one) {
      const peer = asResolved(one.peer, target);
      const facts = isEndpointGiven(existing, name) ? { ...peer.facts, endpointGiven: true as const } : peer.facts;
      peers.push({ ...one, peer: { ...peer, facts } });
    } else findings.push(one);
  }
  return { peers, nodeLocal, findings };
}

/** A peer as its importer's Cilium resolves its names. */
function asResolved(peer: Peer, { facts, aliases }: Target): Peer {
  const own = versionAtLeast(facts.version, "1.20") === false ? [] : peer.hostAliases;
  const known = new Set(own.map(({ hostname }) => hostname));
  const wanted = endpointHostnames(peer.endpoints).filter((name) => !known.has(name));
  return { ...peer, hostAliases: [...own, ...aliases.filter(({ hostname }) => wanted.includes(hostname))] };
}

export interface ReadOptions {
  namespace?: string | undefined;
  /** How many addresses of a cluster its importers get at the most. */
  addresses?: number;
  /** Holds what was parsed already. */
  cache?: ParseCache;
  /** Read what others need of it too. */
  forExtract: boolean;
  /** The addresses of a name. */
  resolve(name: string): Promise<string[]>;
}

/** What was read of a mesh. */
export interface MeshReading {
  members: ExtractedMember[];
  /** A finding for each cluster that cannot be read, or that others cannot reach. */
  unread: Finding[];
  /** The contexts that lead to a cluster that an earlier one leads to, each with that one. */
  repeated: Map<string, string>;
  /** What was assumed, may change, or is wrong and does not stop the work, a line each. */
  warnings: string[];
}

/** What a command makes of a mesh: which clusters are written, with which peers. */
export interface MeshChange {
  targets: ImportTarget[];
  /** What the clusters show to others, whether a target gets it or not. */
  peers: readonly SourcedPeer[];
  /** What was found of the clusters and of what they show to others. An error among them stops the work. */
  findings: Finding[];
  /** Of clusters that are left out, though they were meant. */
  left: Finding[];
  /** What is to be known before it is confirmed, a line each. */
  notes: string[];
}

/**
 * Reads clusters that are to be written at the same time. A cluster that two contexts lead to is read by both and taken
 * once, by the first.
 */
export async function readMembers(clusters: readonly Cluster[], options: ReadOptions): Promise<MeshReading> {
  const { addresses = EXTRACT_DEFAULTS.addresses, cache = new ParseCache(), resolve } = options;
  const warningsOf = new Map<string, string[]>();
  const { read, failed, repeated } = await readClusters(
    clusters,
    async (cluster): Promise<ExtractedMember> => {
      const member = await readMember(cluster, { ...options, cache, forImport: true });
      warningsOf.set(cluster.source, member.installation.warnings);
      const { peer, warnings = [] } = options.forExtract
        ? await buildPeer(member.installation, { ...EXTRACT_DEFAULTS, addresses, resolve })
        : {};
      warningsOf.set(cluster.source, [...member.installation.warnings, ...warnings]);
      return { ...member, peer };
    },
    ({ target }) => target.identity,
  );
  return {
    members: read,
    unread: failed.map(({ source, error }) =>
      finding("cluster-unreadable", { source }, { problem: error.singleLineMessage }),
    ),
    repeated,
    warnings: [
      ...[...warningsOf].flatMap(([source, lines]) => lines.map((line) => `${source}: ${line}`)),
      ...[...repeated].map(([source, first]) => `${source}: reaches the same cluster as ${first}, which is taken once`),
    ],
  };
}

/** A member as the target of an import of these peers. */
export function importTarget({ api, target }: Member, peers: readonly SourcedPeer[]): ImportTarget {
  return { api, target, peers };
}
