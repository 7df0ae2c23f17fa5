/** State of a mesh: a table of clusters and their peers, and a mermaid graph. Pure. */
import type { CertificateStatus } from "../mesh/own-certificates.ts";
import { type Pair, type PairState, stateOf } from "../mesh/pairs.ts";
import type { ClusterStatus, MeshStatus } from "../mesh/status.ts";
import { findingsOf } from "../mesh/status-report.ts";
import type { Severity } from "../peer/codes/code.ts";
import { formatExpiry } from "../x509/expiry.ts";
import { countGroups, type FindingGroup, groupFindings } from "./finding-groups.ts";
import { showFindings } from "./findings.ts";
import { count, escapeLine, listFirst, type Style } from "./style.ts";
import { type Column, showTable, widthOfTable } from "./table.ts";

/** Maximum number of peers with a column each. */
const MAX_NAMED = 8;

const MARKS: Record<PairState, string> = { ok: "✓", warning: "!", error: "✗", missing: "·", "node-local": "⌂" };
const MEANINGS: Record<PairState, string> = {
  ok: "healthy",
  warning: "warnings",
  error: "errors",
  missing: "not configured",
  "node-local": "node-local",
};
const STATES = Object.keys(MARKS) as PairState[];
const SELF = "–";
const UNKNOWN = "?";

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
    describeHealth(status.clusters, countGroups(groups), style),
  ];
}

function describeHealth(clusters: readonly ClusterStatus[], found: Record<Severity, number>, style: Style): string {
  const [errors, warnings] = [found.error, count(found.warning, "warning")];
  const unreadable = clusters.filter(({ error }) => error !== undefined).length;
  const size = `${count(clusters.length, "cluster")}${unreadable > 0 ? ` (${unreadable} unreadable)` : ""}`;
  if (errors > 0) return `${style.bold(size)}, ${style.red(`unhealthy: ${count(errors, "error")}, ${warnings}`)}`;
  return found.warning > 0
    ? `${style.bold(size)}, ${style.yellow(`healthy, with ${warnings}`)}`
    : `${style.bold(size)}, ${style.green("healthy")}`;
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
    const legends = style.wrap(legendOf(legend, peers, rows)).map(style.dim);
    return [...showTable(columns, style), ...legends, ...(byId ? listUnknownIds(peers, style) : [])];
  }
  const counts = countColumns(peers, rows);
  const fits = widthOfTable([...facts, ...counts]) <= style.width;
  return showTable([...(fits ? facts : requiredFacts), ...counts], style);
}

interface PeerColumn {
  name: string;
  id?: number | undefined;
}

/** Returns the cluster ids of peers by name, if an importer knows them. */
function idsInPairs({ pairs }: MeshStatus): Map<string, number> {
  return new Map(pairs.flatMap(({ peer, id }): [string, number][] => (id === undefined ? [] : [[peer, id]])));
}

/**
 * Lists the clusters in the order of the rows, then configured peers without a context. A cluster that cannot be read is
 * listed if it is a peer by the name of its context. Empty for a single cluster.
 */
function listPeers({ clusters, pairs }: MeshStatus, ids: ReadonlyMap<string, number>): PeerColumn[] {
  const peers = new Map<string, PeerColumn>();
  const configured = new Set(pairs.map(({ peer }) => peer));
  for (const { source, name = source, id = ids.get(name), error } of clusters) {
    if ((error === undefined || configured.has(name)) && !peers.has(name)) peers.set(name, { name, id });
  }
  for (const { peer, id } of pairs) if (!peers.has(peer)) peers.set(peer, { name: peer, id });
  return peers.size > 1 ? [...peers.values()] : [];
}

/** Returns the state of a peer by name; undefined if it is unknown. */
type StateLookup = (peer: string) => PairState | "self" | undefined;

function stateLookups({ clusters, pairs }: MeshStatus): StateLookup[] {
  const byImporter = groupByImporter(pairs);
  return clusters.map(({ source, name = source, error }) => (peer) => {
    const own = byImporter.get(source);
    // A second context for the same cluster has no pairs.
    if (error !== undefined || !own) return undefined;
    if (peer === name) return "self";
    const pair = own.get(peer);
    return pair ? stateOf(pair) : "missing";
  });
}

/** Groups pairs by the context of the importer, then by the name of the peer. */
function groupByImporter(pairs: readonly Pair[]): Map<string, Map<string, Pair>> {
  const groups = new Map<string, Map<string, Pair>>();
  for (const pair of pairs) {
    const group = groups.get(pair.importer) ?? new Map<string, Pair>();
    groups.set(pair.importer, group.set(pair.peer, pair));
  }
  return groups;
}

const markOf = (state: ReturnType<StateLookup>) =>
  state === undefined ? UNKNOWN : state === "self" ? SELF : MARKS[state];

