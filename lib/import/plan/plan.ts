/** Plans an import: from a target and peers to changes. Pure: the clock is an argument. */
import { type PeerRecord, recordedFacts } from "../../peer/annotations.ts";
import { PeerChecker } from "../../peer/checks/check-peer.ts";
import { checkAddresses, checkNodeLocal } from "../../peer/checks/endpoint.ts";
import { checkMesh } from "../../peer/checks/mesh.ts";
import { describeEndpoint, endpointHostnames, isSameEndpoint } from "../../peer/etcd-config.ts";
import { type Finding, finding } from "../../peer/findings.ts";
import { isNodeLocal } from "../../peer/node-local.ts";
import type { Peer, SourcedPeer } from "../../peer/peer.ts";
import { describeCa } from "../../x509/names.ts";
import { tryReadPem } from "../../x509/pem.ts";
import type { Change } from "./change.ts";
import { type ConfigChangeOptions, planConfigSecrets } from "./config-changes.ts";
import { applyOverride, type OverriddenPeer } from "./endpoint-override.ts";
import { type ExistingConfig, isNodeLocalPeer, readExistingConfig, remoteEntry, secretHolding } from "./existing.ts";
import { hostnamesOf, type MissingAliases, planAliases, type Restarts, resolvedNames } from "./host-aliases.ts";
import type { Outcome } from "./merge-secret.ts";
import { assignRoles, isKept, isRemoved, type PeerRoles, type RoleOptions } from "./roles.ts";
import type { Target } from "./target.ts";
import { checkCommon, chooseTls, keepExistingTls, type TlsMode } from "./tls.ts";
import { planUsers } from "./users.ts";

export interface PlanOptions extends RoleOptions, ConfigChangeOptions {
  tls: TlsMode;
  /** Whether to grant users; false for `--no-users`. */
  users: boolean;
  /** Names of existing peers that are not imported, and whose users are granted nevertheless. */
  granted?: ReadonlySet<string>;
  /** The workloads whose pods may be restarted to add host aliases. */
  restarts: Restarts;
  /** Checks individual peers; a checker shared by several plans checks each peer once. */
  checker?: PeerChecker;
}

export interface BeforeAfter {
  before: string;
  after: string;
}

export interface Plan {
  /** In the order of the writes. */
  changes: Change[];
  /** The result for each peer, by name. */
  outcomes: Map<string, Outcome>;
  /** Whether the target's own file was among the peers and was skipped. */
  skippedSelf: boolean;
  /** Etcd users to grant and to revoke (`remote-<peer>`). */
  granted: string[];
  revoked: string[];
  /** Imported peers that keep the endpoint of an earlier `--endpoint`, with that endpoint. */
  keptOverrides: Map<string, string>;
  /** Imported peers that keep the endpoint set at an earlier extraction, with that endpoint. */
  keptEndpoints: Map<string, string>;
  /** Existing peers whose endpoint changes. */
  endpointChanges: Map<string, BeforeAfter>;
  /** Existing peers whose CA changes: its certificates by subject and SHA-256. */
  caChanges: Map<string, BeforeAfter>;
  /** Node-local peers of other tools that are kept, although they are imported or would be pruned. */
  kept: string[];
  /** Secrets whose last-applied annotation, which holds their whole content, is removed. */
  cleaned: string[];
  missing: MissingAliases[];
  findings: Finding[];
}

/**
 * Plans the import of peers into a target. Each peer is checked with the endpoint by which the target reaches it, and merged
 * into the existing config in the form for the target's version of Cilium, with etcd users and host aliases if needed.
 *
 * @returns the plan, which must not be applied if it has a finding of severity error.
 */
