import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { findConflicts, type IdentifiedMember } from "../../lib/sync/identity.ts";

const kinds = (members: IdentifiedMember[]) =>
  Object.fromEntries([...findConflicts(members)].map(([entry, { kind, other }]) => [entry, `${kind} ${other}`]));

describe("identities of members", () => {
  test("are no conflict if uid, name and id all differ", () => {
    const members = [1, 2, 3].map((n) => ({ entry: `e${n}`, uid: `u${n}`, cluster: `c${n}`, id: n }));
    assert.equal(findConflicts(members).size, 0);
  });

  test("are one cluster if uid and name are the same: the first is used", () => {
    const same = { uid: "u", cluster: "c", id: 1 };
    assert.deepEqual(
      kinds([
        { entry: "x", ...same },
        { entry: "y", ...same },
        { entry: "z", ...same },
      ]),
      {
        y: "same x",
        z: "same x",
      },
    );
  });

  test("are one cluster, reached by the best of several ways", () => {
    const ways = ["x", "y", "z"].map((entry) => ({ entry, uid: "u", cluster: "c", id: 1 }));
    const conflicts = findConflicts(ways, ({ entry }) => (entry === "x" ? 1 : 0));
    assert.deepEqual(
      [...conflicts].map(([entry, { other }]) => [entry, other]),
      [
        ["x", "y"],
        ["z", "y"],
      ],
    );
  });

  test("are in conflict if two uids have one name, or one id", () => {
    const name = findConflicts([
      { entry: "x", uid: "u1", cluster: "c", id: 1 },
      { entry: "y", uid: "u2", cluster: "c", id: 2 },
    ]);
    assert.deepEqual(name.get("x"), {
      kind: "conflict",
      shared: "cluster-name",
      other: "y",
      message: "y is another cluster with the same cluster-name c",
    });
    assert.deepEqual([...name.keys()], ["x", "y"]);
    const id = findConflicts([
      { entry: "x", uid: "u1", cluster: "c1", id: 7 },
      { entry: "y", uid: "u2", cluster: "c2", id: 7 },
    ]);
    assert.equal(id.get("y")?.message, "x is another cluster with the same cluster-id 7");
  });

  test("are two clusters if a backup was restored under another name: one uid, two names", () => {
    assert.deepEqual(
      kinds([
        { entry: "x", uid: "u", cluster: "c1", id: 1 },
        { entry: "y", uid: "u", cluster: "c2", id: 2 },
      ]),
      {},
    );
    assert.deepEqual(
      kinds([
        { entry: "x", uid: "u", cluster: "c1", id: 1 },
        { entry: "y", uid: "u", cluster: "c2", id: 1 },
      ]),
      { x: "conflict y", y: "conflict x" },
    );
  });

  test("of a second way to a cluster in conflict: it is still the same cluster", () => {
    assert.deepEqual(
      kinds([
        { entry: "x", uid: "u1", cluster: "c", id: 1 },
        { entry: "x2", uid: "u1", cluster: "c", id: 1 },
        { entry: "y", uid: "u2", cluster: "c", id: 2 },
      ]),
      { x: "conflict y", x2: "same x", y: "conflict x" },
    );
  });

  test("that are unknown, or not set up for a mesh, are in no conflict", () => {
    assert.deepEqual(kinds([{ entry: "x" }, { entry: "y" }, { entry: "z", uid: "u" }]), {});
    assert.deepEqual(
      kinds([
        { entry: "x", uid: "u1", cluster: "default", id: 0 },
        { entry: "y", uid: "u2", cluster: "default", id: 0 },
      ]),
      {},
    );
    // Without uids it is unknown whether they are one cluster.
    assert.deepEqual(
      kinds([
        { entry: "x", cluster: "c" },
        { entry: "y", cluster: "c" },
      ]),
      {
        x: "conflict y",
        y: "conflict x",
      },
    );
  });

  const maybe = <T>(values: fc.Arbitrary<T>) => fc.option(values, { nil: undefined });
  const anyMembers = fc.uniqueArray(
    fc.record({
      entry: fc.constantFrom("e1", "e2", "e3", "e4", "e5"),
      uid: maybe(fc.constantFrom("u1", "u2", "u3")),
      cluster: maybe(fc.constantFrom("c1", "c2", "default")),
      id: maybe(fc.nat(3)),
    }),
    { selector: ({ entry }) => entry },
  );

  test("never leave two members that share a name or id without a conflict", () => {
    fc.assert(
      fc.property(anyMembers, (members) => {
        const conflicts = findConflicts(members);
        const used = members.filter(({ entry }) => !conflicts.has(entry));
        for (const [i, one] of used.entries()) {
          for (const other of used.slice(i + 1)) {
            assert.ok(one.cluster === undefined || one.cluster === "default" || one.cluster !== other.cluster);
            assert.ok(one.id === undefined || one.id === 0 || one.id !== other.id);
          }
        }
      }),
    );
  });

  test("name members of the list, in conflicts both ways, and do not depend on the order", () => {
    fc.assert(
      fc.property(anyMembers, (members) => {
        const conflicts = findConflicts(members);
        for (const [entry, { kind, other }] of conflicts) {
          assert.ok(other !== entry && members.some((one) => one.entry === other));
          if (kind === "same") assert.notEqual(conflicts.get(other)?.kind, "same");
          else assert.equal(conflicts.get(other)?.kind, "conflict");
        }
        const reversed = findConflicts([...members].reverse());
        const hasSame = [...conflicts.values()].some(({ kind }) => kind === "same");
        if (!hasSame) assert.deepEqual([...reversed.keys()].sort(), [...conflicts.keys()].sort());
      }),
    );
  });
});
