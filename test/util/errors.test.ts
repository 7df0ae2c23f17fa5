/** Errors that may be bugs. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { describeAnyError, toReadError, UserError } from "../../lib/util/errors.ts";

const RUN = `
import { toReadError } from "./lib/util/errors.ts";
import { toProgram } from "./scripts/cli/run.ts";
const run = async () => {
  try {
    undefined.x();
  } catch (error) {
    toReadError(error);
  }
  return 0;
};
const options = { debug: { type: "boolean", default: false } };
const command = { usage: "", description: "", options, examples: [], run };
await toProgram(command).main("x", process.argv.slice(1), async () => "");
`;

test("an unexpected error of a read may be a bug, and its message names the flag that shows where", () => {
  const cause = new TypeError("x is not a function");
  const error = toReadError(cause);
  assert.equal(error.cause, cause);
  assert.match(
    error.message,
    /^the API server returned an object .*, or this is a bug: x is not a function\n {2}rerun with --debug/,
  );
  const known = new UserError("forbidden", 1);
  assert.equal(toReadError(known), known);
  assert.equal(describeAnyError(cause), "unexpected: x is not a function");
});

test("--debug logs the stack of an error that is reported in other words", () => {
  const call = (...args: string[]) =>
    spawnSync(process.execPath, ["--import", "tsx", "--input-type=module", "-e", RUN, "--", ...args], {
      encoding: "utf8",
    });
  assert.match(call("--debug").stderr, / ms {2}TypeError: .*undefined.*\n.* ms {6}at .*run /);
  assert.equal(call().stderr, "");
});
