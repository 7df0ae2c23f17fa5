/** Importing peers into several targets: all are checked before anything is written anywhere. */
import { setImmediate as turn } from "node:timers/promises";
import type { KubernetesApi } from "../kube/api.ts";
import { dedupeFindings, type Finding, type FindingCode, finding, hasErrors } from "../peer/findings.ts";
import type { SourcedPeer } from "../peer/peer.ts";
import { dedupe } from "../util/dedupe.ts";
import { EXIT, UserError } from "../util/errors.ts";
import { applyPlan, type Stored } from "./apply.ts";
import type { Change } from "./plan/change.ts";
import { type EndpointOverride, resolveOverride } from "./plan/endpoint-override.ts";
import { existingPeer, readExistingConfig } from "./plan/existing.ts";
import type { Restarts } from "./plan/host-aliases.ts";
import { type Plan, type PlanOptions, plan } from "./plan/plan.ts";
import type { Target } from "./plan/target.ts";
import { keyOf, type Preview, preview } from "./preview.ts";
import { rereadTarget } from "./read-target.ts";

/** How many targets are read, and written, at a time, unless something else is said. */
export const PARALLEL = 8;

/** A cluster to import into. */
export interface TargetSource {
  /** Its context. */
  source: string;
  /** Starts to connect. */
  open(): KubernetesApi;
  read(api: KubernetesApi): Promise<Target>;
}

/** What became of one target. */
export type TargetReport =
  | { source: string; state: "failed"; error: UserError; writes: number }
  | { source: string; state: "done"; target: Target; plan: Plan; writes: number; previews: Preview[] };

/** A target, and what is to be done to it. */
export interface PlannedTarget {
  source: string;
  /** Of Cilium there. */
  version?: string | undefined;
  plan: Plan;
}

/** What is to be written, everywhere. */
export interface Proposal {
  targets: PlannedTarget[];
  /** The same with agents restarted, if that was to be proposed and some need it. */
  withAgents?: PlannedTarget[];
  /** Whether peers are removed, or etcd users revoked. */
  removes: boolean;
}

/** `write`: as the options say; `restart-agents`: {@link Proposal.withAgents}; `abort`: nothing. */
export type Answer = "write" | "restart-agents" | "abort";

export interface ImportOptions {
  plan: Omit<PlanOptions, "endpoints">;
  /** How many targets are written at a time. */
  parallel?: number;
  /** The peers for one target, where not all are for each. */
  peersFor?(target: Target, peers: readonly SourcedPeer[]): readonly SourcedPeer[];
  /** Findings about what the user may not write there, to be known before the first write. */
  forbidden?(api: KubernetesApi, target: Target, plan: Plan): Promise<Finding[]>;
  /** Told of each target when it is done. */
  finished?(report: TargetReport): void;
  /** What `--endpoint` says of peers: `host:port` or several `ip:port`; none takes back what it said before. */
  endpoints: ReadonlyMap<string, readonly string[]>;
  /** The addresses of a name, for endpoints. */
  resolve(name: string): Promise<string[]>;
  /** Whether to write, to have the API server check and store nothing, or to work out here what would be written. */
  dryRun: "none" | "server" | "client";
  /** Work out each object before and after, for who shows them. */
  previews?: boolean;
  /** Ends the work before the next write. */
  signal?: AbortSignal;
  /** Whether to propose the restart of agents too, if they need it and the plan's options do not allow it. */
  proposeAgents?: boolean;
  /** Asked before the first write, if there is anything to write. Default: `write`. */
  confirm?(proposal: Proposal): Promise<Answer>;
  /** Told of findings that do not stop the import, before the first write. */
  warn(findings: Finding[]): void;
  /** Told of each change before it is made. */
  announce(source: string, change: Change): void;
}

/**
 * Imports peers into targets. A target that does not answer fails for itself; a finding of severity error anywhere
 * stops all.
 *
 * @param readPeers gives the peers, and what was found in their files: these are read while the targets are.
 * @returns the findings that stopped the import, or none of them where it was declined, or a report for each target in
 *   the order given. A cluster that two sources lead to is one target.
 */
