import assert from "node:assert/strict";
import { test } from "node:test";
import { type WatchRestart, WatchRestarts } from "../../lib/sync/watch-restarts.ts";

const failure: WatchRestart = {
  ...{ entry: "c1", object: "nodes", reason: "error", error: "connection refused" },
  isRepeated: false,
};

test("all restarts are counted, and each cause of a member is reported once", () => {
  const restarts = new WatchRestarts();
  const reported = [
    restarts.note(failure),
    restarts.note({ ...failure, object: "secrets" }),
    restarts.note({ ...failure, reason: "expired", error: undefined }),
    restarts.note({ ...failure, entry: "c2" }),
  ];
  assert.deepEqual(reported, [true, false, true, true]);
  assert.deepEqual(restarts.counts(), { c1: 3, c2: 1 });
  restarts.remove("c1");
  assert.deepEqual(restarts.counts(), { c2: 1 });
});

test("a watch that keeps failing is reported again only if its cause changes, or once it has worked", (t) => {
  let now = 0;
  t.mock.method(performance, "now", () => now);
  const restarts = new WatchRestarts();
  const note = (change: Partial<WatchRestart> = {}) => {
    now += 3_600_000;
    return restarts.note({ ...failure, isRepeated: true, ...change });
  };
  assert.deepEqual([note({ isRepeated: false }), note(), note()], [true, false, false]);
  assert.deepEqual([note({ error: "forbidden" }), note({ error: "forbidden" })], [true, false]);
  assert.deepEqual([note({ error: "forbidden", isRepeated: false }), note({ error: "forbidden" })], [true, false]);
  assert.equal(note({ error: "forbidden", object: "secrets" }), true);
});
