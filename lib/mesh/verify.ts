/** Probes peers of files and clusters, each with the client certificate of its importer. */
import type { Finding } from "../peer/findings.ts";
import type { ClientCertificate, SourcedPeer } from "../peer/peer.ts";
import { type PeerProbe, type ProbeOptions, probePeers, toSkippedProbe } from "../probe/probe.ts";
import { type Member, ownOf, peersOf } from "./member.ts";
import { peerExpiryRemedy } from "./own-certificates.ts";

/** Peers that are probed with the same CA and client certificate. */
export interface ProbeGroup {
  peers: readonly SourcedPeer[];
  /** Results for peers that are not probed, because they are reachable only from the same node. */
  skipped: PeerProbe[];
  /** Why peers of the cluster cannot be probed. */
  findings: readonly Finding[];
  /** The importer's own CA (PEM) and client certificate. */
  own: { ca?: string | undefined; client?: ClientCertificate | undefined };
  /** The context of the importer; undefined for files. */
  importer?: ProbeOptions["importer"];
  remedyFor?: ProbeOptions["remedyFor"];
}

/**
 * Returns the configured peers of a cluster.
 *
 * @param given - a CA and client certificate to use instead of the cluster's own.
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
    /** The importer's own CA (PEM) and client certificate. */
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
