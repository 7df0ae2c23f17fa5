/** What peers stand in a target, wherever an upgrade left them. Pure. */
import { type PeerRecord, recordedFacts } from "../../peer/annotations.ts";
import { checkPeer } from "../../peer/checks/check-peer.ts";
import { samePeer } from "../../peer/checks/identity.ts";
import { type EtcdConfig, isOwnCache } from "../../peer/etcd-config.ts";
import { type Finding, finding, hasErrors } from "../../peer/findings.ts";
import { isNodeLocal } from "../../peer/node-local.ts";
import { isClusterName, type SourcedPeer } from "../../peer/peer.ts";
import type { Entry } from "../../peer/secret.ts";
import { type ConfigSecret, readConfigSecret } from "./secrets.ts";
import type { Target } from "./target.ts";

/** The two config Secrets of a target, read. */
export interface ExistingConfig {
  agents: ConfigSecret;
  kvstoremesh: ConfigSecret;
  /** The one whose configs lead to the peers: that of the kvstoremesh container where it runs, else the agents'. */
  remote: ConfigSecret;
  /** Names of all peers in {@link remote} and in {@link agents}, whether their configs can be read or not. */
  names: Set<string>;
  /** Names of the peers in {@link agents} that only a node can reach ({@link isNodeLocal}): these stay there as they are. */
  nodeLocal: Set<string>;
  /** Names of such peers in {@link kvstoremesh}, where nothing can reach them. */
  misplaced: Set<string>;
  records: Map<string, PeerRecord>;
  /** What keeps one of them from being read. */
  findings: Finding[];
}

/** Reads the two config Secrets of a target. */
export function readExistingConfig(target: Target): ExistingConfig {
  const { facts } = target;
  const agents = readConfigSecret(target.agentsSecret, target);
  const kvstoremesh = readConfigSecret(target.kvstoremeshSecret, target);
  const remote = facts.kvstoreMesh ? kvstoremesh : agents;
  const names = new Set([...remote.entries.keys(), ...agents.entries.keys()]);
  names.delete(facts.name ?? "");
  const nodeLocal = nodeLocalNames(agents, facts.name);
  const records = new Map([...kvstoremesh.records, ...agents.records, ...remote.records]);
  for (const name of nodeLocal) {
    const record = agents.records.get(name);
    if (record) records.set(name, record);
  }
  const misplaced = nodeLocalNames(kvstoremesh, facts.name);
  // What nobody reads is not worth a finding.
  const findings = [...agents.findings, ...(facts.kvstoreMesh ? kvstoremesh.findings : [])];
  return { agents, kvstoremesh, remote, names, nodeLocal, misplaced, records, findings };
}

function nodeLocalNames({ entries }: ConfigSecret, own: string | undefined): Set<string> {
  const found = [...entries.values()].filter(({ config }) => config && isNodeLocal(config.endpoints));
  return new Set(found.map(({ name }) => name).filter((name) => name !== own));
}

/**
 * Whether a peer that only a node can reach was imported so, with `--endpoint NAME=127.0.0.1:PORT`: then its file may
 * change its certificates. All others were written by somebody else, and nothing of them is changed.
 */
export function isImportedNodeLocal(standing: ExistingConfig, name: string): boolean {
  const endpoint = standing.records.get(name)?.endpoint;
  return isNodeLocalPeer(standing, name) && endpoint !== undefined && isNodeLocal(endpoint.split(","));
}

/** Whether the endpoint of a peer was chosen, by `--endpoint` or at its extraction, and so holds whatever its cluster says. */
export function isEndpointGiven({ records }: ExistingConfig, name: string): boolean {
  const { endpoint, given } = records.get(name) ?? {};
  return endpoint !== undefined || given === true;
}

/**
 * The Secret that tells how to reach a peer: usually {@link ExistingConfig.remote}, after a switch of KVStoreMesh the other.
 * For a peer that only a node can reach it is {@link ExistingConfig.agents}, and {@link ExistingConfig.kvstoremesh} if no other tells.
 */
