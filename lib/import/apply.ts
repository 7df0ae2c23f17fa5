/** The second step of an import: writes a prepared import, and plans again if another client wrote in between. */
import { setTimeout as sleep } from "node:timers/promises";
import type { V1ConfigMap, V1DaemonSet, V1Deployment, V1Secret } from "@kubernetes/client-node";
import {
  ApiError,
  configMaps,
  daemonSets,
  deployments,
  type KubernetesApi,
  type Resource,
  secrets,
} from "../kube/api.ts";
import { AGENTS_SECRET, KVSTOREMESH_SECRET } from "../peer/peer.ts";
import { mergeGenerators } from "../util/concurrency.ts";
import { enumerate } from "../util/enumerate.ts";
import { EXIT, UserError } from "../util/errors.ts";
import { truncateLine } from "../util/line.ts";
import { type Change, coalesce, describeObject, showManagersCommand } from "./plan/change.ts";
import { newDisruptions } from "./plan/disruptions.ts";
import type { Outcome } from "./plan/merge-secret.ts";
import { type Plan, plan } from "./plan/plan.ts";
import type { Target } from "./plan/target.ts";
import type { PreparedImport, PreparedTarget } from "./prepare.ts";
import { objectKey, type Preview, previewPlan, type Stored } from "./preview.ts";
import { rereadTarget } from "./read-target.ts";

/** The default number of targets that are written in parallel. */
const DEFAULT_PARALLEL_TARGETS = 8;
/** How long conflicts over one object are retried, in milliseconds. */
const CONFLICT_TIMEOUT = 30_000;
/** The age in milliseconds at which a plan is renewed before the first write: a prompt can stay open for minutes. */
const STALE_AFTER = 10_000;

/** How a prepared import is applied. */
export interface ApplyOptions {
  /** `server`: the API server validates without storing. `client`: results are computed locally, without requests. */
  dryRun?: "none" | "client" | "server";
  /** Whether reports contain each object before and after the import. */
  previews?: boolean;
  /** The number of targets that are written in parallel, by default 8. */
  parallel?: number;
  /** Interrupts the import before the next write. */
  signal?: AbortSignal;
  /** Whether a target that another client changed is read and planned again with the same peers (default), or fails. */
  onConflict?: "replan" | "fail";
}

/** The result for one target. */
export type TargetReport =
  | { source: string; state: "failed"; error: UserError; writes: number }
  | { source: string; state: "done"; target: Target; plan: Plan; writes: number; previews: Preview[] };

/**
 * `change`: emitted before a change, which is made when the next event is requested. `written`: it was made, and the object
 * has this `resourceVersion`; not emitted if another client was faster, or with a dry run. `report`: a target is done.
 */
export type ImportEvent =
  | { kind: "change"; source: string; change: Change }
  | { kind: "written"; source: string; change: Change; resourceVersion: string | undefined }
  | { kind: "report"; report: TargetReport };

/** Another client changed the target since it was read, and `onConflict` is `fail`. */
export class TargetChanged extends UserError {
  /** @param error - the response to a write; undefined if another object of the target changed. */
  constructor(error?: ApiError) {
    super(`another client changed the target since it was read${error ? `: ${error.message}` : ""}`, EXIT.failed);
  }
}

/** The import was interrupted by its signal. */
export class Interrupted extends UserError {
  constructor() {
    super("interrupted", EXIT.failed);
  }
}

/**
 * Applies a prepared import: targets in parallel, the changes of one target in sequence. Unless `onConflict` is `fail`, a
 * target is read and planned again after a conflict, and if the import was prepared more than 10 s before this call. A new
 * plan that removes, revokes, restarts or takes over more than the prepared plan is refused.
 *
 * @param prepared - an import without findings of severity error.
 * @returns yields each change before it is made, and a report for each target when it is done. A UserError fails only its
 *   own target: with exit code 2 if the target changed and its new plan is refused, with 1 if conflicts prevented all
 *   writes for 30 s or the import was interrupted.
 * @throws any error that is not a UserError.
 */
export function applyImport(prepared: PreparedImport, options: ApplyOptions = {}): AsyncGenerator<ImportEvent, void> {
  const isStale = Date.now() - prepared.preparedAt > STALE_AFTER;
  return mergeGenerators(
    prepared.targets.map((one) => () => applyToTarget(one, isStale, options)),
    options.parallel ?? DEFAULT_PARALLEL_TARGETS,
  );
}

