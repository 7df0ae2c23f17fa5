/** Renders the state of a mesh as a table of clusters and peers, or as a Mermaid graph. Pure. */
import type { CertificateStatus } from "../mesh/own-certificates.ts";
import { type Pair, type PairState, stateOf } from "../mesh/pairs.ts";
import type { ClusterStatus, MeshStatus } from "../mesh/status.ts";
import { findingsOf } from "../mesh/status-report.ts";
import type { Severity } from "../peer/codes/code.ts";
import { formatExpiry } from "../x509/expiry.ts";
import { countFindings, showFindings } from "./findings.ts";
import { count, escapeLine, listFirst, type Style } from "./style.ts";
import { type Column, showTable, widthOfTable } from "./table.ts";

/** The maximum number of peers whose names are the column titles of the matrix. */
const MOST_NAMED = 8;

const MARKS: Record<PairState, string> = { ok: "✓", warning: "!", error: "✗", missing: "·", "node-local": "⌂" };
const MEANINGS: Record<PairState, string> = {
  ok: "healthy",
  warning: "warnings",
  error: "does not connect",
  missing: "not configured",
  "node-local": "only reachable from a node",
};
const STATES = Object.keys(MARKS) as PairState[];
const SELF = "–";
const UNKNOWN = "?";

export interface ShowStatusOptions {
  /** Include namespaces, containers, images, certificates and endpoints. */
  wide?: boolean;
  /** List each finding individually. */
  details?: boolean;
}

/** Renders the report: a row for each cluster with its peers, the findings, and the verdict. */
export function showStatus(status: MeshStatus, style: Style, options: ShowStatusOptions = {}): string[] {
  const { wide = false, details = false } = options;
  const findings = findingsOf(status);
  return [
    ...clusterTable(status, style),
    "",
    ...(wide ? [...status.clusters.flatMap((cluster) => clusterLines(cluster, style)), ""] : []),
    ...(findings.length > 0 ? [...showFindings(findings, style, details), ""] : []),
    verdict(status.clusters, countFindings(findings, details), style),
  ];
}

function verdict(clusters: readonly ClusterStatus[], found: Record<Severity, number>, style: Style): string {
  const [errors, warnings] = [found.error, count(found.warning, "warning")];
  const unread = clusters.filter(({ error }) => error !== undefined).length;
  const size = `${count(clusters.length, "cluster")}${unread > 0 ? ` (${unread} unreachable)` : ""}`;
  if (errors > 0) return `${style.bold(size)}, ${style.red(`unhealthy: ${count(errors, "error")}, ${warnings}`)}`;
  return found.warning > 0
    ? `${style.bold(size)}, ${style.yellow(`healthy, with ${warnings}`)}`
    : `${style.bold(size)}, ${style.green("healthy")}`;
}

/** Renders a row for each cluster, with its peers by name, by id or, if there are too many, as counts by state. */
function clusterTable(status: MeshStatus, style: Style): string[] {
  const { clusters } = status;
  const peers = peersIn(status);
  const rows = rowsOf(status);
  const facts: Column[] = [
    { title: "CLUSTER", cells: clusters.map(({ source }) => escapeLine(source)), paint: style.bold, cut: "middle" },
    ...(clusters.some(({ name, source }) => name !== undefined && name !== source)
      ? [{ title: "NAME", cells: clusters.map(({ name }) => escapeLine(name ?? "-")), cut: "middle" as const }]
      : []),
    { title: "ID", cells: clusters.map(({ id }) => `${id ?? "-"}`) },
    { title: "VERSION", cells: clusters.map(({ version }) => escapeLine(version ?? "-")) },
    { title: "KVSTOREMESH", cells: clusters.map(kvstoreMeshOf), dispensable: 1 },
    { title: "READY", cells: clusters.map(readyOf) },
    statusColumn(status, style),
  ];
  if (peers.length === 0) return showTable(facts, style);
  const fewer = facts.filter(({ dispensable }) => dispensable === undefined);
  const forms = [
    ...(peers.length <= MOST_NAMED ? [{ matrix: namedColumns(peers, rows, style), legend: "rows reach columns" }] : []),
    { matrix: [idColumn(peers, rows, style)], legend: "rows reach columns (cluster ids)", byId: true },
  ];
  for (const { matrix, legend, byId = false } of forms) {
    const columns = [facts, fewer].map((some) => [...some, ...matrix]).find((all) => widthOfTable(all) <= style.width);
    if (!columns) continue;
    const legends = style.wrap(legendOf(legend, peers, rows)).map(style.dim);
    return [...showTable(columns, style), ...legends, ...(byId ? describeUnknown(peers, style) : [])];
  }
  return showTable([...facts, ...countColumns(peers, rows)], style);
}

