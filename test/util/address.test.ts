import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  cidrsOverlap,
  compareAddresses,
  coveringPrefixes,
  findOverlaps,
  formatHostPort,
  isAddress,
  isHostname,
  parseEndpoint,
  parseHostPort,
} from "../../lib/util/address.ts";
import { hostname, ipAddress } from "../support/arbitraries.ts";
import { relativeCost } from "../support/cost.ts";

test("addresses are parsed as by Go's netip, without zones", () => {
  const yes = "10.0.0.1 0.0.0.0 255.255.255.255 :: ::1 fd00::1 FD00::A 1:2:3:4:5:6:7:8 1:2:3:4:5:6:7:: ::ffff:10.0.0.1";
  for (const text of yes.split(" ")) assert.equal(isAddress(text), true, text);
  const no = [
    ...[
      "",
      " ",
      "10.0.0",
      "10.0.0.1.2",
      "10.0.0.256",
      "010.0.0.1",
      "10.0.0.01",
      "0x0a.0.0.1",
      "167772161",
      "10.0.0.1 ",
    ],
    ...["10.0.0.0/24", "10.0.0.1:80", "[::1]", "::1/128", "fe80::1%eth0", ":::", "1::2::3", "12345::", "1:2:3:4:5:6:7"],
    ...["::1:2:3:4:5:6:7:8", "1:2:3:4::5:6:7:8", "::ffff:10.0.0.01", "node-1", "10.0.0.1\n"],
  ];
  for (const text of no) assert.equal(isAddress(text), false, JSON.stringify(text));
});

test("numbers, addresses and patterns are not host names", () => {
  for (const text of ["a", "c2.mesh.cilium.io", "c2.mesh.cilium.io.", "A-b.C_d", "1a.example", "x".repeat(63)]) {
    assert.equal(isHostname(text), true, text);
  }
  for (const text of ["", ".", "a..b", "-a", "a.-b", "*.a", "a b", "a/b", "10.0.0.1", "10", "x".repeat(64), "a\n"]) {
    assert.equal(isHostname(text), false, JSON.stringify(text));
  }
  assert.equal(isHostname(Array(64).fill("abc").join(".")), false, "more than 253 characters");
});

test("host and port are parsed", () => {
  const table: [string, { host: string; port: number } | undefined][] = [
    ["a.b:2379", { host: "a.b", port: 2379 }],
    ["10.0.0.1:1", { host: "10.0.0.1", port: 1 }],
    ["[fd00::1]:65535", { host: "fd00::1", port: 65535 }],
    ...["a.b", "a.b:", ":80", "a.b:0", "a.b:65536", "a.b:x", "a.b:-1", "fd00::1:80", "[10.0.0.1]:80"].map(none),
    ...["[fe80::1%eth0]:80", "[]:80", "[a]:80", "01.2.3.4:80", "10.0.0:80", "https://a.b:80", "a.b:80/", "a b:80"].map(
      none,
    ),
  ];
  for (const [text, expected] of table) assert.deepEqual(parseHostPort(text), expected, text);

  function none(text: string): [string, undefined] {
    return [text, undefined];
  }
});

test("an endpoint is an https URL with a port and no path", () => {
  assert.deepEqual(parseEndpoint("https://c2.mesh.cilium.io:32379"), { host: "c2.mesh.cilium.io", port: 32379 });
  assert.deepEqual(parseEndpoint("https://[fd00::1]:2379/"), { host: "fd00::1", port: 2379 });
  const wrong = [
    ...[
      "",
      "c2:2379",
      "http://c2:2379",
      "https://c2",
      "https://c2:2379/path",
      "https://c2:2379?a",
      "https://u@c2:2379",
    ],
    ...["https://c2:2379#a", "https://fd00::1:2379", "unix:///run/etcd", " https://c2:2379", "https://c2:2379\n"],
  ];
  for (const url of wrong) assert.equal(parseEndpoint(url), undefined, JSON.stringify(url));
});

