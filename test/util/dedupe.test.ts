import assert from "node:assert/strict";
import { test } from "node:test";
import { dedupe } from "../../lib/util/dedupe.ts";
import { targetOf } from "../support/targets.ts";

test("of several ways to one cluster the first is taken; where a cluster cannot be told, each is its own", () => {
  const ways = [undefined, "x/1", "x/2", "x/1", undefined, "x/1"].map((identity, i) =>
    targetOf("1.20", { source: `c${i}`, identity }),
  );
  const told: string[] = [];
  const taken = dedupe(
    ways,
    ({ identity }) => identity,
    (stays, other) => told.push(`${other.source} as ${stays.source}`),
  );
  assert.deepEqual(
    taken.map(({ source }) => source),
    ["c0", "c1", "c2", "c4"],
  );
  assert.deepEqual(told, ["c3 as c1", "c5 as c1"]);
});
