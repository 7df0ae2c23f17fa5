/** Carrying out a plan: no rules of its own, only writes, and reading and planning again where another writer came first. */
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
import { hasErrors } from "../peer/findings.ts";
import { AGENTS_SECRET, KVSTOREMESH_SECRET } from "../peer/peer.ts";
import { UserError } from "../util/errors.ts";
import type { Change } from "./plan/change.ts";
import type { Outcome } from "./plan/merge-secret.ts";
import type { Plan } from "./plan/plan.ts";
import type { Target } from "./plan/target.ts";

/** How long the conflicts over one object are answered by reading and planning again, in milliseconds. */
const CONFLICT_TIMEOUT = 30_000;

/** An object as it was written, or would have been. */
export type Stored = V1Secret | V1ConfigMap | V1Deployment | V1DaemonSet;

export interface ApplyOptions {
  /** Have the API server check and answer, and store nothing. */
  dryRun?: boolean;
  /** Whether `wrote` needs no more of an object than its metadata. */
  metadataOnly?: boolean;
  /** Ends the work before the next write. */
  signal?: AbortSignal;
  /** Reads the target anew after a conflict. */
  reread(): Promise<Target>;
  /** Plans anew after a conflict. */
  replan(target: Target): Plan;
  /** Told of each change before it is made. */
  announce(change: Change): void;
  /** Told of each change after it was made, with the object as it is then stored. */
  wrote(change: Change, stored: Stored): void;
}

/**
 * Makes the changes of a plan, one after the other. On a conflict the target is read and planned anew, until the
 * conflicts end or 30 seconds are over in which nothing could be written.
 *
 * @returns the last plan, with the outcomes, users and cleaned Secrets of all attempts.
 * @throws ApiError and ConnectionError as the API server or the way to it gives them; UserError (exit code 1) where
 *   conflicts do not end or the work is ended, or (2) where the target changed so that the peers may not be written any
 *   more.
 */
export async function applyPlan(api: KubernetesApi, target: Target, plan: Plan, options: ApplyOptions): Promise<Plan> {
  let deadline = Date.now() + CONFLICT_TIMEOUT;
  let current = plan;
  let standing = target;
  for (let attempt = 1; ; attempt++) {
    const { failed, made, raced } = await makeChanges(current);
    if (!failed && !(await raced)) return current;
    if (made > 0) {
      deadline = Date.now() + CONFLICT_TIMEOUT;
      attempt = 1;
    } else if (failed && Date.now() > deadline) {
      throw new UserError(
        `${failed.change.kind} ${failed.change.name} is being changed by others all the time: gave up after 30 s`,
        1,
        { cause: failed.error },
      );
    }
    await sleep(Math.random() * Math.min(50 * 2 ** attempt, 1_000));
    if (options.signal?.aborted) throw new Interrupted();
    standing = await options.reread();
    const next = options.replan(standing);
    if (hasErrors(next.findings)) {
      const first = next.findings.find(({ severity }) => severity === "error");
      throw new UserError(`the target changed meanwhile: ${first?.message}`, 2);
    }
    if (failed?.error.status === 422 && next.changes.some((change) => sameChange(change, failed.change))) {
      throw failed.error;
    }
    current = combinePlans(current, next);
  }

  /**
   * With KVStoreMesh a peer stands in both Secrets. Whoever adds it and whoever drops it meanwhile may each come between
   * the other's two writes without a conflict, so each looks, after its last, at the Secret that it did not write last.
   */
  async function otherSecretChanged(last: string, versions: Versions): Promise<boolean> {
    if (options.dryRun || !target.facts.kvstoreMesh) return false;
    const [other, asRead] =
      last === AGENTS_SECRET
        ? [KVSTOREMESH_SECRET, standing.kvstoremeshSecret]
        : [AGENTS_SECRET, standing.agentsSecret];
    const known = versions.get(other) ?? asRead?.metadata?.resourceVersion;
    const now = await api.get(secrets, target.namespace, other, { metadataOnly: true });
    return now?.metadata?.resourceVersion !== known;
  }

  /**
   * Makes the changes up to the first that conflicts, and counts them. `raced`: whether somebody else changed the Secret
   * that was not written last, which is asked while what is no Secret is written.
   */
  async function makeChanges(
    plan: Plan,
  ): Promise<{ made: number; raced?: Promise<boolean>; failed?: { change: Change; error: ApiError } }> {
    const changes = options.dryRun ? coalesce(plan.changes) : plan.changes;
    const last = changes.findLast(({ kind }) => kind === "Secret");
    const versions = new Map<string, string | undefined>();
    let raced = Promise.resolve(false);
    let made = 0;
    for (const change of changes) {
      if (options.signal?.aborted) throw new Interrupted();
      options.announce(change);
      try {
        const stored = await make(api, target.namespace, withLatestVersion(change, versions), options);
        versions.set(change.name, stored.metadata?.resourceVersion);
        options.wrote(change, stored);
        if (!options.dryRun) made++;
        if (change === last) {
          raced = otherSecretChanged(change.name, versions);
          raced.catch(() => {});
        }
      } catch (error) {
        // A failed test of a JSON Patch is a 422, and not told apart from an object that is invalid.
        const conflict = error instanceof ApiError && (error.status === 409 || isFailedTest(error, change));
        if (!conflict) throw error;
        return { made, failed: { change, error } };
      }
    }
    return { made, raced };
  }
}

/** The `resourceVersion` that a write gave, by the object's name. */
type Versions = ReadonlyMap<string, string | undefined>;

/** The work was ended from outside. */
export class Interrupted extends UserError {
  constructor() {
    super("interrupted", 1);
  }
}

/** A change that follows another one of the same object is made under the version which that one gave. */
function withLatestVersion(change: Change, versions: Versions): Change {
  const resourceVersion = versions.get(change.name);
  if (change.verb !== "merge-patch" || !change.follows || resourceVersion === undefined) return change;
  return { ...change, patch: { ...change.patch, metadata: { ...change.patch.metadata, resourceVersion } } };
}

/** Where nothing is stored, a change that follows another one of the same object is made together with it. */
export function coalesce(changes: readonly Change[]): Change[] {
  const result: Change[] = [];
  for (const change of changes) {
    const first = result.findIndex(({ kind, name }) => kind === change.kind && name === change.name);
    const before = result[first];
    if (before && change.verb === "merge-patch") result[first] = mergePatches(before, change);
    else result.push(change);
  }
  return result;
}

function mergePatches(first: Change, second: Change & { verb: "merge-patch" }): Change {
  if (first.verb !== "merge-patch") return first;
  const { metadata, data } = first.patch;
  const annotations = { ...metadata.annotations, ...second.patch.metadata.annotations };
  return { ...first, patch: { metadata: { ...metadata, annotations }, data: { ...data, ...second.patch.data } } };
}

function isFailedTest({ status }: ApiError, { verb }: Change): boolean {
  return verb === "json-patch" && status === 422;
}

function sameChange(a: Change, b: Change): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

function make(
  api: KubernetesApi,
  namespace: string,
  change: Change,
  { dryRun = false, metadataOnly = false }: Pick<ApplyOptions, "dryRun" | "metadataOnly">,
): Promise<Stored> {
  const options = { dryRun, metadataOnly };
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
function combinePlans(earlier: Plan, next: Plan): Plan {
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
