import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { duePrunes, noteContact, noteList, notePruned } from "../../lib/sync/absence.ts";
import { emptyState, type MemberRecord } from "../../lib/sync/state.ts";
import { formatState, parseState } from "../../lib/sync/state-text.ts";

const HOUR = 3_600_000;
const at = (hours: number) => new Date(Date.UTC(2026, 5, 1) + hours * HOUR);
const DAY = 24 * HOUR;

/** Lists members, and reads those that have a cluster: `entry` or `entry=cluster`. */
function listed(records: readonly MemberRecord[], entries: string[], hours: number): MemberRecord[] {
  const names = entries.map((text) => text.split("=")[0] ?? "");
  return names.reduce(
    (known, entry, i) => {
      const cluster = entries[i]?.split("=")[1] ?? entry;
      return noteContact(known, { entry, cluster, uid: `uid of ${cluster}`, id: 1 }, at(hours));
    },
    noteList(records, names, at(hours)),
  );
}

const FIVE = ["a", "b", "c", "d", "e"];
/** Five members that have been listed for a day. */
const five = listed([], FIVE, -24);
const dueAt = (records: readonly MemberRecord[], hours: number) => duePrunes(records, DAY, at(hours), "a");
const recordOf = (records: readonly MemberRecord[], entry: string) => records.find((one) => one.entry === entry);
/** As after a restart of the process. */
function restarted(records: readonly MemberRecord[], hours: number): MemberRecord[] {
  const text = formatState({ ...emptyState("test"), members: [...records] });
  return parseState(text, at(hours)).members;
}

describe("a member that has left the list", () => {
  test("is absent since then, and is removed after the time", () => {
    const left = listed(five, ["a", "b", "c", "d"], 0);
    assert.deepEqual(recordOf(left, "e"), {
      entry: "e",
      cluster: "e",
      uid: "uid of e",
      id: 1,
      lastContact: at(-24).toISOString(),
      listedSince: at(-24).toISOString(),
      absentSince: at(0).toISOString(),
    });
    const later = listed(left, ["a", "b", "c", "d"], 23);
    assert.deepEqual([dueAt(later, 23.9), dueAt(later, 24)], [[], ["e"]]);
    assert.deepEqual(dueAt(restarted(later, 24), 24), ["e"]);
  });

  test("is not absent if it returns, and the time starts over", () => {
    const back = listed(listed(five, ["a", "b", "c", "d"], 0), FIVE, 23);
    assert.equal(recordOf(back, "e")?.absentSince, undefined);
    assert.deepEqual(dueAt(back, 30), []);
    assert.deepEqual(dueAt(listed(back, ["a", "b", "c", "d"], 30), 53), []);
  });

  test("is deleted if it was never read", () => {
    const listedOnly = noteList(five, [...FIVE, "x"], at(0));
    const left = noteList(listedOnly, FIVE, at(1));
    assert.equal(recordOf(noteList(left, FIVE, at(2)), "x"), undefined);
    assert.deepEqual(dueAt(left, 100), []);
  });

  test("is not absent if it cannot be read", () => {
    const unread = FIVE.reduce((known) => noteList(known, FIVE, at(100)), five);
    assert.deepEqual(dueAt(unread, 100), []);
  });

  test("is ignored if its reading ends after it left", () => {
    const left = noteList(five, ["a"], at(0));
    assert.deepEqual(noteContact(left, { entry: "b", cluster: "b" }, at(0)), left);
    assert.deepEqual(noteContact(left, { entry: "unknown", cluster: "b" }, at(0)), left);
  });
});

