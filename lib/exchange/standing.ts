/** What peers stand in a target, wherever an upgrade left them. Pure. */
import { type PeerRecord, recordedFacts } from "../peer/annotations.ts";
import { isOwnCache } from "../peer/etcd-config.ts";
import { type Finding, finding } from "../peer/findings.ts";
import { AGENTS_SECRET, isClusterName, KVSTOREMESH_SECRET } from "../peer/peer.ts";
import type { SourcedPeer } from "../peer/rules.ts";
import { type OpenSecret, openSecret } from "./secret-change.ts";
import type { Target } from "./target.ts";

/** The two config Secrets of a target, read. */
export interface Standing {
  agents: OpenSecret;
  kvstoremesh: OpenSecret;
  /** The one whose configs lead to the peers: that of the kvstoremesh container where it runs, else the agents'. */
  remote: OpenSecret;
  /** Names of all peers in {@link remote} and in {@link agents}, whether their configs can be read or not. */
  names: Set<string>;
  records: Map<string, PeerRecord>;
}

export function readStanding(target: Target, findings: Finding[]): Standing {
  const { facts } = target;
  const agents = openSecret(target.agentsSecret, target, findings);
  // What nobody reads is not worth a finding.
  const kvstoremesh = openSecret(target.kvstoremeshSecret, target, facts.kvstoreMesh ? findings : []);
  const remote = facts.kvstoreMesh ? kvstoremesh : agents;
  const names = new Set([...remote.entries.keys(), ...agents.entries.keys()]);
  names.delete(facts.name ?? "");
  const records = new Map([...kvstoremesh.records, ...agents.records, ...remote.records]);
  return { agents, kvstoremesh, remote, names, records };
}

/** The Secret that tells how to reach a peer: usually {@link Standing.remote}, after a switch of KVStoreMesh the other. */
export function homeOf({ remote, agents, kvstoremesh }: Standing, name: string): OpenSecret | undefined {
  return [remote, agents, kvstoremesh].find((secret) => {
    const config = secret.entries.get(name)?.config;
    return config && !isOwnCache(config.endpoints);
  });
}

/**
 * A peer as it stands.
 *
 * @returns a finding where what stands there cannot be made out.
 */
export function standingPeer(target: Target, standing: Standing, name: string): SourcedPeer | Finding {
  const { source } = target;
  const place = { source, key: name };
  if (!isClusterName(name)) {
    const message = `${JSON.stringify(name)} is no name of a cluster in a mesh, so it is left as it stands`;
    return finding("standing-unusable", place, message, "import the file of the cluster, and drop this with --prune");
  }
  const peer = homeOf(standing, name)?.entries.get(name)?.peer;
  if (peer) return { peer: { ...peer, facts: recordedFacts(standing.records.get(name)) }, source };
  const [problem] = [standing.remote, standing.agents].flatMap(({ entries }) => entries.get(name)?.findings ?? []);
  const message = problem
    ? `${name} cannot connect as it stands: ${problem.message}`
    : `${name} stands in ${AGENTS_SECRET} as this cluster's own copy, which nobody fetches: ${KVSTOREMESH_SECRET} lacks it`;
  return finding("standing-unusable", place, message, `import the file of ${name}, or drop it with --prune`);
}
