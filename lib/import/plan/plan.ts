import { type PeerRecord, recordedFacts } from "../../peer/annotations.ts";
import { checkAddresses } from "../../peer/checks/endpoint.ts";
import { checkMesh } from "../../peer/checks/mesh.ts";
import { checkPeer } from "../../peer/checks/peer.ts";
import { canonicalAliases, canonicalEndpoints, describeEndpoint, endpointHostnames } from "../../peer/etcd-config.ts";
import { type Finding, type FindingCode, finding, type RemedyTemplate } from "../../peer/findings.ts";
import { isNodeLocal } from "../../peer/node-local.ts";
import {
  AGENTS_SECRET,
  APISERVER,
  KVSTOREMESH_SECRET,
  type Peer,
  type SourcedPeer,
  versionAtLeast,
} from "../../peer/peer.ts";
import { COMMON_FILES, LOCAL_FILES, type SecretEntry, toSecretEntry } from "../../peer/secret.ts";
import type { Change } from "./change.ts";
import { applyOverride, type EndpointOverride } from "./endpoint-override.ts";
import {
  type ExistingConfig,
  importFileRemedy,
  isImportedNodeLocal,
  isNodeLocalPeer,
  readExistingConfig,
  reconcileExisting,
  remoteEntry,
  secretHolding,
  unsupportedFields,
} from "./existing.ts";
import { hostnamesOf, planAliases, type Restarts, resolvedNames } from "./host-aliases.ts";
import { type Merged, mergeEntries, type Outcome } from "./merge-secret.ts";
import { type ConfigSecret, planSecret } from "./secrets.ts";
import type { Target, Workload } from "./target.ts";
import { checkCommon, chooseTls, keepExistingTls, type TlsMode } from "./tls.ts";
import { planUsers } from "./users.ts";

export interface PlanOptions {
  tls: TlsMode;
  /** Whether to grant users; false for `--no-users`. */
  users: boolean;
  /** Which workloads may be patched, and so restarted, for their host aliases. */
  restarts: Restarts;
  /** The peers are the whole truth: what else stands there goes. */
  prune?: boolean;
  /** Peers that go, by name; unlike with `prune` they may be all. */
  drop?: ReadonlySet<string>;
  /** What stands there is laid out anew, in the form for the version that runs now. */
  migrate?: boolean;
  /** Write the config Secrets even where somebody else owns them. */
  takeOwnership?: boolean;
  /** Nothing is going to be written, so that an owner is no reason to refuse: it is warned of. */
  previewOnly?: boolean;
  /** What `--endpoint` says of peers, by name; null takes back what it said before. */
  endpoints?: ReadonlyMap<string, EndpointOverride | null>;
  /** The time to judge standing peers' certificates by. */
  now: Date;
}

export interface Plan {
  /** In the order in which they are to be made. */
  changes: Change[];
  /** What happens to each peer, by name. */
  outcomes: Map<string, Outcome>;
  /** Whether the target's own file was among the peers, and so was passed over. */
  skippedSelf: boolean;
  /** Etcd users that are added, and that are taken back (`remote-<peer>`). */
  granted: string[];
  revoked: string[];
  /** Peers of the files that are reached where `--endpoint` said before, and not where their file says. */
  remembered: Map<string, string>;
  /** Peers of the files that are reached where an earlier file gave their endpoint, and not where theirs says. */
  keptEndpoints: Map<string, string>;
  /** Peers that were and will be reached elsewhere. */
  endpointChanges: Map<string, { before: string; after: string }>;
  /** Peers that only a node can reach: they are kept, though their file was imported or the files lack them for `prune`. */
  kept: string[];
  /** Secrets from which an annotation with their whole content goes. */
  cleaned: string[];
  /** Host aliases that workloads lack and that these options do not let us add. */
  missing: { workload: Workload; hostnames: string[] }[];
  findings: Finding[];
}

/**
 * Plans the import of peers into a target: merged into what stands there, in the layout that Cilium of
 * the target's version reads, with users and host aliases where these are needed.
 *
 * A plan with a finding of severity error is not to be carried out.
 */
