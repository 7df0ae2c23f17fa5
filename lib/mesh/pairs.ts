/**
 * Checks pairs of an importer and its peer: whether the importer's config is what an import would write now. The check plans
 * such an import, so that status and import cannot differ. Pure.
 */
import { type ExistingConfig, isEndpointGiven, isMisplaced, secretHolding } from "../import/plan/existing.ts";
import type { Outcome } from "../import/plan/merge-secret.ts";
import { type PlanOptions, plan } from "../import/plan/plan.ts";
import { planUsers } from "../import/plan/users.ts";
import { recordedFacts } from "../peer/annotations.ts";
import { checkPeer, PeerChecker } from "../peer/checks/check-peer.ts";
import { checkLoopbackAddresses } from "../peer/checks/endpoint.ts";
import { unknownIdFinding } from "../peer/checks/mesh.ts";
import { hasTrait } from "../peer/finding-codes.ts";
import { dedupeFindings, type Finding, finding, type Place, redact } from "../peer/findings.ts";
import type { Peer, SourcedPeer } from "../peer/peer.ts";
import { shellQuote } from "../util/shell.ts";
import type { CertificateFact } from "../x509/expiry.ts";
import { certificateUser } from "../x509/names.ts";
import { type ExtractedMember, existingOf, peersOf } from "./member.ts";
import {
  describePeerCertificates,
  type JudgeOptions,
  type PeerCertificate,
  peerExpiryRemedy,
} from "./own-certificates.ts";
import {
  aliasFindings,
  certificatesStale,
  endpointStale,
  givenAddressesGone,
  quoteContexts,
  withOwn,
} from "./staleness.ts";

/** `missing`: the importer does not have this peer; `node-local`: the peer is reachable only from the same node, as intended. */
export type PairState = "ok" | "warning" | "error" | "missing" | "node-local";

export interface Pair {
  /** Context of the importer. */
  importer: string;
  /** The peer's cluster name. */
  peer: string;
  /** The peer's context; undefined if it is not among the selected ones. */
  context?: string | undefined;
  /** The peer's cluster id; undefined if unknown. */
  id?: number | undefined;
  /** Whether the importer has a config for the peer. */
  configured: boolean;
  /** Set if the peer is reachable only from the same node, so that it is not checked further. */
  nodeLocal?: true;
  /** Set if the endpoint was set with `--endpoint`, at extraction or import, and is therefore not compared with the cluster's. */
  endpointGiven?: true;
  /** Set if the peer's clustermesh-apiserver is not running; the finding about it is the cluster's. */
  notRunning?: true;
  /** The certificates in the importer's config for the peer; undefined if the config is missing, unreadable or node-local. */
  certificates?: PeerCertificate[];
  findings: Finding[];
}

/** Returns the state of a pair by its findings. */
export function stateOf({ configured, nodeLocal, notRunning, findings }: Pair): PairState {
  if (findings.some(({ severity }) => severity === "error")) return "error";
  if (nodeLocal) return "node-local";
  if (configured && notRunning) return "error";
  if (!configured) return "missing";
  return findings.length > 0 ? "warning" : "ok";
}

const OPTIONS: Omit<PlanOptions, "now"> = { tls: "auto", users: true, restarts: "none" };

