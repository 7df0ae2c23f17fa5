/** Prometheus' own judge of metrics and alert rules. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { realAssets } from "./real-assets.ts";

const pathOf = (name: string) => fileURLToPath(new URL(`../../deploy/prometheus/${name}`, import.meta.url));
/** Path of the rules for metrics of `status` and `inspect`. */
export const RULES = pathOf("alerts.yaml");
/** Path of the rules that `sync` needs besides {@link RULES}. */
export const SYNC_RULES = pathOf("sync-alerts.yaml");

/** A promtool test: the values of series from `start` on, and what is expected of the rules. */
export interface RuleTest {
  /** RFC 3339. */
  start: string;
  /** Files of rules; {@link RULES} by default. */
  rules?: readonly string[];
  /** Series with labels, and the value that each has at every minute, or its values in promtool's notation. */
  series: Readonly<Record<string, number | string>>;
  /** Minutes after the start at which the alerts are compared. */
  after: number;
  /** The labels of all firing alerts, except those that are equal for all. */
  firing: readonly Readonly<Record<string, string>>[];
}

/** Runs promtool, and returns its exit code and output. */
export function runPromtool(args: readonly string[], input = ""): { code: number | null; output: string } {
  const { status, stdout, stderr } = spawnSync(realAssets().promtool, args, { input, encoding: "utf8" });
  return { code: status, output: stdout + stderr };
}

/** Runs a test of the rules with promtool, which prints the expected and the actual alerts if they differ. */
export function testRules(one: RuleTest, alerts: readonly object[] = []): ReturnType<typeof runPromtool> {
  const labels = "alertname, severity, namespace, instance, context, peer, reason, use, file";
  const document = {
    rule_files: one.rules ?? [RULES],
    evaluation_interval: "1m",
    tests: [
      {
        interval: "1m",
        start_timestamp: one.start,
        input_series: Object.entries(one.series).map(([series, value]) => ({
          ...{ series, values: typeof value === "number" ? `${value}x180` : value },
        })),
        alert_rule_test: alerts,
        promql_expr_test: [
          {
            expr: `count by (${labels}) (ALERTS{alertstate="firing"})`,
            eval_time: `${one.after}m`,
            exp_samples: one.firing.map((alert) => ({ labels: formatLabels(alert), value: 1 })),
          },
        ],
      },
    ],
  };
  const folder = mkdtempSync(join(tmpdir(), "promtool-"));
  try {
    const path = join(folder, "test.json");
    writeFileSync(path, JSON.stringify(document));
    return runPromtool(["test", "rules", path]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function formatLabels(labels: Readonly<Record<string, string>>): string {
  return `{${Object.entries(labels)
    .map(([name, value]) => `${name}=${JSON.stringify(value)}`)
    .join(",")}}`;
}

/** Parses the samples of a text in Prometheus' format without timestamps. */
export function samplesOf(text: string): Record<string, number> {
  const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  const parts = lines.map((line) => [line.slice(0, line.lastIndexOf(" ")), line.slice(line.lastIndexOf(" "))] as const);
  return Object.fromEntries(parts.map(([series, value]) => [series, Number(value)]));
}
