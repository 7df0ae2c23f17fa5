/** The users ConfigMap: which clusters may read from a cluster's etcd. Pure. */
import type { V1ConfigMap } from "@kubernetes/client-node";
import { isMap, isSeq, parseDocument } from "yaml";
import { USERS } from "../../peer/annotations.ts";
import { type Finding, finding } from "../../peer/findings.ts";
import { USERS_CONFIG_MAP, USERS_KEY, versionAtLeast } from "../../peer/peer.ts";
import { type Change, describeObject, patchMetadata } from "./change.ts";
import { type MetadataPatch, ownerOf, removeOwners } from "./ownership.ts";
import type { Target } from "./target.ts";

/** The etcd user that a cluster comes as where users are managed. */
export function userOf(cluster: string): string {
  return `remote-${cluster}`;
}

export interface UsersMerge {
  /** The new content of `users.yaml`; undefined where it need not change. */
  content: string | undefined;
  /** The new value of the annotation that lists the peers whose users we added. */
  annotation: string | undefined;
  /** The clusters whose users were not listed before. */
  granted: string[];
  /** The clusters whose users are taken back. */
  revoked: string[];
}

/** Thrown where what stands there does not parse: Cilium only logs that, and we do not write over it. */
export class UsersError extends Error {}

/** The clusters whose users we added, by the ConfigMap's annotation. */
export function recordedUsers(standing: V1ConfigMap | undefined): string[] {
  return (standing?.metadata?.annotations?.[USERS] ?? "").split(",").filter((name) => name !== "");
}

/**
 * Adds the users of these clusters to what stands in the ConfigMap, and takes back those of others that we had added.
 * What else stands there is kept, comments and all. Only the role `remote` is ever given, and only to users named
 * `remote-<cluster>`.
 *
 * @param revoke clusters whose users are taken back; of those that we did not add nothing is.
 * @throws UsersError
 */
export function mergeUsers(
  standing: V1ConfigMap | undefined,
  clusters: readonly string[],
  revoke: readonly string[] = [],
): UsersMerge {
  const text = standing?.data?.[USERS_KEY];
  if (text === undefined) {
    // Nothing to keep: it is written without the library, which takes longer to load than to use.
    const users = clusters.map((cluster) => `  - name: ${userOf(cluster)}\n    role: remote\n`);
    const content = users.length > 0 ? `users:\n${users.join("")}` : "users: []\n";
    return { content, annotation: [...clusters].sort().join(","), granted: [...clusters], revoked: [] };
  }
  // Silent would also be silent about a second document, which would be lost.
  const document = parseDocument(text, { logLevel: "error" });
  if (document.errors.length > 0) throw new UsersError("is not YAML");
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: 10 });
  } catch {
    throw new UsersError("is not YAML that can be resolved");
  }
  if (value !== null && !isMap(document.contents)) throw new UsersError("is not a mapping");
  const list = (value as { users?: unknown } | null)?.users ?? [];
  if (!Array.isArray(list)) throw new UsersError("has no list of users");
  const known = new Set(list.map((user: unknown) => (user as { name?: unknown } | null)?.name));
  const granted = clusters.filter((cluster) => !known.has(userOf(cluster)));
  const ours = new Set(recordedUsers(standing));
  const revoked = revoke.filter((cluster) => ours.has(cluster));
  if (granted.length + revoked.length === 0) {
    return { content: undefined, annotation: standing?.metadata?.annotations?.[USERS], granted, revoked };
  }

  const users = granted.map((cluster) => ({ name: userOf(cluster), role: "remote" }));
  if (!isMap(document.contents)) document.contents = null;
  const seq = document.get("users");
  if (isSeq(seq)) {
    if (list.length === 0) seq.flow = false;
    const gone = new Set<unknown>(revoked.map(userOf));
    for (let i = list.length - 1; i >= 0; i--)
      if (gone.has((list[i] as { name?: unknown } | null)?.name)) seq.delete(i);
    for (const user of users) seq.add(document.createNode(user));
    if (seq.items.length === 0) seq.flow = true;
  } else document.set("users", document.createNode([...list, ...users]));
  let content: string;
  try {
    content = document.toString({ lineWidth: 0 });
  } catch {
    throw new UsersError("refers by an alias to a user that is to go");
  }
  for (const cluster of revoked) ours.delete(cluster);
  for (const cluster of granted) ours.add(cluster);
  return { content, annotation: [...ours].sort().join(","), granted, revoked };
}

