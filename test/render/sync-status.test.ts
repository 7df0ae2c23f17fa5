/** `status --sync` as text and as data. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { styleFor } from "../../lib/render/style.ts";
import { isSettled, showSyncStatus, toSyncReport } from "../../lib/render/sync-status.ts";
import { widthOf } from "../../lib/render/wrap.ts";
import { emptyState, HOLD_REASONS, type SyncState } from "../../lib/sync/state.ts";
import { caOf, clientOf } from "../support/material.ts";
import { syncSnapshot } from "../support/sync-snapshot.ts";

const now = new Date("2030-01-01T01:00:00Z");
const where = "configmap/clustermesh-secrets-sync in namespace mesh";
const plain = (columns = 100) => styleFor({ isTTY: true, columns }, { NO_COLOR: "1" });
const show = (state: SyncState, { details = false, columns = 100 } = {}) =>
  showSyncStatus(toSyncReport(state), plain(columns), { now, where, details });

const contested = {
  ...{ target: "c1", object: "secret/cilium-clustermesh", key: "c2", manager: "helm", level: 3 },
  ...{ resets: ["2030-01-01T00:20:00Z", "2030-01-01T00:40:00Z"], until: "2030-01-01T01:08:00Z" },
};

/** A state of many members, all of which were read. */
function manyMembers(count: number): SyncState {
  const members = Array.from({ length: count }, (_, i) => ({
    ...{ entry: `cluster${i}`, cluster: `cluster${i}`, id: i + 1 },
    lastContact: new Date(now.getTime() - 5000 - i * 1000).toISOString(),
  }));
  return { ...emptyState("--clusters-from=argocd in namespace argocd"), members };
}

