/** Plans one target of `sync`: the same plan as that of an import, without the pairs that are held. */
import { type ExistingConfig, existingPeer, secretHolding } from "../import/plan/existing.ts";
import type { Plan, PlanOptions } from "../import/plan/plan.ts";
import { type PreparedImport, prepareImport } from "../import/prepare.ts";
import { existingOf, type Member, ownOf } from "../mesh/member.ts";
import { endpointHostnames } from "../peer/etcd-config.ts";
import type { Finding } from "../peer/findings.ts";
import type { Peer, SourcedPeer } from "../peer/peer.ts";
import { earliest } from "../util/earliest.ts";
import { shellQuote } from "../util/shell.ts";
import { keepAddresses } from "./addresses.ts";
import { findRecord } from "./authorities.ts";
import { orderAuthorities } from "./ca-order.ts";
import type { MemberView } from "./member-view.ts";
import type { PeerVersions } from "./peer-parts.ts";
import type { AuthorityRecord, GoneAddress, HeldRecord } from "./state.ts";

/** The number of contexts in a command to copy. */
const MAX_COMMAND_ENTRIES = 10;
/** How long a pair with an error is held at least, in milliseconds. */
const ERROR_RECHECK_MS = 60_000;

/** A hold as planned; the state knows since when. */
export type PlannedHold = Omit<HeldRecord, "since" | "until"> & { until?: Date | undefined };

/** A peer that a target is to have. */
export interface DesiredPeer {
  view: MemberView;
  peer: Peer;
}

/** What is to be planned. */
export interface TargetRequest {
  member: Member;
  peers: readonly DesiredPeer[];
  /** Names of all peers that the target is to have, also of those that are not planned now. */
  granted: ReadonlySet<string>;
  /** Names of peers to remove. */
  removed: ReadonlySet<string>;
  /** Contested peers, and whether the etcd users are contested. */
  contested: { peers: ReadonlySet<string>; users: boolean };
  gone: readonly GoneAddress[];
  authorities: readonly AuthorityRecord[];
  /** Milliseconds. */
  addressGrace: number;
  /** When to check again whether the etcd of a peer was restarted, in milliseconds. */
  recheckAfter: number;
  options: Omit<PlanOptions, "remove" | "endpoints">;
  /** Resolves a host name to its addresses. */
  resolve(name: string): Promise<string[]>;
}

/** The plan of one target. */
export interface TargetPlan {
  /** Undefined if the whole target is held. */
  prepared: PreparedImport | undefined;
  holds: PlannedHold[];
  findings: Finding[];
  /** The peers that have a config, by their names. Most of them do not differ from it. */
  versions: ReadonlyMap<string, PeerVersions>;
  /** The addresses that are gone, of all peers. */
  gone: GoneAddress[];
  /** When the target has to be planned again, because a hold may have ended. */
  recheckAt: Date | undefined;
}

/** Plans a target. A pair with an error is held, and the others are planned without it. */
export async function planTarget(request: TargetRequest): Promise<TargetPlan> {
  const { member, removed, options, resolve, contested } = request;
  const { target, api } = member;
  const located = locatePeers(request);
  const { holds } = located;
  let { recheckAt } = located;
  let peers = located.peers.filter(({ peer }) => !contested.peers.has(peer.name));
  for (;;) {
    const prepared = await prepareImport([{ api, target, peers }], {
      // A peer that is held keeps its config, and its user.
      plan: { ...options, users: options.users && !contested.users, remove: removed, granted: request.granted },
      resolve,
    });
    const { findings } = prepared;
    const errors = findings.filter(({ severity }) => severity === "error");
    const failing = new Set(errors.map(({ key }) => key));
    const others = peers.filter(({ peer }) => !failing.has(peer.name));
    holds.push(
      ...errors.map((error) => toHold(error, target.facts.name ?? target.source, others.length < peers.length)),
    );
    // Some errors end without a change that is watched: a certificate becomes valid, or a clock is corrected.
    if (errors.length > 0) recheckAt = earliest(recheckAt, new Date(options.now.getTime() + ERROR_RECHECK_MS));
    const result = { holds, gone: located.gone, versions: located.versions, recheckAt };
    if (errors.length === 0) {
      holds.push(...prepared.targets.flatMap(({ plan }) => restartHolds(plan, member, peers)));
      return { ...result, prepared, findings };
    }
    // An error that concerns no single peer, such as the owner of a Secret, holds the target.
    if (others.length === peers.length) return { ...result, prepared: undefined, findings };
    peers = others;
  }
}

