import assert from "node:assert/strict";
import { test } from "node:test";
import { WatchRestarts } from "../../lib/sync/watch-restarts.ts";

test("all restarts are counted, and each cause of a member is reported once", () => {
  const restarts = new WatchRestarts();
  const reported = [
    restarts.note("c1", "connection refused"),
    restarts.note("c1", "connection refused"),
    restarts.note("c1", "expired"),
    restarts.note("c2", "connection refused"),
  ];
  assert.deepEqual(reported, [true, false, true, true]);
  assert.deepEqual(restarts.counts(), { c1: 3, c2: 1 });
  restarts.remove("c1");
  assert.deepEqual(restarts.counts(), { c2: 1 });
});
