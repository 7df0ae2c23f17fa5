import assert from "node:assert/strict";
import { test } from "node:test";
import { UserError } from "../../lib/util/errors.ts";
import { parseDuration, parseDurationInDays } from "../../scripts/cli/duration.ts";

const HOUR = 3_600_000;

test("durations parse as in kubectl", () => {
  const table: [text: string, milliseconds: number][] = [
    ["30s", 30_000],
    ["1m30s", 90_000],
    ["500ms", 500],
    ["1.5h", 1.5 * HOUR],
    ["45", 45_000],
    ["0", 0],
  ];
  for (const [text, milliseconds] of table) assert.equal(parseDuration(text, "timeout"), milliseconds, text);
});

test("durations in days", () => {
  const table: [text: string, milliseconds: number][] = [
    ["30d", 30 * 24 * HOUR],
    ["0d", 0],
    ["1d12h", 36 * HOUR],
    ["36h", 36 * HOUR],
    ["90m", 1.5 * HOUR],
  ];
  for (const [text, milliseconds] of table)
    assert.equal(parseDurationInDays(text, "expires-within"), milliseconds, text);
});

test("an invalid duration is rejected with examples", () => {
  const table: [read: typeof parseDuration, text: string][] = [
    ...["soon", "", "-5m", "5 m", "5x", "1d", "5m!", "m"].map((text): [typeof parseDuration, string] => [
      parseDuration,
      text,
    ]),
    ...["30", "30s", "", "-1d", "d", "1 d", "30days", "1dd"].map((text): [typeof parseDuration, string] => [
      parseDurationInDays,
      text,
    ]),
  ];
  for (const [read, text] of table) {
    const examples = read === parseDuration ? "30s, 5m" : "30d, 36h, 90m";
    const message = `invalid duration ${JSON.stringify(text)} for --flag (examples: ${examples})`;
    assert.throws(
      () => read(text, "flag"),
      (error) => error instanceof UserError && error.exitCode === 2 && error.message === message,
      `${read.name} ${text}`,
    );
  }
});
