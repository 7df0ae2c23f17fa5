/** The alert rules, as far as they can be checked without promtool: the page about them, their metrics and their commands. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";
import { FILE_METRICS } from "../../lib/render/file-metrics.ts";
import { STATUS_METRICS } from "../../lib/render/status-metrics.ts";
import { SYNC_METRICS } from "../../lib/render/sync-metrics.ts";
import { commands } from "../../scripts/commands.ts";

interface Rule {
  alert: string;
  expr: string;
  labels: { severity: string };
  annotations: { summary: string; description: string };
}

const root = fileURLToPath(new URL("../..", import.meta.url));
const rules = ["alerts.yaml", "sync-alerts.yaml"].flatMap((file) => {
  const text = readFileSync(join(root, "deploy/prometheus", file), "utf8");
  const { groups } = parse(text) as { groups: { rules: Rule[] }[] };
  return groups.flatMap((group) => group.rules);
});

test("docs/monitoring.md lists all alerts with their severities", () => {
  const page = readFileSync(join(root, "docs/monitoring.md"), "utf8");
  const listed = [...page.matchAll(/^\| `(ClusterMesh\w+)` \| (\w+) \|/gm)].map(([, alert, severity]) => [
    alert,
    severity,
  ]);
  assert.deepEqual(
    listed,
    rules.map(({ alert, labels }) => [alert, labels.severity]),
  );
});

test("the rules use metrics and labels that exist", () => {
  const metrics = new Map(
    [...STATUS_METRICS, ...FILE_METRICS, ...SYNC_METRICS].map((metric) => [String(metric.name), metric]),
  );
  for (const { alert, expr, annotations } of rules) {
    const used = expr.match(/\bclustermesh_\w+/g) ?? [];
    assert.ok(
      used.every((name) => metrics.has(name)),
      `${alert}: ${expr}`,
    );
    const known = [...used.flatMap((name) => metrics.get(name)?.labelNames ?? []), "instance", "namespace", "file"];
    const named = Object.values(annotations).flatMap((text) => [...text.matchAll(/\$labels\.(\w+)/g)]);
    for (const [, label = ""] of named) assert.ok(known.includes(label), `${alert}: ${label}`);
  }
});

test("each alert names a command with flags that exist", async () => {
  for (const { alert, annotations } of rules) {
    const [, name = "", rest = ""] = /: clustermesh-secrets (\w+) (.+)$/s.exec(annotations.description) ?? [];
    const command = commands[name];
    assert.ok(command, `${alert}: ${annotations.description}`);
    assert.doesNotMatch(rest, /\{\{/, `${alert}: a value could contain anything, so it is not part of a command`);
    const { options } = await command.load();
    for (const [, flag = ""] of rest.matchAll(/--([\w-]+)/g)) assert.ok(flag in options, `${alert}: --${flag}`);
  }
});
