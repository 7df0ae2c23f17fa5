/** The list of words to avoid, and its exceptions. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { ALLOWED, findWords } from "./support/words.mjs";

const wordsOf = (path: string, text: string) => findWords(path, text).map(({ line, word }) => `${line}: ${word}`);

describe("words to avoid", () => {
  test("are found as whole words, with their lines", () => {
    assert.deepEqual(wordsOf("lib/a.ts", "// planned anew\nconst told = 1;\n// It is no address."), [
      "1: anew",
      "2: told",
      "3: is no address",
    ]);
    assert.deepEqual(wordsOf("lib/a.ts", "// a standard folder, renewed, essays"), []);
  });

  test("are not found in common phrases with another meaning", () => {
    assert.deepEqual(wordsOf("lib/a.ts", "// undefined if there is no context or there is none"), []);
    assert.deepEqual(wordsOf("lib/a.ts", "// NAME stands for the cluster, and comes from its ConfigMap"), []);
  });

  test("are not found in code spans of Markdown, but in code blocks", () => {
    assert.deepEqual(wordsOf("docs/a.md", "| `standing-unusable` | it says |"), ["1: says"]);
    assert.deepEqual(wordsOf("docs/a.md", "```\nerror: nobody\n```"), ["2: nobody"]);
    assert.deepEqual(wordsOf("lib/a.ts", "`it says`"), ["1: says"]);
  });

  test("carry the reason of an exception", () => {
    const allowed = [{ path: "lib/a.ts", text: "RFC 9110 says", reason: "quotes a title" }];
    assert.equal(findWords("lib/a.ts", "// RFC 9110 says", allowed)[0]?.reason, "quotes a title");
    assert.equal(findWords("lib/b.ts", "// RFC 9110 says", allowed)[0]?.reason, undefined);
  });

  test("have no exception for a line that no longer exists", () => {
    for (const { path, text } of ALLOWED) {
      const file = fileURLToPath(new URL(`../${path}`, import.meta.url));
      assert.ok(
        findWords(path, readFileSync(file, "utf8")).some((found) => found.text.includes(text)),
        `${path}: ${text}`,
      );
    }
  });
});
