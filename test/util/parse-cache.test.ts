import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { decodeBase64 } from "../../lib/util/content.ts";
import { ParseCache } from "../../lib/util/parse-cache.ts";

/** An equal string at another address in memory. */
const copyOf = (text: string) => Buffer.from(text).toString();

describe("a parse cache", () => {
  test("parses equal strings once per parser", () => {
    const cache = new ParseCache();
    let calls = 0;
    const split = (text: string) => {
      calls++;
      return text.split(",");
    };
    const first = cache.parse(split, "a,b");
    assert.equal(cache.parse(split, copyOf("a,b")), first);
    assert.deepEqual([first, calls], [["a", "b"], 1]);
    assert.deepEqual(cache.parse(split, "c"), ["c"]);
    assert.equal(
      cache.parse((text: string) => text.length, "a,b"),
      3,
    );
    assert.deepEqual(new ParseCache().parse(split, "a,b"), first);
    assert.equal(calls, 3);
  });

  test("caches undefined, but not errors", () => {
    const cache = new ParseCache();
    let calls = 0;
    const none = () => {
      calls++;
      return undefined;
    };
    cache.parse(none, "%");
    cache.parse(none, "%");
    assert.equal(calls, 1);
    const refuse = (text: string) => {
      calls++;
      throw new Error(text);
    };
    for (const _ of [1, 2]) assert.throws(() => cache.parse(refuse, "%"), /%/);
    assert.equal(calls, 3);
  });

  test("compares two objects once per order", () => {
    const cache = new ParseCache();
    const [a, b] = [{ size: 1 }, { size: 2 }];
    let calls = 0;
    const isSmaller = (one: typeof a, other: typeof a) => {
      calls++;
      return one.size < other.size;
    };
    assert.deepEqual(
      [cache.compare(isSmaller, a, b), cache.compare(isSmaller, a, b), cache.compare(isSmaller, b, a)],
      [true, true, false],
    );
    assert.equal(calls, 2);
    assert.equal(cache.compare(isSmaller, { size: 1 }, b), true);
    assert.equal(calls, 3);
  });

  test("interns equal strings, and decodes them to one buffer", () => {
    const cache = new ParseCache();
    const text = Buffer.from("endpoints:\n- https://cluster2.mesh.cilium.io:32379\n").toString("base64");
    assert.equal(cache.intern(text), text);
    assert.equal(cache.intern(copyOf(text)), text);
    assert.equal(cache.parse(decodeBase64, copyOf(text)), cache.parse(decodeBase64, text));
  });
});
