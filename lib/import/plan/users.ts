/** The users ConfigMap, which grants remote clusters access to a cluster's etcd. Pure. */
import type { V1ConfigMap } from "@kubernetes/client-node";
import { isMap, isSeq, parseDocument } from "yaml";
import { USERS_ANNOTATION } from "../../peer/annotations.ts";
import { type Finding, finding } from "../../peer/findings.ts";
import { USERS_CONFIG_MAP, USERS_KEY, versionAtLeast } from "../../peer/peer.ts";
import { type Change, describeObject, patchMetadata } from "./change.ts";
import { type MetadataPatch, ownerOf, removeOwners } from "./ownership.ts";
import type { Target } from "./target.ts";

/** Returns the etcd user of a cluster with authMode cluster: `remote-<cluster>`. */
export function userOf(cluster: string): string {
  return `remote-${cluster}`;
}

/** The merged content of the users ConfigMap. */
export interface UsersMerge {
  /** The new content of `users.yaml`; undefined if it does not change. */
  content: string | undefined;
  /** The new value of the annotation that lists the clusters whose users we granted. */
  annotation: string | undefined;
  /** The clusters whose users are added. */
  granted: string[];
  /** The clusters whose users are removed. */
  revoked: string[];
}

/** `users.yaml` is invalid. Cilium only logs that; we do not overwrite it. */
export class UsersError extends Error {}

/** Returns the clusters whose users we granted, from the annotation of the ConfigMap. */
export function recordedUsers(existing: V1ConfigMap | undefined): string[] {
  return (existing?.metadata?.annotations?.[USERS_ANNOTATION] ?? "").split(",").filter((name) => name !== "");
}

/**
 * Adds users of clusters to the ConfigMap and removes users that we added earlier. Everything else is kept, including
 * comments. Granted users are always named `remote-<cluster>` and have the role `remote`.
 *
 * @param revoke - clusters whose users are removed; users that we did not add are kept.
 * @throws UsersError if `users.yaml` is invalid.
 */
export function mergeUsers(
  existing: V1ConfigMap | undefined,
  clusters: readonly string[],
  revoke: readonly string[] = [],
): UsersMerge {
  const text = existing?.data?.[USERS_KEY];
  if (text === undefined) {
    // Nothing to preserve, so the YAML library is not needed.
    const users = clusters.map((cluster) => `  - name: ${userOf(cluster)}\n    role: remote\n`);
    const content = users.length > 0 ? `users:\n${users.join("")}` : "users: []\n";
    return { content, annotation: [...clusters].sort().join(","), granted: [...clusters], revoked: [] };
  }
  const plain = revoke.length === 0 ? readPlainUsers(text) : undefined;
  if (plain && clusters.every((cluster) => plain.has(userOf(cluster)))) return unchangedUsers(existing);
  // With level "silent", a second document would be lost without an error.
  const document = parseDocument(text, { logLevel: "error" });
  if (document.errors.length > 0) throw new UsersError("is not valid YAML");
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: 10 });
  } catch {
    throw new UsersError("has aliases that cannot be resolved");
  }
  if (value !== null && !isMap(document.contents)) throw new UsersError("is not a mapping");
  const list = (value as { users?: unknown } | null)?.users ?? [];
  if (!Array.isArray(list)) throw new UsersError("has a users field that is not a list");
  const known = new Set(list.map((user: unknown) => (user as { name?: unknown } | null)?.name));
  const granted = clusters.filter((cluster) => !known.has(userOf(cluster)));
  const ours = new Set(recordedUsers(existing));
  const revoked = revoke.filter((cluster) => ours.has(cluster));
  if (granted.length + revoked.length === 0) return unchangedUsers(existing);

  const users = granted.map((cluster) => ({ name: userOf(cluster), role: "remote" }));
  if (!isMap(document.contents)) document.contents = null;
  const seq = document.get("users");
  if (isSeq(seq)) {
    if (list.length === 0) seq.flow = false;
    const revokedUsers = new Set<unknown>(revoked.map(userOf));
    for (let i = list.length - 1; i >= 0; i--)
      if (revokedUsers.has((list[i] as { name?: unknown } | null)?.name)) seq.delete(i);
    for (const user of users) seq.add(document.createNode(user));
    if (seq.items.length === 0) seq.flow = true;
  } else document.set("users", document.createNode([...list, ...users]));
  let content: string;
  try {
    content = document.toString({ lineWidth: 0 });
  } catch {
    throw new UsersError("contains a YAML alias to a user to revoke");
  }
  for (const cluster of revoked) ours.delete(cluster);
  for (const cluster of granted) ours.add(cluster);
  return { content, annotation: [...ours].sort().join(","), granted, revoked };
}

