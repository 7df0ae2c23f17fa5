/** One cluster of a mesh, read once: what it shows to others, and which peers it is configured for. */
import type { KubernetesApi } from "../cluster/api.ts";
import { type Installation, readInstallation } from "../cluster/installation.ts";
import { targetOf } from "../exchange/read-target.ts";
import { isNodeLocalPeer, readStanding, standingPeer } from "../exchange/standing.ts";
import type { Target } from "../exchange/target.ts";
import { endpointHostnames } from "../peer/etcd-config.ts";
import type { Finding } from "../peer/findings.ts";
import { AGENTS_SECRET, type ClientCertificate, KVSTOREMESH_SECRET, type Peer, versionAtLeast } from "../peer/peer.ts";
import type { SourcedPeer } from "../peer/rules.ts";

export interface Member {
  /** Its context. */
  source: string;
  installation: Installation;
  target: Target;
}

/** A member, and what others would extract from it now. */
export interface Seen extends Member {
  /** Undefined where it cannot be extracted. */
  peer: Peer | undefined;
}

/**
 * Reads a cluster once, as a target and, if wanted, as what others extract.
 *
 * @throws UserError, ApiError and ConnectionError as {@link readInstallation}.
 */
export async function readMember(
  api: KubernetesApi,
  source: string,
  options: { namespace?: string | undefined; forExtract: boolean; forImport?: boolean; warn(line: string): void },
): Promise<Member> {
  const installation = await readInstallation(api, { ...options, secrets: [AGENTS_SECRET, KVSTOREMESH_SECRET] });
  return { source, installation, target: targetOf(installation, source) };
}

/** What an importer comes with where a peer's config names the cluster's own files. */
export function ownOf({ installation, target }: Member): {
  ca?: string | undefined;
  client?: ClientCertificate | undefined;
} {
  return { ca: target.common?.ca, client: installation.remoteCertificate };
}

/**
 * The peers that a cluster is configured for, with the host aliases that its Cilium would use: before 1.20 those of the
 * workloads.
 *
 * @returns besides, the names of the peers that only a node can reach, which are not among the others, and a finding for
 *   each that cannot be made out.
 */
export function peersOf(
  { target }: Pick<Member, "target">,
  standing = readStanding(target, []),
): { peers: SourcedPeer[]; nodeLocal: string[]; findings: Finding[] } {
  const nodeLocal = [...standing.names].filter((name) => isNodeLocalPeer(standing, name)).sort();
  const peers: SourcedPeer[] = [];
  const findings: Finding[] = [];
  for (const name of [...standing.names].filter((one) => !nodeLocal.includes(one)).sort()) {
    const one = standingPeer(target, standing, name);
    if ("peer" in one) peers.push({ ...one, peer: asResolved(one.peer, target) });
    else findings.push(one);
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
