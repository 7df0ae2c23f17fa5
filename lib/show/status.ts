/** The state of a mesh for people: a line for each cluster, the matrix of pairs, and mermaid. Pure. */
import type { CertificateStatus } from "../mesh/certificates.ts";
import { type Pair, type PairState, stateOf } from "../mesh/pairs.ts";
import type { ClusterStatus, MeshStatus } from "../mesh/status.ts";
import { findingsOf } from "../mesh/status-report.ts";
import { formatExpiry } from "../peer/expiry.ts";
import { showFindings } from "./findings.ts";
import { count, enumerate, inLine, type Style } from "./style.ts";

/** Beyond so many clusters a matrix would be wider than a terminal: then each has its counts. */
const MOST_IN_MATRIX = 60;
/** Up to so many, the columns have room between them. */
const MOST_SPACED = 20;

const MARKS: Record<PairState, string> = { ok: "✓", warning: "!", error: "✗", missing: "·", "node-local": "⌂" };

/**
 * The whole report.
 *
 * @param wide with namespaces, containers, images and where each cluster is reached.
 */
export function showStatus(status: MeshStatus, style: Style, wide = false): string[] {
  const findings = findingsOf(status);
  const errors = findings.filter(({ severity }) => severity === "error").length;
  const unread = status.clusters.filter(({ error }) => error !== undefined).length;
  const verdict =
    errors > 0
      ? style.red(`not as it should be: ${count(errors, "error")}, ${count(findings.length - errors, "warning")}`)
      : findings.length > 0
        ? style.yellow(`as it should be, with ${count(findings.length, "warning")}`)
        : style.green("as it should be");
  const size = `${count(status.clusters.length, "cluster")}${unread > 0 ? `, ${unread} of them not read` : ""}`;
  return [
    ...status.clusters.flatMap((cluster) => clusterLines(cluster, style, wide)),
    "",
    ...matrix(status, style),
    "",
    ...(findings.length > 0 ? [...showFindings(findings, style), ""] : []),
    `${style.bold(size)}: ${verdict}`,
  ];
}

function clusterLines(cluster: ClusterStatus, style: Style, wide: boolean): string[] {
  const { source, name, id, version, kvstoreMesh, pods, error } = cluster;
  const title = style.bold(inLine(source));
  if (error !== undefined) return [`${title}: ${style.red("not read")}: ${inLine(error)}`];
  const containers = pods.flatMap((pod) => pod.containers);
  const ready = containers.filter((container) => container.ready).length;
  const running =
    cluster.waits === undefined
      ? style.green(`${ready}/${containers.length} containers ready`)
      : style.red(`waits ${inLine(cluster.waits)}`);
  const facts = [
    ...(name === source ? [] : [`cluster ${name}`]),
    `id ${id ?? "unknown"}`,
    `Cilium ${version ?? "of unknown version"}`,
    ...(kvstoreMesh ? ["KVStoreMesh"] : []),
  ];
  const lines = [`${title}: ${inLine(facts.join(", "))}, ${running}`];
  if (!wide) return lines;
  const { namespace, authMode, maxConnectedClusters, endpoints = [], addresses = [], certificates = [] } = cluster;
  const details = [
    `namespace ${namespace}, authMode ${authMode ?? "unknown"}, max-connected-clusters ${maxConnectedClusters ?? "not set"}`,
    ...(endpoints.length > 0
      ? [`reached at ${endpoints.join(", ")}${addresses.length > 0 ? ` (${addresses.join(", ")})` : ""}`]
      : []),
    ...(certificates.length > 0 ? [`certificates: ${certificates.map(describeCertificate).join(", ")}`] : []),
    ...pods.flatMap((pod) =>
      pod.containers.map(({ name, image, ready, waiting }) => {
        const state = ready ? "ready" : (waiting ?? "not ready");
        return `${pod.name} ${name}: ${state}, ${image}`;
      }),
    ),
  ];
  return [...lines, ...details.map((line) => style.dim(`  ${inLine(line)}`))];
}

