/** The list of words to avoid, and its exceptions. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { EXCEPTIONS, findWords } from "./support/words.mjs";

const wordsOf = (path: string, text: string) =>
  findWords([{ path, text }], []).found.map(({ line, word }) => `${line}: ${word}`);

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

  test("are found in code blocks of Markdown, but not in its code spans", () => {
    assert.deepEqual(wordsOf("docs/a.md", "| `standing-unusable` | it says |"), ["1: says"]);
    assert.deepEqual(wordsOf("docs/a.md", "```\nerror: nobody\n```"), ["2: nobody"]);
    assert.deepEqual(wordsOf("lib/a.ts", "`it says`"), ["1: says"]);
  });
});

describe("exceptions", () => {
  const exception = { path: "lib/kube", phrase: "RFC 9110 says", reason: "quotes a title" };
  const found = (path: string, text: string) => findWords([{ path, text }], [exception]).found.map(({ word }) => word);

  test("apply to their file or folder", () => {
    assert.deepEqual(found("lib/kube/a.ts", "// RFC 9110 says"), []);
    assert.deepEqual(found("lib/kubeconfig.ts", "// RFC 9110 says"), ["says"]);
  });

  test("apply to their phrase alone, not to the rest of its line", () => {
    assert.deepEqual(found("lib/kube/a.ts", "// RFC 9110 says what the client says anew"), ["anew", "says"]);
  });

  test("are stale if they cover no word", () => {
    assert.deepEqual(findWords([{ path: "lib/kube/a.ts", text: "// RFC 9110 says" }], [exception]).stale, []);
    assert.deepEqual(findWords([{ path: "lib/kube/a.ts", text: "// RFC 9110" }], [exception]).stale, [exception]);
    assert.deepEqual(findWords([{ path: "lib/a.ts", text: "// RFC 9110 says" }], [exception]).stale, [exception]);
    const harmless = { ...exception, phrase: "RFC 9110" };
    assert.deepEqual(findWords([{ path: "lib/kube/a.ts", text: "// RFC 9110 says" }], [harmless]).stale, [harmless]);
  });

  test("each have a reason", () => {
    for (const { path, phrase, reason } of EXCEPTIONS) assert.match(reason, /\w/, `${path}: ${phrase}`);
  });
});
