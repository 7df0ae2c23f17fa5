/** The second step of an import: what was prepared is written, and planned again if somebody else wrote in between. */
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
import { EXIT, UserError } from "../util/errors.ts";
import { type Change, coalesce } from "./plan/change.ts";
import { newDisruptions } from "./plan/disruptions.ts";
import type { Outcome } from "./plan/merge-secret.ts";
import { type Plan, plan } from "./plan/plan.ts";
import type { Target } from "./plan/target.ts";
import type { PreparedImport, PreparedTarget } from "./prepare.ts";
import { objectKey, type Preview, previewPlan, type Stored } from "./preview.ts";
import { rereadTarget } from "./read-target.ts";

/** How many targets are written at a time, unless something else is said. */
const DEFAULT_PARALLEL_TARGETS = 8;
/** How long the conflicts over one object are answered by reading and planning again, in milliseconds. */
const CONFLICT_TIMEOUT = 30_000;
/** How old a plan may get before its target is read again, in milliseconds: somebody may have thought about it. */
const STALE_AFTER = 10_000;

export interface ApplyOptions {
  /** Whether to write, to have the API server check and store nothing, or to work out here what would be written. */
  dryRun?: "none" | "client" | "server";
  /** Work out each object before and after, for who shows them. */
  previews?: boolean;
  /** How many targets are written at a time. */
  parallel?: number;
  /** Ends the work before the next write. */
  signal?: AbortSignal;
}

/** What became of one target. */
export type TargetReport =
  | { source: string; state: "failed"; error: UserError; writes: number }
  | { source: string; state: "done"; target: Target; plan: Plan; writes: number; previews: Preview[] };

/** `change`: a change is about to be made; it is made when the next event is asked for. `report`: a target is done. */
export type ImportEvent = { kind: "change"; source: string; change: Change } | { kind: "report"; report: TargetReport };

/** The work was ended from outside. */
export class Interrupted extends UserError {
  constructor() {
    super("interrupted", EXIT.failed);
  }
}

/**
 * Makes the changes of a prepared import: those of one target one after the other, several targets at a time. After a
 * conflict, and if the import was prepared more than 10 s before this call, a target is read and planned again. A new plan
 * that removes, revokes, restarts or takes more than was prepared is refused.
 *
 * @param prepared an import without findings of severity error.
 * @returns yields each change before it is made, and a report for each target when it is done. A target that fails with a
 *   UserError fails for itself: with exit code 2 if it changed so that the peers may not be written any more, with 1 if
 *   conflicts do not end within 30 s in which nothing could be written, or if the work was ended.
 * @throws what is no UserError.
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

/** The `resourceVersion` that a write gave, by the object's name. */
type Versions = ReadonlyMap<string, string | undefined>;

/** What came of making the changes of a plan, up to the first that conflicts. */
interface ApplyRound {
  made: number;
  conflict?: { change: Change; error: ApiError };
  /** Whether somebody else changed the Secret that was not written last. */
  raced?: Promise<boolean>;
}

class TargetWriter {
  /** As it was read last. */
  target: Target;
  /** What is done, over all rounds. */
  plan: Plan;
  /** How many objects were written. */
  writes = 0;
  /** The objects as the API server answered, if previews are wanted. */
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
    if (isStale) {
      if (this.plan.changes.length > 0) this.#assertNotInterrupted();
      this.plan = await this.#replan();
    }
    let current = this.plan;
    let deadline = Date.now() + CONFLICT_TIMEOUT;
    for (let attempt = 1; ; attempt++) {
      const { made, conflict, raced } = yield* this.#applyChanges(current);
      if (!conflict && !(await raced)) return;
      if (made > 0) {
        deadline = Date.now() + CONFLICT_TIMEOUT;
        attempt = 1;
      } else if (conflict && Date.now() > deadline) {
        const { kind, name } = conflict.change;
        throw new UserError(
          `${kind} ${name} is being changed by others all the time: gave up after 30 s`,
          EXIT.failed,
          {
            cause: conflict.error,
          },
        );
      }
      await sleep(Math.random() * Math.min(50 * 2 ** attempt, 1_000));
      this.#assertNotInterrupted();
      current = await this.#replan();
      // An invalid object is answered as a test that fails: the same change again would not help.
      const isRepeated = current.changes.some((change) => isSameChange(change, conflict?.change));
      if (conflict?.error.status === 422 && isRepeated) throw conflict.error;
      this.plan = mergePlans(this.plan, current);
    }
  }

  /** @throws UserError (exit code 2) if the new plan may not be carried out, or does more than was prepared. */
  async #replan(): Promise<Plan> {
    const { api, peers, options } = this.#prepared;
    this.target = await rereadTarget(api, this.target);
    const next = plan(this.target, peers, options);
    const error = next.findings.find(({ severity }) => severity === "error");
    if (error) throw new UserError(`the target changed meanwhile: ${error.message}`, EXIT.refused);
    const { removed, revoked, restarted, taken } = newDisruptions(this.#prepared.plan, next);
    const beyond = [
      ...(removed.length > 0 ? [`${removed.join(", ")} was added and would be removed`] : []),
      ...(revoked.length > 0 ? [`${revoked.join(", ")} was added and would be revoked`] : []),
      ...(restarted.length > 0 ? [`${restarted.join(", ")} would be restarted`] : []),
      ...taken.map((object) => `${object} would be taken`),
    ];
    if (beyond.length === 0) return next;
    throw new UserError(`the target changed meanwhile: ${beyond.join("; ")}; run again`, EXIT.refused);
  }

  async *#applyChanges(planned: Plan): AsyncGenerator<ImportEvent, ApplyRound> {
    const isDryRun = this.#options.dryRun === "server";
    const changes = isDryRun ? coalesce(planned.changes) : planned.changes;
    const last = changes.findLast(({ kind }) => kind === "Secret");
    const versions = new Map<string, string | undefined>();
    let raced = Promise.resolve(false);
    let made = 0;
    for (const change of changes) {
      this.#assertNotInterrupted();
      yield { kind: "change", source: this.#prepared.source, change };
      try {
        const stored = await this.#applyChange(withLatestVersion(change, versions), isDryRun);
        versions.set(change.name, stored.metadata?.resourceVersion);
        if (this.#options.previews) this.stored.set(objectKey(change), stored);
      } catch (error) {
        // A failed test of a JSON Patch is a 422, and not told apart from an object that is invalid.
        const isConflict = error instanceof ApiError && (error.status === 409 || isFailedTest(error, change));
        if (!isConflict) throw error;
        return { made, conflict: { change, error } };
      }
      if (isDryRun) continue;
      made++;
      this.writes++;
      if (change === last) {
        raced = this.#otherSecretChanged(change.name, versions);
        raced.catch(() => {});
      }
    }
    return { made, raced };
  }

  /**
   * With KVStoreMesh a peer stands in both Secrets. Whoever adds it and whoever removes it meanwhile may each come between
   * the other's two writes without a conflict, so each looks, after its last, at the Secret that it did not write last.
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

/** A change that follows another one of the same object is made under the version which that one gave. */
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

/** The next plan, with what earlier attempts may have done already. */
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
