import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { addToCount, emptyState, type HeldRecord, HOLD_REASONS, type SyncState } from "../../lib/sync/state.ts";
import { formatState, MAX_STATE_BYTES, parseState, StateError } from "../../lib/sync/state-text.ts";

const NOW = new Date("2026-06-01T12:00:00Z");
const parse = (text: string) => parseState(text, NOW);
const refuses = (text: string, cause: RegExp) =>
  assert.throws(
    () => parse(text),
    (error) => error instanceof StateError && error.exitCode === 1 && cause.test(error.message),
    text.slice(0, 200),
  );

const text = fc.oneof(
  fc.string({ unit: "binary", maxLength: 40 }),
  fc.constantFrom("cluster1", "__proto__", "toString"),
);
const time = fc.date({ min: new Date(0), max: NOW, noInvalidDate: true }).map((date) => date.toISOString());
const later = fc
  .date({ min: NOW, max: new Date(NOW.getTime() + 1_800_000), noInvalidDate: true })
  .map((date) => date.toISOString());
const counts = fc.dictionary(text, fc.nat(), { noNullPrototype: true });
const plain = <T>(fields: { [K in keyof T]: fc.Arbitrary<T[K]> }) => fc.record<T>(fields, { noNullPrototype: true });
const list = <T>(item: fc.Arbitrary<T>) => fc.array(item, { maxLength: 5 });

function record<T extends object, O extends object>(fields: { [K in keyof T]: fc.Arbitrary<T[K]> }, more: O) {
  type Optional = { [K in keyof O]?: O[K] extends fc.Arbitrary<infer V> ? V : never };
  return fc
    .tuple(fc.record(fields), fc.record(more as never, { requiredKeys: [] }))
    .map(([one, other]) => ({ ...one, ...(other as Optional) }));
}

const hash = fc.stringMatching(/^[0-9a-f]{16}$/);

const states: fc.Arbitrary<SyncState> = plain({
  schemaVersion: fc.constant(1 as const),
  selection: text,
  members: fc.uniqueArray(
    record(
      { entry: text },
      {
        ...{ cluster: text, id: fc.nat(511), uid: text, lastContact: time, listedSince: time, absentSince: time },
        ...{ pruneFrom: list(text), keptBecause: text, formerEntry: text, error: text },
      },
    ),
    { selector: ({ entry }) => entry, maxLength: 5 },
  ),
  held: list(
    record(
      { target: text, reason: fc.constantFrom(...HOLD_REASONS), since: time, message: text },
      { peer: text, until: later, remedy: text },
    ),
  ),
  contested: list(
    record(
      { target: text, object: text, key: text, manager: text, resets: list(time), level: fc.nat(10) },
      { until: later },
    ),
  ),
  addresses: list(plain({ peer: text, address: text, since: time })),
  authorities: fc.uniqueArray(
    record(
      {
        cluster: text,
        authorities: fc.uniqueArray(record({ key: hash }, { since: time, until: time }), {
          selector: ({ key }) => key,
          maxLength: 3,
        }),
      },
      { uid: text, server: record({ fingerprint: hash }, { since: time }) },
    ),
    { selector: ({ cluster, uid }) => JSON.stringify([cluster, uid]), maxLength: 5 },
  ),
  interval: fc.nat(),
  listFailure: plain({ since: time, error: text }),
  counters: plain({ reconciliations: fc.nat(), writes: counts, errors: counts }),
});

const example = (): SyncState => ({
  ...emptyState("contexts"),
  members: [
    { entry: "c1", cluster: "cluster1", id: 1, uid: "u1", lastContact: "2026-06-01T11:00:00.000Z" },
    { entry: "c2", cluster: "cluster2", absentSince: "2026-05-31T00:00:00.000Z" },
  ],
  held: [
    { target: "cluster1", peer: "cluster2", reason: "check", since: "2026-06-01T10:00:00.000Z", message: "no route" },
  ],
  counters: { reconciliations: 3, writes: { cluster1: 2 }, errors: {} },
});

test("a formatted state is parsed as the same state, and its text does not depend on the order of fields", () => {
  fc.assert(
    fc.property(states, (state) => {
      const text = formatState(state);
      assert.deepEqual(parse(text), state);
      assert.equal(formatState(parse(text)), text);
      const reversed = JSON.parse(JSON.stringify(state), (_, value) =>
        typeof value === "object" && value !== null && !Array.isArray(value)
          ? Object.fromEntries(Object.entries(value).reverse())
          : value,
      );
      assert.equal(formatState(reversed), text);
    }),
  );
});

