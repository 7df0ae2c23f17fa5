import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parse, stringify } from "yaml";
import {
  aliasProblem,
  EtcdConfigError,
  endpointHostnames,
  formatEtcdConfig,
  isEtcdConfig,
  isOwnCache,
  isSameEndpoint,
  parseEtcdConfig,
} from "../../lib/peer/etcd-config.ts";
import type { HostAlias } from "../../lib/peer/peer.ts";
import { peer } from "../support/arbitraries.ts";
import { relativeCost } from "../support/cost.ts";

test("a config has one canonical form", () => {
  const text = formatEtcdConfig({
    endpoints: ["https://c2.mesh.cilium.io:32379"],
    hostAliases: [
      { hostname: "c2.mesh.cilium.io", ips: ["fd00::2", "10.0.0.10", "10.0.0.9", "10.0.0.10"] },
      { hostname: "a", ips: ["::1"] },
    ],
    trustedCaFile: "/var/lib/cilium/clustermesh/ca.crt",
    certFile: "/var/lib/cilium/clustermesh/c2.crt",
    keyFile: "/var/lib/cilium/clustermesh/c2.key",
  });
  assert.equal(
    text,
    `endpoints:
- https://c2.mesh.cilium.io:32379
trusted-ca-file: /var/lib/cilium/clustermesh/ca.crt
cert-file: /var/lib/cilium/clustermesh/c2.crt
key-file: /var/lib/cilium/clustermesh/c2.key
cilium-host-aliases:
- hostname: a
  ips:
  - ::1
- hostname: c2.mesh.cilium.io
  ips:
  - 10.0.0.9
  - 10.0.0.10
  - fd00::2
`,
  );
  assert.equal(isEtcdConfig(text), true);
});

test("a config is read as it was written, in YAML 1.1 and 1.2 alike", () => {
  fc.assert(
    fc.property(peer, fc.option(fc.string(), { nil: undefined }), ({ endpoints, hostAliases }, path) => {
      const files = { trustedCaFile: path || undefined, certFile: "/c", keyFile: "/k" };
      const text = formatEtcdConfig({
        endpoints: [...endpoints].reverse(),
        hostAliases: [...hostAliases].reverse(),
        ...files,
      });
      assert.deepEqual(parseEtcdConfig(text), { endpoints, hostAliases, ...files, otherFields: [] });
      assert.deepEqual(parse(text, { version: "1.1" }), parse(text));
      assert.equal(stringify(parse(text), { version: "1.1", lineWidth: 0, indentSeq: false }), text);
      assert.equal(isEtcdConfig(text), true);
    }),
  );
});

test("fields unknown to Cilium are ignored, and fields that it rejects are rejected", () => {
  const config = parseEtcdConfig(
    "# made by hand\nendpoints: [https://c2:2379]\nca-file: /x\ndial-timeout: 5s\ntrusted-ca-file: ''\ncilium-host-aliases:\n",
  );
  assert.deepEqual(config, {
    endpoints: ["https://c2:2379"],
    hostAliases: [],
    trustedCaFile: undefined,
    certFile: undefined,
    keyFile: undefined,
    otherFields: ["ca-file", "dial-timeout"],
  });
  assert.deepEqual(parseEtcdConfig('{"endpoints": []}').endpoints, []);
  assert.deepEqual(parseEtcdConfig("endpoints:").endpoints, []);
  // Go reads the first document only.
  assert.deepEqual(parseEtcdConfig("endpoints: [a]\n---\nendpoints: [b]").endpoints, ["a"]);
  const refused: [string, RegExp][] = [
    ["", /not a mapping/],
    ["- endpoints: x", /not a mapping/],
    ["endpoints: https://c2:2379", /endpoints that is not a list/],
    ["endpoints: [1]", /entry in endpoints that is not a string/],
    ["endpoints: [[a]]", /not a string/],
    ["endpoints: [a]\ncert-file: 5", /cert-file that is not a string/],
    ["endpoints: [a]\ncilium-host-aliases: x", /cilium-host-aliases that is not a list/],
    ["endpoints: [a]\ncilium-host-aliases: [x]", /not a mapping/],
    ["endpoints: [a]\ncilium-host-aliases: [{hostname: [a], ips: [10.0.0.1]}]", /hostname that is not a string/],
    ["endpoints: [a]\ncilium-host-aliases: [{hostname: a, ips: 10.0.0.1}]", /ips that is not a list/],
    ["endpoints: [a]\nendpoints: [b]", /not YAML/],
    ["endpoints: [a", /not YAML/],
    ["endpoints: *a", /not YAML/],
    [`endpoints: &a [x, x, x]\n${Array.from({ length: 30 }, (_, i) => `b${i}: [*a, *a, *a]`).join("\n")}`, /not YAML/],
  ];
  for (const [text, message] of refused) {
    assert.throws(
      () => parseEtcdConfig(text),
      (error) => error instanceof EtcdConfigError && message.test(error.message),
      text,
    );
  }
});

