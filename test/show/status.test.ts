import assert from "node:assert/strict";
import { test } from "node:test";
import type { Pair } from "../../lib/mesh/pairs.ts";
import type { ClusterStatus, MeshStatus } from "../../lib/mesh/status.ts";
import { finding } from "../../lib/peer/findings.ts";
import { showMermaid, showStatus } from "../../lib/show/status.ts";
import { styleFor } from "../../lib/show/style.ts";

const plain = styleFor({}, {});

function meshOf(size: number, broken: (importer: number, peer: number) => Partial<Pair> = () => ({})): MeshStatus {
  const nameOf = (i: number) => `cluster${i + 1}`;
  const all = Array.from({ length: size }, (_, i) => i);
  const clusters = all.map(
    (i): ClusterStatus => ({
      source: nameOf(i),
      name: nameOf(i),
      id: i + 1,
      version: "1.20.2",
      pods: [],
      findings: [],
    }),
  );
  const pairs = all.flatMap((i) =>
    all
      .filter((j) => i !== j)
      .map(
        (j): Pair => ({
          importer: nameOf(i),
          peer: nameOf(j),
          context: nameOf(j),
          configured: true,
          findings: [],
          ...broken(i, j),
        }),
      ),
  );
  return { clusters, pairs };
}

const bad = (i: number, j: number) => [
  finding("endpoint-stale", { source: `cluster${i + 1}`, key: `cluster${j + 1}` }, "it is elsewhere"),
];

test("three clusters fit in a few lines", () => {
  const status = meshOf(3, (i, j) => (i === 0 && j === 2 ? { findings: bad(i, j) } : {}));
  const lines = showStatus(status, plain);
  assert.deepEqual(lines.slice(3, 9), [
    "",
    "           1 2 3",
    "1 cluster1 – ✓ ✗",
    "2 cluster2 ✓ – ✓",
    "3 cluster3 ✓ ✓ –",
    "rows reach columns: ✓ as it should be, ! with a warning, ✗ does not connect, · not configured",
  ]);
  assert.equal(lines.at(-1), "3 clusters: not as it should be: 1 error, 0 warnings");
});

test("sixty clusters fit in 80 columns", () => {
  const matrix = showStatus(meshOf(60), plain).filter((line) => /^[ 1-6]\d cluster\d|^ {10}/.test(line));
  assert.equal(matrix.length, 62);
  for (const line of matrix) assert.ok(line.length <= 80, line);
});

test("more of them have their counts, and the first of those that do not connect", () => {
  const status = meshOf(100, (i, j) => (i === 7 && j > 90 ? { findings: bad(i, j) } : {}));
  const lines = showStatus(status, plain);
  assert.ok(lines.includes("cluster8: ✓ 90, ✗ 9 (cluster92, cluster93, cluster94 and 6 more)"), lines.join("\n"));
});

test("names with terminal escapes are shown harmless", () => {
  const status = meshOf(2);
  for (const cluster of status.clusters) cluster.name = "x\u001b[2J";
  const text = [...showStatus(status, plain, true), showMermaid(status)].join("\n");
  assert.ok(!text.includes("\u001b"), text);
});

test("mermaid: both ways, one way, broken", () => {
  const status = meshOf(3, (i, j) => {
    if (i === 0 && j === 2) return { configured: false };
    return i === 1 && j === 2 ? { findings: bad(i, j) } : {};
  });
  assert.equal(
    showMermaid(status),
    [
      "graph LR",
      '  c0["cluster1"]',
      '  c1["cluster2"]',
      '  c2["cluster3"]',
      "  c0 <--> c1",
      "  c2 -.-> c0",
      "  c1 x--x c2",
      "",
    ].join("\n"),
  );
});

test("a peer that only a node can reach has a mark of its own, and no column of faults", () => {
  const status = meshOf(2);
  const nodeLocal: Pair = { importer: "cluster1", peer: "submariner", configured: true, nodeLocal: true, findings: [] };
  const lines = showStatus({ ...status, pairs: [...status.pairs, nodeLocal] }, plain);
  assert.deepEqual(lines.slice(3, 7), [
    "             1 2 3",
    "1 cluster1   – ✓ ⌂",
    "2 cluster2   ✓ – ·",
    "3 submariner ? ? –",
  ]);
  assert.match(lines[7] ?? "", /, · not configured, ⌂ only reachable from a node, \? no context$/);
  assert.equal(lines.at(-1), "2 clusters: as it should be");
});
