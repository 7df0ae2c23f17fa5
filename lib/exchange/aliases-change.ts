/** The changes of the workloads whose pods resolve the peers' names before Cilium 1.20. Pure. */
import { endpointHostnames } from "../peer/etcd-config.ts";
import { type Finding, finding } from "../peer/findings.ts";
import { type Peer, versionAtLeast } from "../peer/peer.ts";
import { hostAliasPatch, mergeHostAliases } from "./aliases.ts";
import type { Change } from "./change.ts";
import { ownerOf } from "./owner.ts";
import type { Target, Workload } from "./target.ts";

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
 * @param told names whose addresses are told now, so that they replace what stands there.
 */
export function planAliases(
  target: Target,
  peers: readonly Peer[],
  told: ReadonlySet<string>,
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
    const names = resolvedBy(workload);
    const merged = mergeHostAliases(
      workload.hostAliases,
      wanted.filter(({ hostname }) => told.has(hostname) || !names.has(hostname)),
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
      const message = `${workload.kind} ${workload.name} belongs to ${owner.what}: an upgrade keeps the host aliases added here only where it renders none itself`;
      const place = { source: target.source, key: workload.name };
      result.findings.push(
        finding("owner-resets", place, message, "import again after each upgrade, until Cilium 1.20", {
          data: { owner: owner.what },
        }),
      );
    }
    const patch = hostAliasPatch(workload.hostAliases, merged.hostAliases);
    const { hostnames } = merged;
    result.changes.push({ verb: "json-patch", kind: workload.kind, name: workload.name, patch, hostnames });
  }
  return result;
}

/** Names that the target's workloads resolve already, or can be given. */
export function resolvedNames({ resolvers, aliases }: Target): Set<string> {
  const [first, ...others] = resolvers.map(resolvedBy);
  const byAll = [...(first ?? [])].filter((name) => others.every((names) => names.has(name)));
  return new Set([...byAll, ...hostnamesOf({ hostAliases: aliases })]);
}

function resolvedBy({ hostAliases }: Workload): Set<string> {
  return new Set((hostAliases ?? []).flatMap(({ hostnames }) => hostnames ?? []));
}

export function hostnamesOf({ hostAliases }: Pick<Peer, "hostAliases">): string[] {
  return hostAliases.map(({ hostname }) => hostname);
}
