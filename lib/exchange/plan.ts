/** Planning an import: what stands in the target, and peers, give the changes to make. Pure. */
import type { V1ConfigMap } from "@kubernetes/client-node";
import { type PeerRecord, USERS } from "../peer/annotations.ts";
import { endpointHostnames } from "../peer/etcd-config.ts";
import { type Finding, finding } from "../peer/findings.ts";
import {
  AGENTS_SECRET,
  APISERVER,
  KVSTOREMESH_SECRET,
  type Peer,
  USERS_CONFIG_MAP,
  USERS_KEY,
  versionAtLeast,
} from "../peer/peer.ts";
import { checkAddresses, checkMesh, type SourcedPeer } from "../peer/rules.ts";
import { COMMON_FILES, type Entry, type LaidOut, LOCAL_FILES, layOut } from "../peer/secret.ts";
import { hostAliasPatch, mergeHostAliases } from "./aliases.ts";
import { type Change, versioned } from "./change.ts";
import { type Merged, mergeEntries, type Outcome } from "./merge.ts";
import { type OpenSecret, openSecret, planSecret } from "./secret-change.ts";
import type { Target, Workload } from "./target.ts";
import { chooseTls, type TlsMode } from "./tls.ts";
import { mergeUsers, UsersError, userOf } from "./users.ts";

export interface PlanOptions {
  tls: TlsMode;
  /** Whether to grant users; false for `--no-users`. */
  users: boolean;
  /** Which workloads may be patched, and so restarted, for their host aliases. */
  restarts: "none" | "deployments" | "all";
}

export interface Plan {
  /** In the order in which they are to be made. */
  changes: Change[];
  /** What happens to each peer, by name. */
  outcomes: Map<string, Outcome>;
  /** Whether the target's own file was among the peers, and so was passed over. */
  skippedSelf: boolean;
  /** Etcd users that are added (`remote-<peer>`). */
  granted: string[];
  /** Secrets from which an annotation with their whole content goes. */
  cleaned: string[];
  /** Host aliases that workloads lack and that these options do not let us add. */
  missing: { workload: Workload; hostnames: string[] }[];
  findings: Finding[];
}

/**
 * Plans the import of peers into a target: merged into what stands there, in the layout that Cilium of
 * the target's version reads, with users and host aliases where these are needed.
 *
 * A plan with a finding of severity error is not to be carried out.
 */
