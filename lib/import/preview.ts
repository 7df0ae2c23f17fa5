/** The objects that a plan is about, as they stand and as they would. Pure. */
import type { V1ConfigMap, V1DaemonSet, V1Deployment, V1Secret } from "@kubernetes/client-node";
import { AGENTS_SECRET, KVSTOREMESH_SECRET, USERS_CONFIG_MAP } from "../peer/peer.ts";
import { type Change, coalesce, type MergePatch } from "./plan/change.ts";
import type { Plan } from "./plan/plan.ts";
import type { Target } from "./plan/target.ts";

/** An object as it was written, or would have been. */
export type Stored = V1Secret | V1ConfigMap | V1Deployment | V1DaemonSet;

/** An object before and after; the same where nothing changes. */
export interface Preview {
  kind: Change["kind"];
  name: string;
  before: Stored | undefined;
  after: Stored;
}

/**
 * The config Secrets and the users as they are after a plan, and before them the workloads that it changes: in the
 * order in which peers come.
 *
 * @param stored objects as the API server answered, by kind and name; what is not among them is worked out here.
 */
export function previewPlan(target: Target, { changes }: Plan, stored?: ReadonlyMap<string, Stored>): Preview[] {
  const previews = new Map<string, Preview>();
  const standing = [
    { kind: "Secret", name: KVSTOREMESH_SECRET, object: target.kvstoremeshSecret },
    { kind: "Secret", name: AGENTS_SECRET, object: target.agentsSecret },
    { kind: "ConfigMap", name: USERS_CONFIG_MAP, object: target.users },
  ] as const;
  for (const { object, ...what } of standing) {
    if (object) previews.set(objectKey(what), { ...what, before: object, after: object });
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

/** Kind and name, by which an object is found in a namespace. */
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
      const list = change.patch.find(({ op }) => op !== "test");
      after.spec.template.spec.hostAliases = list?.value;
      return after as unknown as Stored;
    }
  }
}

/** RFC 7386, for the fields that our patches have. */
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
