/** Probes of peers from files and clusters, each with the certificate that its importer uses. */
import type { Finding } from "../peer/findings.ts";
import type { ClientCertificate, SourcedPeer } from "../peer/peer.ts";
import { type PeerProbe, type ProbeOptions, probePeers, toSkippedProbe } from "../probe/probe.ts";
import { type Member, ownOf, peersOf } from "./member.ts";
import { peerExpiryRemedy } from "./own-certificates.ts";

/** Peers that are probed with the same certificate. */
export interface ProbeGroup {
  peers: readonly SourcedPeer[];
  /** Peers that are not tried, since only a node can reach them. */
  skipped: PeerProbe[];
  /** What keeps peers from being probed. */
  findings: readonly Finding[];
  own: { ca?: string | undefined; client?: ClientCertificate | undefined };
  importer?: ProbeOptions["importer"];
  remedyFor?: ProbeOptions["remedyFor"];
}

/**
 * The peers that a cluster is configured for.
 *
 * @param given - a CA and certificate to use instead of the peer's.
 */
export function probeGroupOf(
  member: Member,
  given: ProbeGroup["own"],
  { now, expiresWithin }: Pick<ProbeOptions, "now" | "expiresWithin">,
): ProbeGroup {
  const { peers, nodeLocal, findings } = peersOf(member);
  const expiry = { importer: member, importers: [member.source], owner: undefined, now, expiresWithin };
  return {
    peers,
    skipped: nodeLocal.map((name) => toSkippedProbe(name, member.source)),
    findings,
    own: { ...ownOf(member), ...given },
    importer: member.source,
    remedyFor: (peer, certificate) => peerExpiryRemedy(peer, certificate, expiry),
  };
}

/** Probes groups one after the other. */
export async function probeGroups(
  groups: readonly ProbeGroup[],
  options: Omit<ProbeOptions, "own" | "remedyFor">,
): Promise<PeerProbe[]> {
  const probes: PeerProbe[] = [];
  for (const { peers, skipped, own, importer, remedyFor } of groups) {
    probes.push(...(await probePeers(peers, { ...options, own, importer, remedyFor })), ...skipped);
  }
  return probes;
}