/**
 * Returns the user names of a `users.yaml` in the form that {@link mergeUsers} creates; undefined for any other text. For
 * hundreds of users the YAML library would take longer than the rest of planning an import that changes none of them.
 */
function readPlainUsers(text: string): Set<string> | undefined {
  if (!/^users:\n(?: {2}- name: remote-[\w.-]+\n {4}role: remote\n)+$/.test(text)) return undefined;
  return new Set([...text.matchAll(/^ {2}- name: (.*)$/gm)].map(([, name = ""]) => name));
}

function unchangedUsers(existing: V1ConfigMap | undefined): UsersMerge {
  const annotation = existing?.metadata?.annotations?.[USERS_ANNOTATION];
  return { content: undefined, annotation, granted: [], revoked: [] };
}

/** The planned change of the users ConfigMap. */
export interface UsersPlan {
  /** Undefined if nothing changes. */
  change: Change | undefined;
  /** Etcd users to grant and to revoke (`remote-<peer>`). */
  granted: string[];
  revoked: string[];
  findings: Finding[];
}

/**
 * Plans the users ConfigMap: grants the users of peers and revokes users that we granted earlier. With the charts 1.14 to
 * 1.16 and KVStoreMesh, the agents authenticate as `remote-<own name>`, so that user is granted too.
 *
 * @param isRevoked - whether to revoke the user that we granted to a peer.
 * @param takeOwnership - whether to take the ConfigMap over, if its chart releases it with the config Secrets (1.19 and later).
 */
export function planUsers(
  target: Target,
  peers: readonly string[],
  isRevoked: (peer: string) => boolean,
  takeOwnership = false,
): UsersPlan {
  const { facts, users, source } = target;
  const place = { source, key: USERS_CONFIG_MAP };
  const unchanged: UsersPlan = { change: undefined, granted: [], revoked: [], findings: [] };
  const ownUser =
    !users?.data?.[USERS_KEY] && facts.kvstoreMesh && versionAtLeast(facts.version, "1.17") === false
      ? facts.name
      : undefined;
  const revoke = recordedUsers(users).filter((peer) => isRevoked(peer) && peer !== facts.name);
  const owner = ownerOf(users?.metadata);
  // Before 1.19 the chart renders the ConfigMap independently of the config Secrets.
  const isReleased = takeOwnership && versionAtLeast(facts.version, "1.19") !== false;
  const taken = owner && isReleased ? removeOwners(users?.metadata ?? {}) : undefined;
  if (peers.length + revoke.length === 0 && !taken) return unchanged;
  const clusters = [...peers, ...(ownUser !== undefined ? [ownUser] : [])].sort();
  let merged: ReturnType<typeof mergeUsers>;
  try {
    merged = mergeUsers(users, clusters, revoke);
  } catch (error) {
    if (!(error instanceof UsersError)) throw error;
    return { ...unchanged, findings: [finding("users-invalid", place, { problem: error.message })] };
  }
  const { content, annotation } = merged;
  if (content === undefined && !taken) return unchanged;
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
  const ours = annotation === undefined ? {} : { [USERS_ANNOTATION]: annotation || null };
  const metadata = patchMetadata(users, { ...taken, annotations: { ...taken.annotations, ...ours } });
  const patch = { metadata, ...(content !== undefined && { data: { [USERS_KEY]: content } }) };
  return { verb: "merge-patch", kind: "ConfigMap", name: USERS_CONFIG_MAP, patch };
}

function createUsers(namespace: string, content: string, annotation: string | undefined): Change {
  const name = USERS_CONFIG_MAP;
  const annotations: Record<string, string> = annotation ? { [USERS_ANNOTATION]: annotation } : {};
  const object: V1ConfigMap = {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name, namespace, annotations },
    data: { [USERS_KEY]: content },
  };
  return { verb: "create", kind: "ConfigMap", name, object };
}