export function plan(target: Target, candidates: readonly SourcedPeer[], options: PlanOptions): Plan {
  const findings: Finding[] = [];
  const { own, peers: others } = withoutSelf(target, candidates, findings);
  checkTarget(target, findings);
  const standing = readExistingConfig(target, findings);
  const { records } = standing;
  const inFiles = new Set(others.map(({ peer }) => peer.name));
  const isPruned = (name: string) =>
    options.prune === true && !(standing.names.has(name) && isNodeLocalPeer(standing, name));
  const goes = (name: string) => !inFiles.has(name) && (isPruned(name) || options.drop?.has(name) === true);
  const dropped = new Set(allNames(standing).filter(goes));
  const isKept = (name: string) =>
    isNodeLocalPeer(standing, name) && !isImportedNodeLocal(standing, name) && !options.endpoints?.has(name);
  const skipped = [...inFiles].filter(isKept);
  if (options.prune && inFiles.size === 0) {
    const message = "no file is that of a peer, so pruning would drop everything";
    findings.push(
      finding("prune-everything", { source: target.source }, message, "name the files of the peers to keep"),
    );
  }
  const rest = [...standing.names].filter((name) => !inFiles.has(name) && !dropped.has(name)).sort();
  const again = peersToRewrite(target, standing, rest, inFiles, options, findings);

  // What a file does not tell may be known from an earlier one.
  const peers = others
    .filter(({ peer }) => !isKept(peer.name))
    .map(({ peer, source }) => ({
      peer: { ...peer, facts: { ...recordedFacts(records.get(peer.name)), ...peer.facts } },
      source,
    }));
  if (peers.length > 0) {
    const stay = [...rest, ...skipped].map((name) => ({
      name,
      ...(isNodeLocalPeer(standing, name) && { nodeLocal: true as const }),
      ...recordedFacts(records.get(name)),
    }));
    const idsRecorded = peers.every(({ peer: { name, facts } }) => facts.id === recordedFacts(records.get(name)).id);
    const { source, facts } = target;
    findings.push(...checkMesh(peers, { source, facts, standing: stay, idsRecorded }));
  }

  const chosen: Peer[] = [];
  const byOwnCertificate: SourcedPeer[] = [];
  const said = new Map<string, string>();
  const given = new Set<string>();
  const remembered = new Map<string, string>();
  const keptEndpoints = new Map<string, string>();
  const resolved = resolvedNames(target);
  for (const candidate of [...peers, ...again]) {
    const { name } = candidate.peer;
    const stands = !inFiles.has(name);
    const reached = applyOverride(candidate.peer, target, standing, options.endpoints?.get(name));
    if (reached.said !== undefined) said.set(name, reached.said);
    if (reached.said !== undefined && !stands && !options.endpoints?.get(name)) remembered.set(name, reached.said);
    if (reached.given) given.add(name);
    if (reached.keeps && !stands && !isSameEndpoint(reached.peer, candidate.peer)) {
      keptEndpoints.set(name, describeEndpoint(reached.peer));
    }
    const located = { ...candidate, peer: reached.peer };
    const wrong = checkAddresses(located, resolved);
    const before = secretHolding(standing, name)?.entries.get(name)?.peer;
    const mounting = isNodeLocal(reached.peer.endpoints) ? mountingForAgents(target) : target;
    // One that is only moved back to where a node can reach it is not ours to judge, nor to give another certificate.
    const isMovedBack = stands && isKept(name);
    const choice =
      stands && (options.tls === "auto" || isMovedBack)
        ? keepExistingTls(located, mounting)
        : chooseTls(located, mounting, options.tls, before?.client === "importer");
    if ("peer" in choice) {
      chosen.push(choice.peer);
      if (!stands && choice.peer.client === "importer") byOwnCertificate.push(candidate);
    } else wrong.push(...choice.findings);
    const unusable = stands && !isMovedBack ? checkPeer(located, options.now) : [];
    findings.push(...(stands ? downgradeToWarnings([...unusable, ...wrong]) : wrong));
  }

  findings.push(...checkCommon(target, byOwnCertificate));

  const result: Plan = {
    changes: [],
    outcomes: new Map(),
    skippedSelf: own,
    granted: [],
    revoked: [],
    remembered,
    keptEndpoints,
    endpointChanges: new Map(),
    kept: [...skipped, ...(options.prune ? rest.filter((name) => isNodeLocalPeer(standing, name)) : [])].sort(),
    cleaned: [],
    missing: [],
    findings,
  };
  // First, for a config that names what does not resolve yet would cut a peer that worked.
  const overrides = [...(options.endpoints?.values() ?? [])].filter((one) => one !== null);
  const told = new Set([...candidates.map(({ peer }) => peer), ...overrides].flatMap(hostnamesOf));
  const throughNames = chosen.filter(({ endpoints }) => !isNodeLocal(endpoints));
  const aliases = planAliases(target, throughNames, told, options.restarts);
  result.changes.push(...aliases.changes);
  result.missing = aliases.missing;
  findings.push(...aliases.findings);
  const written = chosen.filter((peer) => !wouldBreakConnection(peer, standing, aliases.unresolved));
  for (const peer of chosen) if (!written.includes(peer)) result.outcomes.set(peer.name, "held");
  for (const name of skipped) result.outcomes.set(name, "unchanged");
  const facts = new Map<string, PeerRecord>([
    ...records,
    ...written.map(({ name, facts }): [string, PeerRecord] => {
      const endpoint = said.get(name);
      const more = { ...(endpoint !== undefined && { endpoint }), ...(given.has(name) && { given: true as const }) };
      return [name, { ...recordedFacts(facts), ...more }];
    }),
  ]);
  for (const peer of written) {
    const before = secretHolding(standing, peer.name)?.entries.get(peer.name)?.config;
    if (!before || isSameEndpoint(before, peer)) continue;
    result.endpointChanges.set(peer.name, { before: describeEndpoint(before), after: describeEndpoint(peer) });
  }
  planSecrets(target, standing, written, dropped, facts, options, result);
  if (options.users && target.takesUsers) {
    // Nor does one that is moved back come here as a user.
    const joining = written.filter(({ name }) => !isKept(name));
    const names = [...joining.map(({ name }) => name), ...skipped];
    const users = planUsers(target, names, goes, options.takeOwnership);
    if (users.change) result.changes.push(users.change);
    result.granted = users.granted;
    result.revoked = users.revoked;
    findings.push(...users.findings);
  }
  return result;
}

