/**
 * Pairs of clusters, an importer and its peer each: whether what stands in the importer is what an import of the peer
 * would write now. The import's own plan is asked, so that the two cannot differ. Pure.
 */

import {
  type ExistingConfig,
  isEndpointGiven,
  isMisplaced,
  readExistingConfig,
  secretHolding,
} from "../import/plan/existing.ts";
import type { Outcome } from "../import/plan/merge-secret.ts";
import { type Plan, type PlanOptions, plan } from "../import/plan/plan.ts";
import { planUsers } from "../import/plan/users.ts";
import { recordedFacts } from "../peer/annotations.ts";
import { checkLoopbackAddresses } from "../peer/checks/endpoint.ts";
import { unknownId } from "../peer/checks/mesh.ts";
import { checkPeer } from "../peer/checks/peer.ts";
import { describeEndpoint } from "../peer/etcd-config.ts";
import {
  dedupeFindings,
  type Finding,
  type FindingCode,
  finding,
  type Place,
  type RemedyTemplate,
  redact,
} from "../peer/findings.ts";
import { KVSTOREMESH_SECRET, type Peer, type SourcedPeer } from "../peer/peer.ts";
import { parseEndpoint } from "../util/address.ts";
import type { ParseCache } from "../util/parse-cache.ts";
import { shellQuote } from "../util/shell.ts";
import { haveCertificateInCommon } from "../x509/chain.ts";
import type { CertificateFact } from "../x509/expiry.ts";
import { certificateUser } from "../x509/names.ts";
import { type ExtractedMember, type Member, ownOf, peersOf } from "./member.ts";
import { expiryRemedy, type JudgeOptions } from "./own-certificates.ts";

/** `missing`: the importer is not configured for this peer; `node-local`: only a node can reach it, and that is no fault. */
export type PairState = "ok" | "warning" | "error" | "missing" | "node-local";

export interface Pair {
  /** Context of the importer. */
  importer: string;
  /** The peer's cluster name. */
  peer: string;
  /** The peer's context, where one of those that were named leads to it. */
  context?: string | undefined;
  /** The peer's cluster id, if it is known. */
  id?: number | undefined;
  configured: boolean;
  /** Whether the importer's agents alone can reach it, by a process on each node: nothing more is known of it here. */
  nodeLocal?: true;
  /** Whether its endpoint was chosen, at its extraction or by `--endpoint`, so that it is not compared with the cluster's. */
  endpointGiven?: true;
  /** Set if the peer's clustermesh-apiserver does not run, which is a finding about that cluster. */
  notRunning?: true;
  findings: Finding[];
}

export function stateOf({ configured, nodeLocal, notRunning, findings }: Pair): PairState {
  if (findings.some(({ severity }) => severity === "error")) return "error";
  if (nodeLocal) return "node-local";
  if (configured && notRunning) return "error";
  if (!configured) return "missing";
  return findings.length > 0 ? "warning" : "ok";
}

/** What is said of a pair by the plan of an import, where it would matter to what stands. */
const OF_INTEREST: FindingCode[] = [
  "name-of-target",
  "id-of-target",
  "id-twice",
  "maximum-differs",
  "too-many-peers",
  "ca-differs",
  "common-not-mounted",
  "peer-without-key",
  "user-not-accepted",
  "users-invalid",
  "no-addresses",
  "standing-unusable",
  "pod-cidrs-overlap",
  "tunnel-differs",
  "encryption-differs",
  "same-node-port",
];

const OPTIONS: Omit<PlanOptions, "now"> = { tls: "auto", users: true, restarts: "none" };

export function judgePairs(members: readonly ExtractedMember[], options: JudgeOptions): Pair[] {
  const byName = new Map(members.map((member) => [member.target.facts.name ?? member.source, member]));
  const existing = new Map(members.map((member) => [member, readExistingConfig(member.target)]));
  const lacked = usersLacked(members);
  const importersOf = (peer: string) =>
    members.filter((one) => existing.get(one)?.names.has(peer)).map(({ source }) => source);
  return members.flatMap((importer) => {
    const own = importer.target.facts.name ?? importer.source;
    const standing = existing.get(importer) ?? readExistingConfig(importer.target);
    const names = new Set([...byName.keys(), ...standing.names]);
    names.delete(own);
    const judge = judgeOf(importer, standing, byName, importersOf, lacked, options);
    return [...names].map((peer): Pair => {
      const other = byName.get(peer);
      const configured = standing.names.has(peer);
      const back = other && existing.get(other);
      const pair: Pair = {
        importer: importer.source,
        peer: redact(peer),
        context: other?.source,
        id: other ? other.target.facts.id : recordedFacts(standing.records.get(peer)).id,
        configured,
        ...(standing.nodeLocal.has(peer) && { nodeLocal: true as const }),
        ...(configured && isEndpointGiven(standing, peer) && { endpointGiven: true as const }),
        ...(other?.installation.waiting !== undefined && { notRunning: true as const }),
        findings: [],
      };
      if (isMisplaced(standing, peer)) pair.findings.push(misplaced(importer, peer));
      else if (configured) pair.findings.push(...(pair.nodeLocal ? [] : judge(peer)));
      else if (other && !back?.nodeLocal.has(own)) {
        pair.findings.push(...lacking(importer, own, peer, other, back?.names.has(own) === true));
      }
      return pair;
    });
  });
}