interface PeerColumn {
  name: string;
  id?: number | undefined;
}

/** Returns the names of all possible peers: the clusters that were read, in their order, then the other peers. */
function peersIn({ clusters, pairs }: MeshStatus): PeerColumn[] {
  const peers = new Map<string, PeerColumn>();
  for (const { source, name = source, id, error } of clusters) {
    if (error === undefined && !peers.has(name)) peers.set(name, { name, id });
  }
  for (const { peer, id } of pairs) if (!peers.has(peer)) peers.set(peer, { name: peer, id });
  return peers.size > 1 ? [...peers.values()] : [];
}

/** Returns a lookup of a peer's state by cluster and name; undefined if unknown. */
type RowOfPairs = (peer: string) => PairState | "self" | undefined;

function rowsOf({ clusters, pairs }: MeshStatus): RowOfPairs[] {
  const byImporter = pairsByImporter(pairs);
  return clusters.map(({ source, name = source, error }) => (peer) => {
    const own = byImporter.get(source);
    // A second context of a cluster is not judged again.
    if (error !== undefined || !own) return undefined;
    if (peer === name) return "self";
    const pair = own.get(peer);
    return pair ? stateOf(pair) : "missing";
  });
}

/** Returns the pairs of each importer by peer name, by the importer's context. */
function pairsByImporter(pairs: readonly Pair[]): Map<string, Map<string, Pair>> {
  const all = new Map<string, Map<string, Pair>>();
  for (const pair of pairs) {
    const own = all.get(pair.importer) ?? new Map<string, Pair>();
    all.set(pair.importer, own.set(pair.peer, pair));
  }
  return all;
}

const markOf = (state: ReturnType<RowOfPairs>) =>
  state === undefined ? UNKNOWN : state === "self" ? SELF : MARKS[state];

function namedColumns(peers: readonly PeerColumn[], rows: readonly RowOfPairs[], style: Style): Column[] {
  return peers.map(({ name }) => ({
    title: escapeLine(name),
    cells: rows.map((stateIn) => markOf(stateIn(name))),
    paint: (cell) => paintMarks(cell, style),
  }));
}

/** Returns one column with a mark for each peer, below the peer ids, which are written from top to bottom. */
function idColumn(peers: readonly PeerColumn[], rows: readonly RowOfPairs[], style: Style): Column {
  const ids = peers.map(({ id }) => `${id ?? UNKNOWN}`);
  const digits = Math.max(...ids.map(({ length }) => length));
  const lines = Array.from({ length: digits }, (_, i) => ids.map((id) => id.padStart(digits)[i]).join(""));
  return {
    title: lines.at(-1) ?? "",
    above: lines.slice(0, -1),
    cells: rows.map((stateIn) => peers.map(({ name }) => markOf(stateIn(name))).join("")),
    paint: (cell) => paintMarks(cell, style),
  };
}

/** Returns the number of peers in each state. */
function countColumns(peers: readonly PeerColumn[], rows: readonly RowOfPairs[]): Column[] {
  const titles: Record<PairState, string> = {
    ok: "OK",
    warning: "WARNINGS",
    error: "ERRORS",
    missing: "MISSING",
    "node-local": "ON NODES",
  };
  const isShown = (state: PairState) =>
    state !== "node-local" || rows.some((stateIn) => peers.some(({ name }) => stateIn(name) === state));
  return STATES.filter(isShown).map((state) => ({
    title: titles[state],
    cells: rows.map((stateIn) => `${peers.filter(({ name }) => stateIn(name) === state).length}`),
  }));
}

function paintMarks(cell: string, style: Style): string {
  const { green, yellow, red, dim } = style;
  const colours = { ok: green, warning: yellow, error: red, missing: dim, "node-local": dim };
  return [...cell].map((mark) => colours[STATES.find((state) => MARKS[state] === mark) ?? "missing"](mark)).join("");
}

/** Returns the legend of the marks in use. */
function legendOf(title: string, peers: readonly PeerColumn[], rows: readonly RowOfPairs[]): string {
  const states = new Set(rows.flatMap((stateIn) => peers.map(({ name }) => stateIn(name))));
  const meanings = [
    ...STATES.filter((state) => states.has(state)).map((state) => `${MARKS[state]} ${MEANINGS[state]}`),
    ...(states.has(undefined) ? [`${UNKNOWN} unknown`] : []),
  ];
  return `${title}: ${meanings.join(", ")}`;
}

