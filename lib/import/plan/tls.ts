/** By which CA and client certificate a target is to reach a peer. Pure. */
import { COMMON_NAMES, describeExternalSource } from "../../cilium/volumes.ts";
import type { FindingCode } from "../../peer/finding-codes.ts";
import { type Finding, finding } from "../../peer/findings.ts";
import type { SourcedPeer } from "../../peer/peer.ts";
import { MOUNT_PATH, type Peer } from "../../peer/peer.ts";
import { hasAllCertificates, isSignedBy } from "../../x509/chain.ts";
import { certificateUser } from "../../x509/names.ts";
import type { Target } from "./target.ts";

/** `peer`: what the file brings; `common`: the target's own; `auto`: its own where it will do. */
export type TlsMode = "auto" | "peer" | "common";

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
  const refuse = (code: FindingCode, message: string, remedy?: string) => ({
    findings: [finding(code, place, message, remedy)],
  });
  const identity = peer.client === "importer" ? undefined : certificateUser(peer.client.cert, target.cache);
  const keyless = identity === undefined && peer.client === "importer";
  // In authMode cluster a file holds the peer's own identity, which its own etcd does not let in.
  const notForOthers = identity === `remote-${peer.name}`;
  const obstacle = commonObstacle(peer, target, mode === "common" || notForOthers || standsByOwn);

  if (mode === "peer" && keyless) {
    return refuse("peer-without-key", "--tls=peer, but the file brings no key for this peer", "import with --tls=auto");
  }
  // The mixture of own certificate and common CA: the CA has to be mounted, whatever the mode.
  if (peer.ca === "importer" && !target.common && obstacle) return refuse(...obstacle);
  if (mode === "peer" || (mode === "auto" && obstacle !== undefined && !keyless && !notForOthers)) return { peer };
  if (obstacle === undefined) return { peer: { ...peer, ca: commonCa(peer), client: "importer" } };
  const [code, why, remedy] = obstacle;
  if (mode === "common" || keyless) return refuse(code, why, remedy);
  return refuse(
    "user-not-accepted",
    `the certificate in the file is ${peer.name}'s own identity (CN ${identity}), which ${peer.name} does not let in`,
    `authMode cluster wants one CA for all clusters, but ${why}`,
  );
}

/** A peer of the target with the TLS material that it stands with. */
export function keepExistingTls(
  { peer, source }: SourcedPeer,
  { common }: Target,
): { peer: Peer } | { findings: Finding[] } {
  const needsOwn = peer.client === "importer" || peer.ca === "importer";
  if (common || !needsOwn) return { peer };
  const message = `${peer.name} is to be reached by the target's own certificate, which its workloads do not mount`;
  return { findings: [finding("common-not-mounted", { source, key: peer.name }, message, "import its file")] };
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
      const message = `the file does not tell the CA of ${name}, so it cannot be checked that it is the target's`;
      return [
        finding("common-unverified", { source, key: name }, message, "make sure that both clusters trust one CA"),
      ];
    });
  }
  if (peers.length === 0) return [];
  const { source, namespace, facts } = target;
  const files = Object.values(COMMON_NAMES).join(", ");
  const unchecked = listed ? "whether peers accept it" : `whether the volume holds ${files}, and peers accept these,`;
  const pods = facts.kvstoreMesh
    ? "deploy/clustermesh-apiserver -c kvstoremesh -- clustermesh-apiserver kvstoremesh-dbg troubleshoot"
    : "ds/cilium -c cilium-agent -- cilium-dbg troubleshoot clustermesh";
  const message = `the target's own certificate comes from ${describeExternalSource(external)} and cannot be read: ${unchecked} was not checked`;
  return [finding("common-unverified", { source }, message, `check in its pods: kubectl -n ${namespace} exec ${pods}`)];
}

/**
 * What keeps the target's own files from serving for this peer; undefined where they will do.
 *
 * @param wanted whether they are to serve unless something speaks against it: where a volume brings them that nobody can
 *   read, nothing speaks for it either.
 */
function commonObstacle(peer: Peer, target: Target, wanted: boolean): [FindingCode, string, string?] | undefined {
  const { common, clientCertificate, facts, cache } = target;
  if (!common) {
    return [
      "common-not-mounted",
      "the target's workloads mount no certificate of their own for this (Cilium 1.14+)",
      `extract ${peer.name} with a key, or mount ${Object.values(COMMON_NAMES).join(", ")} in ${MOUNT_PATH}`,
    ];
  }
  const theirs = typeof peer.ca === "object" ? peer.ca.pem : peer.facts.ca;
  const keyless = peer.client === "importer";
  if (theirs === undefined) {
    // A keyless file of the charts does not tell its CA; that clusters share one is what its form says.
    return keyless ? undefined : ["ca-differs", "the file does not tell the peer's CA"];
  }
  const keepsCa = keyless && peer.ca !== "importer";
  const unknown =
    keyless || (wanted && common.external)
      ? undefined
      : (["ca-differs", "the target's own CA or certificate cannot be read"] as const);
  if (common.ca === undefined && !keepsCa) return unknown ? [...unknown] : undefined;
  if (!keepsCa && !hasAllCertificates(common.ca ?? "", theirs, cache)) {
    return [
      "ca-differs",
      `the CA of ${peer.name} is not the target's`,
      "give the clusters one CA, or import with a key",
    ];
  }
  if (clientCertificate === undefined) return unknown ? [...unknown] : undefined;
  if (!isSignedBy(clientCertificate, theirs, cache)) {
    return ["ca-differs", `the target's own certificate is not signed by the CA of ${peer.name}`];
  }
  const user = certificateUser(clientCertificate, cache);
  if (user === "remote") return undefined;
  const accepted = user === `remote-${facts.name}` && peer.facts.authMode !== "legacy";
  // Where the file has a key, its certificate is the safer one unless the peer is known to take ours.
  if (accepted && (keyless || peer.facts.authMode !== undefined)) return undefined;
  return [
    "user-not-accepted",
    `the target comes as ${user ?? "no user"}, and ${peer.name} has authMode ${peer.facts.authMode ?? "unknown"}`,
    "a legacy server lets in CN remote only: use authMode migration there",
  ];
}