/** Whether two are reached at the same place, in whatever order they name it. */
function isSameEndpoint(a: Pick<Peer, "endpoints" | "hostAliases">, b: typeof a): boolean {
  const essence = ({ endpoints, hostAliases }: typeof a) =>
    JSON.stringify([canonicalEndpoints(endpoints), canonicalAliases(hostAliases)]);
  return essence(a) === essence(b);
}

/** The target with the `common-` files that its agents mount, which with KVStoreMesh may be others than those of its pods. */
function mountingForAgents(target: Target): Target {
  return target.facts.kvstoreMesh ? { ...target, common: target.agentsCommon } : target;
}

function checkTarget({ facts, source }: Target, findings: Finding[]): void {
  if (facts.name !== "default" && facts.id !== 0) return;
  findings.push(
    finding(
      "target-not-set-up",
      { source },
      `cluster-name is ${facts.name} and cluster-id ${facts.id}: agents ignore all peers`,
      "set cluster.name and cluster.id of the Helm chart, each of its own in the mesh",
    ),
  );
}

/** Names of all configs in both Secrets, whoever reads them. */
function allNames({ agents, kvstoremesh }: ExistingConfig): string[] {
  return [...new Set([...agents.entries.keys(), ...kvstoremesh.entries.keys()])].sort();
}

