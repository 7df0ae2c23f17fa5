/** Golden files: outputs that are reviewed as diffs. */
import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

/**
 * Compares a text with the file `test/golden/NAME.txt`. With `UPDATE_GOLDEN=1` the file is written instead.
 *
 * @throws AssertionError if the texts differ, or there is no such file
 */
export function assertGolden(name: string, actual: string): void {
  const path = fileURLToPath(new URL(`../golden/${name}.txt`, import.meta.url));
  if (process.env.UPDATE_GOLDEN === "1") {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, actual);
    return;
  }
  let expected: string;
  try {
    expected = readFileSync(path, "utf8");
  } catch {
    assert.fail(`missing golden file ${name}.txt; create it with UPDATE_GOLDEN=1 and review it`);
  }
  assert.equal(
    actual,
    expected,
    `differs from golden file ${name}.txt; if the change is intended, update it with UPDATE_GOLDEN=1`,
  );
}