async function* applyToTarget(
  one: PreparedTarget,
  isStale: boolean,
  options: ApplyOptions,
): AsyncGenerator<ImportEvent, void> {
  const writer = new TargetWriter(one, options);
  let report: TargetReport;
  try {
    if (options.dryRun !== "client") yield* writer.write(isStale);
    const { target, plan, writes } = writer;
    const previews = options.previews ? previewPlan(target, plan, writer.stored) : [];
    report = { source: one.source, state: "done", target, plan, writes, previews };
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    report = { source: one.source, state: "failed", error, writes: writer.writes };
  }
  yield { kind: "report", report };
}

/** The `resourceVersion` that a write returned, by object name. */
type Versions = ReadonlyMap<string, string | undefined>;

/** The result of applying the changes of a plan up to the first conflict. */
interface ApplyRound {
  writes: number;
  conflict?: { change: Change; error: ApiError };
  /** Whether another client changed the config Secret that was not written last. */
  raced?: Promise<boolean>;
}

class TargetWriter {
  /** The target as last read. */
  target: Target;
  /** The current plan, with the results of earlier rounds. */
  plan: Plan;
  writes = 0;
  /** Objects returned by the API server, by {@link objectKey}; only if previews are requested. */
  readonly stored = new Map<string, Stored>();
  readonly #prepared: PreparedTarget;
  readonly #options: ApplyOptions;

  constructor(prepared: PreparedTarget, options: ApplyOptions) {
    this.#prepared = prepared;
    this.#options = options;
    this.target = prepared.target;
    this.plan = prepared.plan;
  }

  async *write(isStale: boolean): AsyncGenerator<ImportEvent, void> {
    const { onConflict = "replan" } = this.#options;
    if (isStale && onConflict === "replan") {
      if (this.plan.changes.length > 0) this.#assertNotInterrupted();
      this.plan = await this.#replan();
    }
    let current = this.plan;
    let deadline = Date.now() + CONFLICT_TIMEOUT;
    for (let attempt = 1; ; attempt++) {
      const { writes, conflict, raced } = yield* this.#applyChanges(current);
      if (!conflict && !(await raced)) return;
      if (onConflict === "fail" && conflict?.error.status !== 422) throw new TargetChanged(conflict?.error);
      if (writes > 0) {
        deadline = Date.now() + CONFLICT_TIMEOUT;
        attempt = 1;
      } else if (conflict && Date.now() > deadline) {
        const object = describeObject(conflict.change.kind, conflict.change.name);
        throw new UserError(
          `timed out after 30s writing ${object}: other clients keep changing it\n` +
            "  stop these clients and rerun; to find them:\n" +
            `  ${showManagersCommand(this.target, object)}`,
          EXIT.failed,
          { cause: conflict.error },
        );
      }
      await sleep(Math.random() * Math.min(50 * 2 ** attempt, 1_000));
      this.#assertNotInterrupted();
      current = await this.#replan();
      // A 422 is a failed test or an invalid object. If the new plan repeats the change, the object is invalid.
      const isRepeated = current.changes.some((change) => isSameChange(change, conflict?.change));
      if (conflict?.error.status === 422 && isRepeated) throw conflict.error;
      if (onConflict === "fail") throw new TargetChanged(conflict?.error);
      this.plan = mergePlans(this.plan, current);
    }
  }

  /** @throws UserError (exit code 2) if the new plan has errors, or disruptions that the prepared plan does not have. */
  async #replan(): Promise<Plan> {
    const { api, peers, options } = this.#prepared;
    this.target = await rereadTarget(api, this.target);
    const next = plan(this.target, peers, options);
    const error = next.findings.find(({ severity }) => severity === "error");
    if (error) throw new UserError(`the target changed since it was read: ${error.message}`, EXIT.refused);
    const { removed, revoked, restarted, taken } = newDisruptions(this.#prepared.plan, next);
    const additional = Object.entries({ remove: removed, revoke: revoked, restart: restarted, "take over": taken })
      .filter(([, names]) => names.length > 0)
      .map(([verb, names]) => `${verb} ${names.map(truncateLine).join(", ")}`);
    if (additional.length === 0) return next;
    throw new UserError(
      `the target changed since it was read, and the import would now also ${enumerate(additional)}\n` +
        "  review the changes and rerun",
      EXIT.refused,
    );
  }

