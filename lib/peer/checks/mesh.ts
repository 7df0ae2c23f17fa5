/** What is wrong with peers together, and with them in a target. Pure. */

import { findOverlaps, formatHostPort, parseEndpoint } from "../../util/address.ts";
import { dedupeFindings, type Finding, finding, type Place } from "../findings.ts";
import type { SourcedPeer } from "../peer.ts";
import { type ClusterFacts, versionAtLeast } from "../peer.ts";

/** A peer that exists in the target and is not among the files. */
export interface ExistingPeer {
  name: string;
  /** Set if only a node can reach it: that its id is unknown is then not reported. */
  nodeLocal?: true;
  id?: number | undefined;
  maxConnectedClusters?: number | undefined;
}

/** The target as far as the rules ask: its facts, and what it resolves and mounts. */
export interface TargetContext {
  /** How the target is called in findings: its context. */
  source: string;
  facts: ClusterFacts;
  existing: readonly ExistingPeer[];
  /** Set if every id in the files is recorded in the target already, so that no id is compared for the first time. */
  idsRecorded?: boolean;
}

/** That the id of a peer is not known; of an existing one if `existing` is set. */
export function unknownIdFinding(name: string, place: Place, existing?: true): Finding {
  return existing
    ? finding("id-unknown", place, { name, isExisting: true }, { existing })
    : finding("id-unknown", place, { name });
}

/**
 * What is wrong with peers together, and with them in this target: names, ids, maxima, their number, and what has to
 * fit between clusters. Existing peers of unknown id are reported only if ids of the files have to be compared with them.
 */
export function checkMesh(peers: readonly SourcedPeer[], target: TargetContext): Finding[] {
  const { maxConnectedClusters: maximum = 255 } = target.facts;
  const number = target.existing.length + peers.length;
  const tooMany = finding("too-many-peers", { source: target.source }, { number, maximum });
  return [...checkIds(peers, target), ...(number >= maximum ? [tooMany] : []), ...checkFit(peers, target)];
}

/** Ids that are unknown or used twice, and maxima that differ. */
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
    const at = { source, key: name };
    if (id === undefined) {
      if (!isExisting) findings.push(unknownIdFinding(name, at));
      else if (comparesIds && !nodeLocal) findings.push(unknownIdFinding(name, at, true));
    } else {
      const other = ids.get(id);
      const clusters: [string, string] = [name, other ?? own];
      if (other === facts.name && id === facts.id) {
        findings.push(finding("id-of-target", at, { id: `${id}`, target: own }, { clusters }));
      } else if (other !== undefined) {
        findings.push(finding("id-duplicate", at, { id: `${id}`, other }, { clusters }));
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
          at,
          { maximum, other: reference.name, otherMaximum: reference.maximum, ...(isExisting && { peer: name }) },
          { clusters: [name, reference.name] },
        ),
      );
    }
  }
  return findings;
}

function checkFit(peers: readonly SourcedPeer[], { source, facts }: TargetContext): Finding[] {
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

/** One side of a pair, as it is called in findings. */
interface Side {
  name: string;
  facts: ClusterFacts;
}

/** What has to be equal for traffic between two clusters. */
function checkTraffic({ name, facts }: Side, { peer, source }: SourcedPeer): Finding[] {
  const findings: Finding[] = [];
  const place = { source, key: peer.name };
  const both = { peer: peer.name, other: name };
  const clusters: [string, string] = [name, peer.name];
  const [routing, otherRouting] = [routingOf(peer.facts), routingOf(facts)];
  if (routing !== undefined && otherRouting !== undefined && routing !== otherRouting) {
    findings.push(finding("tunnel-differs", place, { ...both, routing, otherRouting }, { clusters }));
  }
  const { encryption } = peer.facts;
  const { encryption: otherEncryption } = facts;
  if (encryption !== undefined && otherEncryption !== undefined && encryption !== otherEncryption) {
    findings.push(finding("encryption-differs", place, { ...both, encryption, otherEncryption }, { clusters }));
  }
  return findings;
}

/**
 * Before cilium#41337 (1.19) kube-proxy replacement takes a remote node port for its own, where they are equal. It is
 * symmetric if the peer would do the same with the node port of this side.
 */
function checkNodePort({ name, facts }: Side, { peer, source }: SourcedPeer): Finding[] {
  const { nodePort } = facts;
  if (nodePort === undefined || !takesNodePorts(facts)) return [];
  const same = peer.endpoints.map(parseEndpoint).find((endpoint) => endpoint && endpoint.port === nodePort);
  if (!same) return [];
  const symmetric = peer.facts.nodePort === nodePort && takesNodePorts(peer.facts);
  return [
    finding(
      "same-node-port",
      { source, key: peer.name },
      { address: formatHostPort(same), cluster: name, nodePort, version: facts.version },
      symmetric ? { clusters: [name, peer.name] } : {},
    ),
  ];
}

function takesNodePorts({ kubeProxyReplacement, version }: ClusterFacts): boolean {
  return kubeProxyReplacement === true && versionAtLeast(version, "1.19") === false;
}

/**
 * What is wrong with the peers of several files together, wherever they are imported: by the rules of {@link checkMesh}
 * but for their number, with the first that knows a thing in the place of the target.
 */
export function checkTogether(peers: readonly SourcedPeer[]): Finding[] {
  if (peers.length < 2) return [];
  const unknown: TargetContext = { source: "these files", facts: {}, existing: [] };
  const findings = [...checkIds(peers, unknown), ...checkFit(peers, unknown)];
  const first = (knows: (facts: ClusterFacts) => unknown) => peers.find(({ peer }) => knows(peer.facts) !== undefined);
  const routed = first(routingOf)?.peer;
  const encrypted = first(({ encryption }) => encryption)?.peer;
  const identified = peers.filter(({ peer: { facts } }) => facts.authMode === "cluster" && facts.ca !== undefined);
  const shared = identified[0]?.peer;
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
    if (shared && facts.authMode === "cluster" && facts.ca !== undefined && facts.ca !== shared.facts.ca) {
      const values = { case: "auth-mode", peer: name, other: shared.name } as const;
      const place = { source: sourced.source, key: name };
      findings.push(finding("ca-differs", place, values, { clusters: [shared.name, name] }));
    }
  }
  return dedupeFindings(findings);
}

function routingOf({ routingMode, tunnelProtocol }: ClusterFacts): string | undefined {
  return routingMode === "native" ? "native" : tunnelProtocol;
}
