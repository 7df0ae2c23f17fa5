/** The roles of imported and existing peers in an import. Pure. */
import { recordedFacts } from "../../peer/annotations.ts";
import { type Finding, finding } from "../../peer/findings.ts";
import type { SourcedPeer } from "../../peer/peer.ts";
import type { EndpointOverride } from "./endpoint-override.ts";
import {
  type ExistingConfig,
  isImportedNodeLocal,
  isNodeLocalPeer,
  reconcileExisting,
  unsupportedFields,
} from "./existing.ts";
import type { Target } from "./target.ts";

/** Options that select the peers to remove and to rewrite. */
export interface RoleOptions {
  /** Remove existing peers that are not imported. */
  prune?: boolean;
  /** Names of peers to remove; unlike `prune`, this may remove all peers. */
  remove?: ReadonlySet<string>;
  /** Rewrite existing peers in the form for the running version of Cilium. */
  migrate?: boolean;
  /** Endpoint overrides by peer name; null resets an earlier override. */
  endpoints?: ReadonlyMap<string, EndpointOverride | null>;
  /** The time at which certificates of existing peers must be valid. */
  now: Date;
}

/** The peers of an import by role. */
export interface PeerRoles {
  /** Whether the target's own file was among the peers and was skipped. */
  skippedSelf: boolean;
  /** Imported peers to write, with recorded facts that their file lacks. */
  imported: SourcedPeer[];
  /** Imported peers that are not written: the target itself, and {@link kept}. */
  skipped: SourcedPeer[];
  /** Names of imported peers whose existing node-local config of another tool is kept. */
  kept: string[];
  /** Names of peers to remove. */
  removed: Set<string>;
  /** Names of existing peers that are neither imported nor removed, sorted. */
  staying: string[];
  /** The peers among {@link staying} to rewrite. */
  rewritten: SourcedPeer[];
  findings: Finding[];
}

/** Assigns a role to each imported and each existing peer. */
export function assignRoles(
  target: Target,
  existing: ExistingConfig,
  candidates: readonly SourcedPeer[],
  options: RoleOptions,
): PeerRoles {
  const own = candidates.filter(({ peer }) => peer.name === target.facts.name);
  const peers = candidates.filter((one) => !own.includes(one));
  const nameFindings = checkName(target, own);
  const inFiles = new Set(peers.map(({ peer }) => peer.name));
  const isKeptPeer = (name: string) => isKept(existing, name, options);
  const removed = new Set(
    [...existing.agents.entries.keys(), ...existing.kvstoremesh.entries.keys()]
      .filter((name) => !inFiles.has(name) && isRemoved(existing, name, options))
      .sort(),
  );
  const staying = [...existing.names].filter((name) => !inFiles.has(name) && !removed.has(name)).sort();
  const rewriting = peersToRewrite(target, existing, staying, options);
  return {
    skippedSelf: own.length > nameFindings.length,
    imported: peers.filter(({ peer }) => !isKeptPeer(peer.name)).map((one) => withRecordedFacts(one, existing)),
    skipped: [...own, ...peers.filter(({ peer }) => isKeptPeer(peer.name))],
    kept: [...inFiles].filter(isKeptPeer),
    removed,
    staying,
    rewritten: rewriting.peers,
    findings: [
      ...nameFindings,
      ...(options.prune && inFiles.size === 0 ? [finding("prune-everything", { source: target.source }, {})] : []),
      ...checkOverrides(target, inFiles, staying, options),
      ...rewriting.findings,
    ],
  };
}

/** Whether a peer is left unchanged: it is node-local, was written by another tool, and has no endpoint override. */
export function isKept(existing: ExistingConfig, name: string, { endpoints }: RoleOptions): boolean {
  return isNodeLocalPeer(existing, name) && !isImportedNodeLocal(existing, name) && !endpoints?.has(name);
}

/** Whether a peer that is not imported is removed: by `remove`, or by `prune` unless its effective config is node-local. */
export function isRemoved(existing: ExistingConfig, name: string, { prune, remove }: RoleOptions): boolean {
  const isPruned = prune === true && !(existing.names.has(name) && isNodeLocalPeer(existing, name));
  return isPruned || remove?.has(name) === true;
}

/** Returns a finding for each peer with the target's name but another cluster id: its file is not the target's own. */
function checkName({ facts, source }: Target, own: readonly SourcedPeer[]): Finding[] {
  const others = own.filter(
    ({ peer: { facts: theirs } }) => theirs.id !== undefined && facts.id !== undefined && theirs.id !== facts.id,
  );
  return others.map((one) => {
    const { name, facts: theirs } = one.peer;
    const values = { name, id: theirs.id, target: source, targetId: facts.id };
    return finding("name-of-target", { source: one.source, key: name }, values);
  });
}

/** Adds recorded facts that the file of a peer lacks. */
function withRecordedFacts(one: SourcedPeer, { records }: ExistingConfig): SourcedPeer {
  const { peer } = one;
  const recorded = recordedFacts(records.get(peer.name));
  const isKnown = Object.keys(recorded).every((fact) => fact in peer.facts);
  return isKnown ? one : { ...one, peer: { ...peer, facts: { ...recorded, ...peer.facts } } };
}

/** Checks that `--endpoint` names known peers, and that a peer whose override is reset is imported. */
function checkOverrides(
  { source, facts }: Target,
  inFiles: ReadonlySet<string>,
  staying: readonly string[],
  { endpoints = new Map() }: RoleOptions,
): Finding[] {
  return [...endpoints].flatMap(([name, given]) => {
    if (name === facts.name || inFiles.has(name)) return [];
    const place = { source, key: name };
    if (!staying.includes(name)) return [finding("endpoint-unknown-peer", place, { name })];
    return given === null ? [finding("endpoint-needs-file", place, { peer: name })] : [];
  });
}

/** Selects the existing peers to rewrite: all for a migration, otherwise those with an endpoint override. */
function peersToRewrite(
  target: Target,
  existing: ExistingConfig,
  staying: readonly string[],
  { migrate = false, endpoints = new Map(), now }: RoleOptions,
): { peers: SourcedPeer[]; findings: Finding[] } {
  const results = staying.flatMap((name): (SourcedPeer | Finding)[] => {
    const given = endpoints.get(name);
    if ((!migrate || existing.nodeLocal.has(name)) && !given) return [];
    const fields = unsupportedFields(existing, name);
    if (fields.length === 0) return [reconcileExisting(target, existing, name, now)];
    const place = { source: target.source, key: name };
    const values = { peer: name, fields: fields.slice(0, 5).join(", ") };
    return [given ? finding("endpoint-needs-file", place, values) : finding("config-fields-ignored", place, values)];
  });
  return {
    peers: results.filter((one) => "peer" in one),
    findings: results.filter((one) => "code" in one),
  };
}