export async function importPeers(
  sources: readonly TargetSource[],
  readPeers: () => Promise<{ peers: SourcedPeer[]; findings: Finding[] }>,
  options: ImportOptions,
): Promise<{ refused: Finding[] } | { reports: TargetReport[] }> {
  const opening = inParallel(sources, async (source) => {
    const api = source.open();
    try {
      return { source, api, target: await source.read(api) };
    } catch (error) {
      api.close();
      throw error;
    }
  });
  try {
    const [readings, { peers, findings: found }] = await Promise.all([opening, readPeers()]);
    const targets = dedupe(
      readings.filter(succeeded),
      ({ target }) => target.identity,
      (same, other) => {
        const message = `reaches the same cluster as ${same.target.source}, which is written once`;
        options.warn([finding("same-cluster", { source: other.target.source }, message)]);
      },
    );
    const ready = await Promise.all(
      targets.map(async (one) => {
        const endpoints = await resolveOverrides(one.target, peers, options);
        return { ...one, endpoints };
      }),
    );
    const planFor = (target: Target, endpoints: PlanOptions["endpoints"], restarts: Restarts) =>
      plan(target, options.peersFor?.(target, peers) ?? peers, {
        ...options.plan,
        restarts,
        ...(endpoints && { endpoints }),
      });
    const planAll = async (restarts: Restarts) => {
      const plans: Plan[] = [];
      for (const { target, endpoints } of ready) {
        plans.push(planFor(target, endpoints, restarts));
        // Hundreds take seconds: an interruption is to be heard in between.
        await turn();
      }
      const forbidden = await inParallel(ready, async ({ api, target }, i) =>
        options.forbidden?.(api, target, plans[i] as Plan),
      );
      return { plans, forbidden: forbidden.filter(succeeded).flatMap((one = []) => one) };
    };
    let { restarts } = options.plan;
    let planned = await planAll(restarts);
    const inFiles = found.filter((one) => !isReplaced(one, options.endpoints));
    const findingsOf = ({ plans, forbidden }: typeof planned) => [
      ...forbidden,
      ...inFiles,
      ...plans.flatMap((one) => one.findings),
    ];
    const findings = dedupeFindings(findingsOf(planned));
    if (hasErrors(findings)) return { refused: findings };
    options.warn(findings);

    const agentsWait = planned.plans.some(({ missing }) =>
      missing.some(({ workload }) => workload.kind === "DaemonSet"),
    );
    const withAgents =
      agentsWait && restarts === "deployments" && options.proposeAgents ? await planAll("all") : undefined;
    // What was held back until agents may be restarted is judged only there.
    const more = dedupeFindings([...findings, ...(withAgents ? findingsOf(withAgents) : [])]).slice(findings.length);
    options.warn(more.filter(({ severity }) => severity !== "error"));
    const proposed = ({ plans }: { plans: Plan[] }): PlannedTarget[] =>
      ready.map(({ source: { source }, target }, i) => ({
        source,
        version: target.facts.version,
        plan: plans[i] as Plan,
      }));
    const changing = [planned, ...(withAgents ? [withAgents] : [])].flatMap(({ plans }) => plans);
    if (changing.some(({ changes }) => changes.length > 0)) {
      const answer = await options.confirm?.({
        targets: proposed(planned),
        ...(withAgents && { withAgents: proposed(withAgents) }),
        removes: changing.some((one) => removedBy(one).length + one.revoked.length > 0),
      });
      if (answer === "abort") return { refused: [] };
      if (answer === "restart-agents" && withAgents) {
        const errors = more.filter(({ severity }) => severity === "error");
        if (errors.length > 0) return { refused: errors };
        restarts = "all";
        planned = withAgents;
      }
    }
    const { plans } = planned;

    const writes = new Map<string, number>();
    const reportOf = (source: string, result: Done | UserError): TargetReport => {
      const count = writes.get(source) ?? 0;
      return succeeded(result)
        ? { source, state: "done", ...result, writes: count }
        : { source, state: "failed", error: result, writes: count };
    };
    const written = await inParallel(
      ready.map((one, i) => ({
        ...one,
        first: plans[i] as Plan,
        agreed: new Set([...removedBy(plans[i] as Plan), ...(plans[i] as Plan).revoked]),
      })),
      async ({ source: { source }, api, target, endpoints, first, agreed }): Promise<Done> => {
        const previewed = (of: Target, planned: Plan, stored?: Map<string, Stored>) =>
          options.previews ? preview(of, planned, stored) : [];
        if (options.dryRun === "client") return { target, plan: first, previews: previewed(target, first) };
        let current = target;
        const stored = new Map<string, Stored>();
        const done = await applyPlan(api, target, first, {
          dryRun: options.dryRun === "server",
          metadataOnly: !options.previews,
          ...(options.signal && { signal: options.signal }),
          reread: async () => {
            current = await rereadTarget(api, current);
            return current;
          },
          replan: (next) => assertNoNewRemovals(planFor(next, endpoints, restarts), agreed),
          announce: (change) => options.announce(source, change),
          wrote: (change, object) => {
            if (options.previews) stored.set(keyOf(change), object);
            if (options.dryRun === "none") writes.set(source, (writes.get(source) ?? 0) + 1);
          },
        });
        return { target: current, plan: done, previews: previewed(current, done, stored) };
      },
      options.parallel,
      (result, i) => options.finished?.(reportOf(ready[i]?.source.source ?? "", result)),
    );
    const results = new Map(ready.map(({ source }, i) => [source, written[i]]));
    const reports = sources.flatMap((source, i) => {
      const result = results.get(source) ?? (readings[i] instanceof UserError ? readings[i] : undefined);
      return result === undefined ? [] : [reportOf(source.source, result)];
    });
    return { reports };
  } finally {
    for (const { api } of (await opening).filter(succeeded)) api.close();
  }
}