export function plan(target: Target, candidates: readonly SourcedPeer[], options: PlanOptions): Plan {
  const existing = readExistingConfig(target);
  const roles = assignRoles(target, existing, candidates, options);
  const { checker = new PeerChecker(), now } = options;
  const check: CheckPeer = (peer) => checker.check(peer, target.cache, now);
  const located = locatePeers(target, existing, roles, options, check);
  const imported = located.filter(({ isRewritten }) => !isRewritten);
  const findings = [
    ...checkTarget(target),
    ...existing.findings,
    ...roles.findings,
    ...checkInMesh(target, existing, roles, imported),
    ...roles.skipped.flatMap((one) => {
      const override = applyOverride(one.peer, target, existing, options.endpoints?.get(one.peer.name));
      return checkOverridden(one, override, check);
    }),
    ...located.flatMap((one) => one.findings),
    ...checkCommon(
      target,
      imported.filter(({ chosen }) => chosen?.client === "importer"),
    ),
  ];

  // Host aliases are written first: a config with a host name that does not resolve yet would disconnect its peer.
  const chosen = located.flatMap((one) => one.chosen ?? []);
  const overrides = [...(options.endpoints?.values() ?? [])].filter((one) => one !== null);
  const addressed = new Set([...candidates.map(({ peer }) => peer), ...overrides].flatMap(hostnamesOf));
  const remotePeers = chosen.filter(({ endpoints }) => !isNodeLocal(endpoints));
  const aliases = planAliases(target, remotePeers, addressed, options.restarts);

  const isHeld = (peer: Peer) => wouldBreakConnection(peer, existing, aliases.unresolved);
  const written = chosen.filter((peer) => !isHeld(peer));
  const records = new Map<string, PeerRecord>([
    ...existing.records,
    ...located.flatMap((one): [string, PeerRecord][] =>
      one.chosen && written.includes(one.chosen) ? [[one.chosen.name, recordOf(one.chosen, one.override)]] : [],
    ),
  ]);
  const config = planConfigSecrets(target, existing, written, roles.removed, records, options);
  const granted = [...(options.granted ?? [])].filter((name) => roles.staying.includes(name));
  const toGrant = [...written.map(({ name }) => name), ...granted].filter((name) => !isKept(existing, name, options));
  const users =
    options.users && target.takesUsers
      ? planUsers(
          target,
          [...toGrant, ...roles.kept],
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
    caChanges: new Map(written.flatMap((peer) => findCaChange(target, existing, peer))),
    kept: [
      ...roles.kept,
      ...(options.prune ? roles.staying.filter((name) => isNodeLocalPeer(existing, name)) : []),
    ].sort(),
    cleaned: config.cleaned,
    missing: aliases.missing,
    findings: [...findings, ...aliases.findings, ...config.findings, ...(users?.findings ?? [])],
  };
}

/** A peer to write, with the endpoint by which the target reaches it. */
interface LocatedPeer extends SourcedPeer {
  /** Whether the peer exists in the target and is not imported. */
  isRewritten: boolean;
  override: OverriddenPeer;
  /** The peer with its effective CA and client certificate; undefined if none is usable. */
  chosen: Peer | undefined;
  findings: Finding[];
}

/** Returns the findings of a peer by itself. */
type CheckPeer = (peer: SourcedPeer) => Finding[];

/** Applies the endpoint overrides, chooses certificates, and checks each peer with the result. */
function locatePeers(
  target: Target,
  existing: ExistingConfig,
  { imported, rewritten }: PeerRoles,
  options: PlanOptions,
  check: CheckPeer,
): LocatedPeer[] {
  const resolved = resolvedNames(target);
  return [...imported, ...rewritten].map((candidate) => {
    const { name } = candidate.peer;
    const isRewritten = rewritten.includes(candidate);
    const override = applyOverride(candidate.peer, target, existing, options.endpoints?.get(name));
    const located = { ...candidate, peer: override.peer };
    const reader = isNodeLocal(override.peer.endpoints) ? withAgentFiles(target) : target;
    // Another tool's peer that is only moved back to the agents' Secret keeps its certificate and is not checked.
    const isMovedBack = isRewritten && isKept(existing, name, options);
    const before = secretHolding(existing, name)?.entries.get(name)?.peer;
    const choice =
      isRewritten && (options.tls === "auto" || isMovedBack)
        ? keepExistingTls(located, reader)
        : chooseTls(located, reader, options.tls, before?.client === "importer");
    const checked = isRewritten ? check(located) : checkOverridden(candidate, override, check);
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

/** Checks an imported peer with the endpoint by which the target reaches it. */
function checkOverridden(
  candidate: SourcedPeer,
  { peer, endpointOverride }: OverriddenPeer,
  check: CheckPeer,
): Finding[] {
  const reached = { ...candidate, peer };
  // Only --endpoint may set a node-local endpoint.
  return [...(endpointOverride === undefined ? checkNodeLocal(reached) : []), ...check(reached)];
}

function isInFiles({ imported, kept }: PeerRoles, name: string): boolean {
  return kept.includes(name) || imported.some(({ peer }) => peer.name === name);
}

/** Checks the imported peers against each other, the staying peers and the target. */
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
    existing: [...staying, ...kept].map((name) => ({
      name,
      ...(isNodeLocalPeer(existing, name) && { nodeLocal: true as const }),
      ...recorded(name),
    })),
    idsRecorded: imported.every(({ peer: { name, facts } }) => facts.id === recorded(name).id),
  });
}

