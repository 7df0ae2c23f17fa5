/** Prometheus judges the metrics of `sync`, its alert rules, and the expressions of the dashboard. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { before, describe, test } from "node:test";
import { renderSyncMetrics } from "../../lib/render/metrics.ts";
import { dashboardExpressions } from "../support/dashboard.ts";
import { RULES, type RuleTest, runPromtool, SYNC_RULES, samplesOf, testRules } from "../support/promtool.ts";
import { withoutRealServers } from "../support/real-assets.ts";
import { PROCESS_FACTS, syncSnapshot } from "../support/sync-snapshot.ts";

const START = "2030-01-01T00:00:00Z";
const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
/** A time in seconds since 1970. */
const at = (seconds: number) => Date.parse(START) / 1000 + seconds;
const LEADER = { 'clustermesh_sync_leader{job="sync",namespace="mesh",instance="a"}': 1 };
const UP = { 'clustermesh_cluster_up{context="c1"}': 1 };
const since = (reason: string) =>
  `clustermesh_sync_held_since_timestamp_seconds{context="c1",cluster="c1",reason="${reason}"}`;

describe("metrics of sync", { skip: withoutRealServers() }, () => {
  let text = "";
  before(async () => {
    text = await renderSyncMetrics(syncSnapshot(), PROCESS_FACTS);
  });

  test("promtool accepts them, of the leader and on standby", async () => {
    const standby = await renderSyncMetrics({ ...syncSnapshot(), isLeading: false }, PROCESS_FACTS);
    for (const metrics of [text, standby]) {
      assert.deepEqual(runPromtool(["check", "metrics"], metrics), { code: 0, output: "" });
    }
  });

  test("the rules for metrics of status hold for those of sync", () => {
    const firing = [
      { alertname: "ClusterMeshClusterUnreadable", severity: "warning", context: "c2" },
      { alertname: "ClusterMeshErrors", severity: "warning", context: "admin@c1" },
      { alertname: "ClusterMeshCertificateExpiration", severity: "warning", context: "admin@c1", use: "client" },
    ];
    const start = new Date((Date.parse("2030-02-01T00:00:00Z") / 1000 - 20 * DAY) * 1000).toISOString();
    const tested = testRules({ start, series: samplesOf(text), after: 16, firing });
    assert.equal(tested.code, 0, tested.output);
  });
});