function toHold({ key, message, remedy }: Finding, target: string, isOfPeer: boolean): PlannedHold {
  return {
    target,
    ...(isOfPeer && key !== undefined && { peer: key }),
    reason: isOfPeer ? "check" : "refused",
    message,
    ...(remedy !== undefined && { remedy }),
  };
}

/** Peers with the addresses and certificates that the target may be given now. */
interface LocatedPeers {
  peers: SourcedPeer[];
  holds: PlannedHold[];
  gone: GoneAddress[];
  versions: Map<string, PeerVersions>;
  recheckAt: Date | undefined;
}

function locatePeers({ member, peers, gone, addressGrace: grace, ...request }: TargetRequest): LocatedPeers {
  const { now } = request.options;
  const existing = existingOf(member);
  const target = member.target.facts.name ?? member.source;
  const result: LocatedPeers = {
    peers: [],
    holds: [],
    gone: [...gone],
    versions: new Map(),
    recheckAt: undefined,
  };
  const recheck = (at: Date) => {
    result.recheckAt = earliest(result.recheckAt, at);
  };
  for (const { view, peer: desired } of peers) {
    const { name } = desired;
    const before = configuredPeer(member, existing, name);
    let peer = desired;
    if (view.serving) {
      const kept = keepAddresses({ desired, serving: view.serving, existing: before, gone: result.gone, now, grace });
      peer = kept.peer;
      result.gone = kept.gone;
      if (kept.waitsUntil) {
        recheck(kept.waitsUntil);
        const message = `addresses of ${name} that are gone stay configured until ${kept.waitsUntil.toISOString()}`;
        result.holds.push({ target, peer: name, reason: "address-grace", until: kept.waitsUntil, message });
      }
    }
    const { serverCertificate, etcdStarted } = view;
    const ordered = orderAuthorities({
      ...{ existing: before, own: ownOf(member), desired: peer, serverCertificate, etcdStarted, now },
      record: findRecord(request.authorities, { cluster: name, uid: view.uid }),
      cache: member.target.cache,
    });
    const { waiting } = ordered;
    if (waiting) {
      const until = waiting.until ?? new Date(now.getTime() + request.recheckAfter);
      recheck(until);
      result.holds.push({ target, peer: name, reason: "ca-order", until: waiting.until, message: waiting.message });
    }
    if (before) result.versions.set(name, { before, after: ordered.peer });
    result.peers.push({ peer: ordered.peer, source: view.entry });
  }
  return result;
}

function configuredPeer({ target }: Member, existing: ExistingConfig, name: string): Peer | undefined {
  if (!secretHolding(existing, name)) return undefined;
  const found = existingPeer(target, existing, name);
  return "peer" in found ? found.peer : undefined;
}

/** Returns a hold for each peer whose name a workload does not resolve until it is patched, which restarts its pods. */
function restartHolds({ missing }: Plan, { source, target }: Member, peers: readonly SourcedPeer[]): PlannedHold[] {
  const lackingFor = ({ peer }: SourcedPeer) => {
    const names = endpointHostnames(peer.endpoints);
    return missing.filter(({ hostnames }) => hostnames.some((name) => names.includes(name)));
  };
  const entries = peers.flatMap((one) => (lackingFor(one).length > 0 ? [shellQuote(one.source)] : []));
  return peers.flatMap((one) => {
    const lacking = lackingFor(one);
    if (lacking.length === 0) return [];
    const workloads = lacking.map(({ workload: { kind, name } }) => `${kind.toLowerCase()}/${name}`).join(" and ");
    const restartsAgents = lacking.some(({ workload: { kind } }) => kind === "DaemonSet");
    // One command for all peers, since each would restart the pods. A longer one would be truncated in the log.
    const hub = entries.length > 1 ? ` --hub ${shellQuote(source)}` : "";
    const command = `clustermesh-secrets connect ${[shellQuote(source), ...entries].join(" ")}${hub}`;
    const flag = restartsAgents ? " --restart-agents" : "";
    return [
      {
        target: target.facts.name ?? source,
        peer: one.peer.name,
        reason: "restart",
        message: `${workloads} must be restarted to get host aliases`,
        remedy: entries.length > MAX_COMMAND_ENTRIES ? `rerun sync with${flag || " --restarts"}` : `${command}${flag}`,
      },
    ];
  });
}
