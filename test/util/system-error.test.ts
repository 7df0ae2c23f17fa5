import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { getSystemErrorMap } from "node:util";
import { describeSystemError } from "../../lib/util/system-error.ts";

function errorOf(work: () => unknown): unknown {
  try {
    work();
  } catch (error) {
    return error;
  }
  return assert.fail("no error");
}

test("system errors are described without code, system call and path", () => {
  const folder = mkdtempSync(join(tmpdir(), "system-error-"));
  try {
    const table: [work: () => unknown, description: string][] = [
      [() => readFileSync(join(folder, "none")), "no such file or directory"],
      [() => readFileSync(folder), "is a directory"],
      [() => writeFileSync(folder, ""), "is a directory"],
      [() => readFileSync(join(process.execPath, "x")), "not a directory"],
      [() => readFileSync(join(folder, "x".repeat(5_000))), "name too long"],
    ];
    for (const [work, description] of table) assert.equal(describeSystemError(errorOf(work)), description);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  for (const [errno, [code]] of getSystemErrorMap()) {
    assert.doesNotMatch(describeSystemError(Object.assign(new Error(code), { code, errno })), /\bE[A-Z0-9]{2,}/, code);
  }
});

test("errors of Node do not repeat their arguments; other errors are described by their message", () => {
  assert.equal(describeSystemError(errorOf(() => readFileSync("SECRET\0"))), "invalid argument");
  assert.equal(describeSystemError(new Error("it has changed")), "it has changed");
});