test("a formatted host and port is parsed back", () => {
  fc.assert(
    fc.property(fc.oneof(hostname, ipAddress), fc.integer({ min: 1, max: 65535 }), (host, port) => {
      assert.deepEqual(parseHostPort(formatHostPort({ host, port })), { host, port });
    }),
  );
});

test("addresses are sorted numerically, IPv4 first", () => {
  const sorted = [
    "9.0.0.1",
    "10.0.0.2",
    "10.0.0.10",
    "::1",
    "::1:0",
    "::ffff:1.2.3.4",
    "::ffff:1.2.3.5",
    "fd00::9",
    "fd00::10",
  ];
  assert.deepEqual([...sorted].reverse().sort(compareAddresses), sorted);
});

test("sorting addresses does not depend on their initial order", () => {
  const anything = fc.oneof(
    ipAddress,
    fc.constantFrom("::1", "0::1", "0:0:0:0:0:0:0:1", "node", "9a", "10.0.0.1x", ""),
  );
  fc.assert(
    fc.property(fc.uniqueArray(anything, { maxLength: 8 }), fc.infiniteStream(fc.nat()), (ips, random) => {
      const shuffled = ips.map((ip) => ({ ip, at: random.next().value })).sort((a, b) => a.at - b.at);
      assert.deepEqual(shuffled.map(({ ip }) => ip).sort(compareAddresses), [...ips].sort(compareAddresses));
    }),
  );
});

test("prefixes overlap if one contains the other", () => {
  const table: [string, string, boolean][] = [
    ["10.0.0.0/8", "10.1.0.0/16", true],
    ["10.1.0.0/16", "10.0.0.0/8", true],
    ["10.1.0.0/16", "10.1.0.0/16", true],
    ["10.1.2.3/16", "10.1.0.0/24", true],
    ["10.1.0.0/16", "10.2.0.0/16", false],
    ["0.0.0.0/0", "255.255.255.255/32", true],
    ["0.0.0.0/0", "::/0", false],
    ["fd00::/48", "fd00:0:0:1::/64", true],
    ["fd00::/64", "fd00:0:0:1::/64", false],
    ["::ffff:10.0.0.0/104", "10.0.0.0/8", false],
    ["10.0.0.0", "10.0.0.0/8", false],
    ["10.0.0.0/33", "10.0.0.0/8", false],
    ["", "", false],
  ];
  for (const [a, b, expected] of table) assert.equal(cidrsOverlap(a, b), expected, `${a} ${b}`);
});

const cidr4 = fc
  .tuple(fc.constantFrom("10.1", "10.2", "10.130", "172.16"), fc.nat(255), fc.integer({ min: 12, max: 28 }))
  .map(([start, third, length]) => `${start}.${third}.0/${length}`);
const cidr6 = fc
  .tuple(fc.constantFrom("fd00", "fd00:0:1", "fd01"), fc.nat(0xffff), fc.integer({ min: 40, max: 80 }))
  .map(([start, fourth, length]) => `${start}::${fourth.toString(16)}:0:0:0/${length}`);
const cidrs = fc.array(fc.oneof(cidr4, cidr6), { maxLength: 12 });

test("covering prefixes are disjoint, sorted and cover each prefix", () => {
  fc.assert(
    fc.property(cidrs, (given) => {
      const covering = coveringPrefixes(given);
      for (const cidr of given)
        assert.equal(
          covering.some((one) => cidrsOverlap(one, cidr) && lengthOf(one) <= lengthOf(cidr)),
          true,
        );
      for (const [i, a] of covering.entries()) {
        for (const b of covering.slice(i + 1)) assert.equal(cidrsOverlap(a, b), false, `${a} ${b}`);
      }
      assert.deepEqual(coveringPrefixes([...given].reverse()), covering);
      assert.deepEqual(coveringPrefixes(covering), covering);
    }),
  );
});

function lengthOf(cidr: string): number {
  return Number(cidr.split("/")[1]);
}

