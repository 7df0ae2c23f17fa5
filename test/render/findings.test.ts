import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { definitionOf, FINDING_CODES, type FindingCode } from "../../lib/peer/finding-codes.ts";
import type { Finding } from "../../lib/peer/findings.ts";
import { describePairs } from "../../lib/render/cluster-pairs.ts";
import { sharedFindings, showFindings, showRefusal, showRenderRefusal } from "../../lib/render/findings.ts";
import { styleFor } from "../../lib/render/style.ts";
import { widthOf, wrapLine } from "../../lib/render/wrap.ts";
import { findingWith } from "../support/findings.ts";

const plain = styleFor({}, {});
const names = (count: number, prefix = "c") => Array.from({ length: count }, (_, i) => `${prefix}${i + 1}`);
const ten = names(10).join(", ");
const unknown = (key: string, source = "own") =>
  findingWith("id-unknown", { source, key }, `of ${key}`, "re-extract", { existing: true });
const overlap = (a: string, b: string) =>
  findingWith("pod-cidrs-overlap", { source: b, key: b }, "overlap", "other CIDRs", { clusters: [a, b] });
const show = (findings: Finding[], details = false) => showFindings(findings, plain, details);

test("a single finding shows its place, message and code, with the remedy on the next line", () => {
  const at = { source: "f.json", key: "c\u001b[2J" };
  assert.deepEqual(show([findingWith("key-mismatch", at, "the key is not that of the certificate", "extract again")]), [
    "error: f.json (c\\x1b[2J): the key is not that of the certificate [key-mismatch]",
    "  extract again",
  ]);
  assert.deepEqual(show([findingWith("ca-stale", { source: "c2", key: "c2" }, "m")]), ["error: c2: m [ca-stale]"]);
});

test("findings with equal code and remedy are merged; ten subjects are listed, the rest counted", () => {
  assert.deepEqual(show(names(20).map((name) => unknown(name))), [
    `warning: own: cluster ids of 20 existing peers are unknown, so duplicates cannot be detected: ${ten} and 10 more [id-unknown]`,
    "  re-extract",
  ]);
  assert.deepEqual(
    show(["c1", "c2"].map((name) => findingWith("id-unknown", { source: `${name}.json`, key: name }, "m"))),
    [
      "warning: cluster ids of 2 peers are unknown, so duplicates cannot be detected: c1.json (c1), c2.json (c2) [id-unknown]",
    ],
  );
  const of = (source: string, key: string) => findingWith("ca-stale", { source, key }, "m");
  assert.deepEqual(show([of("c1", "c7"), of("c2", "c7")]), [
    "error: CAs of 2 peers have changed, and the new CAs are not trusted: c7 in c1, c2 [ca-stale]",
  ]);
  assert.deepEqual(
    show([...names(12).map((name) => unknown(name)), findingWith("id-unknown", { source: "a" }, "m")]).length,
    3,
  );
});

test("findings are grouped by remedy template; differing names become placeholders", () => {
  const stale = (importer: string, peer: string) =>
    findingWith("ca-stale", { source: importer, key: peer }, `${peer} is stale`, {
      template: "extract-secret --context {peer} | import-secrets --context {importer} -",
      values: { peer, importer },
    });
  assert.deepEqual(
    show([stale("c1", "c7"), stale("c2", "c7")])[1],
    "  extract-secret --context c7 | import-secrets --context IMPORTER -",
  );
  assert.deepEqual(
    show([stale("c1", "c7"), stale("c2", "c8"), findingWith("ca-stale", { source: "c3", key: "c7" }, "m", "ask")]),
    [
      "error: CAs of 2 peers have changed, and the new CAs are not trusted: c1 (c7), c2 (c8) [ca-stale]",
      "  extract-secret --context PEER | import-secrets --context IMPORTER -",
      "error: c3 (c7): m [ca-stale]",
      "  ask",
    ],
  );
});

