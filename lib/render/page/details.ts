/** The panel with the findings of a connection or a cluster. */
import { create } from "./dom.ts";
import type { PageData } from "./page-data.ts";
import { codesOf, type FindingText, findingTexts, type PairNames } from "./texts.ts";

/** Maximum number of connections that the panel lists for a cluster. */
const MAX_CONNECTIONS = 40;

/** Returns the names of the importer and the peer of a cell. */
export function namesOf({ clusters, peers }: PageData, row: number, column: number): PairNames {
  return { importer: clusters[row]?.name ?? "", peer: peers[column] ?? "" };
}

/** Describes a connection: its state and its findings. */
export function describeConnection(data: PageData, row: number, column: number): Node[] {
  const names = namesOf(data, row, column);
  const [state = 0, ...findings] = data.kinds[data.cells[row]?.[column] ?? -1] ?? [];
  const { name = "", mark = "", meaning = "" } = data.states[state] ?? {};
  return [
    create("h3", "", `${names.importer} → ${names.peer}`),
    create("p", `state ${name}`, `${mark} ${meaning}`),
    ...findingTexts(data, findings, names).map(describeFinding),
  ];
}

/** Describes a cluster: its health, its own findings, and the connections from and to it that have findings. */
export function describeCluster(data: PageData, row: number): Node[] {
  const cluster = data.clusters[row];
  if (!cluster) return [];
  const { name, health, verdict, findings, column } = cluster;
  const from = data.peers.map((_, peer): [number, number] => [row, peer]);
  const to = data.clusters.map((_, importer): [number, number] => [importer, column]);
  return [
    create("h3", "", name),
    create("p", `health ${health}`, verdict),
    ...findingTexts(data, findings).map(describeFinding),
    ...listConnections(data, [...from, ...to]),
  ];
}

/** Describes a peer that is not among the clusters: the connections to it that have findings. */
export function describePeer(data: PageData, column: number): Node[] {
  const to = data.clusters.map((_, importer): [number, number] => [importer, column]);
  return [create("h3", "", data.peers[column] ?? ""), ...listConnections(data, to)];
}

function listConnections(data: PageData, cells: readonly [row: number, column: number][]): Node[] {
  const found = cells.flatMap(([row, column]) => {
    const [, ...findings] = data.kinds[data.cells[row]?.[column] ?? -1] ?? [];
    if (findings.length === 0) return [];
    const { importer, peer } = namesOf(data, row, column);
    return [`${importer} → ${peer}: ${codesOf(data, findings).join(", ")}`];
  });
  if (found.length === 0) return [];
  const more = found.length - MAX_CONNECTIONS;
  const items = found.slice(0, MAX_CONNECTIONS).map((text) => create("li", "", text));
  const rest = more > 0 ? [create("li", "", `… and ${more.toLocaleString("en")} more`)] : [];
  return [create("p", "note", "Connections with findings:"), create("ul", "", ...items, ...rest)];
}

function describeFinding({ group, severity, code, message, remedy }: FindingText): Node {
  const listed = document.getElementById(`finding-${group}`) !== null;
  const text = message ?? (listed ? "see the list of findings" : "not listed in this page");
  const badge = create("strong", `severity ${severity}`, severity);
  const head = create("p", "", badge, ` ${text} `, create("span", "code", `[${code}]`));
  if (listed) {
    const link = create("a", "", "in the list");
    link.href = `#finding-${group}`;
    head.append(" ", link);
  }
  const lines = remedy.map((line) =>
    create("p", "remedy", ...line.map((part, i) => (i % 2 === 0 ? part : create("code", "", part)))),
  );
  return create("div", "finding", head, ...lines);
}
