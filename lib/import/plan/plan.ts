/** Planning an import: from a target and peers to the changes that are to be made. Pure: the clock is an argument. */
import { type PeerRecord, recordedFacts } from "../../peer/annotations.ts";
import { PeerChecker } from "../../peer/checks/check-peer.ts";
import { checkAddresses, checkNodeLocal } from "../../peer/checks/endpoint.ts";
import { checkMesh } from "../../peer/checks/mesh.ts";
import { canonicalAliases, canonicalEndpoints, describeEndpoint, endpointHostnames } from "../../peer/etcd-config.ts";
import { type Finding, finding } from "../../peer/findings.ts";
import { isNodeLocal } from "../../peer/node-local.ts";
import type { Peer, SourcedPeer } from "../../peer/peer.ts";
import type { Change } from "./change.ts";
import { type ConfigChangeOptions, planConfigSecrets } from "./config-changes.ts";
import { applyOverride, type OverriddenPeer } from "./endpoint-override.ts";
import { type ExistingConfig, isNodeLocalPeer, readExistingConfig, remoteEntry, secretHolding } from "./existing.ts";
import { hostnamesOf, planAliases, type Restarts, resolvedNames } from "./host-aliases.ts";
import type { Outcome } from "./merge-secret.ts";
import { assignRoles, isForeignNodeLocal, isRemoved, type PeerRoles, type RoleOptions } from "./roles.ts";
import type { Target, Workload } from "./target.ts";
import { checkCommon, chooseTls, keepExistingTls, type TlsMode } from "./tls.ts";
import { planUsers } from "./users.ts";

export interface PlanOptions extends RoleOptions, ConfigChangeOptions {
  tls: TlsMode;
  /** Whether to grant users; false for `--no-users`. */
  users: boolean;
  /** Which workloads may be patched, and so restarted, for their host aliases. */
  restarts: Restarts;
  /** Checks peers by themselves; one for several plans checks each peer once. */
  checker?: PeerChecker;
}

