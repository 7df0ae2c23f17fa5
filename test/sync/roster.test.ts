import assert from "node:assert/strict";
import { test } from "node:test";
import type { MemberView } from "../../lib/sync/member-view.ts";
import type { MemberEntry } from "../../lib/sync/members.ts";
import { Roster } from "../../lib/sync/roster.ts";

const CLUSTERS = { a: { uid: "1", cluster: "c1", id: 1 }, again: { uid: "1", cluster: "c1", id: 1 } };
const other = { uid: "2", cluster: "c1", id: 2 };

/** A roster of members that were read, by entry. */
function readAll(clusters: Record<string, Pick<MemberView, "uid" | "cluster" | "id">>, roster = new Roster()): Roster {
  roster.adopt(Object.keys(clusters).map((name) => ({ name, revision: "1", cluster: {} }) as MemberEntry));
  for (const [entry, view] of Object.entries(clusters)) {
    const member = roster.get(entry);
    if (member) member.view = { entry, ...view } as MemberView;
  }
  roster.updateConflicts();
  return roster;
}

function setUnreachable(roster: Roster, entry: string, isUnreachable: boolean): void {
  const member = roster.get(entry);
  assert.ok(member);
  member.isUnreachable = isUnreachable;
  roster.updateConflicts();
}

const unused = (roster: Roster) => Object.keys(CLUSTERS).filter((name) => roster.conflictOf(name)?.kind === "same");

test("of two ways to a cluster the one in use stays in use while it can be read", () => {
  const roster = readAll(CLUSTERS);
  assert.deepEqual(unused(roster), ["again"]);
  setUnreachable(roster, "a", true);
  assert.deepEqual(unused(roster), ["a"]);
  assert.deepEqual(roster.namesOf("again"), { entry: "again", cluster: "c1", aliases: ["a"] });
  setUnreachable(roster, "a", false);
  assert.deepEqual(unused(roster), ["a"]);
  setUnreachable(roster, "again", true);
  assert.deepEqual(unused(roster), ["again"]);
});

test("a conflict of a cluster is reported by the way in use", () => {
  const roster = readAll(CLUSTERS);
  setUnreachable(roster, "a", true);
  readAll({ ...CLUSTERS, other }, roster);
  assert.deepEqual(
    ["a", "again", "other"].map((name) => roster.conflictOf(name)?.kind),
    ["same", "conflict", "conflict"],
  );
  assert.deepEqual(
    ["again", "other"].map((name) => roster.isFirstOf(name)),
    [true, false],
  );
});
