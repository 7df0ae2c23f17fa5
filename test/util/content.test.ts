import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { bytesOf, decodeBase64, encodeBase64, internBase64Values, textOf } from "../../lib/util/content.ts";

/** An equal string that is another one in memory. */
const copyOf = (text: string) => Buffer.from(text).toString();

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

  test("are kept once, however often they come", () => {
    const text = "endpoints:\n- https://cluster2.mesh.cilium.io:32379\n";
    assert.equal(bytesOf(text), bytesOf(copyOf(text)));
    const base64 = Buffer.from(text).toString("base64");
    const bytes = decodeBase64(base64);
    assert.ok(bytes);
    assert.equal(decodeBase64(copyOf(base64)), bytes);
    const [one, other] = [{ a: base64 }, { b: copyOf(base64), c: "no base64!" }];
    internBase64Values(one);
    internBase64Values(other);
    assert.deepEqual([one, other], [{ a: base64 }, { b: base64, c: "no base64!" }]);
    assert.equal(decodeBase64(other.b), bytes);
  });

  test("are decoded with line breaks in them, and not where they are no base64", () => {
    assert.deepEqual(decodeBase64("YWJj\r\nZGVm\n"), Buffer.from("abcdef"));
    for (const text of ["YWJ", "YW=j", "YWJj ", "ÿÿÿÿ", "YWJ-"]) assert.equal(decodeBase64(text), undefined, text);
  });
});
