/** By which CA and client certificate a target is to reach a peer. Pure. */
import { COMMON_NAMES, describeExternalSource } from "../../cilium/volumes.ts";
import { type Finding, finding, type Place } from "../../peer/findings.ts";
import type { Peer, SourcedPeer } from "../../peer/peer.ts";
import { hasAllCertificates, isSignedBy } from "../../x509/chain.ts";
import { certificateUser } from "../../x509/names.ts";
import type { Target } from "./target.ts";

/** `peer`: what the file brings; `common`: the target's own; `auto`: its own where it will do. */
export type TlsMode = "auto" | "peer" | "common";

const COMMON_FILE_NAMES = Object.values(COMMON_NAMES).join(", ");

/**
 * The peer as it is to stand in the target: with the TLS material of the file, or, in the `common-` form, with the
 * target's own, so that no private key stands in the Secret.
 *
 * @param standsByOwn whether the target reaches this peer by its own certificate already.
 * @returns findings where the target cannot reach the peer in this mode.
 */
export function chooseTls(
  { peer, source }: SourcedPeer,
  target: Target,
  mode: TlsMode,
  standsByOwn = false,
): { peer: Peer } | { findings: Finding[] } {
  const place = { source, key: peer.name };
  const identity = peer.client === "importer" ? undefined : certificateUser(peer.client.cert, target.cache);
  const keyless = identity === undefined && peer.client === "importer";
  // In authMode cluster a file holds the peer's own identity, which its own etcd does not let in.
  const notForOthers = identity === `remote-${peer.name}`;
  const obstacle = commonObstacle(peer, place, target, mode === "common" || notForOthers || standsByOwn);

  if (mode === "peer" && keyless) return { findings: [finding("peer-without-key", place, { lacking: "key" })] };
  // The mixture of own certificate and common CA: the CA has to be mounted, whatever the mode.
  if (peer.ca === "importer" && !target.common && obstacle) return { findings: [obstacle] };
  if (mode === "peer" || (mode === "auto" && obstacle !== undefined && !keyless && !notForOthers)) return { peer };
  if (obstacle === undefined) return { peer: { ...peer, ca: commonCa(peer), client: "importer" } };
  if (mode === "common" || identity === undefined) return { findings: [obstacle] };
  const values = { peer: peer.name, identity, why: obstacle.message };
  return { findings: [finding("user-not-accepted", place, values)] };
}

/** A peer of the target with the TLS material that it stands with. */
export function keepExistingTls(
  { peer, source }: SourcedPeer,
  { common }: Target,
): { peer: Peer } | { findings: Finding[] } {
  const needsOwn = peer.client === "importer" || peer.ca === "importer";
  if (common || !needsOwn) return { peer };
  const values = { peer: peer.name, files: COMMON_FILE_NAMES, isExisting: true } as const;
  return { findings: [finding("common-not-mounted", { source, key: peer.name }, values)] };
}

/** Where a file brings a CA and no certificate, its CA stays; else both are the target's own. */
function commonCa({ ca, client }: Peer): Peer["ca"] {
  return client === "importer" && ca !== "importer" ? ca : "importer";
}

/**
 * What cannot be checked of peers that the target reaches by its own certificate: all, where that comes from a volume
 * that is no Secret; else whether the CAs are the same, where a file of extract-secret does not tell the peer's.
 *
 * @param peers as their files have them.
 */
export function checkCommon(target: Target, peers: readonly SourcedPeer[]): Finding[] {
  const { external, listed } = target.common ?? {};
  if (!external) {
    return peers.flatMap(({ peer: { name, ca, facts }, source }) => {
      if (ca !== "importer" || facts.ca !== undefined || facts.name === undefined) return [];
      return [finding("common-unverified", { source, key: name }, { case: "file", peer: name })];
    });
  }
  if (peers.length === 0) return [];
  const { source, namespace, facts } = target;
  const values = {
    case: "volume",
    external: describeExternalSource(external),
    unchecked: listed
      ? "whether peers accept it"
      : `whether the volume contains ${COMMON_FILE_NAMES}, and peers accept them,`,
    namespace,
    command: facts.kvstoreMesh
      ? "deploy/clustermesh-apiserver -c kvstoremesh -- clustermesh-apiserver kvstoremesh-dbg troubleshoot"
      : "ds/cilium -c cilium-agent -- cilium-dbg troubleshoot clustermesh",
  } as const;
  return [finding("common-unverified", { source }, values)];
}

/**
 * What keeps the target's own files from serving for this peer; undefined where they will do.
 *
 * @param wanted whether they are to serve unless something speaks against it: where a volume brings them that nobody can
 *   read, nothing speaks for it either.
 */
function commonObstacle(peer: Peer, place: Place, target: Target, wanted: boolean): Finding | undefined {
  const { common, clientCertificate, facts, cache } = target;
  if (!common) return finding("common-not-mounted", place, { peer: peer.name, files: COMMON_FILE_NAMES });
  const theirs = typeof peer.ca === "object" ? peer.ca.pem : peer.facts.ca;
  const keyless = peer.client === "importer";
  if (theirs === undefined) {
    // A keyless file of the charts does not tell its CA; that clusters share one is what its form says.
    return keyless ? undefined : finding("ca-differs", place, { case: "unknown-peer-ca" });
  }
  const keepsCa = keyless && peer.ca !== "importer";
  const unknown =
    keyless || (wanted && common.external) ? undefined : finding("ca-differs", place, { case: "unknown-own-ca" });
  if (common.ca === undefined && !keepsCa) return unknown;
  if (!keepsCa && !hasAllCertificates(common.ca ?? "", theirs, cache)) {
    return finding("ca-differs", place, { case: "different", peer: peer.name });
  }
  if (clientCertificate === undefined) return unknown;
  if (!isSignedBy(clientCertificate, theirs, cache)) {
    return finding("ca-differs", place, { case: "not-signed", peer: peer.name });
  }
  const user = certificateUser(clientCertificate, cache);
  if (user === "remote") return undefined;
  const accepted = user === `remote-${facts.name}` && peer.facts.authMode !== "legacy";
  // Where the file has a key, its certificate is the safer one unless the peer is known to take ours.
  if (accepted && (keyless || peer.facts.authMode !== undefined)) return undefined;
  return finding("user-not-accepted", place, { peer: peer.name, user, authMode: peer.facts.authMode });
}