test("a config of an absurd length is refused, and none takes long", () => {
  const lines = (line: (i: number) => string, most: number) => Array.from({ length: most }, (_, i) => line(i)).join("");
  const ours = (endpoints: number) => formatEtcdConfig({ endpoints: urls(endpoints), hostAliases: [] });
  const urls = (most: number) => Array.from({ length: most }, (_, i) => `https://c${i}.mesh.cilium.io:2379`);
  const aliases = (ip: string) =>
    `endpoints:\n- https://a.b:1\ncilium-host-aliases:\n- hostname: a.b\n  ips:\n  - ${ip}\n`;
  const table: [text: string, message: RegExp | undefined][] = [
    [`endpoints: []\n${lines((i) => `f${i}: 1\n`, 20_000)}`, /^is larger than 64 KiB$/],
    [ours(101), /^has more than 100 endpoints$/],
    [`{"endpoints": ${JSON.stringify(urls(101))}}`, /^has more than 100 endpoints$/],
    [`endpoints: ${"[".repeat(60_000)}`, /not YAML: nested too deeply/],
    [`endpoints: []\n${lines((i) => `f${i}: 1\n`, 5_000)}f7: 1\n`, /not YAML: duplicate key/],
    [`endpoints: []\n${lines((i) => `f${i}: 1\n`, 5_000)}`, undefined],
    [ours(100), undefined],
    [aliases(`${":".repeat(60_000)}g`), undefined],
  ];
  for (const [text, message] of table) {
    const cost = relativeCost(() => {
      if (message) assert.throws(() => parseEtcdConfig(text), { message });
      else parseEtcdConfig(text);
    });
    assert.ok(cost < 60, `${text.slice(0, 20)}: ${cost}`);
  }
});

test("no text crashes the reader of configs", () => {
  const piece = fc.constantFrom(
    ...[
      "endpoints:",
      "- https://c2:2379",
      "cilium-host-aliases:",
      "  ips: [",
      "]",
      "{",
      "}",
      "? ",
      ": ",
      "&a ",
      "*a",
      "!!binary ",
      "<<: ",
    ],
    ...["\n", "  ", "- ", "null", "'", '"', "|", "%YAML 1.1\n---\n", "__proto__: ", "cert-file: "],
  );
  const text = fc.array(fc.oneof(piece, fc.string()), { maxLength: 12 }).map((parts) => parts.join(""));
  fc.assert(
    fc.property(text, (given) => {
      try {
        const { endpoints, hostAliases } = parseEtcdConfig(given);
        assert.equal(
          endpoints.every((url) => typeof url === "string"),
          true,
        );
        assert.equal(
          hostAliases.every(({ hostname, ips }) => typeof hostname === "string" && Array.isArray(ips)),
          true,
        );
      } catch (error) {
        assert.ok(error instanceof EtcdConfigError, String(error));
        assert.equal(!error.message.includes("\n"), true);
      }
    }),
    { numRuns: 300 },
  );
});

test("aliases that Cilium refuses", () => {
  const alias = (hostname: string, ...ips: string[]): HostAlias => ({ hostname, ips });
  const table: [HostAlias[], RegExp | undefined][] = [
    [[], undefined],
    [[alias("a", "10.0.0.1", "fd00::1"), alias("A", "10.0.0.1")], undefined],
    [[alias("", "10.0.0.1")], /without a hostname/],
    [[alias("a")], /a without addresses/],
    [[alias("a", "10.0.0.1"), alias("b", "10.0.0.1"), alias("a", "10.0.0.2")], /two host aliases for a/],
    ...["b.example", "10.0.0.0/24", "[::1]", "010.0.0.1", "", "fe80::1%eth0"].map((ip): [HostAlias[], RegExp] => [
      [alias("a", "10.0.0.1", ip)],
      /invalid address/,
    ]),
  ];
  for (const [aliases, expected] of table) {
    const problem = aliasProblem(aliases);
    if (expected) assert.match(problem ?? "", expected);
    else assert.equal(problem, undefined);
  }
});

