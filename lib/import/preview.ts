/** The objects of a plan before and after its changes. Pure. */
import type { V1ConfigMap, V1DaemonSet, V1Deployment, V1Secret } from "@kubernetes/client-node";
import { AGENTS_SECRET, KVSTOREMESH_SECRET, USERS_CONFIG_MAP } from "../peer/peer.ts";
import { type Change, coalesce, type MergePatch } from "./plan/change.ts";
import type { Plan } from "./plan/plan.ts";
import type { Target } from "./plan/target.ts";

/** A written object, or the result of a dry run. */
export type Stored = V1Secret | V1ConfigMap | V1Deployment | V1DaemonSet;

/** An object before and after a plan; both are equal if nothing changes. */
export interface Preview {
  kind: Change["kind"];
  name: string;
  before: Stored | undefined;
  after: Stored;
}

/**
 * Previews a plan: the workloads that it changes, the config Secrets and the users ConfigMap, in the order of the writes.
 *
 * @param stored - objects returned by the API server, by {@link objectKey}; all others are computed locally.
 */
export function previewPlan(target: Target, { changes }: Plan, stored?: ReadonlyMap<string, Stored>): Preview[] {
  const previews = new Map<string, Preview>();
  const existing = [
    { kind: "Secret", name: KVSTOREMESH_SECRET, object: target.kvstoremeshSecret },
    { kind: "Secret", name: AGENTS_SECRET, object: target.agentsSecret },
    { kind: "ConfigMap", name: USERS_CONFIG_MAP, object: target.users },
  ] as const;
  for (const { object, ...reference } of existing) {
    if (object) previews.set(objectKey(reference), { ...reference, before: object, after: object });
  }
  for (const change of coalesce(changes)) {
    const { kind, name } = change;
    const key = objectKey(change);
    const workload = target.resolvers.find((one) => one.kind === kind && one.name === name);
    const before = previews.get(key)?.before ?? workload?.object;
    previews.set(key, { kind, name, before, after: stored?.get(key) ?? applyChange(before, change) });
  }
  const order = [KVSTOREMESH_SECRET, AGENTS_SECRET, USERS_CONFIG_MAP];
  return [...previews.values()].sort((a, b) => order.indexOf(a.name) - order.indexOf(b.name));
}

/** Returns the key of an object in its namespace. */
export function objectKey({ kind, name }: Pick<Change, "kind" | "name">): string {
  return `${kind} ${name}`;
}

function applyChange(before: Stored | undefined, change: Change): Stored {
  switch (change.verb) {
    case "create":
      return change.object;
    case "merge-patch":
      return applyMergePatch(before as V1Secret | V1ConfigMap, change.patch);
    case "json-patch": {
      const after = structuredClone(before) as { spec: { template: { spec: Record<string, unknown> } } };
      const replacement = change.patch.find(({ op }) => op !== "test");
      after.spec.template.spec.hostAliases = replacement?.value;
      return after as unknown as Stored;
    }
  }
}

/** Applies a merge patch (RFC 7386), for the fields that our patches use. */
function applyMergePatch<T extends V1Secret | V1ConfigMap>(object: T, { metadata, data }: MergePatch): T {
  const { labels, annotations, ownerReferences } = metadata;
  const merge = (old: Record<string, string> = {}, patch: Record<string, string | null> = {}) =>
    Object.fromEntries(Object.entries({ ...old, ...patch }).filter((entry) => entry[1] !== null));
  const { ownerReferences: references, ...meta } = object.metadata ?? {};
  const owners = ownerReferences === undefined ? references : ownerReferences;
  return {
    ...object,
    metadata: {
      ...meta,
      ...(labels && { labels: merge(meta.labels, labels) }),
      ...(annotations && { annotations: merge(meta.annotations, annotations) }),
      ...(owners && { ownerReferences: owners }),
    },
    ...(data && { data: merge(object.data, data) }),
  };
}
