/** The first step of an import: everything is planned, and nothing written. */
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

/** How many targets are asked for rights at a time. */
const MAX_PARALLEL_REVIEWS = 16;

/** A cluster to import into, as it was read, and the peers for it. */
export interface ImportTarget {
  api: KubernetesApi;
  target: Target;
  peers: readonly SourcedPeer[];
}

export interface ImportOptions {
  plan: Omit<PlanOptions, "endpoints">;
  /** What `--endpoint` says of peers: `host:port` or several `ip:port`; none takes back what it said before. */
  endpoints?: ReadonlyMap<string, readonly string[]>;
  /** The addresses of a name, for endpoints. */
  resolve(name: string): Promise<string[]>;
  /** What was found before: in files, of clusters that could not be read. An error among them stops the import. */
  findings?: readonly Finding[];
  /** Peers that are judged by themselves if no target gets them, as if none could be read. */
  peers?: readonly SourcedPeer[];
  /** Ask each cluster whether the user may write what is planned. */
  checkPermissions?: boolean;
  /** Plan the restart of agents too, if they need it and the plan's options do not allow it. */
  proposeAgents?: boolean;
}

/** A target, and what is to be done to it. */
export interface PlannedTarget {
  source: string;
  /** Of Cilium there. */
  version?: string | undefined;
  plan: Plan;
}

/** A planned target, with all that is needed to write it, and to plan it again if it changes in between. */
export interface PreparedTarget extends PlannedTarget, ImportTarget {
  options: PlanOptions;
}

/** An import that is planned, and what a person or a program has to know before it is applied. */
export interface PreparedImport {
  targets: PreparedTarget[];
  /** Each finding once. With an error among them the import must not be applied. */
  findings: Finding[];
  /**
   * The same import with agents restarted, if that was to be proposed and some need it. Its findings are those that it has
   * besides: what is held back until agents restart is judged only there.
   */
  withAgents?: PreparedImport;
  /** When it was planned, in milliseconds since 1970. */
  preparedAt: number;
}

/**
 * Plans the import of peers into targets.
 *
 * @throws UserError (exit code 2) for an endpoint that contradicts itself or does not suit its peer.
 */
export async function prepareImport(targets: readonly ImportTarget[], options: ImportOptions): Promise<PreparedImport> {
  const resolved = await Promise.all(
    targets.map(async (one) => ({ ...one, ...(await resolveOverrides(one, options)) })),
  );
  const checker = new PeerChecker(options.plan.now);
  const given = new Set(targets.flatMap(({ peers }) => peers.map(({ peer }) => peer)));
  // Of one that --endpoint leads elsewhere, only a plan can tell how it is reached.
  const isOverridden = (name: string) => (options.endpoints?.get(name)?.length ?? 0) > 0;
  const unplanned = (options.peers ?? []).filter(({ peer }) => !given.has(peer) && !isOverridden(peer.name));
  const planAll = async (restarts: PlanOptions["restarts"]): Promise<PreparedImport> => {
    const planned: PreparedTarget[] = [];
    for (const { endpoints, pinned: _, ...one } of resolved) {
      const { source, facts } = one.target;
      const planOptions = { checker, ...options.plan, restarts, ...(endpoints && { endpoints }) };
      const version = facts.version;
      planned.push({ ...one, source, version, options: planOptions, plan: plan(one.target, one.peers, planOptions) });
      // Hundreds take seconds: an interruption is to be heard in between.
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
  const besides = dedupeFindings([...prepared.findings, ...withAgents.findings]).slice(prepared.findings.length);
  return { ...prepared, withAgents: { ...withAgents, findings: besides } };
}

/** Whether an import has anything to write. */
export function hasChanges({ targets, withAgents }: PreparedImport): boolean {
  return targets.some(({ plan }) => plan.changes.length > 0) || (withAgents !== undefined && hasChanges(withAgents));
}

/** Whether an import removes peers or revokes etcd users. */
export function removesPeers({ targets, withAgents }: PreparedImport): boolean {
  const disruptions = targets.map(({ plan }) => disruptionsOf(plan));
  const removes = disruptions.some(({ removed, revoked }) => removed.length + revoked.length > 0);
  return removes || (withAgents !== undefined && removesPeers(withAgents));
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
          // The write will tell.
          if (!(error instanceof UserError)) throw error;
          return [];
        }
      }),
    ),
  );
  return found.flat();
}

/**
 * What `--endpoint` says of each peer, with its names resolved for this target.
 *
 * @returns besides, a finding for each name whose addresses are written as they are now.
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
