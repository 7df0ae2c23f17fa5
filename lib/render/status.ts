/** State of a mesh: a table of clusters and their peers, and a mermaid graph. Pure. */
import type { CertificateStatus } from "../mesh/own-certificates.ts";
import { type PairState, stateOf } from "../mesh/pairs.ts";
import type { ClusterStatus, MeshStatus } from "../mesh/status.ts";
import { findingsOf } from "../mesh/status-report.ts";
import { formatExpiry } from "../x509/expiry.ts";
import { type Health, judgeClusters, judgeHealth, kvstoreMeshOf, readyOf } from "./cluster-rows.ts";
import { type FindingGroup, groupFindings } from "./finding-groups.ts";
import { showFindings } from "./findings.ts";
import {
  explainMarks,
  idsInPairs,
  listPeers,
  listUncheckedEndpoints,
  MARKS,
  type PeerColumn,
  STATES,
  type StateLookup,
  stateLookups,
} from "./mesh-matrix.ts";
import { escapeLine, listFirst, type Style } from "./style.ts";
import { type Column, showTable, widthOfTable } from "./table.ts";

/** Maximum number of peers with a column each. */
const MAX_NAMED = 8;

export interface ShowStatusOptions {
  /** Adds namespaces, containers, images, certificates and endpoints. */
  wide?: boolean;
  /** Prints every finding separately. */
  details?: boolean;
}

/** Prints a row for each cluster with its peers, then findings, then a verdict. */
export function showStatus(status: MeshStatus, style: Style, options: ShowStatusOptions = {}): string[] {
  const { wide = false, details = false } = options;
  const findings = findingsOf(status);
  const groups = groupFindings(findings, details);
  return [
    ...showClusters(status, style, groups),
    ...listGivenEndpoints(status, style),
    "",
    ...(wide ? [...status.clusters.flatMap((cluster) => describeCluster(cluster, style)), ""] : []),
    ...(findings.length > 0 ? [...showFindings(findings, style, details), ""] : []),
    showHealth(status, groups, style),
  ];
}

/** Prints the verdict about a mesh: `3 clusters, unhealthy: 1 error, 0 warnings`. */
export function showVerdict(status: MeshStatus, style: Style): string {
  return showHealth(status, groupFindings(findingsOf(status)), style);
}

function showHealth(status: MeshStatus, groups: readonly FindingGroup[], style: Style): string {
  const { size, verdict, health } = judgeHealth(status, groups);
  return `${style.bold(size)}, ${colourOf(health, style)(verdict)}`;
}

function colourOf(health: Health, { green, yellow, red }: Style): (text: string) => string {
  return { ok: green, warning: yellow, error: red }[health];
}

/** Prints a row for each cluster, with peers in columns by name or by id, or counted by state if the table is too wide. */
function showClusters(status: MeshStatus, style: Style, groups: readonly FindingGroup[]): string[] {
  const { clusters } = status;
  const ids = idsInPairs(status);
  const peers = listPeers(status, ids);
  const rows = stateLookups(status);
  const facts: Column[] = [
    {
      title: "CLUSTER",
      cells: clusters.map(({ source }) => escapeLine(source)),
      paint: style.bold,
      truncate: "middle",
    },
    ...(clusters.some(({ name, source }) => name !== undefined && name !== source)
      ? [{ title: "NAME", cells: clusters.map(({ name }) => escapeLine(name ?? "-")), truncate: "middle" as const }]
      : []),
    { title: "ID", cells: clusters.map(({ source, id = ids.get(source) }) => `${id ?? "-"}`) },
    { title: "VERSION", cells: clusters.map(({ version }) => escapeLine(version ?? "-")) },
    { title: "KVSTOREMESH", cells: clusters.map(kvstoreMeshOf), dispensable: 1 },
    { title: "READY", cells: clusters.map(readyOf) },
    statusColumn(status, groups, style),
  ];
  if (peers.length === 0) return showTable(facts, style);
  const requiredFacts = facts.filter(({ dispensable }) => dispensable === undefined);
  const forms = [
    ...(peers.length <= MAX_NAMED
      ? [{ matrix: namedColumns(peers, rows, style), legend: "connections from rows to columns" }]
      : []),
    { matrix: [idColumn(peers, rows, style)], legend: "connections from rows to columns (by cluster id)", byId: true },
  ];
  for (const { matrix, legend, byId = false } of forms) {
    const columns = [facts, requiredFacts]
      .map((some) => [...some, ...matrix])
      .find((all) => widthOfTable(all) <= style.width);
    if (!columns) continue;
    const legends = style.wrap(`${legend}: ${explainMarks(peers, rows)}`).map(style.dim);
    return [...showTable(columns, style), ...legends, ...(byId ? listUnknownIds(peers, style) : [])];
  }
  const counts = countColumns(peers, rows);
  const fits = widthOfTable([...facts, ...counts]) <= style.width;
  return showTable([...(fits ? facts : requiredFacts), ...counts], style);
}

