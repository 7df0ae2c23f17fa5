/** Host aliases of workloads, by which pods resolve the names of remote control planes before Cilium 1.20. Pure. */
import type { V1HostAlias } from "@kubernetes/client-node";
import { endpointHostnames } from "../../peer/etcd-config.ts";
import { type Finding, finding } from "../../peer/findings.ts";
import { type HostAlias, type Peer, versionAtLeast } from "../../peer/peer.ts";
import { compareAddresses } from "../../util/address.ts";
import { type Change, describeObject, type JsonPatch } from "./change.ts";
import { ownerOf } from "./ownership.ts";
import type { Target, Workload } from "./target.ts";

/**
 * Merges aliases into those of a pod: each wanted name stands for exactly its addresses, one entry an address (the
 * list's merge key); other names and entries stay.
 *
 * @returns the new list and the names for which something changes; undefined where nothing does.
 */
export function mergeHostAliases(
  standing: readonly V1HostAlias[] | undefined,
  wanted: readonly HostAlias[],
): { hostAliases: V1HostAlias[]; hostnames: string[] } | undefined {
  const addresses = new Map<string, Set<string>>();
  for (const { hostname, ips } of wanted) {
    addresses.set(hostname, new Set([...(addresses.get(hostname) ?? []), ...ips]));
  }
  const changed = new Set<string>();
  const entries = new Map<string, string[]>();
  const emptied = new Set<string>();
  for (const { ip, hostnames } of standing ?? []) {
    const names = entries.get(ip) ?? [];
    for (const name of hostnames ?? []) {
      if (addresses.get(name)?.has(ip) === false) {
        changed.add(name);
        emptied.add(ip);
      } else if (!names.includes(name)) names.push(name);
    }
    entries.set(ip, names);
  }
  for (const [name, ips] of addresses) {
    for (const ip of [...ips].sort(compareAddresses)) {
      const names = entries.get(ip) ?? [];
      if (names.includes(name)) continue;
      entries.set(ip, [...names, name]);
      changed.add(name);
    }
  }
  if (changed.size === 0) return undefined;
  const hostAliases = [...entries]
    .filter(([ip, names]) => names.length > 0 || !emptied.has(ip))
    .map(([ip, hostnames]) => (hostnames.length > 0 ? { ip, hostnames } : { ip }));
  return { hostAliases, hostnames: [...changed].sort() };
}

/**
 * Replaces the list of aliases, provided that it is still the one that was read: workloads change their status all the
 * time, so a resourceVersion would conflict without need.
 */
export function hostAliasPatch(standing: readonly V1HostAlias[] | undefined, hostAliases: V1HostAlias[]): JsonPatch {
  const path = "/spec/template/spec/hostAliases";
  return [
    { op: "test", path, value: standing ?? null },
    { op: "add", path, value: hostAliases },
  ];
}

/** Which workloads may be patched, and so restarted. */
export type Restarts = "none" | "deployments" | "all";

export interface AliasesPlan {
  changes: Change[];
  /** What workloads lack and these options do not let us add. */
  missing: { workload: Workload; hostnames: string[] }[];
  /** Of these, the names that a workload does not resolve at all. */
  unresolved: Set<string>;
  findings: Finding[];
}

/**
 * Names that nobody tells the addresses of are left as a workload has them, or given to it as another one has them.
 *
 * @param addressed names whose addresses are told now, so that they replace what stands there.
 */
export function planAliases(
  target: Target,
  peers: readonly Peer[],
  addressed: ReadonlySet<string>,
  restarts: Restarts,
): AliasesPlan {
  const result: AliasesPlan = { changes: [], missing: [], unresolved: new Set(), findings: [] };
  if (versionAtLeast(target.facts.version, "1.20") === true) return result;
  const wanted = peers.flatMap(({ endpoints, hostAliases }) => {
    const known = hostnamesOf({ hostAliases });
    const lacking = endpointHostnames(endpoints).filter((host) => !known.includes(host));
    return [...hostAliases, ...target.aliases.filter(({ hostname }) => lacking.includes(hostname))];
  });
  for (const workload of target.resolvers) {
    const names = hostnamesResolvedBy(workload);
    const merged = mergeHostAliases(
      workload.hostAliases,
      wanted.filter(({ hostname }) => addressed.has(hostname) || !names.has(hostname)),
    );
    if (!merged) continue;
    const allowed = restarts === "all" || (restarts === "deployments" && workload.kind === "Deployment");
    if (!allowed) {
      result.missing.push({ workload, hostnames: merged.hostnames });
      for (const name of merged.hostnames) if (!names.has(name)) result.unresolved.add(name);
      continue;
    }
    const owner = ownerOf(workload.object.metadata);
    if (owner) {
      const place = { source: target.source, key: workload.name };
      const object = describeObject(workload.kind, workload.name);
      result.findings.push(finding("owner-resets", place, { case: "host-aliases", object, owner: owner.label }));
    }
    const patch = hostAliasPatch(workload.hostAliases, merged.hostAliases);
    const { hostnames } = merged;
    result.changes.push({ verb: "json-patch", kind: workload.kind, name: workload.name, patch, hostnames });
  }
  return result;
}

/** Names that the target's workloads resolve already, or can be given. */
export function resolvedNames({ resolvers, aliases }: Target): Set<string> {
  const [first, ...others] = resolvers.map(hostnamesResolvedBy);
  const byAll = [...(first ?? [])].filter((name) => others.every((names) => names.has(name)));
  return new Set([...byAll, ...hostnamesOf({ hostAliases: aliases })]);
}

function hostnamesResolvedBy({ hostAliases }: Workload): Set<string> {
  return new Set((hostAliases ?? []).flatMap(({ hostnames }) => hostnames ?? []));
}

export function hostnamesOf({ hostAliases }: Pick<Peer, "hostAliases">): string[] {
  return hostAliases.map(({ hostname }) => hostname);
}