describe("a member that is pruned", () => {
  const left = listed(five, ["a", "b", "c", "d"], 0);
  const dueIn = (records: readonly MemberRecord[], entry: string) => duePrunes(records, DAY, at(24), entry);

  test("is removed from each cluster once, and its record ends with the last", () => {
    const once = restarted(notePruned(left, "a", ["e"]), 24);
    assert.deepEqual([dueIn(once, "a"), dueIn(once, "b")], [[], ["e"]]);
    const rest = ["b", "c"].reduce((records, entry) => notePruned(records, entry, ["e"]), once);
    assert.deepEqual(recordOf(rest, "e")?.pruneFrom, ["d"]);
    const last = notePruned(rest, "d", ["e"]);
    assert.deepEqual(dueIn(last, "d"), []);
    assert.equal(recordOf(listed(last, ["a", "b", "c", "d"], 24), "e"), undefined);
  });

  test("is not removed from clusters that are listed later, and does not wait for those that leave", () => {
    const once = notePruned(left, "a", ["e"]);
    const next = listed(once, ["a", "b", "c", "new"], 24);
    assert.deepEqual(dueIn(next, "new"), []);
    const ended = ["b", "c"].reduce((records, entry) => notePruned(records, entry, ["e"]), next);
    assert.deepEqual(recordOf(ended, "e")?.pruneFrom, []);
  });

  test("and waits only for clusters that leave the list ends with them, and is not removed from their successors", () => {
    const waiting = ["a", "b", "c"].reduce((records, entry) => notePruned(records, entry, ["e"]), left);
    assert.deepEqual(recordOf(waiting, "e")?.pruneFrom, ["d"]);
    assert.equal(recordOf(listed(waiting, ["a", "b", "c"], 25), "e"), undefined);
    const both = ["a", "b"].reduce((records, entry) => notePruned(records, entry, ["e"]), left);
    const again = listed(listed(both, ["a", "b", "c"], 24), ["a", "b", "c", "d=new"], 24);
    assert.deepEqual(
      ["c", "d"].map((entry) => dueIn(again, entry)),
      [["e"], []],
    );
    assert.deepEqual(recordOf(noteList(waiting, [], at(25)), "e")?.pruneFrom, ["d"]);
  });

  test("does not wait for a second way to a cluster from which it is removed", () => {
    const ways = listed(listed([], ["a", "b=a", "e"], -24), ["a", "b=a"], 0);
    assert.deepEqual(recordOf(notePruned(ways, "b", ["e"]), "e")?.pruneFrom, []);
  });

  test("and listed again is removed again after it has left", () => {
    const back = listed(notePruned(left, "a", ["e"]), FIVE, 24);
    assert.deepEqual(dueAt(listed(back, ["a", "b", "c", "d"], 25), 49), ["e"]);
  });
});

describe("a member that was renamed", () => {
  test("is not absent once it is reached by its new name", () => {
    const renamed = listed(five, ["a", "b", "c", "d", "new=e"], 0);
    assert.deepEqual(renamed.map(({ entry }) => entry).sort(), ["a", "b", "c", "d", "new"]);
    assert.deepEqual(dueAt(renamed, 100), []);
  });

  test("may be one that cannot be read yet: nothing that left with it is removed", () => {
    const entries = ["a", "b", "c", "d", "new"];
    const unread = noteList(five, entries, at(0));
    assert.deepEqual(dueAt(unread, 100), []);
    // Another cluster behind it: the old one has left.
    const other = noteContact(unread, { entry: "new", cluster: "f" }, at(100));
    assert.deepEqual(dueAt(other, 100), ["e"]);
    // One that was broken long before cannot be the new name.
    const broken = noteList(listed([], FIVE, -24), [...FIVE, "broken"], at(-23));
    assert.deepEqual(dueAt(noteList(broken, ["a", "b", "c", "d", "broken"], at(2)), 26), ["e"]);
  });

  test("without a change of the entry has left by its old cluster name", () => {
    const changed = listed(five, ["a", "b", "c", "d", "e=f"], 0);
    assert.deepEqual([dueAt(changed, 23), dueAt(changed, 24)], [[], ["e"]]);
    assert.equal(recordOf(changed, "e")?.cluster, "f");
    assert.equal(recordOf(changed, "e (e)")?.cluster, "e");
    assert.deepEqual(dueAt(listed(changed, FIVE, 1), 100), ["f"]);
  });

  test("again and again has a few records, and none of another member is deleted for it", () => {
    let records = listed(five, ["a", "b", "c", "d=x"], 0);
    for (let i = 0; i < 50; i++) records = listed(records, ["a", "b", "c", `d=x${i}`], 1);
    const absent = records.filter(({ absentSince }) => absentSince !== undefined);
    assert.deepEqual(
      absent.map(({ entry }) => entry),
      ["e", "d (x46)", "d (x47)", "d (x48)"],
    );
    assert.deepEqual(dueAt(records, 24), ["e"]);
    assert.deepEqual(restarted(records, 24), records);
  });

  test("again and again is not more than one of the members that left at once", () => {
    let records = listed([], ["a", "b", "c"], -24);
    for (const name of ["x", "y", "z"]) records = listed(records, ["a", `b=${name}`, "c"], 0);
    records = listed(records, ["a", "b=z"], 0);
    assert.deepEqual(dueAt(records, 24), ["b", "c", "x", "y"]);
  });

  test("and was reached by another entry too is not removed sooner because its record was deleted", () => {
    let records = listed(five, ["a", "b", "c", "d", "e=d"], 0);
    // The one entry leaves, and the other has another name at its next reading.
    records = noteList(records, ["a", "b", "c", "e"], at(1));
    for (let i = 0; i < 10; i++) records = listed(records, ["a", "b", "c", `e=x${i}`], 20);
    assert.ok(!dueAt(records, 26).includes("d"));
  });

  test("is not removed while another entry reaches its name", () => {
    const changed = listed(five, ["a", "b", "c", "d", "e=a"], 0);
    assert.deepEqual(dueAt(changed, 100), ["e"]);
    const gone = listed(changed, ["b", "c", "d", "e=a"], 1);
    assert.deepEqual(dueAt(gone, 100), ["e"]);
  });
});

