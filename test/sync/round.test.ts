import assert from "node:assert/strict";
import { test } from "node:test";
import { summarizeRound } from "../../lib/sync/round.ts";
import { emptyState } from "../../lib/sync/state.ts";

test("each cluster of a round is written, unchanged or failed, whatever the number of its entries", () => {
  const { counters } = emptyState("all");
  const targets = ["c1", "c1", "c2", "c3", "constructor"].map((target) => ({ target, isFailed: target === "c3" }));
  // c9 has left the list, and c3 failed after a write.
  const writes = { c1: 3, c2: 1, c3: 1, c9: 8, constructor: 1 };
  // A pair that is held for two reasons is one.
  const held = (["check", "restart"] as const).map((reason) => ({
    ...{ target: "c1", peer: "c3", reason, since: "2026-01-01T00:00:00.000Z", message: "m" },
  }));
  const round = summarizeRound(targets, { c1: 2, c2: 1 }, { held, counters: { ...counters, writes } });
  assert.deepEqual(round, { clusters: 4, written: 2, unchanged: 1, failed: 1, held: 1 });
});
