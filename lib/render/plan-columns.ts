/** Columns for plans and results of many clusters. Pure. */
import type { Outcome } from "../import/plan/merge-secret.ts";
import type { Plan } from "../import/plan/plan.ts";
import { escapeLine, type Style } from "./style.ts";
import { type Column, widthOfTable } from "./table.ts";

export interface Row {
  source: string;
  /** Undefined for a failed cluster. */
  plan?: Plan;
  /** Cilium version. */
  version?: string | undefined;
}

/** Maximum number of distinct names in a column; with more, it shows counts. */
const MAX_NAMES = 3;

const OUTCOMES: readonly { title: string; outcome: Outcome; dispensable?: number }[] = [
  { title: "ADDED", outcome: "added" },
  { title: "MOVED", outcome: "moved" },
  { title: "CHANGED", outcome: "changed" },
  { title: "REMOVED", outcome: "dropped" },
  { title: "PENDING", outcome: "held" },
  { title: "UNCHANGED", outcome: "unchanged", dispensable: 2 },
];

const WORKLOAD_LABELS = { Deployment: "apiserver", DaemonSet: "agents" } as const;
/** Width reserved between columns. */
const GAP = 2;
/** Width reserved for a STATUS column at the end. */
const STATUS_WIDTH = "partly written".length + GAP;

/**
 * Builds the columns `CLUSTER VERSION ADDED MOVED CHANGED REMOVED PENDING UNCHANGED USERS RESTARTS`. Columns without a value
 * in any row are omitted. Columns with few names show them if the table still fits.
 */
export function planColumns(rows: readonly Row[], style: Style): Column[] {
  const versions = rows.map(({ version }) => version ?? "");
  const outcomes = OUTCOMES.flatMap(({ title, outcome, dispensable }): (Column & { names: string[][] })[] => {
    const names = rows.map(({ plan }) =>
      [...(plan?.outcomes ?? [])].flatMap(([name, one]) => (one === outcome ? name : [])),
    );
    if (names.every(({ length }) => length === 0)) return [];
    const cells = names.map(({ length }, row) => (rows[row]?.plan ? `${length}` : "-"));
    return [{ title, cells, names, ...(dispensable !== undefined && { dispensable }) }];
  });
  const columns: Column[] = [
    {
      title: "CLUSTER",
      cells: rows.map(({ source }) => escapeLine(source)),
      paint: style.bold,
      truncate: "middle",
    },
    ...(versions.some((one) => one !== "")
      ? [{ title: "VERSION", cells: versions.map((one) => escapeLine(one) || "-"), dispensable: 1 }]
      : []),
    ...outcomes.map(({ names: _, ...column }) => column),
    ...[
      { title: "USERS", cells: rows.map(({ plan }) => usersOf(plan)) },
      { title: "RESTARTS", cells: rows.map(({ plan }) => restartsOf(plan)) },
    ].filter(({ cells }) => cells.some((cell) => cell !== "0" && cell !== "-")),
  ];
  for (const { title, names } of outcomes) {
    const index = columns.findIndex((column) => column.title === title);
    const named = showNames(columns[index] as Column, names);
    if (fits(columns.with(index, named), style)) columns[index] = named;
  }
  return columns;
}

/** Replaces counts by names, in cells with few names. */
function showNames(column: Column, names: readonly (readonly string[])[]): Column {
  const isFew = (cell: readonly string[]) => cell.length > 0 && cell.length <= MAX_NAMES;
  if (new Set(names.filter(isFew).flat()).size > MAX_NAMES) return column;
  return {
    ...column,
    cells: column.cells.map((cell, row) => {
      const own = names[row] ?? [];
      return isFew(own) ? escapeLine(own.join(",")) : cell;
    }),
  };
}

function fits(columns: readonly Column[], style: Style): boolean {
  return widthOfTable(columns, GAP) + GAP + STATUS_WIDTH <= style.width;
}

/** Formats numbers of granted and revoked etcd users, such as `+2 -1`. */
function usersOf(plan: Plan | undefined): string {
  if (!plan) return "-";
  const parts = [
    ...(plan.granted.length > 0 ? [`+${plan.granted.length}`] : []),
    ...(plan.revoked.length > 0 ? [`-${plan.revoked.length}`] : []),
  ];
  return parts.join(" ") || "0";
}

function restartsOf(plan: Plan | undefined): string {
  const workloads =
    plan?.changes.flatMap((change) => (change.verb === "json-patch" ? [WORKLOAD_LABELS[change.kind]] : [])) ?? [];
  return [...new Set(workloads)].join(",") || "-";
}
