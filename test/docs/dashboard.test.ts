/** The Grafana dashboard, as far as it can be checked without Grafana. promtool parses its expressions in test/e2e. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { STATUS_METRICS } from "../../lib/render/status-metrics.ts";
import { SYNC_METRICS } from "../../lib/render/sync-metrics.ts";
import { dashboardExpressions, readDashboard } from "../support/dashboard.ts";

const dashboard = readDashboard();
const DATASOURCE = { type: "prometheus", uid: `$\{datasource}` };

test("every query reads a data source that the user selects", () => {
  const [datasource, ...others] = dashboard.templating.list;
  assert.deepEqual([datasource?.name, datasource?.type], ["datasource", "datasource"]);
  for (const variable of others) assert.deepEqual(variable.datasource, DATASOURCE, variable.name);
  for (const { title, type, datasource, targets = [] } of dashboard.panels) {
    if (type === "row") continue;
    assert.deepEqual(datasource, DATASOURCE, title);
    assert.ok(targets.length > 0, title);
    for (const target of targets) assert.deepEqual(target.datasource, DATASOURCE, title);
    assert.equal(new Set(targets.map(({ refId }) => refId)).size, targets.length, title);
  }
});

test("queries use metrics and labels that exist", () => {
  const metrics = new Map([...STATUS_METRICS, ...SYNC_METRICS].map((metric) => [String(metric.name), metric]));
  const values = dashboard.templating.list.flatMap(({ query }) => (typeof query === "object" ? query.query : []));
  assert.equal(values.length, 1);
  for (const expression of [...dashboardExpressions(), ...values]) {
    const names = expression.match(/\b(?:clustermesh|process)_\w+/g) ?? [];
    assert.ok(names.length > 0, expression);
    for (const name of names) assert.ok(metrics.has(name), `${name} in ${expression}`);
    const known = [...names.flatMap((name) => metrics.get(name)?.labelNames ?? []), "job", "instance"];
    const grouped = [...expression.matchAll(/\b(?:by|on) \(([^)]*)\)/g)].flatMap(([, list = ""]) => list.split(", "));
    const selected = [...expression.matchAll(/[{,](\w+)[=!]~?"/g)].map(([, label = ""]) => label);
    for (const label of [...grouped, ...selected]) assert.ok(known.includes(label), `${label} in ${expression}`);
  }
});

test("legends name labels that the query has", () => {
  for (const { title, targets = [] } of dashboard.panels) {
    for (const { expr, legendFormat = "" } of targets) {
      for (const [, label = ""] of legendFormat.matchAll(/\{\{(\w+)\}\}/g)) {
        const isGrouped = / by \(/.test(expr);
        const labels = isGrouped ? (/ by \(([^)]*)\)/.exec(expr)?.[1] ?? "").split(", ") : ["instance"];
        assert.ok(labels.includes(label), `${title}: ${label}`);
      }
    }
  }
});

test("panels are unique, described, and do not overlap", () => {
  const { panels, uid, schemaVersion } = dashboard;
  assert.match(uid, /^[a-zA-Z0-9_-]{1,40}$/);
  assert.ok(schemaVersion >= 36, "with data sources as objects");
  assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length);
  const taken = new Map<string, string>();
  for (const { title, type, description, gridPos } of panels) {
    assert.ok(["row", "stat", "table", "timeseries"].includes(type), type);
    assert.ok(type === "row" || /\.$/.test(description ?? ""), title);
    const { x, y, w, h } = gridPos;
    assert.ok(x >= 0 && x + w <= 24, title);
    for (let column = x; column < x + w; column++) {
      for (let line = y; line < y + h; line++) {
        assert.equal(taken.get(`${column},${line}`), undefined, title);
        taken.set(`${column},${line}`, title);
      }
    }
  }
});
