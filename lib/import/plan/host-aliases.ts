/** Host aliases of workloads, with which pods resolve remote control planes before Cilium 1.20. Pure. */
import type { V1HostAlias } from "@kubernetes/client-node";
import { canonicalAliases, endpointHostnames } from "../../peer/etcd-config.ts";
import { type Finding, finding } from "../../peer/findings.ts";
import { type HostAlias, type Peer, versionAtLeast } from "../../peer/peer.ts";
import { compareAddresses } from "../../util/address.ts";
import { type Change, describeObject, type JsonPatch } from "./change.ts";
import { ownerOf } from "./ownership.ts";
import type { Target, Workload } from "./target.ts";

/**
 * Merges aliases into those of a pod, with one entry per address, which is the merge key of the list. Each wanted name gets
 * exactly its wanted addresses; other names and entries stay unchanged.
 *
 * @returns the new list and the changed host names; undefined if nothing changes.
 */
export function mergeHostAliases(
  existing: readonly V1HostAlias[] | undefined,
  wanted: readonly HostAlias[],
): { hostAliases: V1HostAlias[]; hostnames: string[] } | undefined {
  const addresses = new Map<string, Set<string>>();
  for (const { hostname, ips } of wanted) {
    addresses.set(hostname, new Set([...(addresses.get(hostname) ?? []), ...ips]));
  }
  const changed = new Set<string>();
  const entries = new Map<string, string[]>();
  const emptied = new Set<string>();
  for (const { ip, hostnames } of existing ?? []) {
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
 * Returns a patch that replaces the list of aliases if it is still the list that was read. A precondition on
 * `resourceVersion` would conflict with every update of the workload's status.
 */
export function hostAliasPatch(existing: readonly V1HostAlias[] | undefined, hostAliases: V1HostAlias[]): JsonPatch {
  const path = "/spec/template/spec/hostAliases";
  return [
    { op: "test", path, value: existing ?? null },
    { op: "add", path, value: hostAliases },
  ];
}

/** The workloads whose pods may be restarted by a patch. */
export type Restarts = "none" | "deployments" | "all";

/** Host aliases that a workload lacks and {@link Restarts} does not allow to add. */
export interface MissingAliases {
  workload: Workload;
  hostnames: string[];
  /** Whether the workload has aliases for all of these names, with other addresses. */
  isOutdated: boolean;
}

export interface AliasesPlan {
  changes: Change[];
  missing: MissingAliases[];
  /** Host names among {@link missing} that a workload cannot resolve at all. */
  unresolved: Set<string>;
  findings: Finding[];
}

/**
 * Plans the host aliases of the workloads that read the peers' configs, before Cilium 1.20. For a name without known
 * addresses, a workload keeps its aliases, or gets those of another workload.
 *
 * @param addressed - host names with addresses in this import, which replace the existing aliases.
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
    const unaddressed = endpointHostnames(endpoints).filter((host) => !known.includes(host));
    return [...hostAliases, ...target.aliases.filter(({ hostname }) => unaddressed.includes(hostname))];
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
      const { hostnames } = merged;
      result.missing.push({ workload, hostnames, isOutdated: hostnames.every((name) => names.has(name)) });
      for (const name of hostnames) if (!names.has(name)) result.unresolved.add(name);
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

/** Returns the host names that all workloads of the target resolve, or that one can get from another. */
export function resolvedNames({ resolvers, aliases }: Target): Set<string> {
  const [first, ...others] = resolvers.map(hostnamesResolvedBy);
  const byAll = [...(first ?? [])].filter((name) => others.every((names) => names.has(name)));
  return new Set([...byAll, ...hostnamesOf({ hostAliases: aliases })]);
}

function hostnamesResolvedBy({ hostAliases }: Workload): Set<string> {
  return new Set((hostAliases ?? []).flatMap(({ hostnames }) => hostnames ?? []));
}

/** Merges the host aliases of several workloads by host name. */
export function collectAliases(lists: readonly (readonly V1HostAlias[] | undefined)[]): HostAlias[] {
  const addresses = new Map<string, Set<string>>();
  for (const { ip, hostnames } of lists.flatMap((list) => list ?? [])) {
    for (const name of hostnames ?? []) addresses.set(name, (addresses.get(name) ?? new Set()).add(ip));
  }
  return canonicalAliases([...addresses].map(([hostname, ips]) => ({ hostname, ips: [...ips] })));
}

/** Returns the host names of the host aliases of a peer. */
export function hostnamesOf({ hostAliases }: Pick<Peer, "hostAliases">): string[] {
  return hostAliases.map(({ hostname }) => hostname);
}
