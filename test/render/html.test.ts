/** The page of `status -o html`. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import type { Pair } from "../../lib/mesh/pairs.ts";
import type { MeshStatus } from "../../lib/mesh/status.ts";
import { findingTexts } from "../../lib/render/page/texts.ts";
import { escapeLine } from "../../lib/render/style.ts";
import { findingWith } from "../support/findings.ts";
import { meshOf, overlappingCidrs, staleEndpoint, troubledMesh } from "../support/mesh-status.ts";
import { dataOf, pageOf } from "../support/status-page.ts";

/** The maximum size of a page, in bytes. */
const MAX_SIZE = 3_000_000;

/** The tags of a page with the names of their attributes, without texts and values. */
function skeletonOf(page: string): string[] {
  return [...page.matchAll(/<[^>]*>/g)].map(([tag]) => tag.replaceAll(/"[^"]*"/g, '""'));
}

/** The page without its style and its script, which contain `<` and `>`. */
function withoutAssets(page: string): string {
  return page.replace(/<style>[\s\S]*?<\/style>/, "").replace(/<script>[\s\S]*?<\/script>/, "");
}

/** A mesh of two in which every text that a cluster determines is one of these. */
function meshWith([context, peer, name, version, error, message, remedy]: readonly string[]): MeshStatus {
  const status = meshOf(2);
  const [first, second] = status.clusters;
  const [pair] = status.pairs;
  assert.ok(first && second && pair && context !== undefined && peer !== undefined && message !== undefined);
  const finding = findingWith("endpoint-stale", { source: context, key: peer }, message, remedy);
  Object.assign(first, { source: context, name, version });
  Object.assign(second, { error, findings: [findingWith("cluster-unreadable", { source: "b" }, `${error}`)] });
  return { ...status, pairs: [{ ...pair, importer: context, peer, findings: [finding], endpointGiven: true }] };
}

const hostile = fc.oneof(
  fc.constantFrom(
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "]]>",
    `"><img src=x onerror=alert(1)>`,
    "' onmouseover='alert(1)",
    "&lt;b&gt;",
    "\u202Ereversed",
    "{{name}} {0} $&",
    "a\n</pre>",
    "\uE000\uE001",
  ),
  fc.string({ unit: "binary" }),
);
const SEVEN = { minLength: 7, maxLength: 7 };

test("texts of clusters cannot add elements or attributes, or end the data", () => {
  const expected = skeletonOf(withoutAssets(pageOf(meshWith(["a", "p", "n", "1.20.2", "e", "m", "r"]))));
  fc.assert(
    fc.property(fc.uniqueArray(hostile, SEVEN), (texts) => {
      const page = withoutAssets(pageOf(meshWith(texts)));
      assert.deepEqual(skeletonOf(page), expected);
      // Placeholders are in the data alone.
      assert.doesNotMatch(page.replaceAll(/[\uE000\uE001\n]/g, ""), /[\p{C}\p{Zl}\p{Zp}]/u);
      assert.equal(dataOf(page).clusters[0]?.name, escapeLine(texts[0] ?? ""));
    }),
  );
});

test("messages and remedies of a pair are restored from the data, whatever its names", () => {
  fc.assert(
    fc.property(hostile, hostile, fc.array(hostile, { maxLength: 3 }), (importer, peer, parts) => {
      const text = [importer, ...parts, peer, `${peer}${importer}`].join("");
      const data = dataOf(pageOf(meshWith([importer, peer, "n", "v", "e", text, text.replaceAll("\n", "")])));
      const row = data.cells[0]?.[data.peers.indexOf(escapeLine(peer))];
      const [, ...findings] = data.kinds[row ?? -1] ?? [];
      if (escapeLine(importer) === escapeLine(peer) || peer === "n") return;
      const names = { importer: escapeLine(importer), peer: escapeLine(peer) };
      const [found] = findingTexts(data, findings, names);
      assert.equal(found?.message, escapeLine(text));
      assert.equal(found?.remedy.flat().join(""), escapeLine(text.replaceAll("\n", "")));
    }),
  );
});

test("a page depends on its input alone", () => {
  const page = pageOf(troubledMesh(30));
  assert.equal(pageOf(structuredClone(troubledMesh(30))), page);
  assert.doesNotMatch(page, /\b20\d\d-\d\d-\d\d|GMT/);
});

test("a page loads nothing, and its policy allows its own style and script only", () => {
  const page = pageOf(troubledMesh(10));
  const [, policy = ""] = /Content-Security-Policy" content="([^"]*)"/.exec(page) ?? [];
  const hash = (text = "") => `&#39;sha256-${createHash("sha256").update(text).digest("base64")}&#39;`;
  const [, style] = /<style>([\s\S]*?)<\/style>/.exec(page) ?? [];
  const [, script] = /<script>([\s\S]*?)<\/script>/.exec(page) ?? [];
  assert.match(policy, /^default-src &#39;none&#39;; /);
  assert.ok(policy.includes(`; style-src ${hash(style)}; script-src ${hash(script)}; `), policy);
  assert.doesNotMatch(page, /\bsrc=|\bhref="[^#]|@import|url\(|\bon\w+=|\bstyle="|<link|<iframe/);
});

test("the page states what the terminal does, without its script too", () => {
  const page = pageOf(troubledMesh(12));
  for (const text of [
    "<title>Cluster Mesh: 12 clusters (1 unreadable), unhealthy: 2 errors, 1 warning</title>",
    "Connections from rows (importers) to columns (peers): ✓ healthy, ! warnings, ✗ errors, · not configured, ? unknown",
    '<th scope="row">cluster10</th><td>10</td><td>-</td>',
    "error</strong> configured endpoints of 2 peers are outdated: cluster7 in cluster1, cluster4 ",
  ]) {
    assert.ok(page.includes(text), text);
  }
  assert.match(page, /<code>extract-secret --context cluster7 \| import-secrets --context IMPORTER -<\/code>/);
});

test("commands in remedies are separate from the words before them", () => {
  const remedy = "to connect them: extract-secret --context b | import-secrets --context a -";
  const status = meshOf(2, (i, j) => ({
    findings: i === 0 ? [findingWith("one-sided", { source: "a", key: `${j}` }, "only one direction", remedy)] : [],
  }));
  const page = pageOf(status);
  assert.ok(page.includes("to connect them: <code>extract-secret --context b | import-secrets --context a -</code>"));
  const [finding] = dataOf(page).findings;
  assert.deepEqual(finding?.[4], [["to connect them: ", "extract-secret --context b | import-secrets --context a -"]]);
});

test("a symmetric finding is listed once, and belongs to both pairs", () => {
  const status = meshOf(2, (i, j) => ({ findings: [overlappingCidrs(i, j)] }));
  const page = pageOf(status);
  const data = dataOf(page);
  assert.equal(page.match(/id="finding-/g)?.length, 1);
  const groupsIn = (row: number, column: number) => {
    const [, ...findings] = data.kinds[data.cells[row]?.[column] ?? -1] ?? [];
    return findings.map((one) => data.findings[one]?.[0]);
  };
  assert.deepEqual([groupsIn(0, 1), groupsIn(1, 0), groupsIn(0, 0)], [[0], [0], []]);
});

test("errors are listed first, and --details lists each finding", () => {
  const status = troubledMesh(12);
  const severities = (page: string) => [...page.matchAll(/<strong class="severity (\w+)">/g)].map(([, one]) => one);
  assert.deepEqual(severities(pageOf(status)), ["error", "error", "warning"]);
  assert.deepEqual(severities(pageOf(status, true)), ["error", "error", "error", "warning"]);
});

test("a single cluster has no matrix", () => {
  const page = pageOf(meshOf(1));
  assert.doesNotMatch(page, /id="matrix"|<noscript>/);
  assert.match(page, /<h2 id="clusters-title">Clusters<\/h2>/);
});

test("endpoints set with a flag are named unless they were probed", () => {
  const status = meshOf(3, (i, j) => (i === 0 && j === 2 ? { endpointGiven: true } : {}));
  const note = "Not checked without --probe: endpoints set with a flag: cluster1 → cluster3";
  assert.ok(pageOf(status).includes(note));
  assert.ok(!pageOf({ ...status, probes: [] }).includes(note));
});

test("a page of 254 clusters is small, even if every pair has long messages and a different remedy", () => {
  const sizeOf = (status: MeshStatus) => Buffer.byteLength(pageOf(status));
  assert.ok(sizeOf(meshOf(254)) < 400_000, "healthy");
  assert.ok(sizeOf(troubledMesh(254)) < 500_000, "troubled");
  assert.ok(sizeOf(meshOf(254, (i, j) => ({ findings: [staleEndpoint(i, j)] }))) < 700_000, "all endpoints outdated");
  const worst = meshOf(254, (i, j): Partial<Pair> => {
    const text = `${i} ${j} ${"<long>".repeat(45)}`;
    const findings = ["endpoint-stale", "ca-stale", "client-stale"] as const;
    return {
      findings: findings.map((code) =>
        findingWith(code, { source: `cluster${i + 1}`, key: `cluster${j + 1}` }, `${code} ${text}`, `${code} ${text}`),
      ),
    };
  });
  const page = pageOf(worst);
  assert.ok(Buffer.byteLength(page) < MAX_SIZE, `${Buffer.byteLength(page)} bytes`);
  assert.match(page, /more findings are not listed; <code>clustermesh-secrets status -o json<\/code>/);
});