/** The standing peers that are to be written again: all for a migration, else those that `--endpoint` names. */
function peersToRewrite(
  target: Target,
  standing: ExistingConfig,
  rest: readonly string[],
  inFiles: ReadonlySet<string>,
  { migrate = false, endpoints = new Map(), now }: PlanOptions,
  findings: Finding[],
): SourcedPeer[] {
  const { source, facts } = target;
  const found = (
    code: FindingCode,
    key: string,
    message: string,
    remedy: string | RemedyTemplate,
    data?: Finding["data"],
  ) => findings.push(finding(code, { source, key }, message, remedy, data && { data }));
  for (const [name, given] of endpoints) {
    if (name === facts.name || inFiles.has(name)) continue;
    if (!rest.includes(name)) {
      found(
        "endpoint-for-nobody",
        name,
        `--endpoint names ${name}, which is not among the peers`,
        "import its file with it",
      );
    } else if (given === null) {
      found("endpoint-needs-file", name, `only the file of ${name} tells its own endpoint`, "import it with it");
    }
  }
  return rest.flatMap((name) => {
    const given = endpoints.get(name);
    if ((!migrate || standing.nodeLocal.has(name)) && !given) return [];
    const fields = unsupportedFields(standing, name);
    if (fields.length > 0) {
      const some = fields.slice(0, 5).join(", ");
      const message = `the config of ${name} has ${some}, which this program does not write, so it stays as it is`;
      if (given) found("endpoint-needs-file", name, message, importFileRemedy(name));
      else found("config-fields-ignored", name, message, importFileRemedy(name), { fields: some });
      return [];
    }
    const one = reconcileExisting(target, standing, name, now);
    if ("peer" in one) return [one];
    findings.push(one);
    return [];
  });
}

/** What is wrong with a peer that stands there stops nobody: it is said. */
function downgradeToWarnings(findings: readonly Finding[]): Finding[] {
  return findings.map((one) =>
    one.severity === "error"
      ? finding(
          "standing-unusable",
          one,
          `${one.key} cannot connect as it stands: ${one.message}`,
          one.remedyTemplate ?? one.remedy,
        )
      : one,
  );
}

/** The target's own file among the peers is passed over; only one of name and id equal is an error. */
function withoutSelf({ facts, source }: Target, candidates: readonly SourcedPeer[], findings: Finding[]) {
  const peers: SourcedPeer[] = [];
  let own = false;
  for (const candidate of candidates) {
    const { name, facts: theirs } = candidate.peer;
    if (name !== facts.name) {
      peers.push(candidate);
    } else if (theirs.id === undefined || facts.id === undefined || theirs.id === facts.id) {
      own = true;
    } else {
      findings.push(
        finding(
          "name-of-target",
          { source: candidate.source, key: name },
          `${name} with id ${theirs.id} has the name of target ${source}, whose id is ${facts.id}`,
          "clusters of a mesh have distinct names",
        ),
      );
    }
  }
  return { own, peers };
}

/**
 * Whether a peer that stands would get a name in its config that its reader cannot resolve yet; where another reader takes
 * over, as after KVStoreMesh was turned on, that may be the name that it has.
 */
function wouldBreakConnection(
  { name, endpoints }: Peer,
  standing: ExistingConfig,
  unresolved: ReadonlySet<string>,
): boolean {
  if (isNodeLocal(endpoints)) return false;
  const { remote, agents } = standing;
  const moves = remote !== agents && remoteEntry(agents, name) !== undefined;
  const stands = remoteEntry(moves ? agents : remote, name);
  if (!stands) return false;
  const stood = moves ? [] : endpointHostnames(stands.config.endpoints);
  return endpointHostnames(endpoints).some((host) => unresolved.has(host) && !stood.includes(host));
}

/**
 * The changes of the two config Secrets. What is to lead to a peer stands before anything points to its copy, and what
 * goes goes in the other order: agents forget a peer before its copy does. A peer that only a node can reach is written for
 * the agents alone, and then removed from where kvstoremesh reads.
 */
