/** The change of the users ConfigMap. Pure. */
import type { V1ConfigMap } from "@kubernetes/client-node";
import { USERS } from "../peer/annotations.ts";
import { type Finding, finding } from "../peer/findings.ts";
import { USERS_CONFIG_MAP, USERS_KEY, versionAtLeast } from "../peer/peer.ts";
import { type Change, versioned } from "./change.ts";
import { type MetadataPatch, ownerOf, withoutOwners } from "./owner.ts";
import { isImmutable } from "./secret-change.ts";
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
  const revoke = addedUsers(users).filter((peer) => leaves(peer) && peer !== facts.name);
  const owner = ownerOf(users?.metadata);
  // Before 1.19 the chart renders it whatever becomes of the config Secrets.
  const letsGo = takeOwnership && versionAtLeast(facts.version, "1.19") !== false;
  const taken = owner && letsGo ? withoutOwners(users?.metadata ?? {}) : undefined;
  if (peers.length + revoke.length === 0 && !taken) return nothing;
  const clusters = [...peers, ...(ownUser !== undefined ? [ownUser] : [])].sort();
  let merged: ReturnType<typeof mergeUsers>;
  try {
    merged = mergeUsers(users, clusters, revoke);
  } catch (error) {
    if (!(error instanceof UsersError)) throw error;
    const message = `${USERS_KEY} of ConfigMap ${USERS_CONFIG_MAP} ${error.message}, so Cilium reads nothing of it`;
    return {
      ...nothing,
      findings: [finding("users-invalid", place, message, "mend or delete it, or import with --no-users")],
    };
  }
  const { content, annotation } = merged;
  if (content === undefined && !taken) return nothing;
  const findings: Finding[] = [];
  const what = `ConfigMap ${USERS_CONFIG_MAP}`;
  if (owner) {
    const message = taken
      ? `${what} is taken from ${owner.what}, which may write it again`
      : `${what} belongs to ${owner.what}, whose next upgrade takes back what is added here`;
    const remedy = taken ? `now ${owner.wayOut}` : "import again after each upgrade";
    const data = { owner: owner.what, ...(taken && { taken: "true" }) };
    findings.push(finding("owner-resets", place, message, remedy, { data }));
  }
  if (users?.immutable && content !== undefined) findings.push(isImmutable(what, place));
  return {
    change: users ? patch(users, content, annotation, taken) : create(target.namespace, content ?? "", annotation),
    granted: merged.granted.map(userOf),
    revoked: merged.revoked.map(userOf),
    findings,
  };
}

function patch(
  users: V1ConfigMap,
  content: string | undefined,
  annotation: string | undefined,
  taken: MetadataPatch = {},
): Change {
  const ours = annotation === undefined ? {} : { [USERS]: annotation || null };
  const metadata = versioned(users, { ...taken, annotations: { ...taken.annotations, ...ours } });
  const patch = { metadata, ...(content !== undefined && { data: { [USERS_KEY]: content } }) };
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