test("a record is a line of the text", () => {
  assert.equal(
    formatState(example()),
    `{
"schemaVersion": 1,
"selection": "contexts",
"members": [
{"entry":"c1","cluster":"cluster1","id":1,"uid":"u1","lastContact":"2026-06-01T11:00:00.000Z"},
{"entry":"c2","cluster":"cluster2","absentSince":"2026-05-31T00:00:00.000Z"}
],
"held": [
{"target":"cluster1","peer":"cluster2","reason":"check","since":"2026-06-01T10:00:00.000Z","message":"no route"}
],
"contested": [],
"addresses": [],
"authorities": [],
"counters": {"reconciliations":3,"writes":{"cluster1":2},"errors":{}}
}
`,
  );
});

test("invalid text is refused", () => {
  refuses("", /not JSON/);
  refuses(formatState(example()).slice(0, -20), /not JSON/);
  for (const json of ["null", "1", "[]", '"x"', "{}"]) refuses(json, /schemaVersion must be 1/);
  refuses(`${formatState(example())}${" ".repeat(MAX_STATE_BYTES)}`, /larger than 1 MiB/);
  refuses("[".repeat(1_000_000), /not JSON/);
  refuses(JSON.stringify({ ...example(), schemaVersion: 2, more: true }), /schemaVersion must be 1/);
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json()), (text) => refuses(text, /^invalid state of sync: /)),
    { numRuns: 300 },
  );
});

test("each field has one type, no field is unknown, and none is missing", () => {
  const wrong: unknown[] = [null, true, -1, 0.5, 1e300, "", "x", [], [null], {}, { x: 1 }];
  const places = (value: unknown, path: (string | number)[] = []): (string | number)[][] =>
    typeof value === "object" && value !== null
      ? [path, ...Object.entries(value).flatMap(([key, one]) => places(one, [...path, key]))]
      : [path];
  const state = example();
  const replaced = (path: (string | number)[], value: unknown): string => {
    const copy = { root: structuredClone(state) as unknown };
    const [last = "root", ...above] = ["root", ...path].reverse();
    const parent = above
      .reverse()
      .reduce<Record<string | number, unknown>>((object, key) => object[key] as Record<string | number, unknown>, copy);
    parent[last] = value;
    return JSON.stringify(copy.root) ?? "";
  };
  for (const path of places(state)) {
    // The text is refused, or of the same types.
    for (const value of wrong) {
      const text = replaced(path, value);
      try {
        assert.deepEqual(JSON.parse(formatState(parse(text))), JSON.parse(text));
      } catch (error) {
        assert.ok(error instanceof StateError, `${path.join(".")}: ${error}`);
      }
    }
  }
  refuses(JSON.stringify({ ...state, extra: 1 }), /state has 1 unknown fields/);
  refuses(replaced(["members", 0, "extra"], 1), /members\[0\] has 1 unknown fields/);
  refuses(replaced(["members", 0, "entry"], undefined), /members\[0\]\.entry is missing/);
  refuses(replaced(["members", 1, "absentSince"], "yesterday"), /absentSince must be a time/);
  refuses(replaced(["members", 1, "absentSince"], "2026-13-01T00:00:00Z"), /absentSince must be a time/);
  refuses(replaced(["members", 1, "absentSince"], 0), /absentSince must be a time/);
  refuses(replaced(["members", 1, "entry"], "c1"), /members has two items of one name/);
  refuses(replaced(["members"], Array(2_001).fill({ entry: "x" })), /members must have at most 2000 items/);
  refuses(replaced(["members", 0, "entry"], "x".repeat(1_001)), /at most 1000 characters/);
  refuses(replaced(["held", 0, "reason"], "constructor"), /reason must be one of duplicate, check/);
});

test("a message of an invalid state repeats nothing of it", () => {
  refuses('{"schemaVersion": 1, "\\u001b[2J": 1}', /^invalid state of sync: state has 1 unknown fields$/);
});

test("a state cannot change the prototype of objects", () => {
  const forged = formatState(example()).replace('"writes":{"cluster1":2}', '"writes":{"__proto__":7,"constructor":8}');
  const { writes } = parse(forged).counters;
  assert.equal(Object.getPrototypeOf(writes), Object.prototype);
  assert.deepEqual(Object.entries(writes), [
    ["__proto__", 7],
    ["constructor", 8],
  ]);
  for (const place of ["{", '"counters": {']) {
    refuses(formatState(example()).replace(place, `${place}"__proto__":{"polluted":1},`), /unknown fields/);
  }
  assert.equal(({} as { polluted?: number }).polluted, undefined);
});