/** Checks each pair of importer and peer, in the order of the members. Pure. */
export function judgePairs(members: readonly ExtractedMember[], options: PairOptions): Pair[] {
  const byName = new Map(members.map((member) => [member.target.facts.name ?? member.source, member]));
  const checker = new PeerChecker();
  const missingUsers = findMissingUsers(members);
  const importersOf = (peer: string) =>
    members.filter((one) => existingOf(one).names.has(peer)).map(({ source }) => source);
  return members.flatMap((importer) => {
    const existing = existingOf(importer);
    const own = importer.target.facts.name ?? importer.source;
    const names = new Set([...byName.keys(), ...existing.names]);
    names.delete(own);
    const check = createPairCheck(importer, existing, { byName, importersOf, missingUsers, checker, ...options });
    return [...names].map((peer): Pair => {
      const other = byName.get(peer);
      const configured = existing.names.has(peer);
      const back = other && existingOf(other);
      const pair: Pair = {
        importer: importer.source,
        peer: redact(peer),
        context: other?.source,
        id: other ? other.target.facts.id : recordedFacts(existing.records.get(peer)).id,
        configured,
        ...(existing.nodeLocal.has(peer) && { nodeLocal: true as const }),
        ...(configured && isEndpointGiven(existing, peer) && { endpointGiven: true as const }),
        ...(other?.installation.waiting !== undefined && { notRunning: true as const }),
        findings: [],
      };
      if (isMisplaced(existing, peer)) pair.findings.push(findMisplaced(importer, peer));
      else if (configured) Object.assign(pair, pair.nodeLocal ? {} : check(peer));
      else if (other && !back?.nodeLocal.has(own)) {
        pair.findings.push(...findMissing(importer, own, peer, other, back?.names.has(own) === true));
      }
      return pair;
    });
  });
}

/** Reports a node-local peer in the Secret of KVStoreMesh, to which earlier versions of `--migrate` moved it. */
function findMisplaced({ source }: ExtractedMember, name: string): Finding {
  return finding("node-local-misplaced", { source, key: name }, { name, importer: shellQuote(source) });
}

function findMissing(
  importer: ExtractedMember,
  own: string,
  peer: string,
  other: ExtractedMember,
  reverse: boolean,
): Finding[] {
  const place = { source: importer.source, key: peer };
  const values = { ...quoteContexts(other.source, importer.source), name: peer };
  if (reverse) return [finding("one-sided", place, { ...values, own, cluster: shellQuote(own) })];
  // Reported once for both directions.
  return own < peer ? [finding("not-connected", place, { ...values, cluster: own }, { clusters: [own, peer] })] : [];
}

export interface PairOptions extends JudgeOptions {
  /** Names of selected clusters that cannot be read. */
  unreadable: ReadonlySet<string>;
}

/** Data about all members. */
interface Mesh extends PairOptions {
  byName: ReadonlyMap<string, ExtractedMember>;
  /** Returns the contexts of a peer's importers. */
  importersOf(peer: string): string[];
  /** Returns the etcd users that an import of all other members would add to a member. */
  missingUsers(member: ExtractedMember): ReadonlySet<string>;
  checker: PeerChecker;
}

/** Returns a function that checks one configured peer of an importer. */
function createPairCheck(
  importer: ExtractedMember,
  existing: ExistingConfig,
  { byName, importersOf, missingUsers, checker, unreadable, now, expiresWithin }: Mesh,
): (peer: string) => Pick<Pair, "certificates" | "findings"> {
  const { source, target } = importer;
  const current: SourcedPeer[] = [];
  for (const name of existing.names) {
    const other = byName.get(name);
    if (other?.peer && other !== importer) current.push({ peer: other.peer, source: other.source });
  }
  const planned = plan(target, current, { ...OPTIONS, checker, now });
  const migrated = plan(target, [], { ...OPTIONS, users: false, now, migrate: true });
  const { peers, findings: unusable } = peersOf(importer);
  return (name) => {
    const place = { source, key: name };
    const findings = [...unusable, ...planned.findings]
      .filter((one) => one.key === name && hasTrait(one, "of-pair"))
      .map((one) => ({ ...one, source }));
    const configured = peers.find(({ peer }) => peer.name === name);
    const other = byName.get(name);
    if (configured) {
      const remedyFor = (certificate: CertificateFact) =>
        peerExpiryRemedy(configured.peer, certificate, {
          importer,
          importers: importersOf(name),
          owner: other,
          now,
          expiresWithin,
        });
      const sourced = { peer: withOwn(configured.peer, importer), source, remedyFor };
      findings.push(...checkPeer(sourced, now, { expiresWithin, cache: target.cache }));
    }
    // If the peer's cluster was extracted, this is reported once, for the cluster.
    if (configured && !other?.peer) findings.push(...checkLoopbackAddresses(configured.peer, place));
    if (!other) findings.push(...findNotCompared(name, existing, unreadable.has(name), place));
    else if (configured && other.peer) {
      findings.push(...staleFindings(importer, existing, other, planned.outcomes.get(name), place));
      const user = clientOf(importer, other.peer);
      if (user !== undefined && missingUsers(other).has(user)) {
        // The peer grants the user when it imports this cluster.
        const contexts = quoteContexts(source, other.source);
        findings.push(
          finding("user-missing", place, { ...contexts, name, user, cluster: target.facts.name ?? source }),
        );
      }
    }
    const migratedOutcome = migrated.outcomes.get(name);
    const moves =
      migratedOutcome === "moved" || (migratedOutcome === "held" && secretHolding(existing, name) !== existing.remote);
    // The workload that will need host aliases does not read the config before it moves.
    if (!moves) findings.push(...aliasFindings(planned, migrated, configured?.peer, other, place));
    if (moves || (isNew(migratedOutcome) && !isNew(planned.outcomes.get(name))))
      findings.push(findOutdatedLayout(importer, name));
    const certificates = configured && describePeerCertificates(configured.peer, now, target.cache);
    return { ...(certificates && { certificates }), findings: dedupeFindings(findings) };
  };
}

