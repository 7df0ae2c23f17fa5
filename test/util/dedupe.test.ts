import assert from "node:assert/strict";
import { test } from "node:test";
import { dedupe } from "../../lib/util/dedupe.ts";
import { targetOf } from "../support/targets.ts";

test("the first item of each key is kept; items without a key are all kept", () => {
  const targets = [undefined, "x/1", "x/2", "x/1", undefined, "x/1"].map((identity, i) =>
    targetOf("1.20", { source: `c${i}`, identity }),
  );
  const dropped: string[] = [];
  const kept = dedupe(
    targets,
    ({ identity }) => identity,
    (kept, duplicate) => dropped.push(`${duplicate.source} as ${kept.source}`),
  );
  assert.deepEqual(
    kept.map(({ source }) => source),
    ["c0", "c1", "c2", "c4"],
  );
  assert.deepEqual(dropped, ["c3 as c1", "c5 as c1"]);
});
