/** Doc comments of exported functions, classes and methods of interfaces. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { checkDocComments, checkFolders } from "./support/doc-comments.mjs";

describe("doc comments", () => {
  test("exist for all exports of the checked folders, and parse as TSDoc", () => {
    assert.deepEqual(checkFolders(), []);
  });

  test("are required for exported functions, classes and methods of interfaces", () => {
    const text =
      "export function a() {}\nexport class B {}\nexport interface C { d(): void; e: () => void; f: string }";
    assert.deepEqual(
      checkDocComments("x.ts", text).map((problem) => problem.replace(/:\d+/, "")),
      ["a", "B", "d", "e"].map((name) => `x.ts: ${name}: no doc comment`),
    );
    assert.deepEqual(checkDocComments("x.ts", "function a() {}"), []);
  });

  test("have a hyphen after the name of a parameter", () => {
    assert.equal(checkDocComments("x.ts", "/** @param a text */\nexport function f(a: string) {}").length, 1);
    assert.deepEqual(checkDocComments("x.ts", "/** @param a - text */\nexport function f(a: string) {}"), []);
  });
});
