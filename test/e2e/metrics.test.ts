/** Metrics that the programs print, and the alert rules for them, with Prometheus' promtool as the judge. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { parse } from "yaml";
import { type Sandbox, startSandbox } from "../../lib/sandbox/sandbox.ts";
import { SCENARIOS } from "../docs/scenarios.ts";
import { run } from "../support/programs.ts";
import { RULES, type RuleTest, runPromtool, SYNC_RULES, samplesOf, testRules } from "../support/promtool.ts";
import { withoutRealServers } from "../support/real-assets.ts";

const START = "2030-01-01T00:00:00Z";
const HOUR = 3600;
const DAY = 24 * HOUR;
/** A time in seconds since 1970. */
const at = (seconds: number) => Date.parse(START) / 1000 + seconds;
const UP = { 'clustermesh_cluster_up{context="c1"}': 1 };
const EXPIRY = "clustermesh_certificate_expiry_timestamp_seconds";
const FILE_EXPIRY = "clustermesh_file_certificate_expiry_timestamp_seconds";

describe("metrics that the programs print", { skip: withoutRealServers() }, () => {
  let sandbox: Sandbox;
  let dir: string;
  /** What status and inspect print. */
  const printed = { status: "", inspect: "", down: "" };

  before(async () => {
    dir = mkdtempSync(join(tmpdir(), "metrics-"));
    sandbox = await startSandbox({ clusters: (await SCENARIOS.expiring?.()) ?? [] });
    const config = parse(readFileSync(sandbox.kubeconfig, "utf8"));
    config.contexts[2].name = 'odd "name" \\ of\na\tcontext';
    config.clusters[1].cluster.server = "https://127.0.0.1:1";
    writeFileSync(join(dir, "down"), JSON.stringify(config));
    const go = (...args: string[]) => run("clustermesh-secrets", args, { kubeconfig: sandbox.kubeconfig, cwd: dir });
    assert.equal((await go("connect", "cluster1", "cluster2", "cluster3", "--yes")).code, 0);
    assert.equal((await go("extract", "cluster2", "--output-file", "cluster2.json")).code, 0);
    writeFileSync(join(dir, "cut.json"), '{"kind": "Secret"');
    printed.status = (await go("status", "--all-contexts", "-o", "prometheus")).stdout;
    printed.inspect = (await go("inspect", "cluster2.json", "cut.json", "-o", "prometheus")).stdout;
    const down = ["status", "--all-contexts", "-o", "prometheus"];
    printed.down = (await run("clustermesh-secrets", down, { kubeconfig: join(dir, "down") })).stdout;
  });
  /** When the client certificate of cluster2 expires, in seconds since 1970. */
  const expiryOfClient = () =>
    samplesOf(printed.status)[`${EXPIRY}{context="cluster2",cluster="cluster2",use="client"}`] ?? 0;
  after(async () => {
    await sandbox?.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  test("promtool accepts them, each alone and all in one scrape", () => {
    for (const [what, text] of Object.entries({ ...printed, all: printed.status + printed.inspect })) {
      assert.ok(text.length > 1000, what);
      assert.deepEqual(runPromtool(["check", "metrics"], text), { code: 0, output: "" }, what);
    }
    assert.ok(
      printed.down.includes('{context="odd \\"name\\" \\\\ of\\\\na\\\\x09context"}'),
      printed.down.slice(0, 400),
    );
  });

  test("promtool rejects what is damaged", () => {
    const [first = ""] = printed.status.split("\n").filter((line) => line.startsWith("clustermesh_"));
    for (const [what, damaged] of Object.entries({
      "a repeated series": printed.status.replace(first, `${first}\n${first}`),
      "an unescaped quote": printed.status.replace('context="', 'context=""'),
      "a missing help": printed.status.replace(/^# HELP .*\n/m, ""),
      "another type": printed.status.replaceAll(" gauge\n", " counter\n"),
      "a cut line": printed.status.slice(0, -3),
    })) {
      assert.notEqual(damaged, printed.status, what);
      assert.notEqual(runPromtool(["check", "metrics"], damaged).code, 0, what);
    }
  });

  test("a certificate of 20 days fires an alert that names the command to run", () => {
    const start = new Date((expiryOfClient() - 20 * DAY) * 1000).toISOString();
    const certificate = { alertname: "ClusterMeshCertificateExpiration", severity: "warning" };
    const firing = [
      { ...certificate, context: "cluster1", peer: "cluster2", use: "client" },
      { ...certificate, context: "cluster2", use: "client" },
      { ...certificate, context: "cluster2", use: "server" },
      { ...certificate, context: "cluster3", peer: "cluster2", use: "client" },
    ];
    const annotations = (what: string, context: string) => ({
      summary: `The ${what} expires in 20.0 days`,
      description: `The remedy is printed, with context ${context}, by: clustermesh-secrets status CONTEXT --expires-within 30d`,
    });
    const alert = {
      ...{ eval_time: "1m", alertname: certificate.alertname },
      exp_alerts: [
        ["cluster1", "cluster2", "client"],
        ["cluster2", undefined, "client"],
        ["cluster2", undefined, "server"],
        ["cluster3", "cluster2", "client"],
      ].map(([context = "", peer, use = ""]) => ({
        exp_labels: { context, cluster: context, use, severity: "warning", ...(peer !== undefined && { peer }) },
        exp_annotations: annotations(
          peer === undefined
            ? `${use} certificate of ${context}`
            : `${use} certificate that ${context} has for ${peer}`,
          context,
        ),
      })),
    };
    const tested = testRules({ start, series: samplesOf(printed.status), after: 1, firing }, [alert]);
    assert.equal(tested.code, 0, tested.output);
  });
});

describe("alert rules", { skip: withoutRealServers() }, () => {
  test("promtool accepts them without lint warnings", () => {
    const { code, output } = runPromtool(["check", "rules", "--lint=all", "--lint-fatal", RULES, SYNC_RULES]);
    assert.equal(code, 0, output);
  });

  const certificate = (alertname: string, severity: string) => [{ alertname, severity, context: "c1", use: "ca" }];
  const cases: Readonly<Record<string, Omit<RuleTest, "start">>> = {
    "a healthy mesh is silent": {
      series: {
        ...UP,
        'clustermesh_peer_healthy{context="c1",peer="c2"}': 1,
        'clustermesh_findings{context="c1",severity="error",code="ca-stale"}': 0,
        'clustermesh_findings{context="c1",severity="warning",code="client-stale"}': 2,
        'node_textfile_mtime_seconds{file="/metrics/clustermesh.prom"}': at(0),
        'node_textfile_mtime_seconds{file="/metrics/other.prom"}': at(-9 * DAY),
        [`${EXPIRY}{context="c1",use="ca"}`]: at(21 * DAY + HOUR),
        [`${FILE_EXPIRY}{file="c2.json",peer="c2",use="client"}`]: at(21 * DAY + HOUR),
      },
      after: 40,
      firing: [],
    },
    "a certificate of less than 21 days is a warning": {
      series: { ...UP, [`${EXPIRY}{context="c1",use="ca"}`]: at(21 * DAY - 1) },
      after: 0,
      firing: certificate("ClusterMeshCertificateExpiration", "warning"),
    },
    "a certificate of three days is a warning": {
      series: { ...UP, [`${EXPIRY}{context="c1",use="ca"}`]: at(3 * DAY) },
      after: 0,
      firing: certificate("ClusterMeshCertificateExpiration", "warning"),
    },
    "a certificate of less than three days is critical": {
      series: { ...UP, [`${EXPIRY}{context="c1",use="ca"}`]: at(3 * DAY - 1) },
      after: 0,
      firing: certificate("ClusterMeshCertificateExpiration", "critical"),
    },
    "an expired certificate is critical": {
      series: { ...UP, [`${EXPIRY}{context="c1",use="ca"}`]: at(0) },
      after: 0,
      firing: certificate("ClusterMeshCertificateExpired", "critical"),
    },
    "an unhealthy peer, and errors of a cluster, fire after a quarter of an hour": {
      series: {
        ...UP,
        'clustermesh_peer_healthy{context="c1",peer="c2"}': 0,
        'clustermesh_findings{context="c1",severity="error",code="ca-stale"}': 1,
        'clustermesh_findings{context="c1",severity="error",code="endpoint-stale"}': 2,
      },
      after: 15,
      firing: [
        { alertname: "ClusterMeshPeerUnhealthy", severity: "critical", context: "c1", peer: "c2" },
        { alertname: "ClusterMeshErrors", severity: "warning", context: "c1" },
      ],
    },
    "a shorter failure is silent": {
      series: { ...UP, 'clustermesh_peer_healthy{context="c1",peer="c2"}': 0 },
      after: 14,
      firing: [],
    },
    "an unreadable cluster fires once": {
      series: {
        'clustermesh_cluster_up{context="c1"}': 0,
        'clustermesh_findings{context="c1",severity="error",code="cluster-unreadable"}': 1,
      },
      after: 15,
      firing: [{ alertname: "ClusterMeshClusterUnreadable", severity: "warning", context: "c1" }],
    },
    "a file that is not written for an hour is stale": {
      series: { ...UP, 'node_textfile_mtime_seconds{file="clustermesh.prom"}': at(-HOUR) },
      after: 16,
      firing: [{ alertname: "ClusterMeshMetricsStale", severity: "warning", file: "clustermesh.prom" }],
    },
    "no metrics at all": {
      series: { up: 1 },
      after: 15,
      firing: [{ alertname: "ClusterMeshMetricsMissing", severity: "warning" }],
    },
    "an old certificate in a file, and errors of the file": {
      series: {
        ...UP,
        [`${FILE_EXPIRY}{file="c2.json",peer="c2",use="client"}`]: at(-DAY),
        'clustermesh_file_findings{file="cut.json",severity="error",code="unreadable"}': 1,
      },
      after: 15,
      firing: [
        {
          ...{ alertname: "ClusterMeshFileCertificateExpiration", severity: "warning" },
          ...{ file: "c2.json", peer: "c2", use: "client" },
        },
        { alertname: "ClusterMeshFileErrors", severity: "warning", file: "cut.json" },
      ],
    },
  };
  for (const [what, one] of Object.entries(cases)) {
    test(what, () => {
      const { code, output } = testRules({ start: START, ...one });
      assert.equal(code, 0, output);
    });
  }
});
