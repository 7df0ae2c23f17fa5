/** The words of the programs, held against files that people read in review. `make golden` writes them anew. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { commands, PROGRAM } from "../scripts/commands.ts";
import { assertGolden } from "./support/golden.ts";
import { run } from "./support/programs.ts";

test("the help of each command", async () => {
  const calls = [[], ...Object.keys(commands).map((name) => [name])];
  const helps = await Promise.all(calls.map((words) => run(PROGRAM, [...words, "--help"])));
  for (const [i, { code, stdout, stderr }] of helps.entries()) {
    assert.deepEqual([code, stderr], [0, ""]);
    assertGolden(["help", ...(calls[i] ?? [])].join("-"), stdout);
  }
});