describe("text", () => {
  test("lists members, what is held with cause and remedy, contested keys, and a verdict", () => {
    const { state } = syncSnapshot();
    Object.assign(state.members[3] ?? {}, { remedy: "run: clustermesh-secrets disconnect c9 --from c1" });
    state.held.push({
      ...{
        target: "c1",
        peer: "c4",
        reason: "contested",
        since: "2030-01-01T00:50:00Z",
        until: "2030-01-01T01:08:00Z",
      },
      ...{ message: "helm resets c2\n  see the log", remedy: "kubectl get secret\nkubectl get pods" },
    });
    assert.deepEqual(show({ ...state, contested: [contested] }), [
      "sync of --all-contexts, state in configmap/clustermesh-secrets-sync in namespace mesh",
      "",
      "MEMBER     CLUSTER   ID   LAST CONTACT   STATE",
      "admin@c1   c1        1    2m             reachable",
      "c2         c2        2    50m            unreachable",
      "again      c1        1    -              pending",
      "c9         c9        9    -              absent",
      "error: c2: cannot be read: connection refused",
      "warning: c9: left the list 25h ago; not pruned: the list is empty",
      "  run: clustermesh-secrets disconnect c9 --from c1",
      "",
      "warning: c1: peers c2, c3 held for 25h: the CA is stale [check]",
      "warning: c2: all peers held for 30m: id 2 is used twice [duplicate]",
      "warning: c1: peer c4 held for 10m, for another 8m: helm resets c2; see the log [contested]",
      "  kubectl get secret",
      "  kubectl get pods",
      "",
      "TARGET   CONTESTED KEY   OBJECT                      RESET BY   RESETS   PAUSE",
      "c1       c2              secret/cilium-clustermesh   helm       2        8m",
      "",
      "4 members (1 unreachable, 1 pending, 1 absent), 4 pairs held",
    ]);
  });

  test("of a mesh without problems is short", () => {
    assert.deepEqual(show(manyMembers(2)), [
      "sync of --clusters-from=argocd in namespace argocd, state in configmap/clustermesh-secrets-sync in",
      "  namespace mesh",
      "",
      "MEMBER     ID   LAST CONTACT   STATE",
      "cluster0   1    5s             reachable",
      "cluster1   2    6s             reachable",
      "",
      "2 members, nothing held",
    ]);
  });

  test("of 254 clusters has a row for those alone that cannot be read or have left", () => {
    const state = manyMembers(254);
    Object.assign(state.members[7] ?? {}, { error: "timeout" });
    Object.assign(state.members[9] ?? {}, { absentSince: "2030-01-01T00:00:00Z" });
    state.pruneAfter = 86_400_000;
    const lines = show(state);
    assert.deepEqual(lines.slice(2), [
      "",
      "MEMBER     ID   LAST CONTACT   STATE",
      "cluster7   8    12s            unreachable",
      "cluster9   10   14s            absent",
      "252 reachable members, last contact 5s to 4m18s ago (--details lists all)",
      "error: cluster7: cannot be read: timeout",
      "note: cluster9: left the list 60m ago; removed from the others in 23h",
      "",
      "254 members (1 unreachable, 1 absent), nothing held",
    ]);
    assert.equal(show(state, { details: true }).filter((line) => line.startsWith("cluster")).length, 254);
    for (const member of state.members) member.error = "timeout";
    const down = show(state);
    assert.ok(down.length < 60, `${down.length}`);
    assert.ok(down.includes("0 reachable members; 234 others not listed (--details lists all)"), down.join("\n"));
  });

  test("of many held pairs lists 20 causes, and counts the others by reason", () => {
    const state = manyMembers(254);
    state.held = state.members.flatMap(({ cluster = "" }, i) =>
      ["a", "b"].map((peer) => ({
        ...{ target: cluster, peer, reason: i < 200 ? ("check" as const) : ("restart" as const) },
        ...{ since: "2030-01-01T00:00:00Z", message: `cause ${i}`, remedy: `command ${i}` },
      })),
    );
    const lines = show(state);
    assert.equal(lines.filter((line) => line.startsWith("warning: ")).length, 20);
    assert.ok(lines.includes("… and more held pairs: 360 check, 108 restart (--details lists all)"));
    assert.ok(lines.includes("warning: cluster0: peers a, b held for 60m: cause 0 [check]"));
    assert.equal(lines.at(-1), "254 members, 508 pairs held");
    assert.equal(show(state, { details: true }).filter((line) => line.startsWith("warning: ")).length, 254);
  });

  test("one peer that many targets hold for the same cause is one line, and a pair with two causes counts once", () => {
    const state = manyMembers(5);
    const hold = { peer: "cluster4", reason: "check" as const, message: "the CA is stale", remedy: "command" };
    state.held = ["cluster0", "cluster1", "cluster2", "cluster3"].flatMap((target, i) => [
      { ...hold, target, since: `2030-01-01T00:${10 + i}:00Z` },
      { ...hold, target, since: "2030-01-01T00:59:00Z", message: "the certificate is expired" },
    ]);
    assert.deepEqual(show(state).slice(-7), [
      "warning: cluster0, cluster1, cluster2, cluster3: peer cluster4 held for 50m: the CA is stale [check]",
      "  command",
      "warning: cluster0, cluster1, cluster2, cluster3: peer cluster4 held for 60s: the certificate is",
      "  expired [check]",
      "  command",
      "",
      "5 members, 4 pairs held",
    ]);
  });

  test("states that sync was stopped, which is not settled", () => {
    const state = { ...manyMembers(2), stoppedAt: "2030-01-01T00:45:00Z" };
    assert.ok(show(state).includes("warning: sync was stopped 15m ago; nothing is written until it runs again"));
    assert.equal(isSettled(toSyncReport(state), now), false);
  });

  test("many contested keys are folded", () => {
    const lines = show({ ...manyMembers(2), contested: Array.from({ length: 30 }, () => contested) });
    assert.ok(lines.includes("… and 10 more contested keys (--details lists all)"));
  });

  test("states that sync may not be running if no member was read for an hour", () => {
    const state = manyMembers(2);
    for (const member of state.members) member.lastContact = "2029-12-30T00:00:00Z";
    const lines = show(state);
    assert.ok(lines.includes("warning: no member was read within the last 60m; sync may not be running"));
    assert.equal(isSettled(toSyncReport(state), now), false);
  });

  test("a sync that reads its members rarely is not taken for one that does not run", () => {
    const state = { ...manyMembers(2), interval: 7_200_000 };
    for (const member of state.members) member.lastContact = new Date(now.getTime() - 5 * 3_600_000).toISOString();
    assert.equal(show(state).at(-1), "2 members, nothing held");
    assert.equal(isSettled(toSyncReport(state), now), true);
    for (const member of state.members) member.lastContact = new Date(now.getTime() - 7 * 3_600_000).toISOString();
    assert.ok(show(state).includes("warning: no member was read within the last 6h; sync may not be running"));
    assert.equal(isSettled(toSyncReport(state), now), false);
  });

  test("states since when and why the members cannot be listed", () => {
    const error = "cannot reach https://hub; check with: kubectl get secrets";
    const state = { ...manyMembers(2), listFailure: { since: "2030-01-01T00:35:00Z", error } };
    const line = `error: the members could not be listed for 25m, so the last list is kept: ${error}`;
    assert.ok(show(state, { columns: 200 }).includes(line));
    assert.equal(isSettled(toSyncReport(state), now), false);
  });

  test("fits narrow terminals, except commands", () => {
    const state = { ...syncSnapshot().state, contested: [contested] };
    for (const record of state.held) record.remedy = "kubectl --context admin@c1 --namespace kube-system get secret x";
    for (const columns of [60, 44]) {
      for (const line of show(state, { columns })) {
        const isCommand = line.startsWith("  kubectl ");
        const isWord = !line.trim().includes(" ");
        assert.ok(isCommand || isWord || widthOf(line) <= columns, `${columns}: ${line}`);
      }
    }
  });
});