test("a summary adds the data that the subjects lack, and findings with different data are separate", () => {
  const owned = (key: string, owner: string, source = "c1") =>
    findingWith("owned-by-other", { source, key }, `Secret ${key} belongs to ${owner}`, "take it", { data: { owner } });
  const secrets = ["cilium-kvstoremesh", "cilium-clustermesh"];
  assert.deepEqual(show(secrets.map((key) => owned(key, "Helm release cilium"))), [
    "error: c1: 2 objects belong to Helm release cilium, which would revert the changes: cilium-kvstoremesh, cilium-clustermesh [owned-by-other]",
    "  take it",
  ]);
  const two = show([
    ...secrets.map((key) => owned(key, "Helm release cilium")),
    ...secrets.map((key) => owned(key, "Argo CD application mesh", "c2")),
  ]);
  assert.deepEqual(
    two.filter((line) => line.startsWith("error")).map((line) => line.split(", which")[0]),
    ["error: c1: 2 objects belong to Helm release cilium", "error: c2: 2 objects belong to Argo CD application mesh"],
  );
  const resets = (key: string, data: NonNullable<Finding["data"]>) =>
    findingWith("owner-resets", { source: "c1", key }, "m", "r", { data });
  const owner = "Helm release cilium";
  assert.match(
    show([resets("a", { owner }), resets("b", { owner })])[0] ?? "",
    /: 2 objects belong to Helm release cilium, which may revert the changes: a, b /,
  );
  assert.match(
    show([resets("a", { owner, taken: "true" }), resets("b", { owner, taken: "true" })])[0] ?? "",
    /: 2 objects are taken over from Helm release cilium, which may overwrite them: a, b /,
  );
  const differs = (b: string, values: string) =>
    findingWith("maximum-differs", { source: b, key: b }, "m", "r", { clusters: ["a", b], data: { values } });
  assert.match(
    show(["b", "c", "d"].map((name) => differs(name, "255 and 511")))[0] ?? "",
    /max-connected-clusters of 3 pairs of clusters differs \(255 and 511\): a with b, c, d /,
  );
});

test("clusters whose clustermesh-apiserver waits for the same are one finding", () => {
  const waits = (source: string) => {
    const remedy = { template: "import-secrets --context {importer} FILE", values: { importer: source } };
    return findingWith("pod-not-ready", { source }, `${source} waits for x`, remedy, { data: { waitingFor: "for x" } });
  };
  assert.deepEqual(show([waits("c1"), waits("c2")]), [
    "error: clustermesh-apiserver of 2 clusters is not running: waiting for x: c1, c2 [pod-not-ready]",
    "  import-secrets --context IMPORTER FILE",
  ]);
});

test("messages with their own cause are listed below the summary, up to ten", () => {
  const broken = names(12).map((name) =>
    findingWith("unreadable", { source: `${name}.json` }, `no JSON at ${name}`, "whole?"),
  );
  assert.deepEqual(show(broken), [
    "error: 12 files cannot be read [unreadable]",
    ...names(10).map((name) => `  ${name}.json: no JSON at ${name}`),
    "  … and 2 more",
    "  whole?",
  ]);
  // Several findings about one peer are not merged.
  const missing = ["a.crt", "b.crt"].map((file) =>
    findingWith("file-missing", { source: "f", key: "c2" }, `${file} is missing`),
  );
  assert.equal(show(missing).length, 2);
});

test("warnings precede errors, and the refusal counts printed errors", () => {
  const error = findingWith("key-mismatch", { source: "f", key: "c1" }, "m");
  const [first, , last, ...others] = show([error, unknown("c1"), unknown("c2"), { ...error, key: "c2" }]);
  assert.match(first ?? "", /^warning: own: cluster ids of 2 existing peers/);
  assert.match(last ?? "", /^error: f: private keys of 2 peers .*: c1, c2 /);
  assert.deepEqual(others, []);
  assert.equal(
    showRefusal([error, unknown("c1"), { ...error, key: "c2" }], plain),
    "error: nothing was written because of 1 error",
    "merged",
  );
  assert.equal(
    showRefusal([error, { ...error, key: "c2" }], plain, true),
    "error: nothing was written because of 2 errors",
    "with --details",
  );
  assert.equal(showRefusal([], plain), "nothing was written");
  assert.equal(showRenderRefusal([error, { ...error, key: "c2" }], plain), "error: nothing rendered: 1 error");
});

test("details disable merging", () => {
  const lines = show(
    names(20).map((name) => unknown(name)),
    true,
  );
  assert.equal(lines.length, 40);
  assert.equal(lines[0], "warning: own (c1): of c1 [id-unknown]");
});

test("sharedFindings returns only findings that are merged with others", () => {
  const [one, two, other] = [
    unknown("c1"),
    unknown("c2"),
    findingWith("system-roots", { source: "own", key: "c1" }, "m"),
  ];
  assert.deepEqual([...sharedFindings([one, other, two])], [one, two]);
});

test("overlapping pod CIDRs of sixty clusters are a single warning", () => {
  const all = names(60);
  const lines = show(all.flatMap((a, i) => all.slice(i + 1).map((b) => overlap(a, b))));
  assert.deepEqual(lines, [
    `warning: pod CIDRs of 60 clusters overlap, so their pods cannot reach each other: ${ten} and 50 more [pod-cidrs-overlap]`,
    "  other CIDRs",
  ]);
});

