/** Host aliases of workloads: how the names of remote control planes resolve before Cilium 1.20. Pure. */
import type { V1HostAlias } from "@kubernetes/client-node";
import { compareAddresses } from "../peer/address.ts";
import type { HostAlias } from "../peer/peer.ts";

/** Operations of a JSON Patch (RFC 6902). */
export type JsonPatch = { op: "test" | "add" | "replace"; path: string; value: unknown }[];

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