/** That a peer which only a node can reach is where kvstoremesh reads, as earlier versions of `--migrate` moved it. */
function misplaced({ source }: ExtractedMember, name: string): Finding {
  const message = `${name} is only reachable from a node, and configured in ${KVSTOREMESH_SECRET}, where nothing reaches it`;
  return finding("node-local-misplaced", { source, key: name }, message, migrateCommand(source));
}

function lacking(
  importer: ExtractedMember,
  own: string,
  peer: string,
  other: ExtractedMember,
  reverse: boolean,
): Finding[] {
  const place = { source: importer.source, key: peer };
  const contexts = { peer: shellQuote(other.source), importer: shellQuote(importer.source) };
  if (reverse) {
    const remedy = {
      template: `to connect: ${IMPORT}; to disconnect: clustermesh-secrets disconnect {cluster} --from {peer}`,
      values: { ...contexts, cluster: shellQuote(own) },
    };
    return [finding("one-sided", place, `${peer} is configured for ${own}, but not the other way round`, remedy)];
  }
  // Both at once: one direction alone would be an error where this is a warning.
  const remedy = { template: "clustermesh-secrets connect {importer} {peer}", values: contexts };
  // Once for the two of them.
  return own < peer
    ? [
        finding("not-connected", place, `${own} and ${peer} are not configured for each other`, remedy, {
          clusters: [own, peer],
        }),
      ]
    : [];
}

const IMPORT = "extract-secret --context {peer} | import-secrets --context {importer} -";

function importCommand(peer: string, importer: string): RemedyTemplate {
  return { template: IMPORT, values: { peer: shellQuote(peer), importer: shellQuote(importer) } };
}

/** Judges the peers that one importer is configured for. */
function judgeOf(
  importer: ExtractedMember,
  standing: ExistingConfig,
  byName: ReadonlyMap<string, ExtractedMember>,
  importersOf: (peer: string) => string[],
  lacked: (member: ExtractedMember) => ReadonlySet<string>,
  { now, expiresWithin }: JudgeOptions,
): (peer: string) => Finding[] {
  const { source, target } = importer;
  const current: SourcedPeer[] = [];
  for (const name of standing.names) {
    const other = byName.get(name);
    if (other?.peer && other !== importer) current.push({ peer: other.peer, source: other.source });
  }
  const planned = plan(target, current, { ...OPTIONS, now });
  const migrated = plan(target, [], { ...OPTIONS, users: false, now, migrate: true });
  const { peers, findings: unusable } = peersOf(importer, standing);
  return (name) => {
    const place = { source, key: name };
    const findings = [...unusable, ...planned.findings]
      .filter(({ key, code }) => key === name && OF_INTEREST.includes(code))
      .map((one) => ({ ...one, source }));
    const stands = peers.find(({ peer }) => peer.name === name);
    const other = byName.get(name);
    if (stands) {
      const remedyFor = (certificate: CertificateFact) =>
        peerExpiryRemedy(stands.peer, certificate, {
          importer,
          importers: importersOf(name),
          owner: other,
          now,
          expiresWithin,
        });
      findings.push(
        ...checkPeer({ peer: withOwn(stands.peer, importer), source, remedyFor }, now, {
          expiresWithin,
          cache: target.cache,
        }),
      );
    }
    // Of clusters that a context leads to it is reported once, and not by each importer.
    if (stands && !other?.peer) findings.push(...checkLoopbackAddresses(stands.peer, place));
    if (!other) {
      findings.push(
        finding("peer-uncovered", place, `no context leads to ${name}, so it is not compared`, "name its context too"),
      );
      if (recordedFacts(standing.records.get(name)).id === undefined) findings.push(unknownId(name, place, true));
    } else if (!other.peer || !stands) {
      // That it cannot be extracted is said of the cluster.
    } else {
      const before = secretHolding(standing, name)?.entries.get(name)?.peer;
      const outcome = planned.outcomes.get(name);
      if (before && isEndpointGiven(standing, name))
        findings.push(...givenAddressesGone(before, other, importer, place));
      else if (before && isNew(outcome)) findings.push(...endpointStale(before, other, importer, place));
      if (before && isNew(outcome)) findings.push(...certificatesStale(before, other, importer, place));
      const asked = clientOf(importer, other.peer);
      if (asked !== undefined && lacked(other).has(asked)) {
        findings.push(
          finding(
            "user-missing",
            place,
            `${name} does not let in user ${asked}, as which ${target.facts.name} comes`,
            importCommand(source, other.source),
          ),
        );
      }
    }
    const anew = migrated.outcomes.get(name);
    const moves = anew === "moved" || (anew === "held" && secretHolding(standing, name) !== standing.remote);
    // Of one that is to be moved, the workload that needs host aliases does not read the config yet.
    if (!moves) {
      const missing = aliasesMissing(migrated, stands?.peer, place);
      findings.push(...missing);
      // The config is up to date, and what resolves its name is not: an import that was told not to restart left it so.
      const isCurrent = other?.peer !== undefined && planned.outcomes.get(name) === "unchanged";
      if (isCurrent && missing.length === 0) findings.push(...aliasesOutdated(planned, stands?.peer, other, place));
    }
    if (moves || (isNew(anew) && !isNew(planned.outcomes.get(name)))) findings.push(leftByUpgrade(importer, name));
    return dedupeFindings(findings);
  };
}

