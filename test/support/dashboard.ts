/** The Grafana dashboard, and the PromQL in it. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const DASHBOARD = fileURLToPath(new URL("../../deploy/grafana/clustermesh-secrets.json", import.meta.url));

/** The parts of a dashboard that are tested. */
export interface Dashboard {
  uid: string;
  schemaVersion: number;
  panels: {
    id: number;
    type: string;
    title: string;
    description?: string;
    datasource?: unknown;
    gridPos: { x: number; y: number; w: number; h: number };
    targets?: { refId: string; datasource: unknown; expr: string; legendFormat?: string }[];
  }[];
  templating: { list: { name: string; type: string; datasource?: unknown; query?: string | { query: string } }[] };
}

/** Reads the dashboard. */
export function readDashboard(): Dashboard {
  return JSON.parse(readFileSync(DASHBOARD, "utf8")) as Dashboard;
}

/** Returns all expressions, with values in the places of Grafana's variables. */
export function dashboardExpressions(): string[] {
  const { panels } = readDashboard();
  return panels.flatMap(({ targets = [] }) =>
    targets.map(({ expr }) => expr.replaceAll("$__rate_interval", "5m").replaceAll("$context", ".*")),
  );
}
