/** Checks of peers in combination with each other and with a target. Pure. */

import { findOverlaps, formatHostPort, parseEndpoint } from "../../util/address.ts";
import { dedupeFindings, type Finding, finding, type Place } from "../findings.ts";
import type { SourcedPeer } from "../peer.ts";
import { type ClusterFacts, versionAtLeast } from "../peer.ts";

/** A peer of the target that is not among the files. */
export interface ExistingPeer {
  name: string;
  /** Set if it is reachable only from the same node. An unknown id is then not reported. */
  nodeLocal?: true;
  id?: number | undefined;
  maxConnectedClusters?: number | undefined;
}

/** The properties of a target that peers are checked against. */
export interface TargetContext {
  /** The name of the target in findings: its context. */
  source: string;
  facts: ClusterFacts;
  existing: readonly ExistingPeer[];
  /** Set if the target already has records of all ids in the files, so none is compared for the first time. */
  idsRecorded?: boolean;
}

/**
 * Creates the finding about an unknown id of a peer.
 *
 * @param existing - set if the peer exists in the target.
 */
export function unknownIdFinding(name: string, place: Place, existing?: true): Finding {
  return existing
    ? finding("id-unknown", place, { name, isExisting: true }, { existing })
    : finding("id-unknown", place, { name });
}

/**
 * Checks peers against each other and against a target: ids, maxima, the number of peers, and compatibility of the
 * clusters. Existing peers with an unknown id are reported only if the files contain ids to compare with.
 */
export function checkMesh(peers: readonly SourcedPeer[], target: TargetContext): Finding[] {
  const { maxConnectedClusters: maximum = 255 } = target.facts;
  const number = target.existing.length + peers.length;
  const tooMany = finding("too-many-peers", { source: target.source }, { number, maximum });
  return [...checkIds(peers, target), ...(number >= maximum ? [tooMany] : []), ...checkCompatibility(peers, target)];
}

/** Checks for unknown and duplicate ids, and for different maxima. */
function checkIds(peers: readonly SourcedPeer[], target: TargetContext): Finding[] {
  const findings: Finding[] = [];
  const { facts } = target;
  const own = facts.name ?? target.source;

  const ids = new Map<number, string>();
  if (facts.id !== undefined) ids.set(facts.id, own);
  const members = [
    ...target.existing.map((peer) => ({ ...peer, source: target.source, isExisting: true })),
    ...peers.map(({ peer, source }) => ({
      ...peer.facts,
      name: peer.name,
      source,
      isExisting: false,
      nodeLocal: undefined,
    })),
  ];
  const comparesIds = !target.idsRecorded && peers.some(({ peer }) => peer.facts.id !== undefined);

  let reference =
    facts.maxConnectedClusters === undefined ? undefined : { name: own, maximum: facts.maxConnectedClusters };
  for (const { name, id, maxConnectedClusters: maximum, source, isExisting, nodeLocal } of members) {
    const place = { source, key: name };
    if (id === undefined) {
      if (!isExisting) findings.push(unknownIdFinding(name, place));
      else if (comparesIds && !nodeLocal) findings.push(unknownIdFinding(name, place, true));
    } else {
      const other = ids.get(id);
      const clusters: [string, string] = [name, other ?? own];
      if (other === facts.name && id === facts.id) {
        findings.push(finding("id-of-target", place, { id: `${id}`, target: own }, { clusters }));
      } else if (other !== undefined) {
        findings.push(finding("id-duplicate", place, { id: `${id}`, other }, { clusters }));
      } else {
        ids.set(id, name);
      }
    }
    if (maximum === undefined) continue;
    reference ??= { name, maximum };
    if (maximum !== reference.maximum) {
      findings.push(
        finding(
          "maximum-differs",
          place,
          { maximum, other: reference.name, otherMaximum: reference.maximum, ...(isExisting && { peer: name }) },
          { clusters: [name, reference.name] },
        ),
      );
    }
  }
  return findings;
}

function checkCompatibility(peers: readonly SourcedPeer[], { source, facts }: TargetContext): Finding[] {
  const findings: Finding[] = [];
  const sources = new Map(peers.map(({ peer, source }) => [peer.name, source]));
  const target = { name: facts.name ?? source, facts };
  const owners = [
    { name: target.name, cidrs: facts.podCidrs ?? [] },
    ...peers.map(({ peer }) => ({ name: peer.name, cidrs: peer.facts.podCidrs ?? [] })),
  ];
  for (const { a, b, cidrs } of findOverlaps(owners)) {
    findings.push(
      finding(
        "pod-cidrs-overlap",
        { source: sources.get(b) ?? source, key: b },
        { peer: a, cidr: cidrs[0], other: b, otherCidr: cidrs[1] },
        { clusters: [a, b] },
      ),
    );
  }
  for (const sourced of peers) {
    findings.push(...checkTraffic(target, sourced), ...checkNodePort(target, sourced));
  }
  return findings;
}

