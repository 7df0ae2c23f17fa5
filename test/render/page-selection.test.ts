/** The filters of a status page. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Filter, selectFrom } from "../../lib/render/page/selection.ts";
import { meshOf, troubledMesh } from "../support/mesh-status.ts";
import { dataOf, pageOf } from "../support/status-page.ts";

const data = dataOf(pageOf(troubledMesh(12)));

/** What a filter selects of a mesh of twelve, with names as in the page. */
function select(filter: Partial<Filter>) {
  const selection = selectFrom(data, { name: "", role: "importer", code: "", onlyProblems: false, ...filter });
  const nameOf = (row: number) => data.clusters[row]?.name.replace("cluster", "") ?? "";
  const { rows, columns, clusters, groups, isMatch } = selection;
  return {
    rows: rows.map(nameOf).join(" "),
    columns: columns.map((column) => data.peers[column]?.replace("cluster", "")).join(" "),
    clusters: [...clusters].map(nameOf).join(" "),
    groups: [...groups].sort().join(" "),
    matches: rows.flatMap((row) => columns.filter((column) => isMatch(row, column))).length,
  };
}

const ALL = "1 2 3 4 5 6 7 8 9 10 11 12";

test("without filters everything is selected", () => {
  assert.deepEqual(select({}), { rows: ALL, columns: ALL, clusters: ALL, groups: "0 1 2", matches: 144 });
});

test("only problems: rows and columns with a finding, and clusters with their own", () => {
  assert.deepEqual(select({ onlyProblems: true }), {
    rows: "1 2 4 10",
    columns: "1 2 7 10",
    clusters: "1 2 4 7 10",
    groups: "0 1 2",
    matches: 4,
  });
});

test("the code of a finding", () => {
  const stale = { rows: "1 4", columns: "7", clusters: "1 4 7", groups: "1", matches: 2 };
  assert.deepEqual(select({ code: "endpoint-stale" }), stale);
  assert.deepEqual(select({ code: "endpoint-stale", onlyProblems: true }), stale);
  const unreadable = { rows: "10", columns: "10", clusters: "10", groups: "0", matches: 0 };
  assert.deepEqual(select({ code: "cluster-unreadable" }), unreadable);
});

test("the name of a cluster as importer, peer, either or both", () => {
  const name = " CLUSTER1";
  const named = "1 10 11 12";
  assert.deepEqual(select({ name }), { rows: named, columns: ALL, clusters: named, groups: "0 1 2", matches: 48 });
  assert.equal(select({ name, role: "peer" }).columns, named);
  assert.equal(select({ name, role: "peer" }).rows, ALL);
  assert.deepEqual(select({ name, role: "both" }).matches, 16);
  assert.deepEqual(select({ name, role: "either" }).matches, 144 - 64);
  assert.deepEqual(select({ name: "cluster7", role: "either", onlyProblems: true }), {
    rows: "1 4",
    columns: "7",
    clusters: "7",
    groups: "1",
    matches: 2,
  });
});

test("a name that no cluster has", () => {
  const nothing = { rows: "", columns: "", clusters: "", groups: "", matches: 0 };
  assert.deepEqual(select({ name: "other" }), nothing);
});

test("a single cluster, which has no matrix", () => {
  const single = dataOf(pageOf(meshOf(1)));
  const all = selectFrom(single, { name: "", role: "importer", code: "", onlyProblems: false });
  assert.deepEqual([all.rows, [...all.clusters]], [[], [0]]);
});
