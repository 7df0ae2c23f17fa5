/** The changes of the two config Secrets, in the order in which they are to be made. Pure. */
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
  /** What exists is written again, in the form for the version that runs now. */
  migrate?: boolean;
  /** Write the config Secrets even where somebody else owns them. */
  takeOwnership?: boolean;
  /** Nothing is going to be written, so that an owner is no reason to refuse: it is warned of. */
  previewOnly?: boolean;
}

/** The changes of the two config Secrets. */
export interface ConfigChanges {
  changes: Change[];
  outcomes: Map<string, Outcome>;
  /** Secrets from which an annotation with their whole content goes. */
  cleaned: string[];
  findings: Finding[];
}

/**
 * Plans the two config Secrets. What is to lead to a peer is there before anything points to its copy, and what is removed
 * goes in the other order: agents forget a peer before its copy does. A peer that only a node can reach is written for
 * the agents alone, and then removed from where kvstoremesh reads.
 *
 * @param peers to be written.
 * @param removed names of those that are removed.
 * @param records what is to be kept of all peers.
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
  const entriesOf = (some: readonly Peer[]) => some.map((peer) => toSecretEntry(peer, "target"));
  const local = peers.filter(({ endpoints }) => isNodeLocal(endpoints));
  const others = peers.filter((peer) => !local.includes(peer));
  // What an interrupted move left where kvstoremesh reads.
  const leftovers = [...existing.nodeLocal].filter(
    (name) => rewrite && existing.misplaced.has(name) && !removed.has(name),
  );
  const leaves = new Set([...removed, ...leftovers, ...local.map(({ name }) => name)]);
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
    const entering = mergeEntries(kvstoremesh.files, entriesOf(others), { rewrite, leaving: leftovers, cache });
    const leaving = mergeEntries(entering.files, [], { drop: leaves, cache });
    const { config: copy, findings } = others.length > 0 ? cacheConfig(target) : { config: undefined, findings: [] };
    result.findings.push(...findings);
    const copies = copy ? others.map(({ name }) => ({ name, config: copy })) : [];
    // What is known of those that leave changes with the agents' config, not before.
    const before = [...kvstoremesh.records].filter(([name]) => leaves.has(name));
    const staying = [...records].filter(([name]) => !leaves.has(name));
    const entered = write(KVSTOREMESH_SECRET, kvstoremesh, entering, new Map([...before, ...staying]));
    // What an upgrade left behind here is still a peer, and its id still worth knowing.
    const leftBehind = new Map([...records].filter(([name]) => !leaving.files.has(name)));
    const forAgents = mergeEntries(agents.files, [...copies, ...entriesOf(local)], { rewrite, drop: removed, cache });
    write(AGENTS_SECRET, agents, forAgents, leftBehind);
    write(KVSTOREMESH_SECRET, entered, leaving, records, entered.changed);
  } else {
    const merged = mergeEntries(agents.files, entriesOf(peers), { rewrite, drop: removed, cache });
    write(AGENTS_SECRET, agents, merged, records);
    // Nobody reads this one any more, and a later KVStoreMesh must not find what is out of date.
    const gone = [...kvstoremesh.entries.keys()].filter((name) => merged.outcomes.has(name) || leaves.has(name));
    const leaving = mergeEntries(kvstoremesh.files, [], { drop: new Set(gone), cache });
    if (leaving.changes.size > 0) write(KVSTOREMESH_SECRET, kvstoremesh, leaving, kvstoremesh.records);
  }

  for (const { name, endpoints } of peers) {
    const destination = isNodeLocal(endpoints) ? agents : remote;
    const home = secretHolding(existing, name);
    const isKnown = remote.entries.has(name) || agents.entries.has(name) || home !== undefined;
    const isChanged = merges.some(({ outcomes }) => ["added", "changed"].includes(outcomes.get(name) ?? ""));
    const isMoved = home !== undefined && home !== destination;
    result.outcomes.set(name, !isKnown ? "added" : !isChanged ? "unchanged" : isMoved ? "moved" : "changed");
  }
  for (const name of leftovers) result.outcomes.set(name, "moved");
  for (const name of removed) result.outcomes.set(name, "dropped");
  return result;
}

/**
 * The config by which agents read their own cluster's copy, where KVStoreMesh runs: with the `local-` files from 1.17
 * on, with the `common-` ones before.
 */
function cacheConfig({ facts, source, namespace, localMounted }: Target): {
  config: SecretEntry["config"];
  findings: Finding[];
} {
  const local = versionAtLeast(facts.version, "1.17");
  const assumed = localMounted ? "1.17 or later" : "1.16 or earlier";
  return {
    config: {
      endpoints: [`https://${APISERVER}.${namespace}.svc:2379`],
      hostAliases: [],
      ...((local ?? localMounted) ? LOCAL_FILES : COMMON_FILES),
    },
    findings: local === undefined ? [finding("version-unknown", { source }, { assumed })] : [],
  };
}
