/**
 * Prometheus' text format, version 0.0.4, without timestamps, as node_exporter's textfile collector reads it. Data in, text
 * out: the same report results in the same bytes. Loads prom-client, so it is imported only to print metrics.
 */
import { Counter, Gauge, Registry } from "prom-client";
import type { MeshReport } from "../mesh/status-report.ts";
import type { Inspection } from "../peer/inspect.ts";
import type { SyncSnapshot } from "../sync/snapshot.ts";
import { FILE_METRICS, groupByFile } from "./file-metrics.ts";
import type { Metric } from "./metric.ts";
import { groupByCluster, STATUS_METRICS } from "./status-metrics.ts";
import { escapeLine } from "./style.ts";
import { type ProcessFacts, SYNC_METRICS, toSyncSubject } from "./sync-metrics.ts";

/** Renders the state of a mesh as the metrics of {@link STATUS_METRICS}. */
export function renderStatusMetrics(report: MeshReport): Promise<string> {
  return renderMetrics(STATUS_METRICS, groupByCluster(report));
}

/** Renders an inspection of files as the metrics of {@link FILE_METRICS}. */
export function renderFileMetrics(inspection: Inspection): Promise<string> {
  return renderMetrics(FILE_METRICS, groupByFile(inspection));
}

/**
 * Renders the state of a running `sync` as the metrics of {@link SYNC_METRICS}. Each call starts from nothing but the
 * snapshot, so the series of a member that has left are gone.
 */
export function renderSyncMetrics(snapshot: SyncSnapshot, facts: ProcessFacts): Promise<string> {
  return renderMetrics(SYNC_METRICS, [toSyncSubject(snapshot, facts)]);
}

/** Renders the metrics that have values, in order. */
function renderMetrics<Subject>(metrics: readonly Metric<Subject>[], subjects: readonly Subject[]): Promise<string> {
  const registry = new Registry();
  for (const { name, help, labelNames, type, samplesOf } of metrics) {
    const samples = subjects.flatMap((subject) => samplesOf(subject));
    if (samples.length === 0) continue;
    const metric = new (type === "counter" ? Counter : Gauge)({
      ...{ name, help, labelNames: [...labelNames], registers: [registry] },
    });
    for (const { labels, value } of samples) metric.inc(escapeValues(labels), Number(value));
  }
  return registry.metrics();
}

/** Escapes invisible characters, which prom-client leaves as they are, so that names cannot control a terminal. */
function escapeValues(labels: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(labels).map(([name, value]) => [name, escapeLine(value)]));
}
