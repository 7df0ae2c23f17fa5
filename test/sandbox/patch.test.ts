import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { jsonPatch, mergePatch, PatchError } from "../../lib/sandbox/patch.ts";

test("merge patch gives the results of the examples in RFC 7386", () => {
  for (const [target, patch, result] of [
    [{ a: "b" }, { a: "c" }, { a: "c" }],
    [{ a: "b" }, { b: "c" }, { a: "b", b: "c" }],
    [{ a: "b" }, { a: null }, {}],
    [{ a: "b", b: "c" }, { a: null }, { b: "c" }],
    [{ a: ["b"] }, { a: "c" }, { a: "c" }],
    [{ a: "c" }, { a: ["b"] }, { a: ["b"] }],
    [{ a: { b: "c" } }, { a: { b: "d", c: null } }, { a: { b: "d" } }],
    [{ a: [{ b: "c" }] }, { a: [1] }, { a: [1] }],
    [
      ["a", "b"],
      ["c", "d"],
      ["c", "d"],
    ],
    [{ a: "b" }, ["c"], ["c"]],
    [{ a: "foo" }, null, null],
    [{ e: null }, { a: 1 }, { e: null, a: 1 }],
    [[1, 2], { a: "b", c: null }, { a: "b" }],
    [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
  ] as const) {
    assert.deepEqual(mergePatch(target, patch), result);
  }
});

test("patches modify neither their target nor themselves, and merge patches are idempotent", () => {
  const json = fc
    .dictionary(fc.constantFrom("a", "b", "__proto__", "c"), fc.jsonValue({ maxDepth: 3 }))
    .map((value) => JSON.parse(JSON.stringify(value)));
  fc.assert(
    fc.property(json, json, (target, patch) => {
      const before = JSON.stringify([target, patch]);
      const once = mergePatch(target, patch);
      assert.equal(JSON.stringify([target, patch]), before);
      assert.deepEqual(mergePatch(once, patch), once);
      assert.deepEqual(jsonPatch(target, [{ op: "test", path: "", value: target }]), target);
      assert.deepEqual(jsonPatch(target, [{ op: "replace", path: "", value: once }]), once);
      assert.equal(JSON.stringify([target, patch]), before);
    }),
  );
});

test("JSON patch refuses invalid operations", () => {
  for (const operation of [
    { op: "remove", path: "" },
    { op: "remove", path: "/list/2" },
    { op: "add", path: "/list/3", value: 1 },
    { op: "add", path: "/list/01", value: 1 },
    { op: "add", path: "/text/x", value: 1 },
    { op: "add", path: "/x" },
    { op: "test", path: "/toString", value: 1 },
    { op: "flip", path: "/list" },
    { op: "add", path: "list", value: 1 },
    { op: "move", from: "/none", path: "/x" },
  ]) {
    assert.throws(() => jsonPatch({ list: [1, 2], text: "t" }, [operation]), PatchError, JSON.stringify(operation));
  }
  for (const patch of [{}, "x", [null], ["x"]]) assert.throws(() => jsonPatch({}, patch), TypeError);
});
