/** The change of the users ConfigMap. Pure. */
import type { V1ConfigMap } from "@kubernetes/client-node";
import { USERS } from "../peer/annotations.ts";
import { type Finding, finding } from "../peer/findings.ts";
import { USERS_CONFIG_MAP, USERS_KEY, versionAtLeast } from "../peer/peer.ts";
import { type Change, versioned } from "./change.ts";
import { ownerOf } from "./owner.ts";
import type { Target } from "./target.ts";
import { addedUsers, mergeUsers, UsersError, userOf } from "./users.ts";

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
 */
export function planUsers(target: Target, peers: readonly string[], leaves: (peer: string) => boolean): UsersPlan {
  const { facts, namespace, users, source } = target;
  const name = USERS_CONFIG_MAP;
  const place = { source, key: name };
  const nothing: UsersPlan = { change: undefined, granted: [], revoked: [], findings: [] };
  const ownUser =
    !users?.data?.[USERS_KEY] && facts.kvstoreMesh && versionAtLeast(facts.version, "1.17") === false
      ? facts.name
      : undefined;
  const revoke = addedUsers(users).filter((peer) => leaves(peer) && peer !== facts.name);
  if (peers.length + revoke.length === 0) return nothing;
  const clusters = [...peers, ...(ownUser !== undefined ? [ownUser] : [])].sort();
  let merged: ReturnType<typeof mergeUsers>;
  try {
    merged = mergeUsers(users, clusters, revoke);
  } catch (error) {
    if (!(error instanceof UsersError)) throw error;
    const message = `${USERS_KEY} of ConfigMap ${name} ${error.message}, so Cilium reads nothing of it`;
    return {
      ...nothing,
      findings: [finding("users-invalid", place, message, "mend or delete it, or import with --no-users")],
    };
  }
  const { content, annotation } = merged;
  if (content === undefined) return nothing;
  const findings: Finding[] = [];
  const owner = ownerOf(users?.metadata);
  if (owner) {
    const message = `ConfigMap ${name} belongs to ${owner.what}, whose next upgrade takes back what is added here`;
    findings.push(finding("owner-resets", place, message, "import again after each upgrade"));
  }
  return {
    change: users ? patch(users, content, annotation) : create(namespace, content, annotation),
    granted: merged.granted.map(userOf),
    revoked: merged.revoked.map(userOf),
    findings,
  };
}

function patch(users: V1ConfigMap, content: string, annotation: string | undefined): Change {
  const annotations = annotation === undefined ? {} : { [USERS]: annotation || null };
  const patch = { metadata: versioned(users, { annotations }), data: { [USERS_KEY]: content } };
  return { verb: "merge-patch", kind: "ConfigMap", name: USERS_CONFIG_MAP, patch };
}

function create(namespace: string, content: string, annotation: string | undefined): Change {
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