  async *#applyChanges(planned: Plan): AsyncGenerator<ImportEvent, ApplyRound> {
    const isDryRun = this.#options.dryRun === "server";
    const changes = isDryRun ? coalesce(planned.changes) : planned.changes;
    const last = changes.findLast(({ kind }) => kind === "Secret");
    const versions = new Map<string, string | undefined>();
    let raced = Promise.resolve(false);
    let writes = 0;
    for (const change of changes) {
      this.#assertNotInterrupted();
      yield { kind: "change", source: this.#prepared.source, change };
      let resourceVersion: string | undefined;
      try {
        const stored = await this.#applyChange(withLatestVersion(change, versions), isDryRun);
        resourceVersion = stored.metadata?.resourceVersion;
        versions.set(change.name, resourceVersion);
        if (this.#options.previews) this.stored.set(objectKey(change), stored);
      } catch (error) {
        // A failed test of a JSON Patch is a 422, like an invalid object.
        const isConflict = error instanceof ApiError && (error.status === 409 || isFailedTest(error, change));
        if (!isConflict) throw error;
        return { writes, conflict: { change, error } };
      }
      if (isDryRun) continue;
      writes++;
      this.writes++;
      yield { kind: "written", source: this.#prepared.source, change, resourceVersion };
      if (change === last) {
        raced = this.#otherSecretChanged(change.name, versions);
        raced.catch(() => {});
      }
    }
    return { writes, raced };
  }

  /**
   * Whether another client changed the other Secret. With KVStoreMesh, a peer has an entry in both Secrets. A client that
   * adds a peer and one that removes it can interleave their writes without a conflict, so each checks the other Secret
   * after its last write.
   */
  async #otherSecretChanged(last: string, versions: Versions): Promise<boolean> {
    const { facts, namespace, kvstoremeshSecret, agentsSecret } = this.target;
    if (!facts.kvstoreMesh) return false;
    const [other, asRead] =
      last === AGENTS_SECRET ? [KVSTOREMESH_SECRET, kvstoremeshSecret] : [AGENTS_SECRET, agentsSecret];
    const known = versions.get(other) ?? asRead?.metadata?.resourceVersion;
    const now = await this.#prepared.api.get(secrets, namespace, other, { metadataOnly: true });
    return now?.metadata?.resourceVersion !== known;
  }

  #applyChange(change: Change, dryRun: boolean): Promise<Stored> {
    const options = { dryRun, metadataOnly: !this.#options.previews };
    return sendChange(this.#prepared.api, this.target.namespace, change, options);
  }

  #assertNotInterrupted(): void {
    if (this.#options.signal?.aborted) throw new Interrupted();
  }
}

/** Updates the `resourceVersion` of a change that `follows` another change of the same object. */
function withLatestVersion(change: Change, versions: Versions): Change {
  const resourceVersion = versions.get(change.name);
  if (change.verb !== "merge-patch" || !change.follows || resourceVersion === undefined) return change;
  return { ...change, patch: { ...change.patch, metadata: { ...change.patch.metadata, resourceVersion } } };
}

function isFailedTest({ status }: ApiError, { verb }: Change): boolean {
  return verb === "json-patch" && status === 422;
}

function isSameChange(a: Change, b: Change | undefined): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

function sendChange(
  api: KubernetesApi,
  namespace: string,
  change: Change,
  options: { dryRun: boolean; metadataOnly: boolean },
): Promise<Stored> {
  switch (change.verb) {
    case "create":
      return change.kind === "Secret"
        ? api.create(secrets, namespace, change.object, options)
        : api.create(configMaps, namespace, change.object, options);
    case "merge-patch": {
      const resource: Resource<V1Secret | V1ConfigMap> = change.kind === "Secret" ? secrets : configMaps;
      return api.mergePatch(resource, namespace, change.name, change.patch, options);
    }
    case "json-patch": {
      const resource: Resource<V1Deployment | V1DaemonSet> = change.kind === "Deployment" ? deployments : daemonSets;
      return api.jsonPatch(resource, namespace, change.name, change.patch, options);
    }
  }
}

/** Adds the results of earlier rounds, which may already be written, to a plan. */
function mergePlans(earlier: Plan, next: Plan): Plan {
  const rank: Record<Outcome, number> = { unchanged: 0, held: 1, changed: 2, moved: 3, added: 4, dropped: 5 };
  const outcomes = new Map(next.outcomes);
  for (const [name, outcome] of earlier.outcomes) {
    if (rank[outcome] > rank[outcomes.get(name) ?? "unchanged"]) outcomes.set(name, outcome);
  }
  return {
    ...next,
    outcomes,
    granted: [...new Set([...earlier.granted, ...next.granted])],
    revoked: [...new Set([...earlier.revoked, ...next.revoked])],
    cleaned: [...new Set([...earlier.cleaned, ...next.cleaned])],
  };
}
