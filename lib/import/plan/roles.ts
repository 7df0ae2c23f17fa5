/** What becomes of each peer of an import: of the files, and of those that exist in the target. Pure. */
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

/** Which peers are to be imported, removed and written again. */
export interface RoleOptions {
  /** The peers are the whole truth: what else exists is removed. */
  prune?: boolean;
  /** Peers that are removed, by name; unlike with `prune` they may be all. */
  remove?: ReadonlySet<string>;
  /** What exists is written again, in the form for the version that runs now. */
  migrate?: boolean;
  /** What `--endpoint` says of peers, by name; null takes back what it said before. */
  endpoints?: ReadonlyMap<string, EndpointOverride | null>;
  /** The time to judge the certificates of existing peers by. */
  now: Date;
}

/** The peers of an import, by what becomes of them. */
export interface PeerRoles {
  /** Whether the target's own file was among the peers. It is skipped. */
  skippedSelf: boolean;
  /** Those of the files that are written, with what an earlier file told and theirs does not. */
  imported: SourcedPeer[];
  /** Those of the files that are not written: the target's own, and {@link kept}. */
  skipped: SourcedPeer[];
  /** Names in the files of peers that only a node can reach, and that another tool wrote: they stay as they are. */
  kept: string[];
  /** Names of peers that are removed. */
  removed: Set<string>;
  /** Names of existing peers that are neither in the files nor removed, sorted. */
  staying: string[];
  /** Of these, the ones to be written again. */
  rewritten: SourcedPeer[];
  findings: Finding[];
}

export function assignRoles(
  target: Target,
  existing: ExistingConfig,
  candidates: readonly SourcedPeer[],
  options: RoleOptions,
): PeerRoles {
  const own = candidates.filter(({ peer }) => peer.name === target.facts.name);
  const peers = candidates.filter((one) => !own.includes(one));
  const clashes = checkName(target, own);
  const inFiles = new Set(peers.map(({ peer }) => peer.name));
  const isKept = (name: string) => isForeignNodeLocal(existing, name) && !options.endpoints?.has(name);
  const removed = new Set(
    [...existing.agents.entries.keys(), ...existing.kvstoremesh.entries.keys()]
      .filter((name) => !inFiles.has(name) && isRemoved(existing, name, options))
      .sort(),
  );
  const staying = [...existing.names].filter((name) => !inFiles.has(name) && !removed.has(name)).sort();
  const rewriting = peersToRewrite(target, existing, staying, options);
  return {
    skippedSelf: own.length > clashes.length,
    imported: peers.filter(({ peer }) => !isKept(peer.name)).map((one) => withRecordedFacts(one, existing)),
    skipped: [...own, ...peers.filter(({ peer }) => isKept(peer.name))],
    kept: [...inFiles].filter(isKept),
    removed,
    staying,
    rewritten: rewriting.peers,
    findings: [
      ...clashes,
      ...(options.prune && inFiles.size === 0 ? [pruneFinding(target)] : []),
      ...checkOverrides(target, inFiles, staying, options),
      ...rewriting.findings,
    ],
  };
}

/** Whether a peer is one that only a node can reach, and was not imported so: nothing of it is changed. */
export function isForeignNodeLocal(existing: ExistingConfig, name: string): boolean {
  return isNodeLocalPeer(existing, name) && !isImportedNodeLocal(existing, name);
}

/** Whether a peer is removed that is not among the files, also if only its copy is left. */
export function isRemoved(existing: ExistingConfig, name: string, { prune, remove }: RoleOptions): boolean {
  const isPruned = prune === true && !(existing.names.has(name) && isNodeLocalPeer(existing, name));
  return isPruned || remove?.has(name) === true;
}

/** A finding for each peer that has the target's name, and another id: the others are the target's own file. */
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

function pruneFinding({ source }: Target): Finding {
  return finding("prune-everything", { source }, {});
}

/** A peer with the facts that its file does not tell, and an earlier one told. */
function withRecordedFacts(one: SourcedPeer, { records }: ExistingConfig): SourcedPeer {
  const { peer } = one;
  const recorded = recordedFacts(records.get(peer.name));
  const isKnown = Object.keys(recorded).every((fact) => fact in peer.facts);
  return isKnown ? one : { ...one, peer: { ...peer, facts: { ...recorded, ...peer.facts } } };
}

/** What `--endpoint` names that it cannot change. */
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

/** The existing peers that are to be written again: all for a migration, else those that `--endpoint` names. */
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
