/** The users ConfigMap: whom a cluster's etcd lets in. Pure. */
import type { V1ConfigMap } from "@kubernetes/client-node";
import { isMap, isSeq, parseDocument } from "yaml";
import { USERS } from "../peer/annotations.ts";
import { USERS_KEY } from "../peer/peer.ts";

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
export function addedUsers(standing: V1ConfigMap | undefined): string[] {
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
  const ours = new Set(addedUsers(standing));
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
