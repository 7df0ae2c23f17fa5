import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import fc from "fast-check";
import { shellQuote, shellQuotePath } from "../../lib/util/shell.ts";

function evaluate(shell: string, words: readonly string[]): string[] {
  const { status, stdout } = spawnSync(shell, ["-c", `printf '%s\\0' ${words.join(" ")}`]);
  assert.equal(status, 0);
  return stdout.toString().split("\0").slice(0, -1);
}

const invisible = /\p{C}|\p{Zl}|\p{Zp}/u;
const word = fc.string({ unit: "binary", minLength: 1 }).filter((text) => !text.includes("\0"));

test("bash parses each quoted word back, and quoted words contain visible characters only", () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(word, fc.string({ minLength: 1 })), { minLength: 1 }), (words) => {
      const quoted = words.map(shellQuote);
      for (const one of quoted) assert.doesNotMatch(one, invisible);
      assert.deepEqual(evaluate("bash", quoted), words);
      const visible = words.filter((text) => !invisible.test(text));
      if (visible.length > 0) assert.deepEqual(evaluate("sh", visible.map(shellQuote)), visible);
    }),
    { numRuns: 100 },
  );
});

test("plain words are not quoted, and a path is not parsed as a flag", () => {
  assert.deepEqual(["cluster2-secret.json", "a/b.json", "c=d,e:f@1"].map(shellQuote), [
    "cluster2-secret.json",
    "a/b.json",
    "c=d,e:f@1",
  ]);
  assert.deepEqual(["", "it's", "~/a", "a b"].map(shellQuote), ["''", "'it'\\''s'", "'~/a'", "'a b'"]);
  assert.deepEqual(["-x.json", "- x", "x"].map(shellQuotePath), ["./-x.json", "'./- x'", "x"]);
});