describe("whether a mesh is settled", () => {
  const settled = (change: Partial<SyncState>) => isSettled(toSyncReport({ ...manyMembers(3), ...change }), now);
  const record = { target: "c1", reason: "check" as const, since: "2030-01-01T00:00:00Z", message: "m" };

  test("nothing may be held, and every listed member has to be read", () => {
    assert.equal(settled({}), true);
    assert.equal(settled({ held: [record] }), false);
    assert.equal(settled({ omitted: 1 }), false);
    const [first, ...others] = manyMembers(3).members;
    assert.equal(settled({ members: [{ ...first, entry: "x", error: "down" }, ...others] }), false);
    assert.equal(settled({ members: [{ entry: "x" }, ...others] }), false);
    assert.equal(settled({ members: [{ entry: "x", absentSince: "2030-01-01T00:00:00Z" }, ...others] }), true);
    assert.equal(settled({ members: [] }), true);
  });
});

describe("texts of others", () => {
  const hostile = fc.string({ unit: "binary", maxLength: 400 });
  const stateWith = (text: string): SyncState => ({
    ...emptyState(text),
    members: [
      { entry: text, cluster: text, error: text, lastContact: "2030-01-01T00:59:00Z" },
      { entry: text, absentSince: "2030-01-01T00:59:00Z", keptBecause: text },
    ],
    held: HOLD_REASONS.map((reason) => ({
      ...{ target: text, peer: text, reason, since: "2030-01-01T00:59:00Z", message: text, remedy: text },
    })),
    contested: [{ ...contested, target: text, object: text, key: text, manager: text }],
  });

  test("cannot control a terminal", () => {
    fc.assert(
      fc.property(hostile, (text) => {
        for (const line of show(stateWith(text))) assert.doesNotMatch(line, /\p{C}|\p{Zl}|\p{Zp}/u);
      }),
      { numRuns: 100 },
    );
  });

  test("a key is neither printed nor in the data", () => {
    const { key } = clientOf(caOf("a"));
    for (const text of [key, Buffer.from(key).toString("base64")]) {
      const state = stateWith(text);
      const secret = text.replace(/^-.*\n/, "").slice(0, 60);
      assert.ok(!show(state).join("\n").includes(secret));
      assert.ok(!JSON.stringify(toSyncReport(state)).includes(secret));
    }
  });
});