test("no time that has passed by its meaning is in the future, and no pause is endless", () => {
  const future = "2099-01-01T00:00:00.000Z";
  const { members, held, contested, addresses, authorities } = parse(
    formatState({
      ...example(),
      members: [{ entry: "a", absentSince: future, lastContact: future }],
      held: [{ target: "a", reason: "restart", since: future, until: future, message: "" }],
      contested: [{ target: "a", object: "o", key: "k", manager: "m", resets: [future], level: 1, until: future }],
      addresses: [{ peer: "a", address: "1.2.3.4", since: future }],
      authorities: [
        {
          cluster: "a",
          authorities: [{ key: "0".repeat(16), since: future }],
          server: { fingerprint: "0".repeat(16), since: future },
        },
      ],
    }),
  );
  const now = NOW.toISOString();
  assert.deepEqual(members, [{ entry: "a", absentSince: now, lastContact: now }]);
  assert.deepEqual([held[0]?.since, addresses[0]?.since], [now, now]);
  assert.deepEqual([authorities[0]?.authorities[0]?.since, authorities[0]?.server?.since], [now, now]);
  assert.deepEqual(contested[0]?.resets, [now]);
  assert.equal(contested[0]?.until, "2026-06-01T13:00:00.000Z");
});

test("a state that is too large is written without the held records that do not fit, and their count", () => {
  const held = Array.from(
    { length: 20_000 },
    (_, i): HeldRecord => ({
      ...{ target: `cluster${i}`, reason: "check", since: NOW.toISOString() },
      message: '"é\n'.repeat(20),
    }),
  );
  const text = formatState({ ...example(), held });
  assert.ok(Buffer.byteLength(text) <= 900 * 1024 && Buffer.byteLength(text) > 899 * 1024);
  const parsed = parse(text);
  assert.equal(parsed.members.length, 2);
  assert.deepEqual(parsed.held, held.slice(0, parsed.held.length));
  assert.equal(parsed.omitted, held.length - parsed.held.length);
  // The count is of one text.
  assert.equal(parse(formatState({ ...parsed, held: [] })).omitted, undefined);
});

test("every state is written so that it can be read, whatever its sizes", () => {
  const long = "\u0000\ud800".repeat(2_000);
  const many = <T>(item: (i: number) => T, length = 3_000) => Array.from({ length }, (_, i) => item(i));
  const since = NOW.toISOString();
  const counts = Object.fromEntries(many((i) => [`${i}${long}`, i]));
  const text = formatState({
    ...emptyState(long),
    members: many((i) => ({ entry: `${i}${long}`, error: long, uid: undefined as never })),
    held: many(() => ({ target: long, reason: "refused", since, message: long }), 70_000),
    contested: many(
      () => ({ target: long, object: long, key: long, manager: long, resets: many(() => since, 200), level: 3 }),
      9,
    ),
    authorities: many(
      (i) => ({
        cluster: `${i}${long}`,
        authorities: many((n) => ({ key: n.toString(16).padStart(16, "0"), since }), 200),
      }),
      9,
    ),
    counters: { reconciliations: 1, writes: counts, errors: counts },
  });
  assert.ok(Buffer.byteLength(text) <= 900 * 1024);
  const parsed = parse(text);
  assert.ok(parsed.members.length > 30, `${parsed.members.length} members`);
  assert.equal(
    parsed.omitted,
    3_000 +
      70_000 +
      18 -
      parsed.members.length -
      parsed.held.length -
      parsed.authorities.length -
      parsed.contested.length,
  );
});

test("two records whose names differ only after their first 1000 characters become one", () => {
  const long = "x".repeat(1_000);
  const since = NOW.toISOString();
  const text = formatState({
    ...emptyState("contexts"),
    members: [{ entry: `${long}1` }, { entry: `${long}2`, absentSince: since }],
    authorities: [1, 2].map((i) => ({ cluster: `${long}${i}`, authorities: [] })),
  });
  const { members, authorities, omitted } = parse(text);
  assert.deepEqual([members, authorities.length, omitted], [[{ entry: long }], 1, 2]);
});

test("a counter belongs to a cluster of any name", () => {
  const counts = ["a", "constructor", "__proto__", "constructor"].reduce((all, name) => addToCount(all, name), {});
  assert.deepEqual(Object.entries(counts), [
    ["a", 1],
    ["constructor", 2],
    ["__proto__", 1],
  ]);
});