describe("members that were lost with their list", () => {
  test("are never removed, and have a reason", () => {
    const lost = listed(five, ["a", "b"], 0);
    assert.deepEqual(
      lost.map(({ entry, keptBecause }) => [entry, keptBecause]),
      [
        ["a", undefined],
        ["b", undefined],
        ["c", "3 of 5 members left the list at once"],
        ["d", "3 of 5 members left the list at once"],
        ["e", "3 of 5 members left the list at once"],
      ],
    );
    assert.deepEqual(dueAt(restarted(lost, 1_000), 1_000), []);
    const empty = noteList(five, [], at(0));
    assert.equal(recordOf(empty, "a")?.keptBecause, "the list of members was empty");
    assert.deepEqual(dueAt(listed(empty, ["x"], 1_000), 1_000), []);
  });

  test("may be half of them, but not the last one", () => {
    const two = listed([], ["a", "b"], -24);
    const one = listed(two, ["a"], 0);
    assert.deepEqual(dueAt(one, 24), ["b"]);
    assert.deepEqual(dueAt(noteList(one, [], at(1)), 100), []);
  });

  test("also if they leave one after the other, and others are added", () => {
    let records = five;
    for (const [i, entry] of ["b", "c", "d"].entries()) {
      const kept = FIVE.slice(FIVE.indexOf(entry) + 1);
      records = listed(records, ["a", ...kept, "x", "y", "z"], i / 60);
    }
    assert.deepEqual(dueAt(records, 100), []);
    const slowly = listed(listed(listed(five, ["a", "c", "d", "e"], 0), ["a", "d", "e"], 1), ["a", "e"], 2);
    assert.deepEqual(dueAt(slowly, 100), ["b", "c", "d"]);
  });

  test("soon after the first start are not counted as all of them", () => {
    const started = listed([], FIVE, 0);
    assert.deepEqual(dueAt(listed(started, ["a", "b", "c", "d"], 1 / 60), 100), ["e"]);
  });

  test("stay lost if two entries return that reached one of them, and now reach others", () => {
    const lost = listed(listed(listed([], ["a", "b=f", "e=f"], -24), ["a", "b=f"], -23), ["x"], 0);
    const back = listed(lost, ["x", "b=y", "e=z"], 1);
    assert.deepEqual(dueAt(back, 1_000), []);
  });

  test("are as before once they return, but not before they are reached", () => {
    const lost = listed(five, ["a", "b"], 0);
    const unread = noteList(lost, FIVE, at(1));
    // Their entry leads to another cluster.
    const other = noteContact(unread, { entry: "c", cluster: "x" }, at(1));
    assert.deepEqual(dueAt(other, 100), []);
    const back = listed(lost, FIVE, 1);
    assert.deepEqual(dueAt(listed(back, ["a", "b", "c", "d"], 2), 100), ["e"]);
  });
});

