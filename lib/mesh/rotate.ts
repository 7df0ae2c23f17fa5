/** Distributes a cluster's new certificates to its importers. */
import { describeExternalSource } from "../cilium/volumes.ts";
import { existingPeer, isImportedNodeLocal, isNodeLocalPeer } from "../import/plan/existing.ts";
import { type Finding, finding } from "../peer/findings.ts";
import type { Peer } from "../peer/peer.ts";
import { EXIT, UserError } from "../util/errors.ts";
import { hasCommonCertificate, isSignedBy } from "../x509/chain.ts";
import { normalizeCa, PemError } from "../x509/pem.ts";
import { findDuplicateNames } from "./duplicate-names.ts";
import {
  type ExtractedMember,
  existingOf,
  importTarget,
  type MeshChange,
  type MeshReading,
  ownOf,
  peersOf,
} from "./member.ts";
import { extractedPeer } from "./own-certificates.ts";
import { assertKnownPeers } from "./peer-names.ts";

export interface RotateOptions {
  /** Continue without clusters that cannot be read. */
  skipUnreachable: boolean;
  /** The time at which certificates must be valid. */
  now: Date;
}

/**
 * Plans the import of a cluster's current certificates into its importers, with a note on how the change affects the
 * connection of each. Pure.
 *
 * @param rotated - the cluster whose certificates changed, extracted as a peer.
 */
export function planRotation(rotated: ExtractedMember, importers: MeshReading, options: RotateOptions): MeshChange {
  const cluster = rotated.target.facts.name ?? rotated.source;
  const { configured, kept } = importersOf(cluster, importers);
  // The rotated cluster may be read by another of its names, too.
  const others = importers.members.filter(({ target }) => target.identity !== rotated.target.identity);
  const peers = extractedPeer(rotated, options.now);
  return {
    targets: configured.map(({ member }) => importTarget(member, peers)),
    peers,
    findings: [...(options.skipUnreachable ? [] : importers.unreadable), ...findDuplicateNames([rotated, ...others])],
    omitted: importers.unreadable,
    notes: [
      ...kept,
      ...configured.map(({ member, peer }) => `${member.source}: ${rotationImpact(member, peer, rotated, cluster)}`),
    ],
  };
}

/**
 * Plans that the importers of a cluster trust an additional CA, and nothing else. This step precedes a change of the CA and
 * needs no access to the cluster. Pure.
 *
 * @param cluster - its name.
 * @param ca - PEM.
 * @param existing - names of all known clusters, peers or not: the contexts of the kubeconfig.
 * @throws UserError (exit code 2) if the CA cannot be read, or if no importer has the cluster as a peer.
 */
export function planTrust(
  cluster: string,
  ca: string,
  importers: MeshReading,
  { skipUnreachable, existing }: Pick<RotateOptions, "skipUnreachable"> & { existing: Iterable<string> },
): MeshChange {
  const { members, unreadable } = importers;
  if (unreadable.length === 0) assertKnownPeers([cluster], members, [...existing]);
  const { configured, kept } = importersOf(cluster, importers);
  const trusting = configured.map(({ member, peer }) => ({
    member,
    peer,
    before: trustedCa(peer, member.target.common?.ca),
  }));
  return {
    targets: trusting.flatMap(({ member, peer, before }) =>
      before === undefined
        ? []
        : [importTarget(member, [{ peer: { ...peer, ca: { pem: withCa(before, ca) } }, source: member.source }])],
    ),
    peers: [],
    findings: skipUnreachable ? [] : unreadable,
    omitted: [
      ...unreadable,
      ...trusting.flatMap(({ member, peer, before }) => (before === undefined ? [unknownCaFinding(member, peer)] : [])),
    ],
    notes: kept,
  };
}

/** Returns the importers of a cluster with their peer, and in `kept` a line for each importer whose peer stays as it is. */
function importersOf(
  cluster: string,
  { members }: MeshReading,
): { configured: { member: ExtractedMember; peer: Peer }[]; kept: string[] } {
  const configured: { member: ExtractedMember; peer: Peer }[] = [];
  const kept: string[] = [];
  for (const member of members) {
    const existing = existingOf(member);
    if (isImportedNodeLocal(existing, cluster)) {
      const one = existingPeer(member.target, existing, cluster);
      if ("peer" in one) configured.push({ member, peer: one.peer });
    } else if (isNodeLocalPeer(existing, cluster)) {
      kept.push(`${member.source}: skipped ${cluster}: node-local`);
    } else {
      const found = peersOf(member).peers.find(({ peer }) => peer.name === cluster);
      if (found) configured.push({ member, peer: found.peer });
    }
  }
  return { configured, kept };
}

/** Returns the CA (PEM) with which an importer verifies a peer; undefined if it is unknown. */
function trustedCa({ ca }: Peer, own: string | undefined): string | undefined {
  return typeof ca === "object" ? ca.pem : ca === "importer" ? own : undefined;
}

/** Returns a CA bundle with an additional CA. */
function withCa(before: string, trust: string): string {
  try {
    return normalizeCa(`${before}\n${trust}`);
  } catch (error) {
    if (!(error instanceof PemError)) throw error;
    throw new UserError(`the CA to trust ${error.message}`, EXIT.refused);
  }
}

/** Reports an importer whose current CA is unknown, so that writing the new CA could replace it. */
function unknownCaFinding({ source, target }: ExtractedMember, { name, ca }: Peer): Finding {
  const { external } = target.common ?? {};
  const [from, where] =
    ca === "system"
      ? ["the system's trusted roots", "to the trust store of Cilium's images"]
      : external
        ? [describeExternalSource(external), "to the source of the volume"]
        : ["an object that cannot be read", "to that object"];
  return finding("common-unverified", { source, key: name }, { case: "trust", peer: name, from, where });
}

/** Describes how a rotation affects a connection. It stays up if each side accepts the other's certificate before and after. */
function rotationImpact(importer: ExtractedMember, before: Peer, rotated: ExtractedMember, cluster: string): string {
  if (!rotated.peer) return `${cluster} cannot be extracted`;
  const own = ownOf(importer);
  const client = before.client === "importer" ? own.client?.cert : before.client.cert;
  const trusted = trustedCa(before, own.ca);
  const now = typeof rotated.peer.ca === "object" ? rotated.peer.ca.pem : rotated.peer.facts.ca;
  const server = rotated.installation.ca;
  // Undefined if one of the two cannot be read.
  const accepted = client === undefined || now === undefined ? undefined : isSignedBy(client, now);
  const trusts = trusted === undefined || server === undefined ? undefined : hasCommonCertificate(trusted, server);
  if (accepted && trusts) return `stays connected to ${cluster}, with at most one reconnect`;
  if (accepted !== false && trusts !== false) {
    const hidden = client === undefined || trusted === undefined ? importer : rotated;
    const { external } = hidden.installation;
    const where = external ? `come from ${describeExternalSource(external)}` : "cannot be read";
    return `unknown whether it stays connected to ${cluster}: certificates of ${hidden.source} ${where}`;
  }
  const why =
    trusts === false
      ? `it does not trust ${cluster}'s new CA yet`
      : `its client certificate is not signed by ${cluster}'s CA`;
  return `is disconnected from ${cluster} (${why}) until its pods pick up the new Secret, within about two minutes`;
}