/** Reports a peer that is not compared, because its cluster was not selected or cannot be read. */
function findNotCompared(name: string, existing: ExistingConfig, isUnreadable: boolean, place: Place): Finding[] {
  const isUnknown = recordedFacts(existing.records.get(name)).id === undefined;
  return [
    finding("peer-not-compared", place, { name, ...(isUnreadable && { isUnreadable }) }),
    ...(isUnknown ? [unknownIdFinding(name, place, true)] : []),
  ];
}

/** Compares the existing config of a peer with the current extraction of its cluster. */
function staleFindings(
  importer: ExtractedMember,
  existing: ExistingConfig,
  other: ExtractedMember,
  outcome: Outcome | undefined,
  place: Place,
): Finding[] {
  const name = place.key ?? "";
  const before = secretHolding(existing, name)?.entries.get(name)?.peer;
  if (!before) return [];
  const certificates = isNew(outcome) ? certificatesStale(before, other, importer, place) : [];
  if (isEndpointGiven(existing, name)) return [...givenAddressesGone(before, other, importer, place), ...certificates];
  return isNew(outcome) ? [...endpointStale(before, other, importer, place), ...certificates] : [];
}

const isNew = (outcome: Outcome | undefined) => outcome !== undefined && outcome !== "unchanged" && outcome !== "held";

function findOutdatedLayout({ source, target }: ExtractedMember, name: string): Finding {
  const { version } = target.facts;
  return finding("layout-outdated", { source, key: name }, { name, version, importer: shellQuote(source) });
}

/** Returns the etcd user (`remote-<name>`) of an importer at a peer; undefined for the common user `remote`. */
function clientOf(importer: ExtractedMember, peer: Peer): string | undefined {
  const { client } = withOwn(peer, importer);
  const user = client === "importer" ? undefined : certificateUser(client.cert, importer.target.cache);
  return user?.startsWith("remote-") ? user : undefined;
}

/** Returns a function for the etcd users that an import of all other members would add to a member. */
function findMissingUsers(members: readonly ExtractedMember[]): (member: ExtractedMember) => ReadonlySet<string> {
  const names = members.flatMap(({ peer }) => peer?.name ?? []);
  const known = new Map<ExtractedMember, ReadonlySet<string>>();
  return (member) => {
    const { target } = member;
    const others = names.filter((name) => name !== target.facts.name);
    const found = known.get(member) ?? new Set(target.takesUsers ? planUsers(target, others, () => false).granted : []);
    known.set(member, found);
    return found;
  };
}