const isNew = (outcome: Outcome | undefined) => outcome !== undefined && outcome !== "unchanged" && outcome !== "held";

function leftByUpgrade({ source, target }: ExtractedMember, name: string): Finding {
  return finding(
    "upgrade-left",
    { source, key: name },
    `${name} is laid out for another Cilium than the ${target.facts.version ?? "one"} that runs now`,
    migrateCommand(source),
  );
}

function migrateCommand(importer: string): RemedyTemplate {
  return { template: "import-secrets --context {importer} --migrate", values: { importer: shellQuote(importer) } };
}

/** Whether a peer is looked for elsewhere than its cluster says now. */
function endpointStale(
  before: Peer,
  { peer: now, source: from, installation }: ExtractedMember,
  importer: ExtractedMember,
  place: Place,
) {
  if (!now) return [];
  const remedy = importCommand(from, importer.source);
  const urls = (peer: Peer) => [...peer.endpoints].sort().join(", ");
  const port = (peer: Peer) => parseEndpoint(peer.endpoints[0] ?? "")?.port;
  const gone = addressesGone(before, [...addressesIn(now), ...nodeAddresses(installation)]);
  const lost = addressesIn(before).length > 0 && gone.length === addressesIn(before).length;
  if (port(before) !== port(now) || (urls(before) !== urls(now) && addressesIn(before).length === 0) || lost) {
    const message = `${now.name} is at ${describeEndpoint(now)} now, and is looked for at ${describeEndpoint(before)}`;
    return [finding("endpoint-stale", place, message, remedy)];
  }
  return gone.length > 0 ? [addressesStale(gone, now, place, remedy)] : [];
}

/**
 * Where an endpoint was chosen it is nobody else's to judge. But if some of its addresses are those of nodes, as with
 * `--address-type`, the others were too.
 */
function givenAddressesGone(
  before: Peer,
  { peer: now, installation, source: from }: ExtractedMember,
  importer: ExtractedMember,
  place: Place,
) {
  const gone = addressesGone(before, nodeAddresses(installation));
  if (!now || gone.length === 0 || gone.length === addressesIn(before).length) return [];
  const template = "extract-secret --context {peer} --endpoint HOST:PORT | import-secrets --context {importer} -";
  const values = { peer: shellQuote(from), importer: shellQuote(importer.source) };
  return [addressesStale(gone, now, place, { template, values })];
}

function addressesStale(gone: readonly string[], { name }: Peer, place: Place, remedy: RemedyTemplate): Finding {
  return finding("addresses-stale", place, `${gone.join(", ")} is no address of ${name} any more`, remedy);
}

function addressesIn({ hostAliases }: Peer): string[] {
  return hostAliases.flatMap(({ ips }) => ips);
}

