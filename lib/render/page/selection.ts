/** Which rows, columns and findings the filters of the page select. */
import type { CellData, PageData } from "./page-data.ts";

/** The values of the filters. */
export interface Filter {
  /** A part of a cluster's name; empty for all. */
  name: string;
  /** Whether the importer, the peer, either or both must have this name. */
  role: "importer" | "peer" | "either" | "both";
  /** The code of a finding; empty for all. */
  code: string;
  /** Whether only cells and clusters with a problem are selected. */
  onlyProblems: boolean;
}

/** What is selected, as indexes in the data. */
export interface Selection {
  rows: number[];
  columns: number[];
  /** Rows of the table of clusters. */
  clusters: Set<number>;
  /** Items of the list of findings. */
  groups: Set<number>;
  /** Whether a cell matches the filters. */
  isMatch(row: number, column: number): boolean;
}

/**
 * Applies the filters. A row or a column is selected if one of its cells is, or if a finding about its cluster
 * matches the filters. Without filters, everything is selected.
 */
export function selectFrom(data: PageData, filter: Filter): Selection {
  const { clusters, peers, cells, kinds } = data;
  const isNamed = namesIn(data, filter.name);
  const isFiltered = filter.onlyProblems || filter.code !== "";
  const matchingKinds = kinds.map((kind) => !isFiltered || matchesKind(data, kind, filter));
  const isMatch = (row: number, column: number) =>
    matchingKinds[cells[row]?.[column] ?? -1] === true &&
    matchesRole(filter.role, isNamed.row(row), isNamed.column(column));
  const hasOwn = clusters.map(
    ({ findings }, row) => isNamed.row(row) && findingsOfCode(data, findings, filter).length > 0,
  );
  const ownColumns = new Set(clusters.flatMap(({ column }, row) => (isFiltered && hasOwn[row] ? [column] : [])));
  const allColumns = [...peers.keys()];
  const rows = [...clusters.keys()].filter(
    (row) => (isFiltered && hasOwn[row]) || allColumns.some((column) => isMatch(row, column)),
  );
  const columns = allColumns.filter((column) => ownColumns.has(column) || rows.some((row) => isMatch(row, column)));
  const [isRow, isColumn] = [new Set(rows), new Set(columns)];
  const named = [...clusters.keys()].filter(isNamed.row);
  const matching = rows.flatMap((row) =>
    columns.flatMap((column) => (isMatch(row, column) ? (cells[row]?.[column] ?? []) : [])),
  );
  const findings = [
    ...[...new Set(matching)].flatMap((kind) => kinds[kind]?.slice(1) ?? []),
    ...clusters.flatMap((cluster, row) => (hasOwn[row] ? cluster.findings : [])),
  ];
  return {
    rows,
    columns,
    clusters: new Set(
      named.filter((row) => !isFiltered || isRow.has(row) || isColumn.has(clusters[row]?.column ?? -1)),
    ),
    groups: new Set(findingsOfCode(data, findings, filter).map((one) => data.findings[one]?.[0] ?? -1)),
    isMatch,
  };
}

/** Returns whether the name of a row or of a column contains the query, ignoring case. A row has two names. */
function namesIn({ clusters, peers }: PageData, name: string) {
  const query = name.trim().toLowerCase();
  const columns = peers.map((peer) => peer.toLowerCase().includes(query));
  const rows = clusters.map(
    ({ name: context, column }) => context.toLowerCase().includes(query) || columns[column] === true,
  );
  return { row: (row: number) => rows[row] === true, column: (column: number) => columns[column] === true };
}

function matchesRole(role: Filter["role"], importer: boolean, peer: boolean): boolean {
  if (role === "importer") return importer;
  if (role === "peer") return peer;
  return role === "either" ? importer || peer : importer && peer;
}

/** Whether a cell of this kind has a problem and the code, if the filter requires them. */
function matchesKind(data: PageData, [state, ...findings]: CellData, filter: Filter): boolean {
  const hasProblem = findings.length > 0 || data.states[state]?.name === "error";
  return (
    (hasProblem || !filter.onlyProblems) && (filter.code === "" || findingsOfCode(data, findings, filter).length > 0)
  );
}

function findingsOfCode(
  { findings, codes }: PageData,
  indexes: readonly number[],
  { code }: Filter,
): readonly number[] {
  if (code === "") return indexes;
  return indexes.filter((index) => codes[findings[index]?.[2] ?? -1] === code);
}
