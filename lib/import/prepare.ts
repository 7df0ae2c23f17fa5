/** The first step of an import: plans all changes and writes nothing. */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { KubernetesApi } from "../kube/api.ts";
import { checkPeer, PeerChecker } from "../peer/checks/check-peer.ts";
import { checkNodeLocal } from "../peer/checks/endpoint.ts";
import { dedupeFindings, type Finding, finding, hasErrors } from "../peer/findings.ts";
import type { SourcedPeer } from "../peer/peer.ts";
import { limitConcurrency } from "../util/concurrency.ts";
import { UserError } from "../util/errors.ts";
import { checkPermissions } from "./permissions.ts";
import { disruptionsOf } from "./plan/disruptions.ts";
import { type EndpointOverride, resolveOverride } from "./plan/endpoint-override.ts";
import { existingPeer, readExistingConfig } from "./plan/existing.ts";
import { type Plan, type PlanOptions, plan } from "./plan/plan.ts";
import type { Target } from "./plan/target.ts";

/** The number of targets whose permissions are checked in parallel. */
const MAX_PARALLEL_REVIEWS = 16;

/** A target and the peers to import into it. */
export interface ImportTarget {
  api: KubernetesApi;
  target: Target;
  peers: readonly SourcedPeer[];
}

/** Options of {@link prepareImport}. */
export interface ImportOptions {
  plan: Omit<PlanOptions, "endpoints">;
  /** The values of `--endpoint` by peer: one `host:port`, or several `ip:port`; empty resets an earlier override. */
  endpoints?: ReadonlyMap<string, readonly string[]>;
  /** Returns the addresses of a host name in an endpoint. */
  resolve(name: string): Promise<string[]>;
  /** Earlier findings, about files and unreadable clusters. An error among them stops the import. */
  findings?: readonly Finding[];
  /** Peers to check even if no target gets them, for example because no target is readable. */
  peers?: readonly SourcedPeer[];
  /** Check in each cluster whether the user has permission for the planned writes. */
  checkPermissions?: boolean;
  /** Also plan a restart of the agents, if they need one and `plan.restarts` does not allow it. */
  proposeAgents?: boolean;
}

/** A target and its plan. */
export interface PlannedTarget {
  source: string;
  /** The version of Cilium in the target. */
  version?: string | undefined;
  plan: Plan;
}

/** A planned target with the inputs for applying its plan, and for planning again after the target changed. */
export interface PreparedTarget extends PlannedTarget, ImportTarget {
  options: PlanOptions;
}

/** A planned import, for review before it is applied. */
export interface PreparedImport {
  targets: PreparedTarget[];
  /** All findings, deduplicated. An import with an error must not be applied. */
  findings: Finding[];
  /**
   * The same import with a restart of agents, if `proposeAgents` is set and some agents need it. Its findings are only
   * the additional ones, such as those about peers that are held back without the restart.
   */
  withAgents?: PreparedImport;
  /** The time of planning, in milliseconds since 1970. */
  preparedAt: number;
}

/**
 * Plans the import of peers into targets.
 *
 * @throws UserError (exit code 2) if an endpoint override is invalid or not covered by the peer's certificate.
 */
