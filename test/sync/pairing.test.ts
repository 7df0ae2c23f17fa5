import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import {
  createPairing,
  findUnknownNames,
  type MemberNames,
  type MemberPair,
  parsePairs,
} from "../../lib/sync/pairing.ts";
import { UserError } from "../../lib/util/errors.ts";

const member = (entry: string, cluster?: string): MemberNames => ({ entry, cluster });
const refusal = (message: RegExp) => (error: unknown) =>
  error instanceof UserError && error.exitCode === 2 && message.test(error.message);

describe("a file of pairs", () => {
  test("has two names a line, comments and empty lines", () => {
    const text = "\uFEFF# mesh\r\neast  west\n\n\thub\t* # with all\neu#1 west\n";
    assert.deepEqual(parsePairs(text, "pairs"), [
      ["east", "west"],
      ["hub", "*"],
      ["eu#1", "west"],
    ]);
  });

  test("is refused with the line if it is invalid, and if it has no pair", () => {
    assert.throws(() => parsePairs("a b\nc\n", "p.txt"), refusal(/^p\.txt: line 2 has 1 name, expected 2$/));
    assert.throws(() => parsePairs("a b c", "-"), refusal(/^-: line 1 .* 3 names/));
    assert.throws(() => parsePairs("a a", "-"), refusal(/^-: line 1 connects a with itself/));
    assert.throws(() => parsePairs("\n# none\n", "p.txt"), refusal(/^p\.txt: no pairs found$/));
  });

  test("is read back as it was written", () => {
    const name = fc.stringMatching(/^[a-z*][a-z0-9#*-]{0,5}$/);
    const pair = fc.tuple(name, name).filter(([one, other]) => one !== other || one === "*");
    fc.assert(
      fc.property(fc.array(pair, { minLength: 1 }), (pairs) => {
        const text = pairs.map(([one, other]) => `${one} ${other} # x\n`).join("");
        assert.deepEqual(parsePairs(text, "pairs"), pairs);
      }),
    );
  });
});

describe("the pairing", () => {
  const [a, b, c] = [member("ctx-a", "a"), member("ctx-b", "b"), member("ctx-c")];

  test("connects all members by default", () => {
    assert.equal(createPairing({})(a, b), true);
    assert.equal(createPairing({})(a, c), true);
  });

  test("connects no member with itself, by whichever name", () => {
    assert.equal(createPairing({ pairs: [["*", "*"]] })(a, a), false);
    assert.equal(createPairing({})(a, member("other", "a")), false);
  });

  test("connects a hub, by entry or cluster name", () => {
    for (const hub of ["ctx-a", "a"]) {
      const isConnected = createPairing({ hub });
      assert.deepEqual([isConnected(a, b), isConnected(c, a), isConnected(b, c)], [true, true, false]);
    }
  });

  test("connects a hub and pairs by the name of another entry for the cluster", () => {
    const again = { ...member("ctx-a-again", "a"), aliases: ["ctx-a"] };
    for (const options of [{ hub: "ctx-a" }, { pairs: [["ctx-b", "ctx-a"]] as MemberPair[] }]) {
      const isConnected = createPairing(options);
      assert.deepEqual([isConnected(again, b), isConnected(b, again), isConnected(b, c)], [true, true, false]);
    }
  });

  test("connects pairs by entry or cluster name, and all with *", () => {
    const isConnected = createPairing({ pairs: [["a", "ctx-b"]] });
    assert.deepEqual([isConnected(a, b), isConnected(a, c)], [true, false]);
    const withAll = createPairing({ pairs: [["*", "ctx-c"]] });
    assert.deepEqual([withAll(a, b), withAll(a, c), withAll(c, b)], [false, true, true]);
  });

  test("applies both the hub and the pairs", () => {
    const isConnected = createPairing({ hub: "a", pairs: [["b", "*"]] });
    assert.deepEqual([isConnected(a, b), isConnected(a, c), isConnected(b, c)], [true, false, false]);
  });

  test("is symmetric, and any member can be named", () => {
    const anyName = fc.constantFrom("x", "y", "z", "*");
    const anyMember = fc.record({
      entry: fc.constantFrom("x", "y", "w"),
      cluster: fc.option(anyName, { nil: undefined }),
    });
    const anyPairs = fc.option(fc.array(fc.tuple(anyName, anyName) as fc.Arbitrary<MemberPair>), { nil: undefined });
    const hub = fc.option(fc.constantFrom("x", "z"), { nil: undefined });
    fc.assert(
      fc.property(anyMember, anyMember, fc.record({ hub, pairs: anyPairs }), (one, other, options) => {
        const isConnected = createPairing(options);
        assert.equal(isConnected(one, other), isConnected(other, one));
        const named = createPairing({ ...options, pairs: [...(options.pairs ?? []), [one.entry, "*"], ["*", "*"]] });
        if (isConnected(one, other)) assert.equal(named(one, other), true);
      }),
    );
  });

  test("lists names that no member has", () => {
    const pairs: MemberPair[] = [
      ["a", "ctx-x"],
      ["*", "zz"],
    ];
    assert.deepEqual(findUnknownNames({ hub: "b", pairs }, [a, b]), ["ctx-x", "zz"]);
    assert.deepEqual(findUnknownNames({ hub: "hub" }, [a]), ["hub"]);
    assert.deepEqual(findUnknownNames({}, []), []);
  });
});