describe("alert rules of sync", { skip: withoutRealServers() }, () => {
  const sync = (alertname: string, severity: string, labels: Readonly<Record<string, string>> = { context: "c1" }) => ({
    ...{ alertname, severity },
    ...labels,
  });
  const cases: Readonly<Record<string, Omit<RuleTest, "start" | "rules">>> = {
    "a loop without problems is silent": {
      series: {
        ...{ ...UP, ...LEADER },
        'clustermesh_sync_leader{job="sync",namespace="mesh",instance="b"}': 0,
        'clustermesh_sync_interval_seconds{instance="a"}': 600,
        'clustermesh_sync_list_up{instance="a"}': 1,
        'clustermesh_sync_last_progress_timestamp_seconds{instance="a"}': `${at(0)}+60x180`,
        'clustermesh_sync_last_contact_timestamp_seconds{context="c1"}': `${at(0)}+60x180`,
        [since("address-grace")]: at(-2 * HOUR),
        [since("ca-order")]: at(-12 * HOUR),
        [since("check")]: at(110 * MINUTE),
        'clustermesh_sync_errors_total{context="c1"}': 3,
        'clustermesh_sync_watch_restarts_total{context="c1"}': "0+1x180",
        'clustermesh_sync_writes_total{context="c1"}': "0x60 1+0.25x120",
      },
      after: 120,
      firing: [],
    },
    "no process leads": {
      series: {
        ...UP,
        'clustermesh_sync_leader{job="sync",namespace="mesh",instance="a"}': 0,
        'clustermesh_sync_leader{job="sync",namespace="mesh",instance="b"}': 0,
        'clustermesh_sync_leader{job="sync",namespace="other",instance="c"}': 1,
      },
      after: 5,
      firing: [sync("ClusterMeshSyncNotLeading", "critical", { namespace: "mesh" })],
    },
    "another process takes over within minutes": {
      series: {
        ...UP,
        'clustermesh_sync_leader{job="sync",namespace="mesh",instance="a"}': "1x5 0x180",
        'clustermesh_sync_leader{job="sync",namespace="mesh",instance="b"}': "0x9 1x180",
      },
      after: 10,
      firing: [],
    },
    "no process at all": { series: UP, after: 5, firing: [sync("ClusterMeshSyncNotLeading", "critical", {})] },
    "a loop that is stuck": {
      series: {
        ...{ ...UP, ...LEADER },
        'clustermesh_sync_interval_seconds{instance="a"}': 600,
        'clustermesh_sync_last_progress_timestamp_seconds{instance="a"}': at(-HOUR),
      },
      after: 5,
      firing: [sync("ClusterMeshSyncStuck", "critical", { instance: "a" })],
    },
    "pairs that are held for an hour, or for a day while a CA changes": {
      series: {
        ...{ ...UP, ...LEADER },
        [since("check")]: at(-HOUR - 1),
        [since("refused")]: at(-HOUR + 1),
        [since("ca-order")]: at(-DAY - 1),
        [since("address-grace")]: at(-2 * DAY),
      },
      after: 0,
      firing: [
        sync("ClusterMeshSyncHeld", "warning", { context: "c1", reason: "check" }),
        sync("ClusterMeshSyncHeld", "warning", { context: "c1", reason: "ca-order" }),
      ],
    },
    "a member that is out of contact": {
      series: {
        ...{ ...UP, ...LEADER },
        clustermesh_sync_interval_seconds: 600,
        'clustermesh_sync_last_contact_timestamp_seconds{context="c1"}': at(-HOUR),
      },
      after: 6,
      firing: [sync("ClusterMeshSyncMemberOutOfContact", "warning")],
    },
    "a loop with a long interval": {
      series: {
        ...{ ...UP, ...LEADER },
        'clustermesh_sync_interval_seconds{instance="a"}': 2 * HOUR,
        'clustermesh_sync_last_progress_timestamp_seconds{instance="a"}': at(-5 * HOUR),
        'clustermesh_sync_last_contact_timestamp_seconds{context="c1",instance="a"}': at(-5 * HOUR),
      },
      after: 6,
      firing: [],
    },
    "members that cannot be listed": {
      series: { ...UP, ...LEADER, 'clustermesh_sync_list_up{instance="a"}': 0 },
      after: 31,
      firing: [sync("ClusterMeshSyncListFailed", "warning", { instance: "a" })],
    },
    "errors that continue, but not those of a member that cannot be read": {
      series: {
        ...{ ...UP, ...LEADER },
        'clustermesh_sync_errors_total{context="c1"}': "0+1x180",
        'clustermesh_cluster_up{context="c2"}': "1x60 0x120",
        'clustermesh_sync_errors_total{context="c2"}': "0x60 0+1x120",
      },
      after: 65,
      firing: [sync("ClusterMeshSyncErrors", "warning")],
    },
    "a target that is written again and again": {
      series: { ...UP, ...LEADER, 'clustermesh_sync_writes_total{context="c1"}': "0+1x180" },
      after: 130,
      firing: [sync("ClusterMeshSyncWriteStorm", "warning")],
    },
    "a watch that restarts again and again": {
      series: { ...UP, ...LEADER, 'clustermesh_sync_watch_restarts_total{context="c1"}': "0+2x180" },
      after: 50,
      firing: [sync("ClusterMeshSyncWatchStorm", "warning")],
    },
  };
  for (const [what, one] of Object.entries(cases)) {
    test(what, () => {
      const { code, output } = testRules({ start: START, rules: [RULES, SYNC_RULES], ...one });
      assert.equal(code, 0, output);
    });
  }
});

test("promtool parses every expression of the dashboard", { skip: withoutRealServers() }, () => {
  const expressions = dashboardExpressions();
  assert.ok(expressions.length > 10);
  const folder = mkdtempSync(join(tmpdir(), "dashboard-"));
  try {
    const path = join(folder, "rules.json");
    const rules = expressions.map((expr, i) => ({ record: `dashboard:${i}`, expr }));
    writeFileSync(path, JSON.stringify({ groups: [{ name: "dashboard", rules }] }));
    const { code, output } = runPromtool(["check", "rules", "--lint=none", path]);
    assert.equal(code, 0, output);
    writeFileSync(path, JSON.stringify({ groups: [{ name: "x", rules: [{ record: "x", expr: "sum(" }] }] }));
    assert.notEqual(runPromtool(["check", "rules", "--lint=none", path]).code, 0);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