test("covering prefixes are few and do not change when a node is added", () => {
  const nodes = (count: number) => Array.from({ length: count }, (_, i) => `10.1.${i}.0/24`);
  assert.deepEqual(coveringPrefixes(nodes(3)), ["10.1.0.0/20"]);
  assert.deepEqual(coveringPrefixes(nodes(4)), ["10.1.0.0/20"]);
  assert.deepEqual(coveringPrefixes(nodes(17)), ["10.1.0.0/16"]);
  assert.deepEqual(coveringPrefixes(nodes(200)), ["10.1.0.0/16"]);
  assert.deepEqual(coveringPrefixes(nodes(256)), ["10.1.0.0/16"]);
  assert.deepEqual(coveringPrefixes(["10.1.0.0/24", "fd00:0:0:1::/64", "10.2.0.0/24", "x", "10.0.0.1"]), [
    "10.1.0.0/20",
    "10.2.0.0/20",
    "fd00::/56",
  ]);
  assert.deepEqual(coveringPrefixes(["10.0.0.0/8", "10.1.0.0/16"]), ["10.0.0.0/8"]);
  assert.deepEqual(coveringPrefixes([]), []);
});

test("an overlap is reported for each owner with the first earlier owner", () => {
  const table: [Record<string, string[]>, [string, string, string, string][]][] = [
    [{ a: ["10.1.0.0/16"], b: ["10.2.0.0/16"] }, []],
    [{ a: ["10.1.0.0/16"], b: ["10.0.0.0/8"] }, [["a", "b", "10.1.0.0/16", "10.0.0.0/8"]]],
    [{ a: ["10.1.0.0/16", "10.1.2.0/24"] }, []],
    // Each overlap is reported with the target, not only with each other.
    [
      { target: ["10.1.2.0/24"], b: ["10.1.0.0/16"], c: ["10.0.0.0/8"] },
      [
        ["target", "b", "10.1.2.0/24", "10.1.0.0/16"],
        ["target", "c", "10.1.2.0/24", "10.0.0.0/8"],
      ],
    ],
    [
      { target: ["fd00::/48"], b: ["10.0.0.0/8"], c: ["x", "10.9.0.0/16", "fd00:0:0:1::/64"] },
      [["target", "c", "fd00::/48", "fd00:0:0:1::/64"]],
    ],
  ];
  for (const [owners, expected] of table) {
    const found = findOverlaps(Object.entries(owners).map(([name, cidrs]) => ({ name, cidrs })));
    assert.deepEqual(
      found.map(({ a, b, cidrs }) => [a, b, ...cidrs]),
      expected,
    );
  }
});

test("overlaps equal those of a pairwise comparison", () => {
  const owners = fc
    .array(fc.array(fc.oneof(cidr4, cidr6), { maxLength: 5 }), { maxLength: 6 })
    .map((lists) => lists.map((list, i) => ({ name: `c${i}`, cidrs: list })));
  fc.assert(
    fc.property(owners, (given) => {
      const expected = given.flatMap((later, j) => {
        const first = given
          .slice(0, j)
          .find(({ cidrs }) => cidrs.some((a) => later.cidrs.some((b) => cidrsOverlap(a, b))));
        return first ? [[first.name, later.name]] : [];
      });
      const found = findOverlaps(given);
      assert.deepEqual(
        found.map(({ a, b }) => [a, b]),
        expected,
      );
      for (const { a, b, cidrs } of found) {
        assert.equal(cidrsOverlap(...cidrs), true);
        assert.equal(given.find(({ name }) => name === a)?.cidrs.includes(cidrs[0]), true);
        assert.equal(given.find(({ name }) => name === b)?.cidrs.includes(cidrs[1]), true);
      }
    }),
  );
});

test("many owners of one prefix, and many copies of one prefix, take linear time", () => {
  const given = Array.from({ length: 511 }, (_, i) => ({ name: `c${i}`, cidrs: ["10.0.0.0/8", "fd00::/48"] }));
  const often = ["a", "b"].map((name) => ({ name, cidrs: Array<string>(30_000).fill("10.0.0.0/8") }));
  const cost = relativeCost(() => {
    assert.equal(findOverlaps(given).length, 510);
    assert.equal(findOverlaps(often).length, 1);
  });
  assert.ok(cost < 60, `${cost}`);
});