function namedColumns(peers: readonly PeerColumn[], rows: readonly StateLookup[], style: Style): Column[] {
  return peers.map(({ name }) => ({
    title: escapeLine(name),
    cells: rows.map((stateIn) => markOf(stateIn(name))),
    paint: (cell) => paintMarks(cell, style),
  }));
}

/** Builds a single column with a mark for each peer; its title is their ids, written vertically. */
function idColumn(peers: readonly PeerColumn[], rows: readonly StateLookup[], style: Style): Column {
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

/** Explains the marks in the table. */
function legendOf(title: string, peers: readonly PeerColumn[], rows: readonly StateLookup[]): string {
  const states = new Set(rows.flatMap((stateIn) => peers.map(({ name }) => stateIn(name))));
  const meanings = [
    ...STATES.filter((state) => states.has(state)).map((state) => `${MARKS[state]} ${MEANINGS[state]}`),
    ...(states.has(undefined) ? [`${UNKNOWN} unknown`] : []),
  ];
  return `${title}: ${meanings.join(", ")}`;
}

/** Names peers of unknown id, whose columns have no title. */
function listUnknownIds(peers: readonly PeerColumn[], style: Style): string[] {
  const unknown = peers.filter(({ id }) => id === undefined).map(({ name }) => escapeLine(name));
  return unknown.length > 0
    ? style.wrap(`columns headed ${UNKNOWN}: cluster id unknown: ${listFirst(unknown)}`).map(style.dim)
    : [];
}

/** Names the peers whose endpoint was set with a flag, which only a probe can check. */
function listGivenEndpoints({ pairs, probes }: MeshStatus, style: Style): string[] {
  const given = pairs.filter(({ endpointGiven }) => endpointGiven);
  if (probes !== undefined || given.length === 0) return [];
  const names = given.map(({ importer, peer }) => escapeLine(`${importer} → ${peer}`));
  return style.wrap(`not checked without --probe: endpoints set with a flag: ${listFirst(names)}`).map(style.dim);
}

function kvstoreMeshOf({ kvstoreMesh }: ClusterStatus): string {
  return kvstoreMesh === undefined ? "-" : kvstoreMesh ? "yes" : "no";
}

function readyOf({ pods, error }: ClusterStatus): string {
  if (error !== undefined) return "-";
  const containers = pods.flatMap((pod) => pod.containers);
  return `${containers.filter(({ ready }) => ready).length}/${containers.length}`;
}

/**
 * Builds a column with the number of errors or warnings of each cluster and its peers. Merged findings count once, as in the
 * total; a finding about several clusters counts in the row of each.
 */
function statusColumn({ clusters, pairs }: MeshStatus, groups: readonly FindingGroup[], style: Style): Column {
  const byImporter = groupByImporter(pairs);
  const groupOf = new Map(groups.flatMap((group) => group.findings.map((one) => [one, group] as const)));
  const symmetric = groupSymmetric(groups);
  const severities = clusters.map(({ source, name = source, findings }) => {
    const ownPairs = [...(byImporter.get(source)?.values() ?? [])];
    const ownGroups = new Set(symmetric.get(name));
    for (const one of [...findings, ...ownPairs.flatMap((pair) => pair.findings)]) {
      const group = groupOf.get(one);
      if (group) ownGroups.add(group);
    }
    const { error: errors, warning: warnings } = countGroups([...ownGroups]);
    const down = ownPairs.filter((pair) => stateOf(pair) === "error").length;
    return { errors, warnings, down };
  });
  const cells = clusters.map(({ error, waitingFor }, i) => {
    const { errors = 0, warnings = 0, down = 0 } = severities[i] ?? {};
    if (error !== undefined) return "unreadable";
    if (waitingFor !== undefined) return "not running";
    if (errors > 0) return count(errors, "error");
    // The finding about a peer that is not running belongs to the peer's row.
    if (down > 0) return `${count(down, "peer")} down`;
    return warnings > 0 ? count(warnings, "warning") : "healthy";
  });
  const paint = (cell: string, row: number) => {
    const { errors = 0, warnings = 0, down = 0 } = severities[row] ?? {};
    if (errors + down > 0 || clusters[row]?.waitingFor !== undefined) return style.red(cell);
    return warnings > 0 ? style.yellow(cell) : style.green(cell);
  };
  return { title: "STATUS", cells, paint };
}

/** Returns the groups of symmetric findings by the names of their clusters. */
function groupSymmetric(groups: readonly FindingGroup[]): Map<string, Set<FindingGroup>> {
  const byCluster = new Map<string, Set<FindingGroup>>();
  for (const group of groups) {
    for (const name of group.findings.flatMap(({ clusters = [] }) => clusters)) {
      byCluster.set(name, (byCluster.get(name) ?? new Set()).add(group));
    }
  }
  return byCluster;
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
