import assert from "node:assert/strict";
import { test } from "node:test";
import type { Pair } from "../../lib/mesh/pairs.ts";
import type { ClusterStatus } from "../../lib/mesh/status.ts";
import { showMermaid, showStatus } from "../../lib/render/status.ts";
import { styleFor } from "../../lib/render/style.ts";
import { findingWith } from "../support/findings.ts";
import { meshOf } from "../support/mesh-status.ts";

const plain = styleFor({}, {});

const bad = (i: number, j: number) => [
  findingWith("endpoint-stale", { source: `cluster${i + 1}`, key: `cluster${j + 1}` }, "it is elsewhere"),
];

test("showStatus prints a column for each peer of a small mesh", () => {
  const status = meshOf(3, (i, j) => (i === 0 && j === 2 ? { findings: bad(i, j) } : {}));
  const lines = showStatus(status, plain);
  assert.deepEqual(lines.slice(0, 5), [
    "CLUSTER    ID   VERSION   KVSTOREMESH   READY   STATUS    cluster1   cluster2   cluster3",
    "cluster1   1    1.20.2    yes           1/1     1 error   –          ✓          ✗",
    "cluster2   2    1.20.2    yes           1/1     healthy   ✓          –          ✓",
    "cluster3   3    1.20.2    yes           1/1     healthy   ✓          ✓          –",
    "connections from rows to columns: ✓ healthy, ✗ errors",
  ]);
  assert.equal(lines.at(-1), "3 clusters, unhealthy: 1 error, 0 warnings");
});

test("rows and total count findings as printed: merged ones once, symmetric ones in the rows of both clusters", () => {
  const overlap = (i: number, j: number) =>
    findingWith(
      "pod-cidrs-overlap",
      { source: `cluster${i + 1}`, key: `cluster${j + 1}` },
      "pod CIDRs overlap",
      "give each cluster its own",
      { clusters: [`cluster${i + 1}`, `cluster${j + 1}`] },
    );
  const status = meshOf(4, (i, j) => ({
    findings: [...(i < 3 && j < 3 ? [overlap(i, j)] : []), ...(i === 3 ? bad(i, j) : [])],
  }));
  const stateOfRow = (line = "") => /(?:yes +1\/1 +)(\w+(?: \w+)?)/.exec(line)?.[1];
  const shown = (details: boolean) => {
    const lines = showStatus(status, plain, { details });
    return [...lines.slice(1, 5).map(stateOfRow), lines.at(-1)];
  };
  const total = "4 clusters, unhealthy:";
  assert.deepEqual(shown(false), ["1 warning", "1 warning", "1 warning", "1 error", `${total} 1 error, 1 warning`]);
  assert.deepEqual(shown(true), [
    "2 warnings",
    "2 warnings",
    "2 warnings",
    "3 errors",
    `${total} 3 errors, 3 warnings`,
  ]);
});

test("thirty clusters fit on 40 lines and 100 columns, with cluster ids as column titles", () => {
  const status = meshOf(30, (i, j) => (i === 0 && j === 1 ? { findings: bad(i, j) } : {}));
  for (const [i, cluster] of status.clusters.entries()) cluster.id = 101 + i;
  for (const pair of status.pairs) if (pair.id !== undefined) pair.id += 100;
  const lines = showStatus(status, plain);
  assert.ok(lines.length <= 40, `${lines.length} lines`);
  for (const line of lines) assert.ok(line.length <= 100, line);
  assert.deepEqual(
    lines.slice(0, 4).map((line) => line.slice(-30)),
    [
      "1".repeat(30),
      `${"0".repeat(9)}${"1".repeat(10)}${"2".repeat(10)}3`,
      "123456789012345678901234567890",
      `–✗${"✓".repeat(28)}`,
    ],
  );
});

