import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { bytesOf, decodeBase64, encodeBase64, textOf } from "../../lib/util/content.ts";

describe("contents", () => {
  test("are what Buffer makes of them, in both directions", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), fc.uint8Array(), (text, array) => {
        const bytes = Buffer.from(array);
        assert.deepEqual(bytesOf(text), Buffer.from(text));
        assert.equal(encodeBase64(bytes), bytes.toString("base64"));
        assert.equal(textOf(bytes), bytes.toString());
        assert.deepEqual(decodeBase64(bytes.toString("base64")), bytes);
      }),
    );
  });

  test("are decoded with line breaks in them, and not where they are no base64", () => {
    assert.deepEqual(decodeBase64("YWJj\r\nZGVm\n"), Buffer.from("abcdef"));
    for (const text of ["YWJ", "YW=j", "YWJj ", "ÿÿÿÿ", "YWJ-"]) assert.equal(decodeBase64(text), undefined, text);
  });
});
