/** What is planned for many clusters, or was done, as the columns of a table. Pure. */
import type { Outcome } from "../import/plan/merge-secret.ts";
import type { Plan } from "../import/plan/plan.ts";
import { escapeLine, type Style } from "./style.ts";
import { type Column, widthOfTable } from "./table.ts";

export interface Row {
  source: string;
  /** Undefined for a cluster that failed. */
  plan?: Plan;
  /** Of Cilium. */
  version?: string | undefined;
}

/** In a column with no more names than this, cells are names; in another one, numbers. */
const MOST_NAMES = 3;

/** The columns of outcomes. Those that are `rare` are there only if they have an entry. */
const OUTCOMES: readonly { title: string; outcome: Outcome; rare?: true; dispensable?: number }[] = [
  { title: "ADDED", outcome: "added" },
  { title: "MOVED", outcome: "moved", rare: true },
  { title: "CHANGED", outcome: "changed" },
  { title: "REMOVED", outcome: "dropped" },
  { title: "PENDING", outcome: "held", rare: true },
  { title: "UNCHANGED", outcome: "unchanged", dispensable: 2 },
];

/** The workloads that restart, in a word. */
const WORKLOADS = { Deployment: "apiserver", DaemonSet: "agents" } as const;
/** Room for the least comfortable gap before each column, and for a last one with the status. */
const GAP = 2;
const STATUS_WIDTH = "partly written".length + GAP;

/** `CLUSTER VERSION ADDED CHANGED REMOVED UNCHANGED USERS RESTARTS`, and `MOVED` and `PENDING` if there are any. */
export function planColumns(rows: readonly Row[], style: Style): Column[] {
  const versions = rows.map(({ version }) => version ?? "");
  const outcomes = OUTCOMES.flatMap(({ title, outcome, rare, dispensable }): (Column & { names: string[][] })[] => {
    const names = rows.map(({ plan }) =>
      [...(plan?.outcomes ?? [])].flatMap(([name, one]) => (one === outcome ? name : [])),
    );
    if (rare && names.every(({ length }) => length === 0)) return [];
    const cells = names.map(({ length }, row) => (rows[row]?.plan ? `${length}` : "-"));
    return [{ title, cells, names, ...(dispensable !== undefined && { dispensable }) }];
  });
  const columns: Column[] = [
    {
      title: "CLUSTER",
      cells: rows.map(({ source }) => escapeLine(source)),
      paint: style.bold,
      cut: "middle",
    },
    ...(versions.some((one) => one !== "")
      ? [{ title: "VERSION", cells: versions.map((one) => escapeLine(one) || "-"), dispensable: 1 }]
      : []),
    ...outcomes.map(({ names: _, ...column }) => column),
    { title: "USERS", cells: rows.map(({ plan }) => usersOf(plan)) },
    { title: "RESTARTS", cells: rows.map(({ plan }) => restartsOf(plan)) },
  ];
  // Names, column by column, as long as the table does not get wider than it may.
  for (const { title, names } of outcomes) {
    const index = columns.findIndex((column) => column.title === title);
    const named = withNames(columns[index] as Column, names);
    const wider = columns.with(index, named);
    if (fits(wider, style)) columns.splice(index, 1, named);
  }
  return columns;
}

/** A column with names for numbers, in cells of few names. */
function withNames(column: Column, names: readonly (readonly string[])[]): Column {
  const isFew = (cell: readonly string[]) => cell.length > 0 && cell.length <= MOST_NAMES;
  if (new Set(names.filter(isFew).flat()).size > MOST_NAMES) return column;
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

/** `+2 -1`: etcd users that are granted, and revoked. */
function usersOf(plan: Plan | undefined): string {
  if (!plan) return "-";
  const parts = [
    ...(plan.granted.length > 0 ? [`+${plan.granted.length}`] : []),
    ...(plan.revoked.length > 0 ? [`-${plan.revoked.length}`] : []),
  ];
  return parts.join(" ") || "0";
}

function restartsOf(plan: Plan | undefined): string {
  const words = plan?.changes.flatMap((change) => (change.verb === "json-patch" ? [WORKLOADS[change.kind]] : [])) ?? [];
  return [...new Set(words)].join(",") || "-";
}
