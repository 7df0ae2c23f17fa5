/** Reads the clusters of a mesh, each once, both as a target of imports and as a peer of the others. */
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
import type { Finding } from "../peer/findings.ts";
import {
  AGENTS_SECRET,
  type ClientCertificate,
  KVSTOREMESH_SECRET,
  type Peer,
  type SourcedPeer,
  versionAtLeast,
} from "../peer/peer.ts";
import { ParseCache } from "../util/parse-cache.ts";
import { unreadableFinding } from "./unreadable.ts";

export interface Member {
  /** The context. */
  source: string;
  api: KubernetesApi;
  installation: Installation;
  target: Target;
}

/** A member with its current extraction. */
export interface ExtractedMember extends Member {
  /** Undefined if it was not extracted or cannot be. */
  peer: Peer | undefined;
}

/**
 * Reads a cluster once, as a target and optionally for an extraction.
 *
 * @param options - `forExtract`: read what an extraction needs; `forImport`: fail if anything that an import needs cannot be
 *   read.
 * @throws UserError, ApiError and ConnectionError as {@link readInstallation}.
 */
export async function readMember(
  { api, source }: Cluster,
  options: { namespace?: string | undefined; forExtract: boolean; forImport?: boolean; cache?: ParseCache | undefined },
): Promise<Member> {
  const installation = await readInstallation(api, { ...options, secrets: [AGENTS_SECRET, KVSTOREMESH_SECRET] });
  const member = { source, api, installation, target: targetOf(installation, source, options.cache) };
  // Parsed now, so that an invalid Secret fails the reading of its cluster.
  existingOf(member);
  return member;
}

/** Returns the CA (PEM) and client certificate that an importer uses for configs that reference its own files. */
export function ownOf({ installation, target }: Member): {
  ca?: string | undefined;
  client?: ClientCertificate | undefined;
} {
  return { ca: target.common?.ca, client: installation.remoteCertificate };
}

/** Returns the existing configs of a cluster; parsed once per target. */
export function existingOf({ target }: Pick<Member, "target">): ExistingConfig {
  return target.cache.parse(readExistingConfig, target);
}

/**
 * Returns the configured peers of a cluster, with the host aliases that its Cilium uses: before 1.20 those of the workloads.
 *
 * @returns in `nodeLocal` the names of peers reachable only from the same node, which are not among `peers`, and a finding
 *   for each peer that cannot be read.
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

/** Returns a peer with the host aliases with which its importer resolves its names. */
function asResolved(peer: Peer, { facts, aliases }: Target): Peer {
  const own = versionAtLeast(facts.version, "1.20") === false ? [] : peer.hostAliases;
  const known = new Set(own.map(({ hostname }) => hostname));
  const wanted = endpointHostnames(peer.endpoints).filter((name) => !known.has(name));
  return { ...peer, hostAliases: [...own, ...aliases.filter(({ hostname }) => wanted.includes(hostname))] };
}

export interface ReadOptions {
  namespace?: string | undefined;
  /** Maximum number of node addresses of a cluster that its importers get. */
  addresses?: number;
  /** A cache that is shared with other reads. */
  cache?: ParseCache;
  /** Also read what an extraction needs. */
  forExtract: boolean;
  /** Resolves a host name to its addresses. */
  resolve(name: string): Promise<string[]>;
}

/** The clusters of a mesh, as far as they could be read. */
export interface MeshReading {
  members: ExtractedMember[];
  /** A finding for each cluster that cannot be read or extracted. */
  unreadable: Finding[];
  /** Contexts of clusters that an earlier context has already, with that earlier context. */
  duplicates: Map<string, string>;
  /** Lines about assumptions and other things that do not prevent the work. */
  warnings: string[];
}

/** A planned change of a mesh: the clusters to write, each with its peers. */
export interface MeshChange {
  targets: ImportTarget[];
  /** All extracted peers, even those that no target imports. */
  peers: readonly SourcedPeer[];
  /** Findings about clusters and extracted peers. An error among them prevents the change. */
  findings: Finding[];
  /** Findings about selected clusters that the change omits. */
  omitted: Finding[];
  /** Lines to print before the confirmation. */
  notes: string[];
}

/**
 * Reads clusters concurrently. If two contexts reach the same cluster, only the first is used.
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
    unreadable: failed.map(({ source, error }) => unreadableFinding(source, error)),
    duplicates: repeated,
    warnings: [
      ...[...warningsOf].flatMap(([source, lines]) => lines.map((line) => `${source}: ${line}`)),
      ...[...repeated].map(([source, first]) => `skipped context ${source}: same cluster as context ${first}`),
    ],
  };
}

/** Makes a member the target of an import of peers. */
export function importTarget({ api, target }: Member, peers: readonly SourcedPeer[]): ImportTarget {
  return { api, target, peers };
}