export async function prepareImport(targets: readonly ImportTarget[], options: ImportOptions): Promise<PreparedImport> {
  const resolved = await Promise.all(
    targets.map(async (one) => ({ ...one, ...(await resolveOverrides(one, options)) })),
  );
  const checker = new PeerChecker();
  const assigned = new Set(targets.flatMap(({ peers }) => peers.map(({ peer }) => peer)));
  // The endpoint of an overridden peer is known only in a plan.
  const isOverridden = (name: string) => (options.endpoints?.get(name)?.length ?? 0) > 0;
  const unplanned = (options.peers ?? []).filter(({ peer }) => !assigned.has(peer) && !isOverridden(peer.name));
  const planAll = async (restarts: PlanOptions["restarts"]): Promise<PreparedImport> => {
    const planned: PreparedTarget[] = [];
    for (const { endpoints, pinned: _, ...one } of resolved) {
      const { source, facts } = one.target;
      const planOptions = { checker, ...options.plan, restarts, ...(endpoints && { endpoints }) };
      const version = facts.version;
      planned.push({ ...one, source, version, options: planOptions, plan: plan(one.target, one.peers, planOptions) });
      // Hundreds of targets take seconds: handle signals in between.
      await nextTurn();
    }
    const findings = [
      ...(options.checkPermissions ? await findMissingPermissions(planned) : []),
      ...(options.findings ?? []),
      ...resolved.flatMap(({ pinned }) => pinned),
      ...planned.flatMap((one) => one.plan.findings),
      ...unplanned.flatMap((one) => [...checkNodeLocal(one), ...checkPeer(one, options.plan.now)]),
    ];
    return { targets: planned, findings: dedupeFindings(findings), preparedAt: Date.now() };
  };

  const { restarts } = options.plan;
  const prepared = await planAll(restarts);
  const isProposed = options.proposeAgents === true && restarts === "deployments" && needsAgentRestart(prepared);
  if (!isProposed || hasErrors(prepared.findings)) return prepared;
  const withAgents = await planAll("all");
  const additional = dedupeFindings([...prepared.findings, ...withAgents.findings]).slice(prepared.findings.length);
  return { ...prepared, withAgents: { ...withAgents, findings: additional } };
}

/** Whether an import has anything to write. */
export function hasChanges({ targets, withAgents }: PreparedImport): boolean {
  return targets.some(({ plan }) => plan.changes.length > 0) || (withAgents !== undefined && hasChanges(withAgents));
}

/** Returns whether an import, with or without a restart of the agents, removes peers and whether it revokes etcd users. */
export function removalsOf({ targets, withAgents }: PreparedImport): { peers: boolean; users: boolean } {
  const disruptions = [...targets, ...(withAgents?.targets ?? [])].map(({ plan }) => disruptionsOf(plan));
  return {
    peers: disruptions.some(({ removed }) => removed.length > 0),
    users: disruptions.some(({ revoked }) => revoked.length > 0),
  };
}

function needsAgentRestart({ targets }: PreparedImport): boolean {
  return targets.some(({ plan }) => plan.missing.some(({ workload }) => workload.kind === "DaemonSet"));
}

async function findMissingPermissions(planned: readonly PreparedTarget[]): Promise<Finding[]> {
  const enter = limitConcurrency(MAX_PARALLEL_REVIEWS);
  const found = await Promise.all(
    planned.map(({ api, target, plan }) =>
      enter(async () => {
        try {
          return await checkPermissions(api, target, plan);
        } catch (error) {
          // The write reports the failure.
          if (!(error instanceof UserError)) throw error;
          return [];
        }
      }),
    ),
  );
  return found.flat();
}

/**
 * Resolves the endpoint overrides of a target's peers.
 *
 * @returns the overrides by peer name, and in `pinned` a finding for each host name whose current addresses are stored.
 */
async function resolveOverrides(
  { target, peers }: ImportTarget,
  { endpoints = new Map(), resolve }: ImportOptions,
): Promise<{ endpoints?: Map<string, EndpointOverride | null>; pinned: Finding[] }> {
  if (endpoints.size === 0) return { pinned: [] };
  const existing = readExistingConfig(target);
  const overrides = new Map<string, EndpointOverride | null>();
  const pinned: Finding[] = [];
  for (const [name, given] of endpoints) {
    const candidate = peers.find(({ peer }) => peer.name === name) ?? existingPeer(target, existing, name);
    if (given.length === 0 || !("peer" in candidate)) {
      overrides.set(name, null);
      continue;
    }
    const { warnings, ...override } = await resolveOverride(candidate.peer, given, resolve);
    overrides.set(name, override);
    const place = { source: target.source, key: name };
    pinned.push(...warnings.map((line) => finding("addresses-pinned", place, { problem: line })));
  }
  return { endpoints: overrides, pinned };
}