function planSecrets(
  target: Target,
  standing: ExistingConfig,
  peers: readonly Peer[],
  drop: ReadonlySet<string>,
  facts: ReadonlyMap<string, PeerRecord>,
  { migrate: anew = false, takeOwnership = false, previewOnly = false }: PlanOptions,
  result: Plan,
): void {
  const { agents, kvstoremesh, remote } = standing;
  const laid = (some: readonly Peer[]) => some.map((peer) => toSecretEntry(peer, "target"));
  const local = peers.filter(({ endpoints }) => isNodeLocal(endpoints));
  const others = peers.filter((peer) => !local.includes(peer));
  // What an interrupted move left where kvstoremesh reads.
  const rests = [...standing.nodeLocal].filter((name) => anew && standing.misplaced.has(name) && !drop.has(name));
  const leaves = new Set([...drop, ...rests, ...local.map(({ name }) => name)]);
  const merges: Merged[] = [];
  const write = (
    name: string,
    secret: Pick<ConfigSecret, "secret" | "annotations">,
    merged: Merged,
    records: ReadonlyMap<string, PeerRecord>,
    follows = false,
  ) => {
    merges.push(merged);
    const done = planSecret(name, target, secret, merged, records, { follows, takeOwnership, previewOnly });
    if (done.change) result.changes.push(done.change);
    if (done.cleaned) result.cleaned.push(name);
    result.findings.push(...done.findings);
    return { ...secret, annotations: done.annotations, changed: done.change !== undefined };
  };
  if (target.facts.kvstoreMesh) {
    const entering = mergeEntries(kvstoremesh.files, laid(others), { anew, leaving: rests });
    const leaving = mergeEntries(entering.files, [], { drop: leaves });
    const cache = others.length > 0 ? cacheConfig(target, result.findings) : undefined;
    const copies = cache ? others.map(({ name }) => ({ name, config: cache })) : [];
    // What is known of those that leave changes with the agents' config, not before.
    const before = [...kvstoremesh.records].filter(([name]) => leaves.has(name));
    const staying = [...facts].filter(([name]) => !leaves.has(name));
    const entered = write(KVSTOREMESH_SECRET, kvstoremesh, entering, new Map([...before, ...staying]));
    // What an upgrade left behind here is still a peer, and its id still worth knowing.
    const leftBehind = new Map([...facts].filter(([name]) => !leaving.files.has(name)));
    const led = mergeEntries(agents.files, [...copies, ...laid(local)], { anew, drop });
    write(AGENTS_SECRET, agents, led, leftBehind);
    write(KVSTOREMESH_SECRET, entered, leaving, facts, entered.changed);
  } else {
    const merged = mergeEntries(agents.files, laid(peers), { anew, drop });
    write(AGENTS_SECRET, agents, merged, facts);
    // Nobody reads this one any more, and a later KVStoreMesh must not find what is out of date.
    const gone = [...kvstoremesh.entries.keys()].filter((name) => merged.outcomes.has(name) || leaves.has(name));
    const leaving = mergeEntries(kvstoremesh.files, [], { drop: new Set(gone) });
    if (leaving.changes.size > 0) write(KVSTOREMESH_SECRET, kvstoremesh, leaving, kvstoremesh.records);
  }
  for (const { name, endpoints } of peers) {
    const destination = isNodeLocal(endpoints) ? agents : remote;
    const home = secretHolding(standing, name);
    const known = remote.entries.has(name) || agents.entries.has(name) || home !== undefined;
    const outcomes = new Set(merges.map((merged) => merged.outcomes.get(name)));
    const changed = outcomes.has("added") || outcomes.has("changed");
    const outcome = !known ? "added" : !changed ? "unchanged" : home && home !== destination ? "moved" : "changed";
    result.outcomes.set(name, outcome);
  }
  for (const name of rests) result.outcomes.set(name, "moved");
  for (const name of drop) result.outcomes.set(name, "dropped");
}

/**
 * The config by which agents read their own cluster's copy, where KVStoreMesh runs: with the `local-` files from 1.17
 * on, with the `common-` ones before.
 */
function cacheConfig(target: Target, findings: Finding[]): SecretEntry["config"] {
  const local = versionAtLeast(target.facts.version, "1.17");
  if (local === undefined) {
    findings.push(
      finding(
        "version-unknown",
        { source: target.source },
        "Cilium's version cannot be told from its images, so agents are given the files of " +
          (target.localMounted ? "1.17 and later" : "1.16 and before"),
      ),
    );
  }
  return {
    endpoints: [`https://${APISERVER}.${target.namespace}.svc:2379`],
    hostAliases: [],
    ...((local ?? target.localMounted) ? LOCAL_FILES : COMMON_FILES),
  };
}