/** Returns the peers whose columns have no title. */
function describeUnknown(peers: readonly PeerColumn[], style: Style): string[] {
  const unknown = peers.filter(({ id }) => id === undefined).map(({ name }) => escapeLine(name));
  return unknown.length > 0 ? style.wrap(`${UNKNOWN}: cluster id unknown: ${listFirst(unknown)}`).map(style.dim) : [];
}

function kvstoreMeshOf({ kvstoreMesh }: ClusterStatus): string {
  return kvstoreMesh === undefined ? "-" : kvstoreMesh ? "yes" : "no";
}

function readyOf({ pods, error }: ClusterStatus): string {
  if (error !== undefined) return "-";
  const containers = pods.flatMap((pod) => pod.containers);
  return `${containers.filter(({ ready }) => ready).length}/${containers.length}`;
}

/** Summarizes the findings of each cluster and its peers. */
function statusColumn({ clusters, pairs }: MeshStatus, style: Style): Column {
  const byImporter = pairsByImporter(pairs);
  const severities = clusters.map(({ source, findings }) => {
    const own = [...(byImporter.get(source)?.values() ?? [])];
    const all = [...findings, ...own.flatMap((pair) => pair.findings)];
    const errors = all.filter(({ severity }) => severity === "error").length;
    return { errors, warnings: all.length - errors };
  });
  const cells = clusters.map(({ error, waits }, i) => {
    const { errors = 0, warnings = 0 } = severities[i] ?? {};
    if (error !== undefined) return "unreachable";
    if (waits !== undefined) return "not running";
    if (errors > 0) return count(errors, "error");
    return warnings > 0 ? count(warnings, "warning") : "healthy";
  });
  const paint = (cell: string, row: number) => {
    const { errors = 0, warnings = 0 } = severities[row] ?? {};
    if (errors > 0 || clusters[row]?.waits !== undefined) return style.red(cell);
    return warnings > 0 ? style.yellow(cell) : style.green(cell);
  };
  return { title: "STATUS", cells, paint };
}

/** Returns the details of a cluster that its row omits. */
function clusterLines(cluster: ClusterStatus, style: Style): string[] {
  const { source, pods, waits, error } = cluster;
  if (error !== undefined) return [];
  const { namespace, authMode, maxConnectedClusters, endpoints = [], addresses = [], certificates = [] } = cluster;
  const details = [
    `namespace ${namespace}, authMode ${authMode ?? "unknown"}, max-connected-clusters ${maxConnectedClusters ?? "not set"}`,
    ...(endpoints.length > 0
      ? [`reached at ${endpoints.join(", ")}${addresses.length > 0 ? ` (${addresses.join(", ")})` : ""}`]
      : []),
    ...(certificates.length > 0 ? [`certificates: ${certificates.map(describeCertificate).join(", ")}`] : []),
    ...(waits === undefined ? [] : [`waiting ${waits}`]),
    ...pods.flatMap((pod) =>
      pod.containers.map(({ name, image, ready, waiting }) => {
        const state = ready ? "ready" : (waiting ?? "not ready");
        return `${pod.name} ${name}: ${state}, ${image}`;
      }),
    ),
  ];
  return [`${style.bold(escapeLine(source))}:`, ...details.map((line) => style.dim(`  ${escapeLine(line)}`))];
}

function describeCertificate(certificate: CertificateStatus): string {
  return `${certificate.use === "ca" ? "CA" : certificate.use} ${formatExpiry(certificate)}`;
}

/** Renders a Mermaid graph: solid lines if both sides are healthy, dotted lines if only one is configured. */
export function showMermaid({ clusters, pairs }: MeshStatus): string {
  const names = [...new Set([...clusters.map(({ name, source }) => name ?? source), ...pairs.map(({ peer }) => peer)])];
  const nodes = names.map((name, i) => `  c${i}["${escapeLine(name).replaceAll('"', "'")}"]`);
  const nameOf = new Map(clusters.map(({ source, name }) => [source, name ?? source]));
  const states = new Map(
    pairs
      .filter(({ configured }) => configured)
      .map((pair) => [JSON.stringify([nameOf.get(pair.importer), pair.peer]), stateOf(pair)]),
  );
  const edges = names.flatMap((a, i) =>
    names.slice(i + 1).flatMap((b, offset) => {
      const j = i + 1 + offset;
      const [there, back] = [states.get(JSON.stringify([a, b])), states.get(JSON.stringify([b, a]))];
      if (!there && !back) return [];
      if (there && back) return [`  c${i} ${[there, back].includes("error") ? "x--x" : "<-->"} c${j}`];
      return [there ? `  c${i} -.-> c${j}` : `  c${j} -.-> c${i}`];
    }),
  );
  return ["graph LR", ...nodes, ...edges, ""].join("\n");
}
