import assert from "node:assert/strict";
import { test } from "node:test";
import { isProgressing } from "../../lib/sync/snapshot.ts";

test("a loop is stuck after two intervals and a minute without progress", () => {
  const lastProgress = new Date("2030-01-01T00:00:00Z");
  const interval = 600_000;
  const after = (milliseconds: number) => new Date(lastProgress.getTime() + milliseconds);
  for (const [milliseconds, expected] of [
    [0, true],
    [1_260_000, true],
    [1_260_001, false],
    // A clock that was set back.
    [-86_400_000, true],
  ] as const) {
    assert.equal(isProgressing({ lastProgress }, interval, after(milliseconds)), expected, `${milliseconds}`);
  }
});
