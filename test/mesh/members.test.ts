import assert from "node:assert/strict";
import { test } from "node:test";
import { configMaps } from "../../lib/kube/api.ts";
import { connectMesh, meshMembersOf } from "../../lib/mesh/connect.ts";
import { disconnect } from "../../lib/mesh/disconnect.ts";
import type { MemberSource } from "../../lib/mesh/member.ts";
import { type ReadOptions, readMembers, type WriteOptions } from "../../lib/mesh/member.ts";
import { UserError } from "../../lib/util/errors.ts";
import { type Joined, joined } from "../support/joined.ts";
import { OPTIONS } from "../support/targets.ts";

/** A mesh of which somebody takes parts together, and what is told meanwhile. */
async function meshOf(t: Parameters<typeof joined>[0], apart: boolean) {
  const mesh = await joined(t, [{}, {}, {}], { apart });
  const warned: string[] = [];
  const read: Omit<ReadOptions, "forExtract"> = { resolve: async () => [], warn: (line) => warned.push(line) };
  const write: WriteOptions = {
    plan: OPTIONS,
    endpoints: new Map(),
    resolve: async () => [],
    dryRun: "none",
    warn: (findings) => assert.deepEqual(findings, []),
    announce: () => {},
  };
  return { mesh, warned, read, write, options: { read, write, skipUnreachable: false } };
}

const waysOf = (mesh: Joined, ways: [cluster: string, source?: string][]): Promise<MemberSource[]> =>
  Promise.all(ways.map(([cluster, source]) => mesh.way(cluster, source)));

/** The pairs that are configured, as `c1 c2`. */
async function pairsOf(mesh: Joined): Promise<string[]> {
  const { pairs } = await mesh.status();
  return pairs.filter(({ configured }) => configured).map(({ importer, peer }) => `${importer} ${peer}`);
}

test("two contexts for one cluster are one member, and the other's connection is closed", async (t) => {
  const { mesh, warned, read } = await meshOf(t, true);
  const ways = await waysOf(mesh, [["c1"], ["c2", "again"], ["c2"]]);
  const { members, unread } = await readMembers(ways, { ...read, forExtract: true });
  assert.deepEqual([members.map(({ source }) => source), unread], [["c1", "again"], []]);
  assert.deepEqual(warned, ["c2: reaches the same cluster as again, which is taken once"]);
  await assert.rejects(async () => ways[2]?.open().get(configMaps, "kube-system", "cilium-config"), /closed/);
  for (const { api } of members) api.close();
});

test("a context that leads nowhere is a cluster that cannot be read", async (t) => {
  const { mesh, read } = await meshOf(t, true);
  const nowhere: MemberSource = {
    source: "nowhere",
    open: () => {
      throw new UserError("context nowhere: there is no\n  such file", 2);
    },
  };
  const { members, unread } = await readMembers([nowhere, await mesh.way("c1")], { ...read, forExtract: true });
  assert.deepEqual(
    unread.map(({ code, source, message }) => [code, source, message]),
    [["cluster-unreadable", "nowhere", "context nowhere: there is no; such file"]],
  );
  assert.deepEqual(
    members.map(({ source }) => source),
    ["c1"],
  );
  for (const { api } of members) api.close();
});

test("connecting: a cluster that is named twice is connected once, and never with itself", async (t) => {
  const { mesh, options } = await meshOf(t, true);
  const result = await connectMesh(await waysOf(mesh, [["c1"], ["c2"], ["c2", "again"], ["c3"]]), options);
  assert.ok("reports" in result, JSON.stringify(result));
  assert.deepEqual(
    result.reports.map(({ source, state }) => [source, state]),
    [
      ["c1", "done"],
      ["c2", "done"],
      ["c3", "done"],
    ],
  );
  assert.deepEqual(await pairsOf(mesh), ["c1 c2", "c1 c3", "c2 c1", "c2 c3", "c3 c1", "c3 c2"]);
});

test("connecting: the hub may be named by another of its contexts, and a newcomer too", async (t) => {
  const { mesh, options } = await meshOf(t, true);
  const star = await waysOf(mesh, [["c1"], ["c2"], ["c3"], ["c1", "again"]]);
  await connectMesh(star, { ...options, hub: "again" });
  assert.deepEqual(await pairsOf(mesh), ["c1 c2", "c1 c3", "c2 c1", "c3 c1"]);
  const joining = await waysOf(mesh, [["c3"], ["c2"], ["c3", "again"]]);
  await connectMesh(joining, { ...options, joining: new Set(["again"]) });
  assert.deepEqual(await pairsOf(mesh), ["c1 c2", "c1 c3", "c2 c1", "c2 c3", "c3 c1", "c3 c2"]);
});

test("connecting one cluster with itself is refused", async (t) => {
  const { mesh, options } = await meshOf(t, true);
  await assert.rejects(connectMesh(await waysOf(mesh, [["c1"], ["c1", "again"]]), options), (error) => {
    assert.ok(error instanceof UserError && error.exitCode === 2, String(error));
    assert.match(error.message, /two clusters or more/);
    return true;
  });
});

test("disconnecting: a cluster that is named twice is written once", async (t) => {
  const { mesh, options } = await meshOf(t, false);
  const ways = await waysOf(mesh, [["c1"], ["c1", "again"], ["c2"]]);
  const result = await disconnect(ways, new Set(["c3"]), { ...options, log: assert.fail });
  assert.ok("reports" in result, JSON.stringify(result));
  assert.deepEqual(
    result.reports.map(({ source, state }) => [source, state]),
    [
      ["c1", "done"],
      ["c2", "done"],
    ],
  );
  assert.deepEqual(await pairsOf(mesh), ["c1 c2", "c2 c1", "c3 c1", "c3 c2"]);
});

test("who comes with a newcomer: the context of a peer's name, though another of its contexts is read first", async (t) => {
  const { mesh, read } = await meshOf(t, false);
  const [known, stray, right] = await waysOf(mesh, [["c1"], ["c3", "c2"], ["c3"]]);
  assert.ok(known && stray && right);
  const contexts = new Map([stray, right].map((way) => [way.source, way]));
  const { found, missing } = await meshMembersOf(known, contexts, read);
  assert.deepEqual([found.map(({ source }) => source), missing], [["c3"], ["c2"]]);
});