export function plan(target: Target, candidates: readonly SourcedPeer[], options: PlanOptions): Plan {
  const findings: Finding[] = [];
  const { own, peers: told } = withoutSelf(target, candidates, findings);
  if (target.facts.name === "default" || target.facts.id === 0) {
    findings.push(
      finding(
        "target-not-set-up",
        { source: target.source },
        `cluster-name is ${target.facts.name} and cluster-id ${target.facts.id}: agents ignore all peers`,
        "set cluster.name and cluster.id of the Helm chart, each of its own in the mesh",
      ),
    );
  }
  const kvstoreMesh = target.facts.kvstoreMesh === true;
  const remote = openSecret(kvstoreMesh ? target.kvstoremeshSecret : target.agentsSecret, target, findings);
  const agents = kvstoreMesh ? openSecret(target.agentsSecret, target, findings) : remote;

  const records = new Map([...agents.records, ...remote.records]);
  // What a file does not tell may be known from an earlier one.
  const peers = told.map(({ peer, source }) => ({
    peer: { ...peer, facts: { ...records.get(peer.name), ...peer.facts } },
    source,
  }));
  const wantedNames = new Set(peers.map(({ peer }) => peer.name));
  const standing = [...new Set([...remote.entries.keys(), ...agents.entries.keys()])]
    .filter((name) => !wantedNames.has(name) && name !== target.facts.name)
    .map((name) => ({ name, ...records.get(name) }));
  findings.push(...checkMesh(peers, { source: target.source, facts: target.facts, standing }));

  const chosen: Peer[] = [];
  for (const candidate of peers) {
    const withNames = keepStandingAliases(candidate, remote.entries.get(candidate.peer.name));
    findings.push(...checkAddresses(withNames, resolvedNames(target)));
    const choice = chooseTls(withNames, target, options.tls);
    if ("peer" in choice) chosen.push(choice.peer);
    else findings.push(...choice.findings);
  }

  const result: Plan = {
    changes: [],
    outcomes: new Map(),
    skippedSelf: own,
    granted: [],
    cleaned: [],
    missing: [],
    findings,
  };
  if (chosen.length === 0) return result;

  const facts = new Map<string, PeerRecord>([
    ...records,
    ...chosen.map((peer): [string, PeerRecord] => [peer.name, peer.facts]),
  ]);
  // First, for a config that names what does not resolve yet would cut a peer that worked.
  planAliases(target, chosen, new Set(told.flatMap(({ peer }) => hostnamesOf(peer))), options, result);
  const remoteMerge = mergeEntries(
    remote.files,
    chosen.map((peer) => layOut(peer, "target")),
  );
  const write = (name: string, ...args: [OpenSecret, Merged, ReadonlyMap<string, PeerRecord>]) => {
    const { change, cleaned, findings } = planSecret(name, target, ...args);
    if (change) result.changes.push(change);
    if (cleaned) result.cleaned.push(name);
    result.findings.push(...findings);
  };
  write(kvstoreMesh ? KVSTOREMESH_SECRET : AGENTS_SECRET, remote, remoteMerge, facts);
  const merges = [remoteMerge];
  if (kvstoreMesh) {
    const cache = cacheConfig(target, findings);
    const agentsMerge = mergeEntries(
      agents.files,
      chosen.map(({ name }) => ({ name, config: cache })),
    );
    // What an upgrade left behind here is still a peer, and its id still worth knowing.
    const leftBehind = new Map([...agents.records].filter(([name]) => !remoteMerge.files.has(name)));
    write(AGENTS_SECRET, agents, agentsMerge, leftBehind);
    merges.push(agentsMerge);
  }
  for (const { name } of chosen) {
    const known = remote.entries.has(name) || agents.entries.has(name);
    const changed = merges.some(({ outcomes }) => outcomes.get(name) !== "unchanged");
    result.outcomes.set(name, !known ? "added" : changed ? "changed" : "unchanged");
  }
  if (options.users && target.takesUsers) planUsers(target, chosen, result);
  return result;
}

/** The target's own file among the peers is passed over; only one of name and id equal is an error. */
function withoutSelf({ facts, source }: Target, candidates: readonly SourcedPeer[], findings: Finding[]) {
  const peers: SourcedPeer[] = [];
  let own = false;
  for (const candidate of candidates) {
    const { name, facts: theirs } = candidate.peer;
    if (name !== facts.name) {
      peers.push(candidate);
    } else if (theirs.id === undefined || facts.id === undefined || theirs.id === facts.id) {
      own = true;
    } else {
      findings.push(
        finding(
          "name-of-target",
          { source: candidate.source, key: name },
          `${name} with id ${theirs.id} has the name of target ${source}, whose id is ${facts.id}`,
          "clusters of a mesh have distinct names",
        ),
      );
    }
  }
  return { own, peers };
}

/** Names that the target's workloads resolve already. */
function resolvedNames({ resolvers }: Target): Set<string> {
  const [first, ...others] = resolvers.map(resolvedBy);
  return new Set([...(first ?? [])].filter((name) => others.every((names) => names.has(name))));
}

function resolvedBy({ hostAliases }: Workload): Set<string> {
  return new Set((hostAliases ?? []).flatMap(({ hostnames }) => hostnames ?? []));
}

function hostnamesOf({ hostAliases }: Peer): string[] {
  return hostAliases.map(({ hostname }) => hostname);
}

/**
 * Where a file tells no addresses of a name, those that the standing config of the same peer has are kept. A file of
 * extract-secret tells all there is: its names without addresses are for DNS.
 */
