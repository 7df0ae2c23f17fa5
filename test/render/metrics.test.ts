/** Metrics in Prometheus' text format. `promtool` judges them in test/e2e/metrics.test.ts. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { MeshReport } from "../../lib/mesh/status-report.ts";
import { FINDING_CODES } from "../../lib/peer/finding-codes.ts";
import type { CertificateReport, Inspection, PeerReport } from "../../lib/peer/inspect.ts";
import type { AddressProbe } from "../../lib/probe/probe.ts";
import { FILE_METRICS } from "../../lib/render/file-metrics.ts";
import { MESH_METRICS, type Metric } from "../../lib/render/metric.ts";
import { renderFileMetrics, renderStatusMetrics } from "../../lib/render/metrics.ts";
import { STATUS_METRICS } from "../../lib/render/status-metrics.ts";
import { SYNC_METRICS } from "../../lib/render/sync-metrics.ts";
import type { Expiry } from "../../lib/x509/expiry.ts";
import { findingWith } from "../support/findings.ts";

/** A certificate that expires at a time in seconds since 1970. */
const until = (seconds: number): Expiry => {
  const expiresAt = new Date(seconds * 1000).toISOString();
  return { expires: expiresAt.slice(0, 10), expiresAt, daysLeft: 1 };
};
const CODES = Object.keys(FINDING_CODES).length;

/** The values of a metric, by labels. */
function valuesIn(text: string, name: string): Record<string, number> {
  const lines = text.split("\n").filter((line) => line.startsWith(`${name}{`));
  return Object.fromEntries(
    lines.map((line) => [line.slice(name.length, line.lastIndexOf(" ")), Number(line.slice(line.lastIndexOf(" ")))]),
  );
}

/** The values other than 0. */
function positiveIn(text: string, name: string): Record<string, number> {
  return Object.fromEntries(Object.entries(valuesIn(text, name)).filter(([, value]) => value !== 0));
}

const server = { subject: "CN=s", issuer: "CN=i", names: [], ...until(700) };
const address: AddressProbe = {
  endpoint: "https://c2:2379",
  host: "c2",
  port: 2379,
  ip: "127.0.0.1",
  steps: [],
  server,
};

const report: MeshReport = {
  clusters: [
    {
      ...{ source: "admin@c1", name: "c1", id: 1, version: "1.20.2", pods: [] },
      certificates: [
        { use: "client", subject: "CN=remote", ...until(1000) },
        { use: "ca", subject: "CN=old", ...until(100) },
        { use: "ca", subject: "CN=new", ...until(9000) },
      ],
      findings: [findingWith("pod-not-ready", { source: "admin@c1" }, "waiting")],
    },
    {
      ...{ source: "c2", error: "connection refused", pods: [] },
      findings: [findingWith("cluster-unreadable", { source: "c2" }, "connection refused")],
    },
  ],
  pairs: [
    {
      ...{ importer: "admin@c1", peer: "c2", configured: true, state: "error" },
      certificates: [{ use: "client", ...until(500) }],
      findings: [
        findingWith("certificate-expired", { source: "admin@c1", key: "c2" }, "expired"),
        findingWith("certificate-expired", { source: "admin@c1", key: "c2" }, "expired, too"),
      ],
    },
    { importer: "admin@c1", peer: "c3", configured: true, state: "warning", findings: [] },
    { importer: "admin@c1", peer: "c4", configured: false, state: "missing", findings: [] },
  ],
  probes: [
    {
      ...{ name: "c2", source: "admin@c1", findings: [] },
      addresses: [address, { ...address, server: { ...server, ...until(600) } }],
    },
  ],
};

describe("metrics of a mesh", () => {
  const C1 = 'context="admin@c1",cluster="c1"';

  test("start with help and type, have no timestamps, and are the same for the same report", async () => {
    const text = await renderStatusMetrics(report);
    assert.equal(await renderStatusMetrics(structuredClone(report)), text);
    assert.match(
      text,
      /^# HELP clustermesh_cluster_up .+\.\n# TYPE clustermesh_cluster_up gauge\nclustermesh_cluster_up\{/,
    );
    assert.ok(text.endsWith(" 0\n") || text.endsWith(" 1\n"));
    for (const line of text.split("\n").filter((one) => one !== "" && !one.startsWith("# "))) {
      assert.match(line, /^clustermesh_[a-z_]+\{[a-z_]+="[^"]*"(?:,[a-z_]+="[^"]*")*\} \d+$/);
    }
  });

  test("a cluster that cannot be read is down, and nothing is claimed about it", async () => {
    const text = await renderStatusMetrics(report);
    assert.deepEqual(valuesIn(text, "clustermesh_cluster_up"), { '{context="admin@c1"}': 1, '{context="c2"}': 0 });
    assert.deepEqual(valuesIn(text, "clustermesh_cluster_info"), { [`{${C1},cluster_id="1",version="1.20.2"}`]: 1 });
    const about = text.split("\n").filter((line) => line.includes('context="c2"'));
    assert.deepEqual(about, [
      'clustermesh_cluster_up{context="c2"} 0',
      'clustermesh_findings{context="c2",severity="error",code="cluster-unreadable"} 1',
    ]);
  });

  test("peers are counted by state, and each is healthy unless it has errors or is missing", async () => {
    const text = await renderStatusMetrics(report);
    const states = { ok: 0, warning: 1, error: 1, missing: 1, "node-local": 0 };
    assert.deepEqual(
      valuesIn(text, "clustermesh_peers"),
      Object.fromEntries(Object.entries(states).map(([state, n]) => [`{${C1},state="${state}"}`, n])),
    );
    assert.deepEqual(valuesIn(text, "clustermesh_peer_healthy"), {
      [`{${C1},peer="c2"}`]: 0,
      [`{${C1},peer="c3"}`]: 1,
    });
  });

  test("of several certificates, the first to expire counts, but the last CA", async () => {
    const text = await renderStatusMetrics(report);
    assert.deepEqual(valuesIn(text, "clustermesh_certificate_expiry_timestamp_seconds"), {
      [`{${C1},use="client"}`]: 1000,
      [`{${C1},use="ca"}`]: 9000,
      [`{${C1},peer="c2",use="client"}`]: 500,
      [`{${C1},peer="c2",use="server"}`]: 600,
    });
  });

  test("findings of a cluster and its peers are counted by code, and codes without findings are 0", async () => {
    const text = await renderStatusMetrics(report);
    assert.equal(Object.keys(valuesIn(text, "clustermesh_findings")).length, CODES + 1);
    assert.deepEqual(positiveIn(text, "clustermesh_findings"), {
      '{context="admin@c1",severity="error",code="pod-not-ready"}': 1,
      '{context="admin@c1",severity="error",code="certificate-expired"}': 2,
      '{context="c2",severity="error",code="cluster-unreadable"}': 1,
    });
  });

  test("names cannot forge a line or control a terminal", async () => {
    const source = 'a"\\b\nclustermesh_cluster_up 1\u001b[2J';
    const text = await renderStatusMetrics({ clusters: [{ source, pods: [], findings: [] }], pairs: [] });
    assert.ok(text.includes(String.raw`{context="a\"\\b\\nclustermesh_cluster_up 1\\x1b[2J"} 1`), text.slice(0, 300));
    assert.ok(!text.includes("\u001b") && !text.includes("\nclustermesh_cluster_up 1"));
  });
});

