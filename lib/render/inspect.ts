/** Renders the contents of peer files as text. Pure. */

import type { Finding } from "../peer/findings.ts";
import type { CertificateReport, Inspection, PeerReport, Verdict } from "../peer/inspect.ts";
import type { Layout } from "../peer/layout.ts";
import { formatExpiry } from "../x509/expiry.ts";
import { sharedFindings, showFindings } from "./findings.ts";
import { count, enumerate, escapeLine, indented, type Style } from "./style.ts";

/** With more peers than this, each has one line, unless details are requested. */
const MOST_BLOCKS = 20;

const LAYOUTS: Record<Layout, string> = {
  "clustermesh-secrets": "of clustermesh-secrets",
  "old-scripts": "of the old scripts",
  chart: "of the Helm chart",
  "chart-shared-ca": "of the Helm chart with a shared CA",
  "chart-mixture": "of the Helm chart, own certificate and shared CA",
  other: "of a layout of its own",
};

const VERDICTS: Record<Verdict, string> = {
  connects: "would connect",
  warnings: "would connect, with warnings",
  "default-certificates": "would not connect to a cluster with the certificates that the chart makes",
  "node-local": "only reachable from a node",
  fails: "would not connect",
};

/**
 * Renders the report: each peer with its own findings, then the findings that several peers share.
 *
 * @param details - whether every peer is shown in full with all of its findings, regardless of their number.
 */
export function showInspection({ peers, refused, findings }: Inspection, style: Style, details = false): string[] {
  const full = details || peers.length <= MOST_BLOCKS;
  const all = [...peers.flatMap((peer) => peer.findings), ...findings];
  const apart = details ? new Set(findings) : full ? new Set([...sharedFindings(all), ...findings]) : new Set(all);
  const own = (peer: PeerReport) => peer.findings.filter((one) => !apart.has(one));
  const lines = peers.flatMap((peer) => (full ? [...block(peer, own(peer), style), ""] : [line(peer, style)]));
  if (!full) lines.push("");
  lines.push(...showFindings([...apart], style, details));
  if (apart.size > 0) lines.push("");
  if (!full) lines.push(style.dim("--details shows each peer in full"), "");
  lines.push(sum(peers, refused, style));
  return lines;
}

/** Returns the last line: unreadable files, if any, and the number of peers that would connect. */
function sum(peers: readonly PeerReport[], refused: readonly string[], style: Style): string {
  const good = peers.filter(({ verdict }) => verdict === "connects" || verdict === "warnings").length;
  const text = `${good} of ${peers.length} would connect`;
  if (refused.length === 0) return good === peers.length && good > 0 ? style.green(text) : style.red(text);
  const others = good === peers.length ? count(good, "other peer") : `${good} of ${count(peers.length, "other peer")}`;
  const error = `${style.red("error")}: ${count(refused.length, "file")} cannot be judged`;
  return peers.length === 0 ? error : `${error}; ${others} would connect`;
}

function title({ name, source, verdict }: PeerReport, style: Style): string {
  const colour = {
    connects: style.green,
    warnings: style.yellow,
    "default-certificates": style.red,
    "node-local": style.yellow,
    fails: style.red,
  };
  return `${style.bold(escapeLine(name))} ${style.dim(`(${escapeLine(source)})`)}: ${colour[verdict](VERDICTS[verdict])}`;
}

function line(peer: PeerReport, style: Style): string {
  const { client } = peer;
  const until = typeof client === "object" ? `, until ${client.until}` : "";
  return `${title(peer, style)}${style.dim(until)}`;
}

function block(peer: PeerReport, findings: readonly Finding[], style: Style): string[] {
  const { id, version, layout, endpoints, ca, client, user } = peer;
  const about = [...(id === undefined ? [] : [`id ${id}`]), ...(version ? [`Cilium ${version}`] : []), LAYOUTS[layout]];
  const rows: [string, string][] = [["cluster", about.join(", ")]];
  for (const { url, addresses, covered } of endpoints) {
    rows.push(["endpoint", url]);
    if (addresses.length > 0) rows.push(["", `which is ${enumerate(addresses)}`]);
    if (covered !== undefined)
      rows.push(["", covered ? "which the server certificate covers" : "which the server certificate does not cover"]);
  }
  if (ca === "importer") rows.push(["CA", "the importer's own"]);
  else if (ca === "system") rows.push(["CA", "none: the system's roots"]);
  else for (const one of ca) rows.push(["CA", certificate(one)]);
  if (client === "importer") rows.push(["client", "the importer's own certificate: no key in this file"]);
  else if (client) {
    rows.push(["client", certificate(client)]);
    rows.push(["", `issued by ${client.issuer}`]);
    if (client.names.length > 0) rows.push(["", `names ${enumerate(client.names, 6)}`]);
    const key = peer.keyFits === undefined ? "" : peer.keyFits ? ", with its key" : ", with a key that is not its own";
    rows.push(["", `comes as user ${user ?? "(none)"}${key}`]);
  }
  return [
    title(peer, style),
    ...rows.map(([what, text]) => `  ${style.dim(what.padEnd(9))}${escapeLine(text)}`),
    ...showFindings(findings, indented(style), true).map((text) => `  ${text}`),
  ];
}

function certificate(report: CertificateReport): string {
  return `${report.subject}, ${report.key}, ${formatExpiry(report)}`;
}