function describeCertificate(certificate: CertificateStatus): string {
  return `${certificate.use === "ca" ? "CA" : certificate.use} ${formatExpiry(certificate)}`;
}

/** A row for each importer, a column for each peer. */
function matrix({ clusters, pairs }: MeshStatus, style: Style): string[] {
  const read = clusters.filter(({ error }) => error === undefined);
  const known = new Set(read.map(({ name, source }) => name ?? source));
  const names = [...known, ...new Set(pairs.map(({ peer }) => peer).filter((peer) => !known.has(peer)))];
  if (names.length === 0) return [];
  const bySource = new Map<string, Pair[]>();
  for (const pair of pairs) {
    const row = bySource.get(pair.importer);
    if (row) row.push(pair);
    else bySource.set(pair.importer, [pair]);
  }
  if (names.length > MOST_IN_MATRIX)
    return read.map((cluster) => countsOf(cluster, bySource.get(cluster.source) ?? [], style));
  const gap = names.length > MOST_SPACED ? "" : " ";
  const digits = String(names.length).length;
  const width = Math.min(14, Math.max(...names.map(({ length }) => length)));
  const indent = " ".repeat(digits + 1 + width + 1);
  const cut = (name: string) => (name.length > width ? `${name.slice(0, width - 1)}…` : name).padEnd(width);
  const head = Array.from({ length: digits }, (_, digit) => {
    const cells = names.map((_, i) => String(i + 1).padStart(digits)[digit]);
    return style.dim(`${indent}${cells.join(gap)}`.trimEnd());
  });
  const rows = names.map((name, i) => {
    const cluster = read.find((one) => (one.name ?? one.source) === name);
    const own = new Map((cluster ? (bySource.get(cluster.source) ?? []) : []).map((pair) => [pair.peer, pair]));
    const cells = names.map((peer) => {
      if (peer === name) return style.dim("–");
      const pair = own.get(peer);
      return pair ? mark(stateOf(pair), style) : style.dim(cluster ? "·" : "?");
    });
    return `${style.dim(String(i + 1).padStart(digits))} ${inLine(cut(name))} ${cells.join(gap)}`;
  });
  return [...head, ...rows, style.dim(legend(known.size < names.length, pairs.some(isNodeLocal)))];
}

function isNodeLocal(pair: Pair): boolean {
  return stateOf(pair) === "node-local";
}

function legend(uncovered: boolean, nodeLocal: boolean): string {
  const parts = ["rows reach columns: ✓ as it should be", "! with a warning", "✗ does not connect", "· not configured"];
  if (nodeLocal) parts.push(`${MARKS["node-local"]} only reachable from a node`);
  return [...parts, ...(uncovered ? ["? no context"] : [])].join(", ");
}

function mark(state: PairState, style: Style): string {
  const colours = {
    ok: style.green,
    warning: style.yellow,
    error: style.red,
    missing: style.dim,
    "node-local": style.dim,
  };
  return colours[state](MARKS[state]);
}

function countsOf({ source }: ClusterStatus, pairs: readonly Pair[], style: Style): string {
  const states = pairs.map((pair) => ({ peer: pair.peer, state: stateOf(pair) }));
  const parts = (["ok", "warning", "error", "missing", "node-local"] as const)
    .map((state) => ({ state, peers: states.filter((one) => one.state === state).map(({ peer }) => peer) }))
    .filter(({ peers }) => peers.length > 0)
    .map(({ state, peers }) => {
      const which = state === "ok" ? "" : ` (${inLine(enumerate(peers, 4))})`;
      return `${mark(state, style)} ${peers.length}${which}`;
    });
  return `${inLine(source)}: ${parts.join(", ") || "no peers"}`;
}

/** As a mermaid graph: whole lines where both are as they should be, dotted where only one is configured. */
export function showMermaid({ clusters, pairs }: MeshStatus): string {
  const names = [...new Set([...clusters.map(({ name, source }) => name ?? source), ...pairs.map(({ peer }) => peer)])];
  const nodes = names.map((name, i) => `  c${i}["${inLine(name).replaceAll('"', "'")}"]`);
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