/** Returns the annotation record of a peer. */
function recordOf({ facts }: Peer, { endpointOverride, given }: OverriddenPeer): PeerRecord {
  return {
    ...recordedFacts(facts),
    ...(endpointOverride !== undefined && { endpoint: endpointOverride }),
    ...(given && { given: true }),
  };
}

function findEndpointChange(existing: ExistingConfig, peer: Peer): [string, BeforeAfter][] {
  const before = secretHolding(existing, peer.name)?.entries.get(peer.name)?.config;
  if (!before || isSameEndpoint(before, peer)) return [];
  return [[peer.name, { before: describeEndpoint(before), after: describeEndpoint(peer) }]];
}

function findCaChange({ common, cache }: Target, existing: ExistingConfig, peer: Peer): [string, BeforeAfter][] {
  const existingPeer = secretHolding(existing, peer.name)?.entries.get(peer.name)?.peer;
  const pemOf = ({ ca }: Peer) => (ca === "importer" ? common?.ca : ca === "system" ? undefined : ca.pem);
  const [pemBefore, pemAfter] = [existingPeer && pemOf(existingPeer), pemOf(peer)];
  // Compared as text first, because nearly all CAs are unchanged.
  if (pemBefore === undefined || pemAfter === undefined || pemBefore === pemAfter) return [];
  const [before, after] = [pemBefore, pemAfter].map((pem) => tryReadPem(() => describeCa(pem, cache)));
  return before === undefined || after === undefined || before === after ? [] : [[peer.name, { before, after }]];
}

/** Returns the target with the `common-` files of its agents, which may differ from those of the kvstoremesh container. */
function withAgentFiles(target: Target): Target {
  return target.facts.kvstoreMesh ? { ...target, common: target.agentsCommon } : target;
}

function checkTarget({ facts, source }: Target): Finding[] {
  const { name, id } = facts;
  return name === "default" || id === 0 ? [finding("target-not-set-up", { source }, { name, id })] : [];
}

/** Reports errors of existing peers as warnings, so that they do not block an import. */
function downgradeToWarnings(findings: readonly Finding[]): Finding[] {
  return findings.map((one) => {
    if (one.severity !== "error") return one;
    const values = { case: "problem", peer: one.key ?? "", problem: one.message } as const;
    return finding("existing-unusable", one, values, { remedy: one.remedyTemplate ?? one.remedy });
  });
}

/**
 * Whether the config of an existing peer would get a host name that its reader cannot resolve yet. After KVStoreMesh was
 * enabled, the reader is another workload, which may not resolve the existing host name either.
 */
function wouldBreakConnection(
  { name, endpoints }: Peer,
  existing: ExistingConfig,
  unresolved: ReadonlySet<string>,
): boolean {
  if (isNodeLocal(endpoints)) return false;
  const { remote, agents } = existing;
  const readerChanges = remote !== agents && remoteEntry(agents, name) !== undefined;
  const entry = remoteEntry(readerChanges ? agents : remote, name);
  if (!entry) return false;
  const hostnames = readerChanges ? [] : endpointHostnames(entry.config.endpoints);
  return endpointHostnames(endpoints).some((host) => unresolved.has(host) && !hostnames.includes(host));
}
