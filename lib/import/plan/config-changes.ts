/** The changes of the two config Secrets, in the order of the writes. Pure. */
import type { PeerRecord } from "../../peer/annotations.ts";
import { type Finding, finding } from "../../peer/findings.ts";
import { isNodeLocal } from "../../peer/node-local.ts";
import { AGENTS_SECRET, APISERVER, KVSTOREMESH_SECRET, type Peer, versionAtLeast } from "../../peer/peer.ts";
import { COMMON_FILES, LOCAL_FILES, type SecretEntry, toSecretEntry } from "../../peer/secret.ts";
import type { Change } from "./change.ts";
import { type ExistingConfig, secretHolding } from "./existing.ts";
import { type Merged, mergeEntries, type Outcome } from "./merge-secret.ts";
import { type ConfigSecret, planSecret } from "./secrets.ts";
import type { Target } from "./target.ts";

export interface ConfigChangeOptions {
  /** Rewrite existing peers in the form for the running version of Cilium. */
  migrate?: boolean;
  /** Write the config Secrets even if another tool owns them. */
  takeOwnership?: boolean;
  /** Report an owner as a warning, not an error, because nothing is written. */
  previewOnly?: boolean;
}

/** The changes of the two config Secrets. */
export interface ConfigChanges {
  changes: Change[];
  outcomes: Map<string, Outcome>;
  /** Secrets whose last-applied annotation, which holds their whole content, is removed. */
  cleaned: string[];
  findings: Finding[];
}

/**
 * Plans the two config Secrets. With KVStoreMesh, a peer is added to `cilium-kvstoremesh` before `cilium-clustermesh`
 * points agents to its copy; it is removed in the reverse order. A node-local peer is written to `cilium-clustermesh`
 * and then removed from `cilium-kvstoremesh`.
 *
 * @param peers - peers to write.
 * @param removed - names of peers to remove.
 * @param records - the annotation records of all peers, existing and new.
 */
export function planConfigSecrets(
  target: Target,
  existing: ExistingConfig,
  peers: readonly Peer[],
  removed: ReadonlySet<string>,
  records: ReadonlyMap<string, PeerRecord>,
  options: ConfigChangeOptions,
): ConfigChanges {
  const { agents, kvstoremesh, remote } = existing;
  const { migrate: rewrite = false, takeOwnership = false, previewOnly = false } = options;
  const { cache } = target;
  const result: ConfigChanges = { changes: [], outcomes: new Map(), cleaned: [], findings: [] };
  const entriesOf = (selected: readonly Peer[]) => selected.map((peer) => toSecretEntry(peer, "target"));
  const local = peers.filter(({ endpoints }) => isNodeLocal(endpoints));
  const others = peers.filter((peer) => !local.includes(peer));
  // An interrupted move leaves a second entry in the Secret of KVStoreMesh.
  const leftovers = [...existing.nodeLocal].filter(
    (name) => rewrite && existing.misplaced.has(name) && !removed.has(name),
  );
  const toRemove = new Set([...removed, ...leftovers, ...local.map(({ name }) => name)]);
  const merges: Merged[] = [];
  const write = (
    name: string,
    secret: Pick<ConfigSecret, "secret" | "annotations">,
    merged: Merged,
    kept: ReadonlyMap<string, PeerRecord>,
    follows = false,
  ) => {
    merges.push(merged);
    const planned = planSecret(name, target, secret, merged, kept, { follows, takeOwnership, previewOnly });
    if (planned.change) result.changes.push(planned.change);
    if (planned.cleaned) result.cleaned.push(name);
    result.findings.push(...planned.findings);
    return { ...secret, annotations: planned.annotations, changed: planned.change !== undefined };
  };

  if (target.facts.kvstoreMesh) {
    const added = mergeEntries(kvstoremesh, entriesOf(others), { rewrite, removedLater: leftovers, cache });
    const reduced = mergeEntries({ files: added.files }, [], { remove: toRemove, cache });
    const { config: copy, findings } = others.length > 0 ? cacheConfig(target) : { config: undefined, findings: [] };
    result.findings.push(...findings);
    const copies = copy ? others.map(({ name }) => ({ name, config: copy })) : [];
    // The records of removed peers change together with the agents' config, not before.
    const before = [...kvstoremesh.records].filter(([name]) => toRemove.has(name));
    const staying = [...records].filter(([name]) => !toRemove.has(name));
    const written = write(KVSTOREMESH_SECRET, kvstoremesh, added, new Map([...before, ...staying]));
    // A peer that an upgrade left in the agents' Secret keeps its record there.
    const leftBehind = new Map([...records].filter(([name]) => !reduced.files.has(name)));
    const forAgents = mergeEntries(agents, [...copies, ...entriesOf(local)], { rewrite, remove: removed, cache });
    write(AGENTS_SECRET, agents, forAgents, leftBehind);
    write(KVSTOREMESH_SECRET, written, reduced, records, written.changed);
  } else {
    const merged = mergeEntries(agents, entriesOf(peers), { rewrite, remove: removed, cache });
    write(AGENTS_SECRET, agents, merged, records);
    // Nothing reads this Secret now; outdated entries would take effect if KVStoreMesh were enabled again.
    const outdated = [...kvstoremesh.entries.keys()].filter((name) => merged.outcomes.has(name) || toRemove.has(name));
    const reduced = mergeEntries(kvstoremesh, [], { remove: new Set(outdated), cache });
    if (reduced.changes.size > 0) write(KVSTOREMESH_SECRET, kvstoremesh, reduced, kvstoremesh.records);
  }

  for (const { name, endpoints } of peers) {
    const destination = isNodeLocal(endpoints) ? agents : remote;
    const holder = secretHolding(existing, name);
    const isKnown = remote.entries.has(name) || agents.entries.has(name) || holder !== undefined;
    const isChanged = merges.some(({ outcomes }) => ["added", "changed"].includes(outcomes.get(name) ?? ""));
    const isMoved = holder !== undefined && holder !== destination;
    result.outcomes.set(name, !isKnown ? "added" : !isChanged ? "unchanged" : isMoved ? "moved" : "changed");
  }
  for (const name of leftovers) result.outcomes.set(name, "moved");
  for (const name of removed) result.outcomes.set(name, "dropped");
  return result;
}

/**
 * Returns the config with which agents read KVStoreMesh's copy of a peer in their own cluster. It references the `local-`
 * files from Cilium 1.17 on, and the `common-` files before.
 */
function cacheConfig({ facts, source, namespace, localMounted }: Target): {
  config: SecretEntry["config"];
  findings: Finding[];
} {
  const usesLocalFiles = versionAtLeast(facts.version, "1.17");
  const assumed = localMounted ? "1.17 or later" : "1.16 or earlier";
  return {
    config: {
      endpoints: [`https://${APISERVER}.${namespace}.svc:2379`],
      hostAliases: [],
      ...((usesLocalFiles ?? localMounted) ? LOCAL_FILES : COMMON_FILES),
    },
    findings: usesLocalFiles === undefined ? [finding("version-unknown", { source }, { assumed })] : [],
  };
}
