/** Chooses the CA and client certificate with which a target reaches a peer. Pure. */
import { COMMON_NAMES, describeExternalSource } from "../../cilium/volumes.ts";
import { type Finding, finding, type Place } from "../../peer/findings.ts";
import type { Peer, SourcedPeer } from "../../peer/peer.ts";
import { shellQuote } from "../../util/shell.ts";
import { hasAllCertificates, isSignedBy } from "../../x509/chain.ts";
import { certificateUser } from "../../x509/names.ts";
import type { Target } from "./target.ts";

/** `peer`: the certificates in the file; `common`: the target's own; `auto`: the target's own if the peer accepts them. */
export type TlsMode = "auto" | "peer" | "common";

const COMMON_FILE_NAMES = Object.values(COMMON_NAMES).join(", ");

/**
 * Chooses the TLS material of a peer: from its file, or from the target, which keeps private keys out of the Secret.
 *
 * @param usesOwnCertificate - whether the existing config of the peer uses the target's own certificate.
 * @returns the peer with the chosen material, or findings if the target cannot reach the peer in this mode.
 */
export function chooseTls(
  { peer, source }: SourcedPeer,
  target: Target,
  mode: TlsMode,
  usesOwnCertificate = false,
): { peer: Peer } | { findings: Finding[] } {
  const place = { source, key: peer.name };
  const identity = peer.client === "importer" ? undefined : certificateUser(peer.client.cert, target.cache);
  const isKeyless = identity === undefined && peer.client === "importer";
  // With authMode cluster, a file may contain the peer's own identity, which the peer's etcd does not accept.
  const isPeerIdentity = identity === `remote-${peer.name}`;
  const obstacle = findCommonObstacle(peer, place, target, mode === "common" || isPeerIdentity || usesOwnCertificate);

  if (mode === "peer" && isKeyless) return { findings: [finding("peer-without-key", place, { lacking: "key" })] };
  // A file with a certificate can reference the common CA, which must then be mounted in every mode.
  if (peer.ca === "importer" && !target.common && obstacle) return { findings: [obstacle] };
  if (mode === "peer" || (mode === "auto" && obstacle !== undefined && !isKeyless && !isPeerIdentity)) return { peer };
  if (obstacle === undefined) return { peer: { ...peer, ca: commonCa(peer), client: "importer" } };
  if (mode === "common" || identity === undefined) return { findings: [obstacle] };
  const values = { peer: peer.name, identity, why: obstacle.message };
  return { findings: [finding("user-not-accepted", place, values)] };
}

/**
 * Returns why a target cannot reach a peer with its own certificate, so that `auto` keeps the key in the peer's file; undefined if
 * it can.
 */
export function findOwnCertificateObstacle({ peer, source }: SourcedPeer, target: Target): Finding | undefined {
  return findCommonObstacle(peer, { source, key: peer.name }, target, false);
}

/** Keeps the TLS material of an existing peer, or returns a finding if the target does not mount it. */
export function keepExistingTls(
  { peer, source }: SourcedPeer,
  { common }: Target,
): { peer: Peer } | { findings: Finding[] } {
  const needsOwn = peer.client === "importer" || peer.ca === "importer";
  if (common || !needsOwn) return { peer };
  const values = { peer: peer.name, files: COMMON_FILE_NAMES, isExisting: true } as const;
  return { findings: [finding("common-not-mounted", { source, key: peer.name }, values)] };
}

/** Returns the CA to use with the target's certificate: that of a keyless file if it has one, else the target's own. */
function commonCa({ ca, client }: Peer): Peer["ca"] {
  return client === "importer" && ca !== "importer" ? ca : "importer";
}

/**
 * Reports what cannot be verified for peers that use the target's own certificate: everything, if the certificate is in a
 * volume that is not a Secret; otherwise the equality of CAs, if a file of extract-secret lacks the peer's CA.
 *
 * @param peers - the peers as read from their files.
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
    importer: shellQuote(source),
    namespace: shellQuote(namespace),
    command: facts.kvstoreMesh
      ? "deploy/clustermesh-apiserver -c kvstoremesh -- clustermesh-apiserver kvstoremesh-dbg troubleshoot"
      : "ds/cilium -c cilium-agent -- cilium-dbg troubleshoot clustermesh",
  } as const;
  return [finding("common-unverified", { source }, values)];
}

/**
 * Returns why the target's own files cannot be used for a peer; undefined if they can.
 *
 * @param isPreferred - whether to use files in an external volume, whose content is unknown.
 */
function findCommonObstacle(peer: Peer, place: Place, target: Target, isPreferred: boolean): Finding | undefined {
  const { common, clientCertificate, facts, cache } = target;
  if (!common) return finding("common-not-mounted", place, { peer: peer.name, files: COMMON_FILE_NAMES });
  const peerCa = typeof peer.ca === "object" ? peer.ca.pem : peer.facts.ca;
  const isKeyless = peer.client === "importer";
  if (peerCa === undefined) {
    // A keyless file of the charts lacks the CA, but implies that the clusters share one.
    return isKeyless ? undefined : finding("ca-differs", place, { case: "unknown-peer-ca" });
  }
  const keepsCa = isKeyless && peer.ca !== "importer";
  const unknownOwnCa =
    isKeyless || (isPreferred && common.external)
      ? undefined
      : finding("ca-differs", place, { case: "unknown-own-ca" });
  if (common.ca === undefined && !keepsCa) return unknownOwnCa;
  if (!keepsCa && !hasAllCertificates(common.ca ?? "", peerCa, cache)) {
    return finding("ca-differs", place, { case: "different", peer: peer.name });
  }
  if (clientCertificate === undefined) return unknownOwnCa;
  // The bundle to verify the peer with may have more CAs than the peer itself, while its CA changes.
  if (!isSignedBy(clientCertificate, peer.facts.ca ?? peerCa, cache)) {
    return finding("ca-differs", place, { case: "not-signed", peer: peer.name });
  }
  const user = certificateUser(clientCertificate, cache);
  if (user === "remote") return undefined;
  const isAccepted = user === `remote-${facts.name}` && peer.facts.authMode !== "legacy";
  // If the file has a key, its certificate is safer unless the peer is known to accept ours.
  if (isAccepted && (isKeyless || peer.facts.authMode !== undefined)) return undefined;
  return finding("user-not-accepted", place, { peer: peer.name, user, authMode: peer.facts.authMode });
}