function namedColumns(peers: readonly PeerColumn[], rows: readonly StateLookup[], style: Style): Column[] {
  return peers.map(({ name }) => ({
    title: escapeLine(name),
    cells: rows.map((stateIn) => MARKS[stateIn(name)]),
    paint: (cell) => paintMarks(cell, style),
  }));
}

/** Builds a single column with a mark for each peer; its title is their ids, written vertically. */
function idColumn(peers: readonly PeerColumn[], rows: readonly StateLookup[], style: Style): Column {
  const ids = peers.map(({ id }) => `${id ?? MARKS.unknown}`);
  const digits = Math.max(...ids.map(({ length }) => length));
  const lines = Array.from({ length: digits }, (_, i) => ids.map((id) => id.padStart(digits)[i]).join(""));
  return {
    title: lines.at(-1) ?? "",
    above: lines.slice(0, -1),
    cells: rows.map((stateIn) => peers.map(({ name }) => MARKS[stateIn(name)]).join("")),
    paint: (cell) => paintMarks(cell, style),
  };
}

/** Builds a column with the number of peers for each state that any peer has. */
function countColumns(peers: readonly PeerColumn[], rows: readonly StateLookup[]): Column[] {
  const titles: Record<PairState, string> = {
    ok: "OK",
    warning: "WARNINGS",
    error: "ERRORS",
    missing: "MISSING",
    "node-local": "NODE-LOCAL",
  };
  const isShown = (state: PairState) => rows.some((stateIn) => peers.some(({ name }) => stateIn(name) === state));
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

/** Names peers of unknown id, whose columns have no title. */
function listUnknownIds(peers: readonly PeerColumn[], style: Style): string[] {
  const unknown = peers.filter(({ id }) => id === undefined).map(({ name }) => escapeLine(name));
  return unknown.length > 0
    ? style.wrap(`columns headed ${MARKS.unknown}: cluster id unknown: ${listFirst(unknown)}`).map(style.dim)
    : [];
}

/** Names the peers whose endpoint was set with a flag, which only a probe can check. */
function listGivenEndpoints(status: MeshStatus, style: Style): string[] {
  const names = listUncheckedEndpoints(status).map(escapeLine);
  if (names.length === 0) return [];
  return style.wrap(`not checked without --probe: endpoints set with a flag: ${listFirst(names)}`).map(style.dim);
}

function statusColumn(status: MeshStatus, groups: readonly FindingGroup[], style: Style): Column {
  const verdicts = judgeClusters(status, groups);
  return {
    title: "STATUS",
    cells: verdicts.map(({ verdict }) => verdict),
    paint: (cell, row) => colourOf(verdicts[row]?.health ?? "ok", style)(cell),
  };
}

/** Describes what `wide` adds about a cluster. */
function describeCluster(cluster: ClusterStatus, style: Style): string[] {
  const { source, pods, waitingFor, error } = cluster;
  if (error !== undefined) return [];
  const { namespace, authMode, maxConnectedClusters, endpoints = [], addresses = [], certificates = [] } = cluster;
  const details = [
    `namespace ${namespace}, authMode ${authMode ?? "unknown"}, max-connected-clusters ${maxConnectedClusters ?? "not set"}`,
    ...(endpoints.length > 0
      ? [`endpoints: ${endpoints.join(", ")}${addresses.length > 0 ? ` (${addresses.join(", ")})` : ""}`]
      : []),
    ...(certificates.length > 0 ? [`certificates: ${certificates.map(describeCertificate).join(", ")}`] : []),
    ...(waitingFor === undefined ? [] : [`waiting ${waitingFor}`]),
    ...pods.flatMap((pod) =>
      pod.containers.map(({ name, image, ready, waiting }) => {
        const state = ready ? "ready" : (waiting ?? "not ready");
        return `${pod.name} ${name}: ${state}, ${image}`;
      }),
    ),
  ];
  return [
    `${style.bold(escapeLine(source))}:`,
    ...details.flatMap((line) => style.wrap(`  ${escapeLine(line)}`)).map(style.dim),
  ];
}

function describeCertificate(certificate: CertificateStatus): string {
  return `${certificate.use === "ca" ? "CA" : certificate.use} ${formatExpiry(certificate)}`;
}

/** Prints a mermaid graph. Edges are solid if each cluster configures the other (crossed on errors), dotted if only one does. */
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
      const [forward, backward] = [states.get(JSON.stringify([a, b])), states.get(JSON.stringify([b, a]))];
      if (!forward && !backward) return [];
      if (forward && backward) return [`  c${i} ${[forward, backward].includes("error") ? "x--x" : "<-->"} c${j}`];
      return [forward ? `  c${i} -.-> c${j}` : `  c${j} -.-> c${i}`];
    }),
  );
  return ["graph LR", ...nodes, ...edges, ""].join("\n");
}
