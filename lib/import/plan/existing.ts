/** The existing peers of a target, in either of its two config Secrets. Pure. */
import { type PeerRecord, recordedFacts } from "../../peer/annotations.ts";
import { checkPeer } from "../../peer/checks/check-peer.ts";
import { isSamePeer } from "../../peer/checks/identity.ts";
import { type EtcdConfig, isOwnCache } from "../../peer/etcd-config.ts";
import { type Finding, finding, hasErrors } from "../../peer/findings.ts";
import { isNodeLocal } from "../../peer/node-local.ts";
import { isClusterName, type SourcedPeer } from "../../peer/peer.ts";
import type { Entry } from "../../peer/secret.ts";
import { type ConfigSecret, readConfigSecret } from "./secrets.ts";
import type { Target } from "./target.ts";

/** The parsed contents of the two config Secrets of a target. */
export interface ExistingConfig {
  agents: ConfigSecret;
  kvstoremesh: ConfigSecret;
  /** The Secret whose configs point to the peers: {@link kvstoremesh} if KVStoreMesh runs, else {@link agents}. */
  remote: ConfigSecret;
  /** Names of all peers in {@link remote} and {@link agents}, including peers with an invalid config. */
  names: Set<string>;
  /** Names of node-local peers in {@link agents} ({@link isNodeLocal}), which are left unchanged. */
  nodeLocal: Set<string>;
  /** Names of node-local peers in {@link kvstoremesh}, whose container cannot reach them. */
  misplaced: Set<string>;
  records: Map<string, PeerRecord>;
  /** Why a Secret cannot be read. */
  findings: Finding[];
}

/** An entry whose config points to a peer, not to the cluster's own copy. */
type PeerEntry = Entry & { config: EtcdConfig };

/** Parses the two config Secrets of a target. */
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
  // Without KVStoreMesh nothing reads its Secret.
  const findings = [...agents.findings, ...(facts.kvstoreMesh ? kvstoremesh.findings : [])];
  return { agents, kvstoremesh, remote, names, nodeLocal, misplaced, records, findings };
}

function nodeLocalNames({ entries }: ConfigSecret, own: string | undefined): Set<string> {
  const found = [...entries.values()].filter(({ config }) => config && isNodeLocal(config.endpoints));
  return new Set(found.map(({ name }) => name).filter((name) => name !== own));
}

/**
 * Whether a node-local peer was imported with `--endpoint NAME=127.0.0.1:PORT`, so that its file may change its
 * certificates. All other node-local peers were written by another tool and are left unchanged.
 */
export function isImportedNodeLocal(existing: ExistingConfig, name: string): boolean {
  const endpoint = existing.records.get(name)?.endpoint;
  return isNodeLocalPeer(existing, name) && endpoint !== undefined && isNodeLocal(endpoint.split(","));
}

/** Whether the endpoint of a peer was set by `--endpoint` or at its extraction, rather than derived from its cluster. */
export function isEndpointGiven({ records }: ExistingConfig, name: string): boolean {
  const { endpoint, given } = records.get(name) ?? {};
  return endpoint !== undefined || given === true;
}

/**
 * Returns the Secret with the endpoint of a peer: usually {@link ExistingConfig.remote}, or the other one if KVStoreMesh was
 * enabled or disabled since it was written. For a node-local peer, {@link ExistingConfig.agents} is preferred.
 */
export function secretHolding(existing: ExistingConfig, name: string): ConfigSecret | undefined {
  const { remote, agents, kvstoremesh, nodeLocal, misplaced } = existing;
  if (nodeLocal.has(name)) return agents;
  const order = misplaced.has(name) ? [agents, kvstoremesh] : [remote, agents, kvstoremesh];
  return order.find((secret) => remoteEntry(secret, name));
}

/** Whether the effective config of a peer has node-local endpoints. */
export function isNodeLocalPeer(existing: ExistingConfig, name: string): boolean {
  return isNodeLocal(secretHolding(existing, name)?.entries.get(name)?.config?.endpoints ?? []);
}

/** Whether `--migrate` has to remove a node-local peer, or a leftover of its move, from the Secret of KVStoreMesh. */
export function isMisplaced(existing: ExistingConfig, name: string): boolean {
  const { names, nodeLocal, misplaced, kvstoremesh, remote } = existing;
  const isLeftover = remote === kvstoremesh && nodeLocal.has(name);
  return names.has(name) && misplaced.has(name) && (isLeftover || secretHolding(existing, name) === kvstoremesh);
}

/** Returns the entry of a Secret for a peer; undefined if it is invalid or points to the cluster's own copy. */
export function remoteEntry({ entries }: ConfigSecret, name: string): PeerEntry | undefined {
  const entry = entries.get(name);
  return entry && pointsToPeer(entry) ? entry : undefined;
}

function pointsToPeer(entry: Entry): entry is PeerEntry {
  return entry.config !== undefined && !isOwnCache(entry.config.endpoints);
}

/**
 * Returns an existing peer with its recorded facts.
 *
 * @returns a finding if the name or the config of the peer is invalid.
 */
export function existingPeer(target: Target, existing: ExistingConfig, name: string): SourcedPeer | Finding {
  const { source } = target;
  const place = { source, key: name };
  if (!isClusterName(name)) return finding("existing-unusable", place, { case: "invalid-name", peer: name });
  const peer = secretHolding(existing, name)?.entries.get(name)?.peer;
  if (peer) return { peer: { ...peer, facts: recordedFacts(existing.records.get(name)) }, source };
  const [problem] = [existing.remote, existing.agents].flatMap(({ entries }) => entries.get(name)?.findings ?? []);
  return problem
    ? finding("existing-unusable", place, { case: "problem", peer: name, problem: problem.message })
    : finding("existing-unusable", place, { case: "cache-only", peer: name });
}

/** Returns the fields of an existing peer's configs that a rewrite would lose. */
export function unsupportedFields(existing: ExistingConfig, name: string): string[] {
  const { remote, agents } = existing;
  const configs = [remote, agents, secretHolding(existing, name)].map((secret) => secret?.entries.get(name)?.config);
  return [...new Set(configs.flatMap((config) => config?.otherFields ?? []))];
}

/**
 * Chooses the config from which an existing peer is rewritten: if the two Secrets differ, the config without errors.
 *
 * @param now - the time at which certificates must be valid.
 * @returns a finding if no config is usable, or both are usable and differ.
 */
export function reconcileExisting(
  target: Target,
  existing: ExistingConfig,
  name: string,
  now: Date,
): SourcedPeer | Finding {
  const first = existingPeer(target, existing, name);
  const agentsPeer = remoteEntry(existing.agents, name)?.peer;
  if (existing.remote === existing.agents || !agentsPeer || secretHolding(existing, name) === existing.agents)
    return first;
  const { source } = target;
  const second = { peer: { ...agentsPeer, facts: recordedFacts(existing.records.get(name)) }, source };
  if ("peer" in first && isSamePeer(first.peer, second.peer)) return first;
  const isUsable = (one: SourcedPeer | Finding) =>
    "peer" in one && !hasErrors(checkPeer(one, now, { cache: target.cache }));
  if (isUsable(first) !== isUsable(second)) return isUsable(first) ? first : second;
  return finding("existing-unusable", { source, key: name }, { case: "different", peer: name });
}
