/** What a member that left the list means for the others. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { describeDeparture } from "../../lib/sync/departure.ts";
import type { MemberRecord } from "../../lib/sync/state.ts";

const LEFT = { entry: "admin@c4", cluster: "c4", absentSince: "2030-01-01T00:00:00Z" };
const namesOf = (...names: string[]) => names.map((name) => ({ entry: `admin@${name}`, cluster: name }));
const describeLeft = (records: MemberRecord[], pruneAfter?: number) =>
  describeDeparture(LEFT.entry, records, pruneAfter);

test("a cluster that left stays in the others, and can be removed by hand", () => {
  assert.deepEqual(describeLeft([LEFT, ...namesOf("c1", "c2")]), {
    cluster: "c4",
    remedy:
      "to remove it from the others, set --prune-after, or run: " +
      "clustermesh-secrets disconnect c4 --from admin@c1 --from admin@c2",
  });
  const many = Array.from({ length: 9 }, (_, i) => `c${i + 10}`);
  assert.match(describeLeft([LEFT, ...namesOf(...many)]).remedy ?? "", / --from CONTEXT\.\.\.$/);
});

test("a cluster that is pruned later needs no remedy, and one that is kept does", () => {
  assert.deepEqual(describeLeft([LEFT, ...namesOf("c1")], 60_000), { cluster: "c4", pruneAfter: 60_000 });
  const kept = { ...LEFT, keptBecause: "2 of 3 members left the list at once" };
  assert.equal(
    describeLeft([kept, ...namesOf("c1")], 60_000).remedy,
    "to remove it from the others, run: clustermesh-secrets disconnect c4 --from admin@c1",
  );
});

test("nothing is known of a config whose cluster was never read, or has another entry, or if no other is left", () => {
  const { cluster: _, ...unread } = LEFT;
  assert.deepEqual(describeLeft([unread, ...namesOf("c1")]), {});
  assert.deepEqual(describeLeft([LEFT, ...namesOf("c4")], 60_000), { cluster: "c4" });
  assert.deepEqual(describeLeft([LEFT], 60_000), { cluster: "c4" });
});
