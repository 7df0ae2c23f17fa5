/** Planning an import: what stands in the target, and peers, give the changes to make. Pure. */
import type { V1ConfigMap, V1Secret } from "@kubernetes/client-node";
import { LAST_APPLIED, PEERS, type PeerRecord, readPeerRecords, USERS, writePeerRecords } from "../peer/annotations.ts";
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
import {
  COMMON_FILES,
  decodeFiles,
  type Entry,
  type LaidOut,
  LOCAL_FILES,
  layOut,
  readEntries,
} from "../peer/secret.ts";
import { hostAliasPatch, type JsonPatch, mergeHostAliases } from "./aliases.ts";
import { type Merged, mergeEntries, type Outcome } from "./merge.ts";
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

/** One object to write. Each is old or new, whole; every prefix of a plan's changes leaves what worked working. */
export type Change =
  | { verb: "create"; kind: "Secret"; name: string; object: V1Secret }
  | { verb: "create"; kind: "ConfigMap"; name: string; object: V1ConfigMap }
  | { verb: "merge-patch"; kind: "Secret" | "ConfigMap"; name: string; patch: MergePatch }
  | { verb: "json-patch"; kind: Workload["kind"]; name: string; patch: JsonPatch; reason: string };

/** A merge patch under the `resourceVersion` that was read; null removes. */
export interface MergePatch {
  metadata: { resourceVersion?: string; annotations?: Record<string, string | null> };
  data?: Record<string, string | null>;
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

/** Limits of a Secret, in bytes: its decoded data, and all annotations of an object together. */
export const MAX_DATA = 1_048_576;
export const MAX_ANNOTATIONS = 262_144;

/**
 * Plans the import of peers into a target: merged into what stands there, in the layout that the contract names for
 * the target's version, with users and host aliases where these are needed.
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
  planSecret(kvstoreMesh ? KVSTOREMESH_SECRET : AGENTS_SECRET, target, remote, remoteMerge, facts, result);
  const merges = [remoteMerge];
  if (kvstoreMesh) {
    const cache = cacheConfig(target, findings);
    const agentsMerge = mergeEntries(
      agents.files,
      chosen.map(({ name }) => ({ name, config: cache })),
    );
    // What an upgrade left behind here is still a peer, and its id still worth knowing.
    const leftBehind = new Map([...agents.records].filter(([name]) => !remoteMerge.files.has(name)));
    planSecret(AGENTS_SECRET, target, agents, agentsMerge, leftBehind, result);
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

interface OpenSecret {
  secret: V1Secret | undefined;
  files: Map<string, Buffer>;
  entries: Map<string, Entry>;
  records: ReturnType<typeof readPeerRecords>;
}

function openSecret(secret: V1Secret | undefined, { source }: Target, findings: Finding[]): OpenSecret {
  const decoded = secret ? decodeFiles(secret, { source }) : { files: new Map<string, Buffer>(), findings: [] };
  findings.push(...decoded.findings);
  const annotations = secret?.metadata?.annotations ?? {};
  return {
    secret,
    files: decoded.files,
    entries: new Map(readEntries(decoded.files, annotations, source).map((entry) => [entry.name, entry])),
    records: readPeerRecords(annotations[PEERS]),
  };
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

/** Adds the change of one of the two config Secrets, if there is any. */
function planSecret(
  name: string,
  target: Target,
  { secret }: OpenSecret,
  { changes, files }: Merged,
  records: ReadonlyMap<string, PeerRecord>,
  result: Plan,
): void {
  const old = secret?.metadata?.annotations ?? {};
  const kept = new Map([...records].filter(([peer]) => files.has(peer)));
  const annotations: Record<string, string | null> = {};
  const peers = writePeerRecords(kept);
  if (peers !== old[PEERS]) annotations[PEERS] = peers ?? null;
  if (old[LAST_APPLIED] !== undefined) {
    annotations[LAST_APPLIED] = null;
    result.cleaned.push(name);
  }
  result.findings.push(...checkSize(name, target.source, files, { ...old, ...annotations }));
  if (changes.size === 0 && Object.keys(annotations).length === 0) return;
  const data = Object.fromEntries([...changes].map(([key, content]) => [key, content?.toString("base64") ?? null]));
  if (secret) {
    const patch = { metadata: versioned(secret, annotations), ...(changes.size > 0 && { data }) };
    result.changes.push({ verb: "merge-patch", kind: "Secret", name, patch });
    return;
  }
  const metadata = { name, namespace: target.namespace, ...withoutNulls(annotations) };
  const object: V1Secret = {
    apiVersion: "v1",
    kind: "Secret",
    metadata,
    type: "Opaque",
    data: data as Record<string, string>,
  };
  result.changes.push({ verb: "create", kind: "Secret", name, object });
}

function checkSize(
  name: string,
  source: string,
  files: ReadonlyMap<string, Buffer>,
  annotations: Record<string, string | null>,
): Finding[] {
  const data = [...files.values()].reduce((sum, { length }) => sum + length, 0);
  const noted = Object.entries(annotations).reduce(
    (sum, [key, value]) => sum + (value === null ? 0 : Buffer.byteLength(key) + Buffer.byteLength(value)),
    0,
  );
  const tooLarge = (what: string, bytes: number, limit: number, remedy: string) =>
    finding(
      "secret-too-large",
      { source, key: name },
      `${what} would be ${bytes.toLocaleString("en")} bytes, ${(bytes - limit).toLocaleString("en")} more than fit`,
      remedy,
    );
  const findings: Finding[] = [];
  if (data > MAX_DATA) {
    findings.push(
      tooLarge(
        "its data",
        data,
        MAX_DATA,
        "let the clusters share a CA and import with --tls=common, or use ECDSA keys, which are smaller",
      ),
    );
  }
  if (noted > MAX_ANNOTATIONS) {
    findings.push(tooLarge("its annotations", noted, MAX_ANNOTATIONS, "remove annotations that others left there"));
  }
  return findings;
}

function versioned(
  { metadata }: V1Secret | V1ConfigMap,
  annotations: Record<string, string | null>,
): MergePatch["metadata"] {
  return {
    ...(metadata?.resourceVersion !== undefined && { resourceVersion: metadata.resourceVersion }),
    ...(Object.keys(annotations).length > 0 && { annotations }),
  };
}

function withoutNulls(annotations: Record<string, string | null>): { annotations?: Record<string, string> } {
  const present = Object.entries(annotations).filter((entry): entry is [string, string] => entry[1] !== null);
  return present.length > 0 ? { annotations: Object.fromEntries(present) } : {};
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