/** A cluster of a pair, with its name in findings. */
interface NamedCluster {
  name: string;
  facts: ClusterFacts;
}

/** Checks settings that must be equal for traffic between two clusters. */
function checkTraffic({ name, facts }: NamedCluster, { peer, source }: SourcedPeer): Finding[] {
  const findings: Finding[] = [];
  const place = { source, key: peer.name };
  const names = { peer: peer.name, other: name };
  const clusters: [string, string] = [name, peer.name];
  const [routing, otherRouting] = [routingOf(peer.facts), routingOf(facts)];
  if (routing !== undefined && otherRouting !== undefined && routing !== otherRouting) {
    findings.push(finding("tunnel-differs", place, { ...names, routing, otherRouting }, { clusters }));
  }
  const { encryption } = peer.facts;
  const { encryption: otherEncryption } = facts;
  if (encryption !== undefined && otherEncryption !== undefined && encryption !== otherEncryption) {
    findings.push(finding("encryption-differs", place, { ...names, encryption, otherEncryption }, { clusters }));
  }
  return findings;
}

/**
 * Checks for equal node ports: before cilium#41337 (1.19), kube-proxy replacement treats a remote node port as local if
 * both have the same number. The finding is symmetric if the peer does the same with the node port of this cluster.
 */
function checkNodePort({ name, facts }: NamedCluster, { peer, source }: SourcedPeer): Finding[] {
  const { nodePort } = facts;
  if (nodePort === undefined || !interceptsNodePorts(facts)) return [];
  const endpoint = peer.endpoints.map(parseEndpoint).find((one) => one && one.port === nodePort);
  if (!endpoint) return [];
  const symmetric = peer.facts.nodePort === nodePort && interceptsNodePorts(peer.facts);
  return [
    finding(
      "same-node-port",
      { source, key: peer.name },
      { address: formatHostPort(endpoint), cluster: name, nodePort, version: facts.version },
      symmetric ? { clusters: [name, peer.name] } : {},
    ),
  ];
}

function interceptsNodePorts({ kubeProxyReplacement, version }: ClusterFacts): boolean {
  return kubeProxyReplacement === true && versionAtLeast(version, "1.19") === false;
}

/**
 * Checks the peers of several files against each other, without a target, by the rules of {@link checkMesh} except for
 * the number of peers. Each setting is compared with that of the first peer whose file contains it.
 */
export function checkTogether(peers: readonly SourcedPeer[]): Finding[] {
  if (peers.length < 2) return [];
  const unknown: TargetContext = { source: "these files", facts: {}, existing: [] };
  const findings = [...checkIds(peers, unknown), ...checkCompatibility(peers, unknown)];
  const findFirst = (factOf: (facts: ClusterFacts) => unknown) =>
    peers.find(({ peer }) => factOf(peer.facts) !== undefined)?.peer;
  const routed = findFirst(routingOf);
  const encrypted = findFirst(({ encryption }) => encryption);
  const identified = peers.filter(({ peer: { facts } }) => facts.authMode === "cluster" && facts.ca !== undefined);
  const reference = identified[0]?.peer;
  const importers = peers.filter(({ peer: { facts } }) => facts.kubeProxyReplacement === true && facts.nodePort);
  for (const sourced of peers) {
    const { name, facts } = sourced.peer;
    if (routed) {
      const { routingMode, tunnelProtocol } = routed.facts;
      findings.push(
        ...checkTraffic(
          {
            name: routed.name,
            facts: { ...(routingMode && { routingMode }), ...(tunnelProtocol && { tunnelProtocol }) },
          },
          sourced,
        ),
      );
    }
    if (encrypted?.facts.encryption) {
      findings.push(
        ...checkTraffic({ name: encrypted.name, facts: { encryption: encrypted.facts.encryption } }, sourced),
      );
    }
    for (const { peer } of importers) {
      if (peer.name !== name) findings.push(...checkNodePort(peer, sourced));
    }
    if (reference && facts.authMode === "cluster" && facts.ca !== undefined && facts.ca !== reference.facts.ca) {
      const values = { case: "auth-mode", peer: name, other: reference.name } as const;
      const place = { source: sourced.source, key: name };
      findings.push(finding("ca-differs", place, values, { clusters: [reference.name, name] }));
    }
  }
  return dedupeFindings(findings);
}

function routingOf({ routingMode, tunnelProtocol }: ClusterFacts): string | undefined {
  return routingMode === "native" ? "native" : tunnelProtocol;
}