export interface Plan {
  /** In the order in which they are to be made. */
  changes: Change[];
  /** What happens to each peer, by name. */
  outcomes: Map<string, Outcome>;
  /** Whether the target's own file was among the peers, and so was skipped. */
  skippedSelf: boolean;
  /** Etcd users that are granted, and that are revoked (`remote-<peer>`). */
  granted: string[];
  revoked: string[];
  /** Peers of the files that are reached where `--endpoint` said before, and not where their file says. */
  keptOverrides: Map<string, string>;
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
 * Plans the import of peers into a target: each is checked, as it is reached from there, and merged into what exists, in the
 * form that Cilium of the target's version reads, with users and host aliases where these are needed.
 *
 * A plan with a finding of severity error is not to be carried out.
 */
export function plan(target: Target, candidates: readonly SourcedPeer[], options: PlanOptions): Plan {
  const existing = readExistingConfig(target);
  const roles = assignRoles(target, existing, candidates, options);
  const checker = options.checker ?? new PeerChecker(options.now);
  const located = locatePeers(target, existing, roles, options, checker);
  const imported = located.filter(({ isRewritten }) => !isRewritten);
  const findings = [
    ...checkTarget(target),
    ...existing.findings,
    ...roles.findings,
    ...checkInMesh(target, existing, roles, imported),
    ...roles.skipped.flatMap((one) => {
      const override = applyOverride(one.peer, target, existing, options.endpoints?.get(one.peer.name));
      return checkOverridden(one, override, target, checker);
    }),
    ...located.flatMap((one) => one.findings),
    ...checkCommon(
      target,
      imported.filter(({ chosen }) => chosen?.client === "importer"),
    ),
  ];

  // First, for a config that names what does not resolve yet would cut a peer that worked.
  const chosen = located.flatMap((one) => one.chosen ?? []);
  const overrides = [...(options.endpoints?.values() ?? [])].filter((one) => one !== null);
  const addressed = new Set([...candidates.map(({ peer }) => peer), ...overrides].flatMap(hostnamesOf));
  const throughNames = chosen.filter(({ endpoints }) => !isNodeLocal(endpoints));
  const aliases = planAliases(target, throughNames, addressed, options.restarts);

  const isHeld = (peer: Peer) => wouldBreakConnection(peer, existing, aliases.unresolved);
  const written = chosen.filter((peer) => !isHeld(peer));
  const records = new Map<string, PeerRecord>([
    ...existing.records,
    ...located.flatMap((one): [string, PeerRecord][] =>
      one.chosen && written.includes(one.chosen) ? [[one.chosen.name, recordOf(one.chosen, one.override)]] : [],
    ),
  ]);
  const config = planConfigSecrets(target, existing, written, roles.removed, records, options);
  const joining = written.map(({ name }) => name).filter((name) => !isLeftToOthers(existing, name, options));
  const users =
    options.users && target.takesUsers
      ? planUsers(
          target,
          [...joining, ...roles.kept],
          (name) => !isInFiles(roles, name) && isRemoved(existing, name, options),
          options.takeOwnership,
        )
      : undefined;
  return {
    changes: [...aliases.changes, ...config.changes, ...(users?.change ? [users.change] : [])],
    outcomes: new Map<string, Outcome>([
      ...chosen.filter(isHeld).map(({ name }): [string, Outcome] => [name, "held"]),
      ...roles.kept.map((name): [string, Outcome] => [name, "unchanged"]),
      ...config.outcomes,
    ]),
    skippedSelf: roles.skippedSelf,
    granted: users?.granted ?? [],
    revoked: users?.revoked ?? [],
    keptOverrides: new Map(
      imported.flatMap(({ peer: { name }, override: { endpointOverride } }): [string, string][] =>
        endpointOverride !== undefined && !options.endpoints?.get(name) ? [[name, endpointOverride]] : [],
      ),
    ),
    keptEndpoints: new Map(
      imported.flatMap(({ peer, override }): [string, string][] =>
        override.keepsGivenEndpoint && !isSameEndpoint(override.peer, peer)
          ? [[peer.name, describeEndpoint(override.peer)]]
          : [],
      ),
    ),
    endpointChanges: new Map(written.flatMap((peer) => findEndpointChange(existing, peer))),
    kept: [
      ...roles.kept,
      ...(options.prune ? roles.staying.filter((name) => isNodeLocalPeer(existing, name)) : []),
    ].sort(),
    cleaned: config.cleaned,
    missing: aliases.missing,
    findings: [...findings, ...aliases.findings, ...config.findings, ...(users?.findings ?? [])],
  };
}

/** A peer that is to be written, as it is reached from the target. */
interface LocatedPeer extends SourcedPeer {
  /** Whether it exists in the target, and is not among the files. */
  isRewritten: boolean;
  override: OverriddenPeer;
  /** With the CA and certificate by which it is reached; undefined if there is no way. */
  chosen: Peer | undefined;
  findings: Finding[];
}

/** Applies the endpoint overrides, and checks each peer as it is reached then. */
function locatePeers(
  target: Target,
  existing: ExistingConfig,
  { imported, rewritten }: PeerRoles,
  options: PlanOptions,
  checker: PeerChecker,
): LocatedPeer[] {
  const resolved = resolvedNames(target);
  return [...imported, ...rewritten].map((candidate) => {
    const { name } = candidate.peer;
    const isRewritten = rewritten.includes(candidate);
    const override = applyOverride(candidate.peer, target, existing, options.endpoints?.get(name));
    const located = { ...candidate, peer: override.peer };
    const mounting = isNodeLocal(override.peer.endpoints) ? withAgentFiles(target) : target;
    // One that is only moved back to where a node can reach it is not ours to judge, nor to give another certificate.
    const isMovedBack = isRewritten && isLeftToOthers(existing, name, options);
    const before = secretHolding(existing, name)?.entries.get(name)?.peer;
    const choice =
      isRewritten && (options.tls === "auto" || isMovedBack)
        ? keepExistingTls(located, mounting)
        : chooseTls(located, mounting, options.tls, before?.client === "importer");
    const checked = isRewritten
      ? checker.check(located, target.cache)
      : checkOverridden(candidate, override, target, checker);
    const findings = [
      ...(isMovedBack ? [] : checked),
      ...checkAddresses(located, resolved),
      ...("findings" in choice ? choice.findings : []),
    ];
    return {
      ...candidate,
      isRewritten,
      override,
      chosen: "peer" in choice ? choice.peer : undefined,
      findings: isRewritten ? downgradeToWarnings(findings) : findings,
    };
  });
}

/** What is wrong with a peer of a file by itself, as it is reached from the target. */
function checkOverridden(
  candidate: SourcedPeer,
  { peer, endpointOverride }: OverriddenPeer,
  { cache }: Target,
  checker: PeerChecker,
): Finding[] {
  const reached = { ...candidate, peer };
  // That it is reached on the node itself is only for --endpoint to say.
  return [...(endpointOverride === undefined ? checkNodeLocal(reached) : []), ...checker.check(reached, cache)];
}

/** Whether another tool's peer stays as it is, since `--endpoint` says nothing else of it. */
function isLeftToOthers(existing: ExistingConfig, name: string, { endpoints }: PlanOptions): boolean {
  return isForeignNodeLocal(existing, name) && !endpoints?.has(name);
}

function isInFiles({ imported, kept }: PeerRoles, name: string): boolean {
  return kept.includes(name) || imported.some(({ peer }) => peer.name === name);
}

/** What is wrong with the peers of the files together, as they are reached, with those that stay, and with the target. */
function checkInMesh(
  target: Target,
  existing: ExistingConfig,
  { staying, kept }: PeerRoles,
  imported: readonly LocatedPeer[],
): Finding[] {
  if (imported.length === 0) return [];
  const { source, facts } = target;
  const reached = imported.map(({ override, source }) => ({ peer: override.peer, source }));
  const recorded = (name: string) => recordedFacts(existing.records.get(name));
  return checkMesh(reached, {
    source,
    facts,
    standing: [...staying, ...kept].map((name) => ({
      name,
      ...(isNodeLocalPeer(existing, name) && { nodeLocal: true as const }),
      ...recorded(name),
    })),
    idsRecorded: imported.every(({ peer: { name, facts } }) => facts.id === recorded(name).id),
  });
}

/** What is kept of a peer beside its config. */
function recordOf({ facts }: Peer, { endpointOverride, given }: OverriddenPeer): PeerRecord {
  return {
    ...recordedFacts(facts),
    ...(endpointOverride !== undefined && { endpoint: endpointOverride }),
    ...(given && { given: true }),
  };
}

function findEndpointChange(existing: ExistingConfig, peer: Peer): [string, { before: string; after: string }][] {
  const before = secretHolding(existing, peer.name)?.entries.get(peer.name)?.config;
  if (!before || isSameEndpoint(before, peer)) return [];
  return [[peer.name, { before: describeEndpoint(before), after: describeEndpoint(peer) }]];
}

/** Whether two are reached at the same place, in whatever order they name it. */
function isSameEndpoint(a: Pick<Peer, "endpoints" | "hostAliases">, b: typeof a): boolean {
  const essence = ({ endpoints, hostAliases }: typeof a) =>
    JSON.stringify([canonicalEndpoints(endpoints), canonicalAliases(hostAliases)]);
  return essence(a) === essence(b);
}

/** The target with the `common-` files that its agents mount, which with KVStoreMesh may be others than those of its pods. */
function withAgentFiles(target: Target): Target {
  return target.facts.kvstoreMesh ? { ...target, common: target.agentsCommon } : target;
}

function checkTarget({ facts, source }: Target): Finding[] {
  const { name, id } = facts;
  return name === "default" || id === 0 ? [finding("target-not-set-up", { source }, { name, id })] : [];
}

/** What is wrong with an existing peer stops nobody: it is reported. */
function downgradeToWarnings(findings: readonly Finding[]): Finding[] {
  return findings.map((one) => {
    if (one.severity !== "error") return one;
    const values = { case: "problem", peer: one.key ?? "", problem: one.message } as const;
    return finding("existing-unusable", one, values, { remedy: one.remedyTemplate ?? one.remedy });
  });
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
