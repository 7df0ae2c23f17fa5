/** Importing peers into several targets: all are checked before anything is written anywhere. */
import type { KubernetesApi } from "../cluster/api.ts";
import { UserError } from "../peer/errors.ts";
import { type Finding, hasErrors } from "../peer/findings.ts";
import type { SourcedPeer } from "../peer/rules.ts";
import { applyPlan } from "./apply.ts";
import type { Change } from "./change.ts";
import { type Plan, type PlanOptions, plan } from "./plan.ts";
import type { Target } from "./target.ts";

/** How many targets are read, and written, at a time. */
const PARALLEL = 8;

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
  | { source: string; state: "done"; target: Target; plan: Plan; writes: number };

export interface ImportOptions {
  plan: PlanOptions;
  /** Asked, where agents would have to be restarted and the options do not say so, whether they may be. */
  mayRestartAgents?(sources: string[]): Promise<boolean>;
  /** Told of findings that do not stop the import, before the first write. */
  warn(findings: Finding[]): void;
  /** Told of each change before it is made. */
  announce(source: string, change: Change): void;
}

/**
 * Imports peers into targets. A target that does not answer fails for itself; a finding of severity error anywhere
 * stops all.
 *
 * @param reading the peers, and what was found in their files: these are read while the targets are.
 * @returns the findings that stopped the import, or a report for each target in the order given.
 */
export async function importPeers(
  sources: readonly TargetSource[],
  reading: Promise<{ peers: SourcedPeer[]; findings: Finding[] }>,
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
    const [readings, { peers, findings: found }] = await Promise.all([opening, reading]);
    const ready = readings.filter(succeeded);
    let planOptions = options.plan;
    let plans = ready.map(({ target }) => plan(target, peers, planOptions));
    const findings = unique([...found, ...plans.flatMap((one) => one.findings)]);
    if (hasErrors(findings)) return { refused: findings };
    options.warn(findings);

    const waiting = ready.filter((_, i) => plans[i]?.missing.some(({ workload }) => workload.kind === "DaemonSet"));
    if (waiting.length > 0 && planOptions.restarts === "deployments" && options.mayRestartAgents) {
      if (await options.mayRestartAgents(waiting.map(({ source }) => source.source))) {
        planOptions = { ...planOptions, restarts: "all" };
        plans = ready.map(({ target }) => plan(target, peers, planOptions));
      }
    }

    const writes = new Map<string, number>();
    const written = await inParallel(
      ready.map((one, i) => ({ ...one, first: plans[i] as Plan })),
      async ({ source: { source, read }, api, target, first }) => {
        const done = await applyPlan(api, target, first, {
          reread: () => read(api),
          replan: (next) => plan(next, peers, planOptions),
          announce: (change) => options.announce(source, change),
          wrote: () => writes.set(source, (writes.get(source) ?? 0) + 1),
        });
        return { target, plan: done };
      },
    );
    const results = written.values();
    const reports = readings.map((one, i): TargetReport => {
      const { source } = sources[i] as TargetSource;
      const count = writes.get(source) ?? 0;
      const result = succeeded(one) ? (results.next().value as (typeof written)[number]) : one;
      return succeeded(result)
        ? { source, state: "done", ...result, writes: count }
        : { source, state: "failed", error: result, writes: count };
    });
    return { reports };
  } finally {
    for (const { api } of (await opening).filter(succeeded)) api.close();
  }
}

function succeeded<R>(result: R | UserError): result is R {
  return !(result instanceof UserError);
}

/** Does the work for each item, a few at a time; what fails with a UserError is that error in the answer. */
async function inParallel<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<(R | UserError)[]> {
  const results: (R | UserError)[] = [];
  let next = 0;
  const worker = async () => {
    while (next < items.length) {
      const i = next++;
      try {
        results[i] = await work(items[i] as T);
      } catch (error) {
        if (!(error instanceof UserError)) throw error;
        results[i] = error;
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(PARALLEL, items.length) }, worker));
  return results;
}

function unique(findings: readonly Finding[]): Finding[] {
  return [...new Map(findings.map((one) => [JSON.stringify(one), one])).values()];
}