type Done = { target: Target; plan: Plan; previews: Preview[] };

/** What `--endpoint` says of each peer, made out for this target. */
async function resolveOverrides(
  target: Target,
  peers: readonly SourcedPeer[],
  { endpoints, resolve, warn }: ImportOptions,
): Promise<PlanOptions["endpoints"]> {
  if (endpoints.size === 0) return undefined;
  const standing = readExistingConfig(target, []);
  const result = new Map<string, EndpointOverride | null>();
  for (const [name, given] of endpoints) {
    const candidate = peers.find(({ peer }) => peer.name === name) ?? existingPeer(target, standing, name);
    const noted = (line: string) => warn([finding("addresses-pinned", { source: target.source, key: name }, line)]);
    if (given.length === 0 || !("peer" in candidate)) result.set(name, null);
    else result.set(name, await resolveOverride(candidate.peer, given, { resolve, warn: noted }));
  }
  return result;
}

/** Whether a finding is about an endpoint in a file that `--endpoint` replaces. */
function isReplaced({ code, key }: Finding, endpoints: ImportOptions["endpoints"]): boolean {
  const replaced = key !== undefined && (endpoints.get(key)?.length ?? 0) > 0;
  return replaced && OF_ENDPOINTS.includes(code);
}

const OF_ENDPOINTS: FindingCode[] = [
  "endpoint-invalid",
  "endpoint-not-covered",
  "endpoint-address",
  "endpoint-node-local",
  "alias-invalid",
];

function removedBy({ outcomes }: Plan): string[] {
  return [...outcomes].filter(([, outcome]) => outcome === "dropped").map(([name]) => name);
}

/** A plan made again after a conflict removes no peer and revokes no user that was not agreed to. */
function assertNoNewRemovals(next: Plan, agreed: ReadonlySet<string>): Plan {
  const more = (names: readonly string[]) => names.filter((name) => !agreed.has(name)).join(", ");
  const [drops, users] = [more(removedBy(next)), more(next.revoked)];
  if (drops === "" && users === "") return next;
  const what = drops === "" ? `${users} was added and would be revoked` : `${drops} was added and would be removed`;
  throw new UserError(`the target changed meanwhile: ${what}; run again`, EXIT.refused);
}

function succeeded<R>(result: R | UserError): result is R {
  return !(result instanceof UserError);
}

/** Does the work for each item, a few at a time; what fails with a UserError is that error in the answer. */
async function inParallel<T, R>(
  items: readonly T[],
  work: (item: T, index: number) => Promise<R>,
  most = PARALLEL,
  told?: (result: R | UserError, index: number) => void,
): Promise<(R | UserError)[]> {
  const results: (R | UserError)[] = [];
  let next = 0;
  const worker = async () => {
    while (next < items.length) {
      const i = next++;
      try {
        results[i] = await work(items[i] as T, i);
      } catch (error) {
        if (!(error instanceof UserError)) throw error;
        results[i] = error;
      }
      told?.(results[i] as R | UserError, i);
    }
  };
  await Promise.all(Array.from({ length: Math.min(most, items.length) }, worker));
  return results;
}