export function secretHolding(standing: ExistingConfig, name: string): ConfigSecret | undefined {
  const { remote, agents, kvstoremesh, nodeLocal, misplaced } = standing;
  if (nodeLocal.has(name)) return agents;
  const order = misplaced.has(name) ? [agents, kvstoremesh] : [remote, agents, kvstoremesh];
  return order.find((secret) => remoteEntry(secret, name));
}

/** Whether only a node can reach a peer, by the config that tells how to reach it. */
export function isNodeLocalPeer(standing: ExistingConfig, name: string): boolean {
  return isNodeLocal(secretHolding(standing, name)?.entries.get(name)?.config?.endpoints ?? []);
}

/** Whether `--migrate` has to move a peer that only a node can reach, or the rest of it, out of the Secret of KVStoreMesh. */
export function isMisplaced(standing: ExistingConfig, name: string): boolean {
  const { names, nodeLocal, misplaced, kvstoremesh, remote } = standing;
  const isRest = remote === kvstoremesh && nodeLocal.has(name);
  return names.has(name) && misplaced.has(name) && (isRest || secretHolding(standing, name) === kvstoremesh);
}

/** A Secret's entry for a peer; undefined also where it leads to the cluster's own copy, or cannot be read. */
export function remoteEntry({ entries }: ConfigSecret, name: string): (Entry & { config: EtcdConfig }) | undefined {
  const entry = entries.get(name);
  return entry?.config && !isOwnCache(entry.config.endpoints) ? { ...entry, config: entry.config } : undefined;
}

/**
 * A peer as it stands.
 *
 * @returns a finding where what stands there cannot be made out.
 */
export function existingPeer(target: Target, standing: ExistingConfig, name: string): SourcedPeer | Finding {
  const { source } = target;
  const place = { source, key: name };
  if (!isClusterName(name)) return finding("existing-unusable", place, { case: "invalid-name", peer: name });
  const peer = secretHolding(standing, name)?.entries.get(name)?.peer;
  if (peer) return { peer: { ...peer, facts: recordedFacts(standing.records.get(name)) }, source };
  const [problem] = [standing.remote, standing.agents].flatMap(({ entries }) => entries.get(name)?.findings ?? []);
  return problem
    ? finding("existing-unusable", place, { case: "problem", peer: name, problem: problem.message })
    : finding("existing-unusable", place, { case: "cache-only", peer: name });
}

/** Fields of a standing peer's configs that would be lost if they were written again. */
export function unsupportedFields(standing: ExistingConfig, name: string): string[] {
  const { remote, agents } = standing;
  const configs = [remote, agents, secretHolding(standing, name)].map((secret) => secret?.entries.get(name)?.config);
  return [...new Set(configs.flatMap((config) => config?.otherFields ?? []))];
}

/**
 * A standing peer to be written again. Where both Secrets lead to it and not alike, the agents' way is as good as
 * kvstoremesh's: the one that can connect is taken, and where both can, nobody knows which is meant.
 *
 * @param now the time to judge certificates by.
 * @returns a finding where there is none to take.
 */
export function reconcileExisting(
  target: Target,
  standing: ExistingConfig,
  name: string,
  now: Date,
): SourcedPeer | Finding {
  const first = existingPeer(target, standing, name);
  const reachesIt = remoteEntry(standing.agents, name)?.peer;
  if (standing.remote === standing.agents || !reachesIt || secretHolding(standing, name) === standing.agents)
    return first;
  const { source } = target;
  const second = { peer: { ...reachesIt, facts: recordedFacts(standing.records.get(name)) }, source };
  if ("peer" in first && samePeer(first.peer, second.peer)) return first;
  const connects = (one: SourcedPeer | Finding) =>
    "peer" in one && !hasErrors(checkPeer(one, now, { cache: target.cache }));
  if (connects(first) !== connects(second)) return connects(first) ? first : second;
  return finding("existing-unusable", { source, key: name }, { case: "different", peer: name });
}