test("sixty clusters fit in 100 columns", () => {
  const lines = showStatus(meshOf(60), plain);
  for (const line of lines) assert.ok(line.length <= 100, line);
  assert.ok(lines[2]?.endsWith(` –${"✓".repeat(59)}`), lines[2]);
});

test("peers are counted by state if the mesh is large or the terminal narrow", () => {
  const broken = (i: number, j: number) => (i === 7 && j > 90 ? { findings: bad(i, j) } : {});
  const lines = showStatus(meshOf(100, broken), plain);
  assert.match(lines[0] ?? "", / OK +ERRORS$/);
  assert.match(lines[8] ?? "", /^cluster8 .* 90 +9$/);
  const narrow = showStatus(meshOf(30), styleFor({ isTTY: true, columns: 60 }, { NO_COLOR: "1" }));
  for (const line of narrow) assert.ok(line.length <= 60, line);
  const narrower = showStatus(meshOf(30), styleFor({ isTTY: true, columns: 45 }, { NO_COLOR: "1" }));
  assert.match(narrower[30] ?? "", /^cluster30 +30 +1\.20\.2 +1\/1 +healthy +29$/);
});

test("endpoints set with a flag are named unless they were probed", () => {
  const status = meshOf(3, (i, j) => (i === 0 && j === 2 ? { endpointGiven: true } : {}));
  const line = "not checked without --probe: endpoints set with a flag: cluster1 → cluster3";
  assert.equal(showStatus(status, plain)[5], line);
  assert.ok(!showStatus({ ...status, probes: [] }, plain).includes(line));
});

test("a peer without a running clustermesh-apiserver is an error", () => {
  const status = meshOf(2, (i) => (i === 0 ? { notRunning: true } : {}));
  const second = status.clusters[1] as ClusterStatus;
  second.waitingFor = "for its containers to become ready";
  assert.deepEqual(showStatus(status, plain).slice(1, 3), [
    "cluster1   1    1.20.2    yes           1/1     1 peer down   –          ✗",
    "cluster2   2    1.20.2    yes           1/1     not running   ✓          –",
  ]);
});

test("peers without a context have columns, and those of unknown id are listed", () => {
  const status = meshOf(10);
  const other = (peer: string, id?: number): Pair => ({ ...(status.pairs[0] as Pair), peer, id, context: undefined });
  status.pairs.push(other("far", 77), other("old"));
  const lines = showStatus(status, plain);
  assert.deepEqual(
    lines.slice(0, 4).map((line) => line.slice(-12).padEnd(12)),
    ["          17", "12345678907?", `–${"✓".repeat(11)}`, `✓–${"✓".repeat(8)}··`],
  );
  assert.equal(lines[13], "columns headed ?: cluster id unknown: old");
});

test("showStatus and showMermaid escape control characters", () => {
  const status = meshOf(2);
  for (const cluster of status.clusters) cluster.name = "x\u001b[2J";
  const text = [...showStatus(status, plain, { wide: true }), showMermaid(status)].join("\n");
  assert.ok(!text.includes("\u001b"), text);
});

test("showMermaid distinguishes mutual, one-sided and broken connections", () => {
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

test("a node-local peer has its own mark and is healthy", () => {
  const status = meshOf(2);
  const nodeLocal: Pair = { importer: "cluster1", peer: "submariner", configured: true, nodeLocal: true, findings: [] };
  const lines = showStatus({ ...status, pairs: [...status.pairs, nodeLocal] }, plain);
  assert.deepEqual(lines.slice(0, 4), [
    "CLUSTER    ID   VERSION   KVSTOREMESH   READY   STATUS    cluster1   cluster2   submariner",
    "cluster1   1    1.20.2    yes           1/1     healthy   –          ✓          ⌂",
    "cluster2   2    1.20.2    yes           1/1     healthy   ✓          –          ·",
    "connections from rows to columns: ✓ healthy, · not configured, ⌂ node-local",
  ]);
  assert.equal(lines.at(-1), "2 clusters, healthy");
});