describe("metrics of files", () => {
  const certificate = (seconds: number): CertificateReport => ({
    ...{ subject: "CN=x", issuer: "CN=y", names: [], key: "EC prime256v1", validFrom: "1970-01-01" },
    ...until(seconds),
  });
  const peer: PeerReport = {
    ...{ name: "c2", source: "c2.json", layout: "clustermesh-secrets", verdict: "warnings", endpoints: [] },
    ...{ ca: [certificate(300)], client: certificate(200) },
    findings: [findingWith("certificate-expires", { source: "c2.json", key: "c2" }, "soon")],
  };
  const inspection: Inspection = {
    peers: [peer, { ...peer, name: "c3", verdict: "fails", ca: "importer", client: "importer", findings: [] }],
    unreadable: ["cut.json"],
    findings: [findingWith("unreadable", { source: "cut.json" }, "is not JSON")],
  };

  test("each file is readable or not, each peer connects or not", async () => {
    const text = await renderFileMetrics(inspection);
    assert.deepEqual(valuesIn(text, "clustermesh_file_readable"), { '{file="c2.json"}': 1, '{file="cut.json"}': 0 });
    assert.deepEqual(valuesIn(text, "clustermesh_file_peer_connects"), {
      '{file="c2.json",peer="c2"}': 1,
      '{file="c2.json",peer="c3"}': 0,
    });
    assert.deepEqual(positiveIn(text, "clustermesh_file_peers"), {
      '{file="c2.json",verdict="warnings"}': 1,
      '{file="c2.json",verdict="fails"}': 1,
    });
    assert.equal(Object.keys(valuesIn(text, "clustermesh_file_peers")).length, 10);
  });

  test("certificates in the file are listed, and findings counted", async () => {
    const text = await renderFileMetrics(inspection);
    assert.deepEqual(valuesIn(text, "clustermesh_file_certificate_expiry_timestamp_seconds"), {
      '{file="c2.json",peer="c2",use="client"}': 200,
      '{file="c2.json",peer="c2",use="ca"}': 300,
    });
    assert.equal(Object.keys(valuesIn(text, "clustermesh_file_findings")).length, CODES + 1);
    assert.deepEqual(positiveIn(text, "clustermesh_file_findings"), {
      '{file="c2.json",severity="warning",code="certificate-expires"}': 1,
      '{file="cut.json",severity="error",code="unreadable"}': 1,
    });
  });
});

test("names of metrics follow the conventions of Prometheus, and each metric has one meaning", () => {
  const metrics: readonly Metric<never>[] = [...STATUS_METRICS, ...FILE_METRICS, ...SYNC_METRICS];
  const meanings = new Map<string, object>();
  for (const { name, help, labelNames, type = "gauge" } of metrics) {
    const meaning = { help, labelNames, type };
    assert.deepEqual(meanings.get(name) ?? meaning, meaning, name);
    meanings.set(name, meaning);
    // Names that start with process_ are those of Prometheus' client libraries.
    assert.match(name, /^(?:clustermesh|process)(?:_[a-z]+)+$/);
    assert.equal(name.endsWith("_total"), type === "counter", name);
    assert.doesNotMatch(name, /_(?:count|sum|bucket|gauge)$/, "a suffix of other types");
    assert.match(help, /^[A-Z].*\.$/, name);
    for (const label of labelNames) assert.match(label, /^(?!instance$|job$|le$|quantile$)[a-z_]+$/, name);
  }
  const repeated = metrics.map(({ name }) => name).filter((name, i, all) => all.indexOf(name) !== i);
  assert.deepEqual(
    repeated.sort(),
    Object.values(MESH_METRICS)
      .map(({ name }) => name)
      .sort(),
  );
});