function keepStandingAliases({ peer, source }: SourcedPeer, standing: Entry | undefined): SourcedPeer {
  if (peer.facts.name !== undefined) return { peer, source };
  const told = new Set(hostnamesOf(peer));
  const lacking = endpointHostnames(peer.endpoints).filter((host) => !told.has(host));
  const kept = standing?.config?.hostAliases.filter(({ hostname }) => lacking.includes(hostname)) ?? [];
  return kept.length === 0
    ? { peer, source }
    : { peer: { ...peer, hostAliases: [...peer.hostAliases, ...kept] }, source };
}

/**
 * The config by which agents read their own cluster's copy, where KVStoreMesh runs: with the `local-` files from 1.17
 * on, with the `common-` ones before.
 */
function cacheConfig(target: Target, findings: Finding[]): LaidOut["config"] {
  const local = versionAtLeast(target.facts.version, "1.17");
  if (local === undefined) {
    findings.push(
      finding(
        "version-unknown",
        { source: target.source },
        "Cilium's version cannot be told from its images, so agents are given the files of " +
          (target.localMounted ? "1.17 and later" : "1.16 and before"),
      ),
    );
  }
  return {
    endpoints: [`https://${APISERVER}.${target.namespace}.svc:2379`],
    hostAliases: [],
    ...((local ?? target.localMounted) ? LOCAL_FILES : COMMON_FILES),
  };
}

/** Grants each peer its user. Charts 1.14 to 1.16 with KVStoreMesh let the agents in by `remote-<own name>`. */
function planUsers(target: Target, peers: readonly Peer[], result: Plan): void {
  const { facts, namespace, users } = target;
  const name = USERS_CONFIG_MAP;
  const ownUser =
    !users?.data?.[USERS_KEY] && facts.kvstoreMesh && versionAtLeast(facts.version, "1.17") === false
      ? facts.name
      : undefined;
  const clusters = [...peers.map((peer) => peer.name), ...(ownUser !== undefined ? [ownUser] : [])].sort();
  let merged: ReturnType<typeof mergeUsers>;
  try {
    merged = mergeUsers(users, clusters);
  } catch (error) {
    if (!(error instanceof UsersError)) throw error;
    const message = `${USERS_KEY} of ConfigMap ${name} ${error.message}, so Cilium reads nothing of it`;
    const place = { source: target.source, key: name };
    result.findings.push(finding("users-invalid", place, message, "mend or delete it, or import with --no-users"));
    return;
  }
  const { content, annotation } = merged;
  if (content === undefined) return;
  result.granted = merged.granted.map(userOf);
  const annotations: Record<string, string> = annotation === undefined ? {} : { [USERS]: annotation };
  if (users) {
    const patch = { metadata: versioned(users, annotations), data: { [USERS_KEY]: content } };
    result.changes.push({ verb: "merge-patch", kind: "ConfigMap", name, patch });
    return;
  }
  const object: V1ConfigMap = {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name, namespace, annotations },
    data: { [USERS_KEY]: content },
  };
  result.changes.push({ verb: "create", kind: "ConfigMap", name, object });
}

/**
 * Before 1.20 the names in configs are resolved by the workloads' host aliases. Names that the files tell no addresses
 * of are left as a workload has them.
 */
function planAliases(
  target: Target,
  peers: readonly Peer[],
  told: ReadonlySet<string>,
  { restarts }: PlanOptions,
  result: Plan,
): void {
  if (versionAtLeast(target.facts.version, "1.20") === true) return;
  const wanted = peers.flatMap(({ hostAliases }) => hostAliases);
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
      continue;
    }
    const patch = hostAliasPatch(workload.hostAliases, merged.hostAliases);
    const reason = `it has to resolve ${merged.hostnames.join(", ")}`;
    result.changes.push({ verb: "json-patch", kind: workload.kind, name: workload.name, patch, reason });
  }
}