function addressesGone(before: Peer, serving: readonly string[]): string[] {
  return addressesIn(before).filter((ip) => !serving.includes(ip));
}

function nodeAddresses(installation: ExtractedMember["installation"]): string[] {
  return installation.nodes().flatMap(({ addresses }) => addresses.map(({ address }) => address));
}

/** In what way the certificates that stand are not those that would be imported now. */
function certificatesStale(
  before: Peer,
  { peer: now, source: from }: ExtractedMember,
  importer: ExtractedMember,
  place: Place,
): Finding[] {
  if (!now) return [];
  const findings: Finding[] = [];
  const remedy = importCommand(from, importer.source);
  if (!trusts(withOwn(before, importer), withOwn(now, importer), importer.target.cache)) {
    findings.push(
      finding("ca-stale", place, `the CA of ${now.name} has changed, and the new one is not trusted`, remedy),
    );
  }
  if (before.client !== "importer" && now.client !== "importer" && before.client.cert !== now.client.cert) {
    const message = `${now.name} has a new client certificate for its peers; an older one is in use`;
    findings.push(finding("client-stale", place, message, remedy));
  }
  return findings;
}

/**
 * What to do about a certificate of a peer, or of its importer where the peer comes without one.
 *
 * @param context.importers contexts of all that have the peer.
 * @param context.owner the peer's cluster; undefined if no context leads to it.
 */
export function peerExpiryRemedy(
  { name, ca, client }: Peer,
  certificate: CertificateFact,
  {
    importer,
    importers,
    owner,
    ...options
  }: JudgeOptions & { importer: Member; importers: readonly string[]; owner: Member | undefined },
): RemedyTemplate {
  const isOwn = certificate.use === "ca" ? ca === "importer" : certificate.use === "client" && client === "importer";
  return isOwn
    ? expiryRemedy(certificate, { ...options, owner: importer })
    : expiryRemedy(certificate, { ...options, owner, cluster: name, importers });
}

function trusts({ ca: before }: Peer, { ca: now }: Peer, cache: ParseCache): boolean {
  if (typeof before !== "object" || typeof now !== "object") return true;
  return haveCertificateInCommon(before.pem, now.pem, cache);
}

function withOwn(peer: Peer, importer: ExtractedMember): Peer {
  const { ca, client } = ownOf(importer);
  return {
    ...peer,
    ...(peer.ca === "importer" && ca !== undefined && { ca: { pem: ca } }),
    ...(peer.client === "importer" && client && { client }),
  };
}

/** The listed user (`remote-<name>`) as which an importer comes to a peer; undefined where it comes as `remote`. */
function clientOf(importer: ExtractedMember, peer: Peer): string | undefined {
  const { client } = withOwn(peer, importer);
  const user = client === "importer" ? undefined : certificateUser(client.cert, importer.target.cache);
  return user?.startsWith("remote-") ? user : undefined;
}

/** The users that a member would let in by an import of all others, and does not yet. */
function usersLacked(members: readonly ExtractedMember[]): (member: ExtractedMember) => ReadonlySet<string> {
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

/** Workloads without the host aliases by which they would reach a peer. */
function aliasesMissing(plan: Plan, peer: Peer | undefined, place: Place): Finding[] {
  return workloadsLacking(plan, peer).map(({ workload: { kind, name }, lacks }) =>
    finding("host-alias-missing", place, `${kind} ${name} has no host alias for ${lacks.join(", ")}`, {
      template: "import-secrets --context {importer} --migrate --restart-agents",
      values: { importer: shellQuote(place.source) },
    }),
  );
}

/** Workloads that resolve the names of a peer to other addresses than an import would write. */
function aliasesOutdated(plan: Plan, peer: Peer | undefined, other: ExtractedMember, place: Place): Finding[] {
  return workloadsLacking(plan, peer).map(({ workload: { kind, name }, lacks }) =>
    finding(
      "host-alias-missing",
      place,
      `${kind} ${name} has host aliases of other addresses for ${lacks.join(", ")}`,
      {
        template: "clustermesh-secrets connect {importer} {peer} --restart-agents",
        values: { importer: shellQuote(place.source), peer: shellQuote(other.source) },
      },
    ),
  );
}

function workloadsLacking({ missing }: Plan, peer: Peer | undefined) {
  const hosts = new Set(peer?.endpoints.map((url) => parseEndpoint(url)?.host));
  return missing
    .map(({ workload, hostnames }) => ({ workload, lacks: hostnames.filter((name) => hosts.has(name)) }))
    .filter(({ lacks }) => lacks.length > 0);
}