test("describePairs lists clusters if all are paired, groups if two are paired completely, else pairs", () => {
  const product = (some: string[], others: string[]) => some.flatMap((a) => others.map((b) => [a, b] as const));
  assert.deepEqual(describePairs(product(["c7"], names(3, "d"))), {
    of: "3 pairs of clusters",
    list: "c7 with d1, d2, d3",
  });
  assert.deepEqual(describePairs(product(names(3), ["c8", "c9"])), {
    of: "6 pairs of clusters",
    list: "c8, c9 with c1, c2, c3",
  });
  assert.deepEqual(describePairs([...product(["a"], ["b", "c"]), ["b", "c"], ["c", "b"]]), {
    of: "3 clusters",
    list: "a, b, c",
  });
  assert.deepEqual(describePairs(product(["a"], ["b", "c"])), { of: "2 pairs of clusters", list: "a and b, a and c" });
  const path = [
    ["a", "b"],
    ["b", "c"],
    ["c", "d"],
  ] as const;
  assert.deepEqual(describePairs(path), { of: "3 pairs of clusters", list: "a and b, b and c, c and d" });
  // For any pairs, exactly their clusters are listed, and the count is exact.
  const cluster = fc.constantFrom(...names(5));
  fc.assert(
    fc.property(
      fc.array(
        fc.tuple(cluster, cluster).filter(([a, b]) => a !== b),
        { minLength: 1 },
      ),
      (pairs) => {
        const { of, list } = describePairs(pairs);
        const distinct = new Map(pairs.map((pair) => [[...pair].sort().join(" "), pair]));
        const named = new Set(list.match(/c\d/g));
        assert.deepEqual([...named].sort(), [...new Set([...distinct.values()].flat())].sort());
        const [number = 0] = (/^\d+/.exec(of) ?? []).map(Number);
        assert.equal(of.endsWith(" pairs of clusters") ? number : (number * (number - 1)) / 2, distinct.size);
        const [left = "", right] = list.split(" with ");
        if (right !== undefined) assert.equal(left.split(", ").length * right.split(", ").length, distinct.size);
      },
    ),
  );
});

test("every code has a summary in the plural", () => {
  for (const [code, { severity }] of Object.entries(FINDING_CODES)) {
    const { summary, each } = definitionOf(code as FindingCode);
    const sentence = summary("2 peers", {});
    assert.match(sentence, /2 peers/, code);
    assert.doesNotMatch(sentence, /\.$|undefined/, code);
    const lines = show(["a", "b"].map((key) => findingWith(code as FindingCode, { source: "s", key }, key)));
    assert.equal(lines.length, each ? 3 : 1, code);
    assert.ok(lines[0]?.startsWith(`${severity}: `) && lines[0].endsWith(`[${code}]`), lines[0]);
  }
});

test("messages are wrapped at the width of a terminal, remedies are not", () => {
  const terminal = styleFor({ isTTY: true, columns: 60 }, { NO_COLOR: "1" });
  const lines = showFindings(
    names(20).map((name) => findingWith("id-unknown", { source: "own", key: name }, "m", "a ".repeat(50).trim())),
    terminal,
  );
  assert.deepEqual(lines.slice(0, -1), [
    "warning: own: cluster ids of 20 peers are unknown, so",
    "  duplicates cannot be detected: c1, c2, c3, c4, c5, c6, c7,",
    "  c8, c9, c10 and 10 more [id-unknown]",
  ]);
  assert.equal(lines.at(-1)?.length, 101);
  assert.equal(showFindings([unknown("c1")], styleFor({ isTTY: true, columns: 0 }, {})).length, 2);
});

test("wrapLine keeps all words, respects the width, and ignores colours", () => {
  const word = fc.stringMatching(/^[a-z]{1,12}$/);
  fc.assert(
    fc.property(
      fc.array(word, { minLength: 1 }),
      fc.integer({ min: 16, max: 40 }),
      fc.nat(2),
      (words, width, indent) => {
        const line = " ".repeat(indent) + words.join(" ");
        const lines = wrapLine(line, width);
        assert.deepEqual(
          lines.flatMap((part) => part.trim().split(" ")),
          words,
        );
        for (const part of lines) assert.ok(part.length <= width, part);
        const coloured = words.map((one) => `\u001b[31m${one}\u001b[39m`).join(" ");
        assert.deepEqual(
          wrapLine(" ".repeat(indent) + coloured, width).map(widthOf),
          lines.map(({ length }) => length),
        );
      },
    ),
  );
});