describe("for any lists", () => {
  const anyList = fc.record({
    entries: fc.subarray(["a", "b", "c", "d", "e", "f", "g"]),
    // Which of them are read, and as which cluster.
    clusters: fc.array(fc.option(fc.constantFrom("a", "b", "c", "d", "e", "f", "g"), { nil: undefined }), {
      minLength: 7,
      maxLength: 7,
    }),
    hours: fc.constantFrom(0.01, 0.1, 1, 30),
    restarts: fc.boolean(),
  });

  function* walk(lists: readonly (typeof anyList extends fc.Arbitrary<infer T> ? T : never)[]) {
    let records: MemberRecord[] = [];
    let hours = 0;
    for (const list of lists) {
      hours += list.hours;
      const before = records;
      if (list.restarts) records = restarted(records, hours);
      records = noteList(records, list.entries, at(hours));
      const after = records;
      for (const [i, entry] of list.entries.entries()) {
        const cluster = list.clusters[i];
        if (cluster !== undefined) records = noteContact(records, { entry, cluster }, at(hours));
      }
      yield { list, hours, before, after, records };
    }
  }

  test("nothing is removed by default", () => {
    fc.assert(
      fc.property(fc.array(anyList, { maxLength: 12 }), (lists) => {
        for (const { records } of walk(lists)) assert.deepEqual(duePrunes(records, undefined, at(100_000), "a"), []);
      }),
    );
  });

  test("what is removed is reached by no listed entry, and has been absent for the time", () => {
    fc.assert(
      fc.property(fc.array(anyList, { maxLength: 12 }), (lists) => {
        const lastSeen = new Map<string, number>();
        for (const { list, hours, records } of walk(lists)) {
          for (const { cluster, absentSince } of records) {
            if (cluster !== undefined && absentSince === undefined) lastSeen.set(cluster, hours);
          }
          const due = duePrunes(records, DAY, at(hours), "a");
          for (const cluster of due) assert.ok(hours - (lastSeen.get(cluster) ?? 0) >= 24, cluster);
          if (list.entries.length === 0) assert.deepEqual(due, []);
        }
      }),
      { numRuns: 300 },
    );
  });

  test("what one list lost with more than half of its members is not removed until it was reached again", () => {
    fc.assert(
      fc.property(fc.array(anyList, { maxLength: 12 }), (lists) => {
        const kept = new Set<string>();
        for (const { list, hours, before, records } of walk(lists)) {
          const previous = before.filter(({ absentSince }) => absentSince === undefined);
          const lost = previous.filter(({ entry }) => !list.entries.includes(entry));
          if (lost.length > previous.length / 2 || list.entries.length === 0) {
            const stayed = new Set(previous.filter((one) => !lost.includes(one)).map(({ cluster }) => cluster));
            for (const { cluster } of lost) if (cluster !== undefined && !stayed.has(cluster)) kept.add(cluster);
          }
          for (const [i] of list.entries.entries()) kept.delete(list.clusters[i] ?? "");
          for (const cluster of duePrunes(records, DAY, at(hours), "a")) assert.ok(!kept.has(cluster), cluster);
          for (const cluster of duePrunes(records, DAY, at(hours + 10_000), "a"))
            assert.ok(!kept.has(cluster), cluster);
        }
      }),
      { numRuns: 500 },
    );
  });

  test("entries are unique, and every listed one has a record", () => {
    fc.assert(
      fc.property(fc.array(anyList, { maxLength: 12 }), (lists) => {
        for (const { list, records } of walk(lists)) {
          const entries = records.map(({ entry }) => entry);
          assert.equal(new Set(entries).size, entries.length);
          const present = records.filter(({ absentSince }) => absentSince === undefined).map(({ entry }) => entry);
          assert.deepEqual(present.sort(), [...list.entries].sort());
        }
      }),
    );
  });
});
