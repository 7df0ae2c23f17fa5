/** The metrics of `sync`. `promtool` judges them in test/e2e/sync-metrics.test.ts. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { renderSyncMetrics } from "../../lib/render/metrics.ts";
import type { SyncSnapshot } from "../../lib/sync/snapshot.ts";
import { emptyState, HOLD_REASONS } from "../../lib/sync/state.ts";
import { samplesOf } from "../support/promtool.ts";
import { PROCESS_FACTS, syncSnapshot } from "../support/sync-snapshot.ts";

const render = (snapshot: SyncSnapshot) => renderSyncMetrics(snapshot, PROCESS_FACTS);
const at = (time: string) => Date.parse(time) / 1000;

/** The samples of a metric by labels. */
async function valuesOf(name: string, snapshot = syncSnapshot()): Promise<Record<string, number>> {
  const all = Object.entries(samplesOf(await render(snapshot)));
  return Object.fromEntries(
    all.flatMap(([series, value]) => {
      const [found, labels = ""] = /^(\w+)(\{.*)?$/.exec(series)?.slice(1) ?? [];
      return found === name ? [[labels, value]] : [];
    }),
  );
}

describe("the leader's metrics", () => {
  test("are the same bytes for the same snapshot, without timestamps, each with help and type", async () => {
    const text = await render(syncSnapshot());
    assert.equal(await render(structuredClone(syncSnapshot())), text);
    for (const line of text.split("\n").filter((one) => one !== "" && !one.startsWith("# "))) {
      assert.match(line, /^[a-z_]+(?:\{[a-z_]+="[^"]*"(?:,[a-z_]+="[^"]*")*\})? -?\d+(?:\.\d+)?$/);
    }
    assert.match(text, /^# TYPE clustermesh_sync_writes_total counter$/m);
    assert.match(text, /^# TYPE clustermesh_sync_held_pairs gauge$/m);
  });

  test("state what the process is", async () => {
    assert.deepEqual(await valuesOf("clustermesh_sync_build_info"), { '{version="1.2.3"}': 1 });
    assert.deepEqual(await valuesOf("clustermesh_sync_leader"), { "": 1 });
    assert.deepEqual(await valuesOf("clustermesh_sync_ready"), { "": 1 });
    assert.deepEqual(await valuesOf("clustermesh_sync_interval_seconds"), { "": 600 });
    const progress = await valuesOf("clustermesh_sync_last_progress_timestamp_seconds");
    assert.deepEqual(progress, { "": at("2030-01-01T00:59:00Z") });
    assert.deepEqual(await valuesOf("process_resident_memory_bytes"), { "": 104_857_600 });
    assert.deepEqual(await valuesOf("process_cpu_seconds_total"), { "": 12.5 });
    assert.deepEqual(await valuesOf("process_start_time_seconds"), { "": at("2030-01-01T00:00:00Z") });
  });

  test("state whether the members could be listed", async () => {
    const snapshot = syncSnapshot();
    assert.deepEqual(await valuesOf("clustermesh_sync_list_up", snapshot), { "": 1 });
    snapshot.state.listFailure = { since: "2030-01-01T00:00:00Z", error: "forbidden" };
    assert.deepEqual(await valuesOf("clustermesh_sync_list_up", snapshot), { "": 0 });
    assert.deepEqual(await valuesOf("clustermesh_sync_list_up", { ...snapshot, isLeading: false }), {});
  });

  test("count members by state, and leave out those that have left", async () => {
    assert.deepEqual(await valuesOf("clustermesh_sync_members"), {
      '{state="reachable"}': 2,
      '{state="unreachable"}': 1,
      '{state="absent"}': 1,
    });
    assert.deepEqual(await valuesOf("clustermesh_cluster_up"), {
      '{context="admin@c1"}': 1,
      '{context="c2"}': 0,
      '{context="again"}': 1,
    });
    assert.deepEqual(await valuesOf("clustermesh_sync_last_contact_timestamp_seconds"), {
      '{context="admin@c1"}': at("2030-01-01T00:58:00Z"),
      '{context="c2"}': at("2030-01-01T00:10:00Z"),
    });
    assert.deepEqual(await valuesOf("clustermesh_cluster_info"), {
      '{context="admin@c1",cluster="c1",cluster_id="1",version="1.20.2"}': 1,
      '{context="again",cluster="c1",cluster_id="1",version=""}': 1,
    });
    assert.doesNotMatch(await render(syncSnapshot()), /"c9"/);
  });

  test("count reconciliations, writes, errors and restarts of watches; each cluster once", async () => {
    assert.deepEqual(await valuesOf("clustermesh_sync_reconciliations_total"), { "": 40 });
    assert.deepEqual(await valuesOf("clustermesh_sync_writes_total"), {
      '{context="admin@c1",cluster="c1"}': 3,
      '{context="c2",cluster="c2"}': 0,
    });
    assert.deepEqual(await valuesOf("clustermesh_sync_errors_total"), {
      '{context="admin@c1",cluster="c1"}': 0,
      '{context="c2",cluster="c2"}': 7,
    });
    assert.deepEqual(await valuesOf("clustermesh_sync_watch_restarts_total"), {
      '{context="admin@c1"}': 0,
      '{context="c2"}': 5,
      '{context="again"}': 0,
    });
  });

  test("count held pairs by reason, with the time of the first", async () => {
    const held = await valuesOf("clustermesh_sync_held_pairs");
    assert.equal(Object.keys(held).length, 2 * HOLD_REASONS.length);
    assert.deepEqual(Object.fromEntries(Object.entries(held).filter(([, value]) => value > 0)), {
      '{context="admin@c1",cluster="c1",reason="check"}': 2,
      '{context="c2",cluster="c2",reason="duplicate"}': 1,
    });
    assert.deepEqual(await valuesOf("clustermesh_sync_held_since_timestamp_seconds"), {
      '{context="admin@c1",cluster="c1",reason="check"}': at("2029-12-31T00:00:00Z"),
      '{context="c2",cluster="c2",reason="duplicate"}': at("2030-01-01T00:30:00Z"),
    });
  });

  test("list certificates and findings as status does", async () => {
    assert.deepEqual(await valuesOf("clustermesh_certificate_expiry_timestamp_seconds"), {
      '{context="admin@c1",cluster="c1",use="client"}': at("2030-02-01T00:00:00Z"),
      '{context="admin@c1",cluster="c1",use="ca"}': at("2035-01-01T00:00:00Z"),
      '{context="admin@c1",cluster="c1",peer="c2",use="client"}': at("2030-03-01T00:00:00Z"),
    });
    // Nothing is claimed about c2, which cannot be read.
    assert.deepEqual(await valuesOf("clustermesh_findings"), {
      '{context="admin@c1",severity="error",code="ca-stale"}': 2,
      '{context="admin@c1",severity="error",code="pod-not-ready"}': 0,
      '{context="c2",severity="error",code="pod-not-ready"}': 1,
    });
  });

  test("a cluster may have the name of a property of every object", async () => {
    const snapshot = syncSnapshot();
    snapshot.state.members.push({ entry: "constructor", cluster: "constructor" });
    const writes = await valuesOf("clustermesh_sync_writes_total", snapshot);
    assert.equal(writes['{context="constructor",cluster="constructor"}'], 0);
  });

  test("names cannot forge a line or control a terminal", async () => {
    const snapshot = syncSnapshot();
    snapshot.state.members.push({ entry: 'a"\\b\nclustermesh_cluster_up 1\u001b[2J', cluster: "c7" });
    const text = await render(snapshot);
    assert.ok(text.includes(String.raw`{context="a\"\\b\\nclustermesh_cluster_up 1\\x1b[2J"} 1`));
    assert.ok(!text.includes("\u001b") && !text.includes("\nclustermesh_cluster_up 1"));
  });
});

test("a process on standby has no metrics of members, so that sums over all processes count nothing twice", async () => {
  const text = await render({ ...syncSnapshot(), isLeading: false });
  assert.deepEqual(
    Object.keys(samplesOf(text)).map((series) => series.replace(/\{.*/, "")),
    [
      ...["clustermesh_sync_build_info", "clustermesh_sync_leader", "clustermesh_sync_ready"],
      ...["clustermesh_sync_last_progress_timestamp_seconds", "clustermesh_sync_interval_seconds"],
      "process_resident_memory_bytes",
      ...["process_cpu_seconds_total", "process_start_time_seconds"],
    ],
  );
  assert.match(text, /^clustermesh_sync_leader 0$/m);
});

test("a sync without members has no series of any", async () => {
  const state = emptyState("--all-contexts");
  const text = await render({ ...syncSnapshot(), state, findings: [], certificates: [], watchRestarts: {} });
  assert.doesNotMatch(text, /context=/);
  assert.match(text, /^clustermesh_sync_reconciliations_total 0$/m);
});
