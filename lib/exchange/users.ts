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
}

/** Thrown where what stands there does not parse: Cilium only logs that, and we do not write over it. */
export class UsersError extends Error {}

/**
 * Adds the users of these clusters to what stands in the ConfigMap. What stands there is kept, comments and all. Only
 * the role `remote` is ever given, and only to users named `remote-<cluster>`.
 *
 * @throws UsersError
 */
export function mergeUsers(standing: V1ConfigMap | undefined, clusters: readonly string[]): UsersMerge {
  const text = standing?.data?.[USERS_KEY];
  // Silent would also be silent about a second document, which would be lost.
  const document = parseDocument(text ?? "", { logLevel: "error" });
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
  const noted = standing?.metadata?.annotations?.[USERS];
  if (granted.length === 0 && text !== undefined) return { content: undefined, annotation: noted, granted };

  const users = granted.map((cluster) => ({ name: userOf(cluster), role: "remote" }));
  if (!isMap(document.contents)) document.contents = null;
  const seq = document.get("users");
  if (isSeq(seq)) {
    if (list.length === 0) seq.flow = false;
    for (const user of users) seq.add(document.createNode(user));
  } else document.set("users", document.createNode([...list, ...users]));
  const content = document.toString({ lineWidth: 0 });
  const ours = new Set([...(noted?.split(",") ?? []), ...granted].filter((name) => name !== ""));
  return { content, annotation: [...ours].sort().join(","), granted };
}