test("two endpoints are the same in any order of URLs, host aliases and addresses", () => {
  const alias = (hostname: string, ...ips: string[]) => ({ hostname, ips });
  const one = {
    endpoints: ["https://a:1", "https://b:1"],
    hostAliases: [alias("a", "10.0.0.1", "10.0.0.2"), alias("b")],
  };
  const same = {
    endpoints: ["https://b:1", "https://a:1"],
    hostAliases: [alias("b"), alias("a", "10.0.0.2", "10.0.0.1")],
  };
  assert.equal(isSameEndpoint(one, structuredClone(one)), true);
  assert.equal(isSameEndpoint(one, same), true);
  assert.equal(isSameEndpoint(one, { ...one, endpoints: [...one.endpoints, ...one.endpoints] }), true);
  const others = [
    { ...one, endpoints: ["https://a:1"] },
    { ...one, endpoints: ["https://a:1", "https://b:2"] },
    { ...one, hostAliases: [alias("a", "10.0.0.1", "10.0.0.2")] },
    { ...one, hostAliases: [alias("a", "10.0.0.1"), alias("b")] },
    { ...one, hostAliases: [alias("a", "10.0.0.1", "10.0.0.3"), alias("b")] },
    { ...one, hostAliases: [alias("a", "10.0.0.1", "10.0.0.2"), alias("c")] },
  ];
  for (const other of others) assert.equal(isSameEndpoint(one, other), false, JSON.stringify(other));
});

test("host names of endpoints, and whether they are the cluster's own cache", () => {
  const endpoints = ["https://b.c:1", "https://10.0.0.1:1", "https://[::1]:1", "x", "https://b.c:2", "https://a:1"];
  assert.deepEqual(endpointHostnames(endpoints), ["b.c", "a"]);
  const own = ["clustermesh-apiserver.kube-system.svc:2379", "clustermesh-apiserver.cilium.svc.cluster.local:2379"];
  for (const host of own) assert.equal(isOwnCache([`https://${host}`]), true, host);
  const others = [
    "clustermesh-apiserver.c2.example:2379",
    "clustermesh-apiserver.cilium.io:2379",
    "x.kube-system.svc:2379",
    "clustermesh-apiserver.a.svcs:1",
  ];
  for (const host of others) assert.equal(isOwnCache([`https://${host}`]), false, host);
  assert.equal(isOwnCache([]), false);
});

test("what looks like our form and is not quite is read by the library", () => {
  const ours = formatEtcdConfig({
    endpoints: ["https://c2.mesh.cilium.io:32379"],
    hostAliases: [{ hostname: "c2.mesh.cilium.io", ips: ["10.0.0.9"] }],
    trustedCaFile: "/ca.crt",
    certFile: "/c.crt",
    keyFile: "/k.key",
  });
  const edits: [string, string][] = [
    ["- 10.0.0.9", "- 10.0.0.9 # by hand"],
    ["/ca.crt", "'/ca.crt'"],
    ["key-file: /k.key", "key-file: /k.key\ndial-timeout: 5s"],
    ["- https", "-   https"],
    ["  ips:\n  - 10.0.0.9", "  ips: [10.0.0.9]"],
    ["endpoints:\n", "endpoints:\n- https://1:2:3:4\n"],
    ["endpoints:\n", "endpoints: # ours\n"],
    ["cilium-host-aliases:\n", "cilium-host-aliases:\n- hostname: a.b\n  ips:\n  - 1:2:3:4:5:6:7:8\n"],
  ];
  for (const [from, to] of edits) {
    const text = ours.replace(from, to);
    assert.notEqual(text, ours);
    const { endpoints, "cilium-host-aliases": hostAliases, ...fields } = parse(text);
    const config = parseEtcdConfig(text);
    assert.deepEqual([config.endpoints, config.hostAliases], [endpoints, hostAliases], text);
    assert.deepEqual(
      [config.trustedCaFile, config.certFile, config.keyFile, config.otherFields],
      [
        fields["trusted-ca-file"],
        fields["cert-file"],
        fields["key-file"],
        "dial-timeout" in fields ? ["dial-timeout"] : [],
      ],
    );
  }
  assert.throws(() => parseEtcdConfig(`${ours}endpoints: []\n`), EtcdConfigError);
});
