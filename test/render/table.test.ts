import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { styleFor } from "../../lib/render/style.ts";
import { type Column, showTable } from "../../lib/render/table.ts";
import { widthOf } from "../../lib/render/wrap.ts";

const width = (columns: number) => styleFor({ isTTY: true, columns }, { NO_COLOR: "1" });
const COLUMNS: Column[] = [
  { title: "CLUSTER", cells: ["arn:aws:eks:eu-1:1234:cluster/one", "two"], truncate: "middle" },
  { title: "VERSION", cells: ["1.20.2", "1.18.5"], dispensable: 1 },
  { title: "ADDED", cells: ["29", "1"] },
];

test("showTable prints titles and rows with three spaces between columns and no trailing space", () => {
  assert.deepEqual(showTable(COLUMNS, styleFor({}, {})), [
    "CLUSTER                             VERSION   ADDED",
    "arn:aws:eks:eu-1:1234:cluster/one   1.20.2    29",
    "two                                 1.18.5    1",
  ]);
  assert.deepEqual(showTable([{ title: "A", cells: [] }], styleFor({}, {})), ["A"]);
});

test("a table that is too wide gets smaller gaps, then truncated names, then fewer columns", () => {
  assert.equal(showTable(COLUMNS, width(50))[1], "arn:aws:eks:eu-1:1234:cluster/one  1.20.2   29");
  assert.deepEqual(showTable(COLUMNS, width(30)), [
    "CLUSTER          VERSION ADDED",
    "arn:aws:…ter/one 1.20.2  29",
    "two              1.18.5  1",
  ]);
  assert.deepEqual(showTable(COLUMNS, width(18)), ["CLUSTER      ADDED", "arn:aw…r/one 29", "two          1"]);
});

test("colours do not affect widths, and a table with truncatable columns never exceeds its width", () => {
  const colour = styleFor({ isTTY: true, columns: 40 }, {});
  const cell = fc.stringMatching(/^[a-z0-9]{1,60}$/);
  fc.assert(
    fc.property(
      fc.array(fc.tuple(cell, cell), { minLength: 1, maxLength: 5 }),
      fc.integer({ min: 20, max: 120 }),
      (rows, most) => {
        const columns: Column[] = [
          { title: "NAME", cells: rows.map(([name]) => name), paint: colour.red, truncate: "middle" },
          { title: "WHAT", cells: rows.map(([, what]) => what), truncate: "end" },
        ];
        const lines = showTable(columns, { ...colour, width: most });
        assert.equal(lines.length, rows.length + 1);
        for (const line of lines) assert.ok(widthOf(line) <= most, line);
        const plain = showTable(
          columns.map(({ paint: _, ...one }) => one),
          width(most),
        );
        assert.deepEqual(lines.slice(1).map(widthOf), plain.slice(1).map(widthOf));
      },
    ),
  );
});