export interface UsersPlan {
  /** Undefined where nothing changes. */
  change: Change | undefined;
  /** Etcd users that are added, and that are taken back (`remote-<peer>`). */
  granted: string[];
  revoked: string[];
  findings: Finding[];
}

/**
 * Grants each peer its user, and takes back what we had granted to others. Charts 1.14 to 1.16 with KVStoreMesh let the
 * agents in by `remote-<own name>`.
 *
 * @param leaves whether the user that we had added for this peer is to go.
 * @param takeOwnership take the ConfigMap from its owner, where a chart lets go of it with the config Secrets (1.19+).
 */
export function planUsers(
  target: Target,
  peers: readonly string[],
  leaves: (peer: string) => boolean,
  takeOwnership = false,
): UsersPlan {
  const { facts, users, source } = target;
  const place = { source, key: USERS_CONFIG_MAP };
  const nothing: UsersPlan = { change: undefined, granted: [], revoked: [], findings: [] };
  const ownUser =
    !users?.data?.[USERS_KEY] && facts.kvstoreMesh && versionAtLeast(facts.version, "1.17") === false
      ? facts.name
      : undefined;
  const revoke = recordedUsers(users).filter((peer) => leaves(peer) && peer !== facts.name);
  const owner = ownerOf(users?.metadata);
  // Before 1.19 the chart renders it whatever becomes of the config Secrets.
  const letsGo = takeOwnership && versionAtLeast(facts.version, "1.19") !== false;
  const taken = owner && letsGo ? removeOwners(users?.metadata ?? {}) : undefined;
  if (peers.length + revoke.length === 0 && !taken) return nothing;
  const clusters = [...peers, ...(ownUser !== undefined ? [ownUser] : [])].sort();
  let merged: ReturnType<typeof mergeUsers>;
  try {
    merged = mergeUsers(users, clusters, revoke);
  } catch (error) {
    if (!(error instanceof UsersError)) throw error;
    return { ...nothing, findings: [finding("users-invalid", place, { problem: error.message })] };
  }
  const { content, annotation } = merged;
  if (content === undefined && !taken) return nothing;
  const findings: Finding[] = [];
  const object = describeObject("ConfigMap", USERS_CONFIG_MAP);
  if (owner) {
    const owned = { object, owner: owner.label };
    findings.push(
      taken
        ? finding("owner-resets", place, { case: "taken", ...owned, release: owner.release, dropsAliases: false })
        : finding("owner-resets", place, { case: "users", ...owned }),
    );
  }
  if (users?.immutable && content !== undefined) findings.push(finding("immutable", place, { object }));
  return {
    change: users
      ? patchUsers(users, content, annotation, taken)
      : createUsers(target.namespace, content ?? "", annotation),
    granted: merged.granted.map(userOf),
    revoked: merged.revoked.map(userOf),
    findings,
  };
}

function patchUsers(
  users: V1ConfigMap,
  content: string | undefined,
  annotation: string | undefined,
  taken: MetadataPatch = {},
): Change {
  const ours = annotation === undefined ? {} : { [USERS]: annotation || null };
  const metadata = patchMetadata(users, { ...taken, annotations: { ...taken.annotations, ...ours } });
  const patch = { metadata, ...(content !== undefined && { data: { [USERS_KEY]: content } }) };
  return { verb: "merge-patch", kind: "ConfigMap", name: USERS_CONFIG_MAP, patch };
}

function createUsers(namespace: string, content: string, annotation: string | undefined): Change {
  const name = USERS_CONFIG_MAP;
  const annotations: Record<string, string> = annotation ? { [USERS]: annotation } : {};
  const object: V1ConfigMap = {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name, namespace, annotations },
    data: { [USERS_KEY]: content },
  };
  return { verb: "create", kind: "ConfigMap", name, object };
}
