import assert from "node:assert/strict";
import { test } from "node:test";
import type { V1HostAlias } from "@kubernetes/client-node";
import fc from "fast-check";
import { hostAliasPatch, mergeHostAliases } from "../../lib/import/plan/host-aliases.ts";
import { hostname, ipAddress } from "../support/arbitraries.ts";

const entry = (ip: string, ...hostnames: string[]): V1HostAlias => ({ ip, hostnames });
const alias = (hostname: string, ...ips: string[]) => ({ hostname, ips });

test("each wanted name gets exactly its addresses, with one entry per address", () => {
  const table: [
    what: string,
    existing: V1HostAlias[] | undefined,
    wanted: ReturnType<typeof alias>[],
    expected: [V1HostAlias[], string[]] | undefined,
  ][] = [
    ["nothing wanted", undefined, [], undefined],
    [
      "the first",
      undefined,
      [alias("c2", "10.0.0.2", "10.0.0.1")],
      [[entry("10.0.0.1", "c2"), entry("10.0.0.2", "c2")], ["c2"]],
    ],
    ["already there", [entry("10.0.0.1", "x", "c2")], [alias("c2", "10.0.0.1")], undefined],
    [
      "beside others",
      [entry("10.0.0.1", "x")],
      [alias("c2", "10.0.0.1", "10.0.0.2")],
      [[entry("10.0.0.1", "x", "c2"), entry("10.0.0.2", "c2")], ["c2"]],
    ],
    [
      "an address less",
      [entry("10.0.0.1", "c2"), entry("10.0.0.2", "x", "c2")],
      [alias("c2", "10.0.0.1")],
      [[entry("10.0.0.1", "c2"), entry("10.0.0.2", "x")], ["c2"]],
    ],
    ["moved", [entry("10.0.0.1", "c2")], [alias("c2", "10.0.0.2")], [[entry("10.0.0.2", "c2")], ["c2"]]],
    [
      "several",
      [entry("10.0.0.1", "c2", "c3")],
      [alias("c3", "10.0.0.3"), alias("c2", "10.0.0.1"), alias("c4", "10.0.0.1")],
      [
        [entry("10.0.0.1", "c2", "c4"), entry("10.0.0.3", "c3")],
        ["c3", "c4"],
      ],
    ],
    [
      "an address twice in the existing aliases",
      [entry("10.0.0.1", "x"), entry("10.0.0.1", "y")],
      [alias("c2", "10.0.0.1")],
      [[entry("10.0.0.1", "x", "y", "c2")], ["c2"]],
    ],
    [
      "an entry of somebody's without names",
      [{ ip: "10.0.0.9" }],
      [alias("c2", "10.0.0.1")],
      [[{ ip: "10.0.0.9" }, entry("10.0.0.1", "c2")], ["c2"]],
    ],
  ];
  for (const [what, existing, wanted, expected] of table) {
    assert.deepEqual(
      mergeHostAliases(existing, wanted),
      expected && { hostAliases: expected[0], hostnames: expected[1] },
      what,
    );
  }
});

test("a name of two peers gets the addresses of both", () => {
  const merged = mergeHostAliases(undefined, [alias("lb.example", "10.0.0.1"), alias("lb.example", "10.0.0.2")]);
  assert.deepEqual(merged?.hostAliases, [entry("10.0.0.1", "lb.example"), entry("10.0.0.2", "lb.example")]);
});

test("other names keep their addresses, wanted names get theirs, and a second merge changes nothing", () => {
  const ip = fc.oneof(fc.constantFrom("10.0.0.1", "10.0.0.2", "fd00::1"), ipAddress);
  const name = fc.oneof(fc.constantFrom("c2", "c3"), hostname);
  const existing = fc.option(
    fc.array(
      fc.record({ ip, hostnames: fc.array(name, { maxLength: 3 }) }, { requiredKeys: ["ip"], noNullPrototype: true }),
      { maxLength: 5 },
    ),
    { nil: undefined },
  );
  const wanted = fc.uniqueArray(
    fc.record({ hostname: name, ips: fc.uniqueArray(ip, { minLength: 1, maxLength: 3 }) }),
    { maxLength: 3, selector: (one) => one.hostname },
  );
  const pairs = (list: readonly V1HostAlias[] | undefined, keep: (name: string) => boolean) =>
    [
      ...new Set(
        (list ?? []).flatMap(({ ip, hostnames }) => (hostnames ?? []).filter(keep).map((name) => `${name} ${ip}`)),
      ),
    ].sort();
  fc.assert(
    fc.property(existing, wanted, (before, names) => {
      const isWanted = new Map(names.map(({ hostname, ips }) => [hostname, ips]));
      const merged = mergeHostAliases(before, names);
      const after = merged?.hostAliases ?? before;
      assert.deepEqual(
        pairs(after, (one) => !isWanted.has(one)),
        pairs(before, (one) => !isWanted.has(one)),
      );
      assert.deepEqual(
        pairs(after, (one) => isWanted.has(one)),
        names.flatMap(({ hostname, ips }) => ips.map((one) => `${hostname} ${one}`)).sort(),
      );
      if (!merged) return;
      assert.equal(new Set(merged.hostAliases.map(({ ip }) => ip)).size, merged.hostAliases.length);
      assert.equal(merged.hostnames.length > 0 && merged.hostnames.every((one) => isWanted.has(one)), true);
      assert.equal(mergeHostAliases(merged.hostAliases, names), undefined);
    }),
  );
});

test("the patch applies only if the list is unchanged", () => {
  const path = "/spec/template/spec/hostAliases";
  const [old, next] = [[entry("10.0.0.1", "x")], [entry("10.0.0.2", "c2")]];
  assert.deepEqual(hostAliasPatch(old, next), [
    { op: "test", path, value: old },
    { op: "add", path, value: next },
  ]);
  assert.deepEqual(hostAliasPatch(undefined, next)[0], { op: "test", path, value: null });
});
