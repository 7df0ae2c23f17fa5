import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { decodeBase64, decodeText, encodeBase64, encodeText } from "../../lib/util/content.ts";

describe("conversions", () => {
  test("equal those of Buffer in both directions", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), fc.uint8Array(), (text, array) => {
        const bytes = Buffer.from(array);
        assert.deepEqual(encodeText(text), Buffer.from(text));
        assert.equal(encodeBase64(bytes), bytes.toString("base64"));
        assert.equal(decodeText(bytes), bytes.toString());
        assert.deepEqual(decodeBase64(bytes.toString("base64")), bytes);
      }),
    );
  });

  test("accept line breaks in base64 and reject other characters", () => {
    assert.deepEqual(decodeBase64("YWJj\r\nZGVm\n"), Buffer.from("abcdef"));
    for (const text of ["YWJ", "YW=j", "YWJj ", "ÿÿÿÿ", "YWJ-"]) assert.equal(decodeBase64(text), undefined, text);
  });
});
