/** Applies a plan to a target as an API server would, so that plans can be chained without one. Pure. */
import type { V1ConfigMap, V1HostAlias, V1Secret } from "@kubernetes/client-node";
import type { Change, MergePatch } from "../../lib/import/plan/change.ts";
import type { Plan } from "../../lib/import/plan/plan.ts";
import type { Target, Workload } from "../../lib/import/plan/target.ts";
import { AGENTS_SECRET, type HostAlias, KVSTOREMESH_SECRET, USERS_CONFIG_MAP } from "../../lib/peer/peer.ts";

/** The target after the first `count` changes of a plan, by default all. Throws where an API server would refuse. */
export function applyPlan(target: Target, plan: Plan, count = plan.changes.length): Target {
  return plan.changes.slice(0, count).reduce(applyChange, target);
}

function applyChange(target: Target, change: Change): Target {
  if (change.verb === "json-patch") {
    const workload = target.resolvers.find(({ kind, name }) => kind === change.kind && name === change.name);
    if (!workload) throw new Error(`no ${change.kind} ${change.name}`);
    let hostAliases: V1HostAlias[] | undefined = workload.hostAliases;
    for (const { op, path, value } of change.patch) {
      if (path !== "/spec/template/spec/hostAliases") throw new Error(`a patch of ${path}`);
      if (op === "test") {
        if (JSON.stringify(value) !== JSON.stringify(hostAliases ?? null)) throw new Error("422: the test failed");
      } else hostAliases = value as V1HostAlias[];
    }
    const ips = (hostAliases ?? []).map(({ ip }) => ip);
    if (new Set(ips).size < ips.length) throw new Error("two entries for one ip, the list's merge key");
    const resolvers = target.resolvers.map((one) => (one === workload ? { ...one, hostAliases } : one));
    const aliases = aliasesOf(resolvers);
    const elsewhere = target.aliases.filter(({ hostname }) => !aliases.some((one) => one.hostname === hostname));
    return { ...target, resolvers, aliases: [...aliases, ...elsewhere] };
  }
  const field = FIELDS[change.name];
  if (!field) throw new Error(`an object ${change.name}`);
  const standing = target[field];
  if (change.verb === "create") {
    if (standing) throw new Error(`409: ${change.name} exists`);
    if (change.object.metadata?.namespace !== target.namespace) throw new Error("in another namespace");
    return { ...target, [field]: withVersion(change.object, "1") };
  }
  if (!standing) throw new Error(`404: ${change.name}`);
  const { resourceVersion } = change.patch.metadata;
  if (change.follows ? resourceVersion !== undefined : resourceVersion !== standing.metadata?.resourceVersion) {
    throw new Error("409: stale");
  }
  const version = String(Number(standing.metadata?.resourceVersion ?? 0) + 1);
  return { ...target, [field]: withVersion(applyMergePatch(standing, change.patch), version) };
}

const FIELDS: Record<string, "agentsSecret" | "kvstoremeshSecret" | "users"> = {
  [AGENTS_SECRET]: "agentsSecret",
  [KVSTOREMESH_SECRET]: "kvstoremeshSecret",
  [USERS_CONFIG_MAP]: "users",
};

function withVersion<T extends V1Secret | V1ConfigMap>(object: T, resourceVersion: string): T {
  return { ...object, metadata: { ...object.metadata, resourceVersion } };
}

/** RFC 7396, for the depth that these patches have. */
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

/** What any of the workloads resolves. */
export function aliasesOf(workloads: readonly Pick<Workload, "hostAliases">[]): HostAlias[] {
  const aliases = workloads.flatMap(({ hostAliases }) => hostAliases ?? []);
  const names = [...new Set(aliases.flatMap(({ hostnames }) => hostnames ?? []))];
  return names.map((hostname) => ({
    hostname,
    ips: aliases.filter(({ hostnames }) => hostnames?.includes(hostname)).map(({ ip }) => ip),
  }));
}
