/** Finds members that reach the same cluster, and clusters that must not be in one mesh. Pure. */

/** What identifies the cluster of a member, as far as it was read. */
export interface IdentifiedMember {
  /** Its name in the list of members. */
  entry: string;
  /** The uid of its ConfigMap `cilium-config`. */
  uid?: string | undefined;
  /** Cilium's `cluster-name`. */
  cluster?: string | undefined;
  /** Cilium's `cluster-id`. */
  id?: number | undefined;
}

/**
 * Why a member is not used. `same`: `other` reaches its cluster too, and is used. `conflict`: the cluster of `other` has the
 * same name or id (`shared`); neither of the two may be connected.
 */
export type Conflict = {
  /** The entry of the other member. */
  other: string;
  /** For people. */
  message: string;
} & ({ kind: "same" } | { kind: "conflict"; shared: "cluster-name" | "cluster-id" });

/**
 * Compares the identities of members. A cluster is identified by the uid of its `cilium-config` together with its name:
 * clusters restored from one backup share uids. Members with the same identity are one cluster, and one of them is used. Two
 * clusters with one name or one id are in conflict: Cilium names configs, etcd prefixes and identities by them.
 *
 * Members that were not read, and clusters that are not set up for a mesh (id 0, name `default`), are in no conflict.
 *
 * @param rankOf - which of several ways to a cluster is used: the first of those with the lowest rank.
 * @returns the members that are not used, by entry.
 */
export function findConflicts(
  members: readonly IdentifiedMember[],
  rankOf: (member: IdentifiedMember) => number = () => 0,
): Map<string, Conflict> {
  const conflicts = new Map<string, Conflict>();
  const best = new Map<string, IdentifiedMember>();
  for (const member of members) {
    const identity = identityOf(member);
    const other = identity === undefined ? undefined : best.get(identity);
    if (identity !== undefined && (!other || rankOf(member) < rankOf(other))) best.set(identity, member);
  }
  const clusters = members.filter((member) => {
    const used = best.get(identityOf(member) ?? "");
    if (!used || used === member) return true;
    const message = `${used.entry} reaches the same cluster, and is used`;
    conflicts.set(member.entry, { kind: "same", other: used.entry, message });
    return false;
  });
  markShared(clusters, conflicts, "cluster-name", ({ cluster }) => (cluster === "default" ? undefined : cluster));
  markShared(clusters, conflicts, "cluster-id", ({ id }) => (id === 0 ? undefined : id));
  return conflicts;
}

function identityOf({ uid, cluster }: IdentifiedMember): string | undefined {
  return uid === undefined || cluster === undefined ? undefined : JSON.stringify([uid, cluster]);
}

/** Adds a conflict for each member whose value another one has too. The first conflict of a member is kept. */
function markShared(
  members: readonly IdentifiedMember[],
  conflicts: Map<string, Conflict>,
  shared: "cluster-name" | "cluster-id",
  pickValue: (member: IdentifiedMember) => string | number | undefined,
): void {
  const groups = new Map<string | number, string[]>();
  for (const member of members) {
    const value = pickValue(member);
    if (value !== undefined) groups.set(value, [...(groups.get(value) ?? []), member.entry]);
  }
  for (const [value, entries] of groups) {
    for (const entry of entries) {
      const other = entries.find((one) => one !== entry);
      if (other === undefined || conflicts.has(entry)) continue;
      const message = `${other} is another cluster with the same ${shared} ${value}`;
      conflicts.set(entry, { kind: "conflict", shared, other, message });
    }
  }
}
