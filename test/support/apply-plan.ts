/** Applies plans to targets as an API server would, so that tests can chain them. Pure. */
import type { V1ConfigMap, V1HostAlias, V1Secret } from "@kubernetes/client-node";
import type { Change, MergePatch } from "../../lib/import/plan/change.ts";
import type { Plan } from "../../lib/import/plan/plan.ts";
import type { Target, Workload } from "../../lib/import/plan/target.ts";
import { AGENTS_SECRET, type HostAlias, KVSTOREMESH_SECRET, USERS_CONFIG_MAP } from "../../lib/peer/peer.ts";

/**
 * Returns the target after the first `count` changes of a plan, whether or not its findings would prevent the import.
 *
 * @throws Error if an API server would refuse a change
 */
export function applyPlan(target: Target, plan: Plan, count = plan.changes.length): Target {
  return plan.changes.slice(0, count).reduce(applyChange, target);
}

function applyChange(target: Target, change: Change): Target {
  if (change.verb === "json-patch") {
    const workload = target.resolvers.find(({ kind, name }) => kind === change.kind && name === change.name);
    if (!workload) throw new Error(`404: ${change.kind}/${change.name}`);
    let hostAliases: V1HostAlias[] | undefined = workload.hostAliases;
    for (const { op, path, value } of change.patch) {
      if (path !== "/spec/template/spec/hostAliases") throw new Error(`unexpected patch of ${path}`);
      if (op === "test") {
        if (JSON.stringify(value) !== JSON.stringify(hostAliases ?? null)) throw new Error("422: test failed");
      } else hostAliases = value as V1HostAlias[];
    }
    const ips = (hostAliases ?? []).map(({ ip }) => ip);
    if (new Set(ips).size < ips.length) throw new Error("duplicate ip, the merge key of the list");
    const resolvers = target.resolvers.map((one) => (one === workload ? { ...one, hostAliases } : one));
    const aliases = aliasesOf(resolvers);
    const others = target.aliases.filter(({ hostname }) => !aliases.some((one) => one.hostname === hostname));
    return { ...target, resolvers, aliases: [...aliases, ...others] };
  }
  const field = FIELDS[change.name];
  if (!field) throw new Error(`unexpected object ${change.name}`);
  const existing = target[field];
  if (change.verb === "create") {
    if (existing) throw new Error(`409: ${change.name} exists`);
    if (change.object.metadata?.namespace !== target.namespace) throw new Error("namespace mismatch");
    return { ...target, [field]: withVersion(change.object, "1") };
  }
  if (!existing) throw new Error(`404: ${change.name}`);
  const { resourceVersion } = change.patch.metadata;
  if (change.follows ? resourceVersion !== undefined : resourceVersion !== existing.metadata?.resourceVersion) {
    throw new Error("409: stale");
  }
  const version = String(Number(existing.metadata?.resourceVersion ?? 0) + 1);
  return { ...target, [field]: withVersion(applyMergePatch(existing, change.patch), version) };
}

const FIELDS: Record<string, "agentsSecret" | "kvstoremeshSecret" | "users"> = {
  [AGENTS_SECRET]: "agentsSecret",
  [KVSTOREMESH_SECRET]: "kvstoremeshSecret",
  [USERS_CONFIG_MAP]: "users",
};

function withVersion<T extends V1Secret | V1ConfigMap>(object: T, resourceVersion: string): T {
  return { ...object, metadata: { ...object.metadata, resourceVersion } };
}

/** Applies a JSON Merge Patch (RFC 7386) of the depth that plans use. */
function applyMergePatch<T extends V1Secret | V1ConfigMap>(object: T, { metadata, data }: MergePatch): T {
  const merge = (old: Record<string, string> = {}, patch: Record<string, string | null> = {}) =>
    Object.fromEntries(Object.entries({ ...old, ...patch }).filter((entry) => entry[1] !== null));
  return {
    ...object,
    metadata: {
      ...object.metadata,
      ...(metadata.labels && { labels: merge(object.metadata?.labels, metadata.labels) }),
      annotations: merge(object.metadata?.annotations, metadata.annotations),
      ...(metadata.ownerReferences !== undefined && { ownerReferences: metadata.ownerReferences ?? [] }),
    },
    data: merge(object.data, data),
  };
}

/** Returns the host aliases of all workloads by hostname. */
export function aliasesOf(workloads: readonly Pick<Workload, "hostAliases">[]): HostAlias[] {
  const aliases = workloads.flatMap(({ hostAliases }) => hostAliases ?? []);
  const names = [...new Set(aliases.flatMap(({ hostnames }) => hostnames ?? []))];
  return names.map((hostname) => ({
    hostname,
    ips: aliases.filter(({ hostnames }) => hostnames?.includes(hostname)).map(({ ip }) => ip),
  }));
}
