/** What is wrong with peers together, and with them in a target. Pure. */

import { findOverlaps, formatHostPort, parseEndpoint } from "../../util/address.ts";
import { dedupeFindings, type Finding, finding, type Place } from "../findings.ts";
import type { SourcedPeer } from "../peer.ts";
import { type ClusterFacts, versionAtLeast } from "../peer.ts";

/** A peer that already stands in the target and is not among the files: what is kept of it. */
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
  standing: readonly ExistingPeer[];
  /** Set if every id in the files is recorded in the target already, so that no id is compared for the first time. */
  idsRecorded?: boolean;
}

/** That the id of a peer is not known; of an existing one if `existing` is set. */
export function unknownId(name: string, place: Place, existing?: true): Finding {
  const which = existing ? `existing peer ${name}` : name;
  const message = `cluster id of ${which} is unknown, so duplicates cannot be detected`;
  return finding("id-unknown", place, message, "re-extract with extract-secret", { ...(existing && { existing }) });
}

/**
 * What is wrong with peers together, and with them in this target: names, ids, maxima, their number, and what has to
 * fit between clusters. Existing peers of unknown id are reported only if ids of the files have to be compared with them.
 */
export function checkMesh(peers: readonly SourcedPeer[], target: TargetContext): Finding[] {
  const limit = (target.facts.maxConnectedClusters ?? 255) - 1;
  const number = target.standing.length + peers.length;
  const tooMany = finding(
    "too-many-peers",
    { source: target.source },
    `${number} peers, but max-connected-clusters ${limit + 1} allows ${limit}`,
    limit < 510 ? "clustermesh.maxConnectedClusters=511 in every cluster allows 510" : undefined,
  );
  return [...checkIds(peers, target), ...(number > limit ? [tooMany] : []), ...checkFit(peers, target)];
}

/** Ids that are unknown or used twice, and maxima that differ. */
function checkIds(peers: readonly SourcedPeer[], target: TargetContext): Finding[] {
  const findings: Finding[] = [];
  const { facts } = target;
  const own = facts.name ?? target.source;

  const ids = new Map<number, string>();
  if (facts.id !== undefined) ids.set(facts.id, own);
  const members = [
    ...target.standing.map((peer) => ({ ...peer, source: target.source, stands: true })),
    ...peers.map(({ peer, source }) => ({
      ...peer.facts,
      name: peer.name,
      source,
      stands: false,
      nodeLocal: undefined,
    })),
  ];
  const comparesIds = !target.idsRecorded && peers.some(({ peer }) => peer.facts.id !== undefined);

  let reference =
    facts.maxConnectedClusters === undefined ? undefined : { name: own, maximum: facts.maxConnectedClusters };
  for (const { name, id, maxConnectedClusters: maximum, source, stands, nodeLocal } of members) {
    const at = { source, key: name };
    if (id === undefined) {
      if (!stands) findings.push(unknownId(name, at));
      else if (comparesIds && !nodeLocal) findings.push(unknownId(name, at, true));
    } else {
      const other = ids.get(id);
      const clusters: [string, string] = [name, other ?? own];
      if (other === facts.name && id === facts.id) {
        const message = `${name} has id ${id}, which is the target's own (${facts.name})`;
        findings.push(finding("id-of-target", at, message, undefined, { clusters, data: { id: `${id}` } }));
      } else if (other !== undefined) {
        const message = `${name} has id ${id}, and so has ${other}`;
        findings.push(finding("id-twice", at, message, undefined, { clusters, data: { id: `${id}` } }));
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
          `${name} has max-connected-clusters ${maximum}, ${reference.name} ${reference.maximum}`,
          stands
            ? {
                template: "if that is no longer so, import the present file of {peer} in the same call",
                values: { peer: name },
              }
            : "give all clusters of a mesh the same clustermesh.maxConnectedClusters",
          { clusters: [name, reference.name], data: { values: bothValues(maximum, reference.maximum) } },
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
        `pod CIDRs ${cidrs[0]} of ${a} and ${cidrs[1]} of ${b} overlap, so their pods cannot reach each other`,
        "give each cluster pod CIDRs of its own",
        { clusters: [a, b] },
      ),
    );
  }
  for (const sourced of peers) {
    findings.push(...checkTraffic(target, sourced), ...checkNodePort(target, sourced));
  }
  return findings;
}

/** Two values that differ, the same from either side. */
export function bothValues(one: string | number | undefined, other: string | number | undefined): string {
  return [`${one}`, `${other}`].sort().join(" and ");
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
  const differs = <T>(a: T | undefined, b: T | undefined) => a !== undefined && b !== undefined && a !== b;
  const both = { clusters: [name, peer.name] as [string, string] };
  if (differs(routingOf(facts), routingOf(peer.facts))) {
    findings.push(
      finding(
        "tunnel-differs",
        place,
        `${peer.name} routes by ${routingOf(peer.facts)}, ${name} by ${routingOf(facts)}`,
        "give all clusters one routing mode and tunnel protocol",
        { ...both, data: { values: bothValues(routingOf(facts), routingOf(peer.facts)) } },
      ),
    );
  }
  if (differs(facts.encryption, peer.facts.encryption)) {
    findings.push(
      finding(
        "encryption-differs",
        place,
        `encryption is ${peer.facts.encryption} in ${peer.name} and ${facts.encryption} in ${name}`,
        "encryption is on everywhere in a mesh or nowhere",
        { ...both, data: { values: bothValues(facts.encryption, peer.facts.encryption) } },
      ),
    );
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
      `${formatHostPort(same)} has ${name}'s own node port ${nodePort}, ` +
        `and Cilium ${facts.version} with kube-proxy replacement sends such traffic to the local etcd`,
      "give one of them another clustermesh.apiserver.service.nodePort, or a LoadBalancer",
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
  const unknown: TargetContext = { source: "these files", facts: {}, standing: [] };
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
      findings.push(
        finding(
          "ca-differs",
          { source: sourced.source, key: name },
          `${name} and ${shared.name} have authMode cluster, and not the same CA`,
          "authMode cluster wants one CA for all clusters",
          { clusters: [shared.name, name] },
        ),
      );
    }
  }
  return dedupeFindings(findings);
}

function routingOf({ routingMode, tunnelProtocol }: ClusterFacts): string | undefined {
  return routingMode === "native" ? "native" : tunnelProtocol;
}
