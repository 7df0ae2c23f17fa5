/** Report of peers in files. Pure. */
import type { Finding } from "../peer/findings.ts";
import type { CertificateReport, Inspection, PeerReport, Verdict } from "../peer/inspect.ts";
import type { Layout } from "../peer/layout.ts";
import { formatExpiry } from "../x509/expiry.ts";
import { sharedFindings, showFindings } from "./findings.ts";
import { count, enumerate, escapeLine, indented, type Style } from "./style.ts";

/** Maximum number of peers described in full; more peers get one line each. */
const MAX_BLOCKS = 20;

const LAYOUTS: Record<Layout, string> = {
  "clustermesh-secrets": "clustermesh-secrets layout",
  "old-scripts": "old scripts layout",
  chart: "Helm chart layout",
  "chart-shared-ca": "Helm chart layout with a shared CA",
  "chart-mixed": "Helm chart layout with its own certificate and a shared CA",
  other: "unknown layout",
};

const VERDICTS: Record<Verdict, string> = {
  connects: "would connect",
  warnings: "would connect, with warnings",
  "default-certificates": "would not connect if its server certificate is the chart's default",
  "node-local": "node-local: reachable only from the same node",
  fails: "would not connect",
};

/**
 * Describes each peer with its findings, then findings that several peers share, and a summary.
 *
 * @param details - whether to describe every peer in full, with all of its findings.
 */
export function showInspection({ peers, unreadable, findings }: Inspection, style: Style, details = false): string[] {
  const full = details || peers.length <= MAX_BLOCKS;
  const all = [...peers.flatMap((peer) => peer.findings), ...findings];
  const shared = details ? new Set(findings) : full ? new Set([...sharedFindings(all), ...findings]) : new Set(all);
  const own = (peer: PeerReport) => peer.findings.filter((one) => !shared.has(one));
  const lines = peers.flatMap((peer) =>
    full ? [...describePeer(peer, own(peer), style), ""] : [summarizePeer(peer, style)],
  );
  if (!full) lines.push("");
  lines.push(...showFindings([...shared], style, details));
  if (shared.size > 0) lines.push("");
  if (!full) lines.push(style.dim("use --details to show each peer in full"), "");
  lines.push(summarize(peers, unreadable, style));
  return lines;
}

/** Counts the files that could not be inspected, then the peers that would connect. */
function summarize(peers: readonly PeerReport[], unreadable: readonly string[], style: Style): string {
  const good = peers.filter(({ verdict }) => verdict === "connects" || verdict === "warnings").length;
  const text = `${good} of ${count(peers.length, "peer")} would connect`;
  if (unreadable.length === 0) return good === peers.length && good > 0 ? style.green(text) : style.red(text);
  const others = good === peers.length ? count(good, "other peer") : `${good} of ${count(peers.length, "other peer")}`;
  const error = `${style.red("error")}: ${count(unreadable.length, "file")} could not be inspected`;
  return peers.length === 0 ? error : `${error}; ${others} would connect`;
}

function titleOf({ name, source, verdict }: PeerReport, style: Style): string {
  const colour = {
    connects: style.green,
    warnings: style.yellow,
    "default-certificates": style.red,
    "node-local": style.yellow,
    fails: style.red,
  };
  return `${style.bold(escapeLine(name))} ${style.dim(`(${escapeLine(source)})`)}: ${colour[verdict](VERDICTS[verdict])}`;
}

function summarizePeer(peer: PeerReport, style: Style): string {
  const { client } = peer;
  const until = typeof client === "object" ? `, until ${client.expires}` : "";
  return `${titleOf(peer, style)}${style.dim(until)}`;
}

function describePeer(peer: PeerReport, findings: readonly Finding[], style: Style): string[] {
  const { id, version, layout, endpoints, ca, client, user } = peer;
  const about = [...(id === undefined ? [] : [`id ${id}`]), ...(version ? [`Cilium ${version}`] : []), LAYOUTS[layout]];
  const rows: [string, string][] = [["cluster", about.join(", ")]];
  for (const { url, addresses, covered } of endpoints) {
    rows.push(["endpoint", url]);
    if (addresses.length > 0) rows.push(["", `at ${enumerate(addresses)}`]);
    if (covered !== undefined) rows.push(["", `${covered ? "" : "not "}covered by the server certificate`]);
  }
  if (ca === "importer") rows.push(["CA", "CA of the importing cluster"]);
  else if (ca === "system") rows.push(["CA", "not set: system roots"]);
  else for (const one of ca) rows.push(["CA", describeCertificate(one)]);
  if (client === "importer") rows.push(["client", "certificate of the importing cluster (no key in this file)"]);
  else if (client) {
    rows.push(["client", describeCertificate(client)]);
    rows.push(["", `issued by ${client.issuer}`]);
    if (client.names.length > 0) rows.push(["", `names ${enumerate(client.names, 6)}`]);
    const key =
      peer.keyMatches === undefined ? "" : peer.keyMatches ? " (private key matches)" : " (private key does not match)";
    rows.push(["", `authenticates as user ${user ?? "(none)"}${key}`]);
  }
  return [
    titleOf(peer, style),
    ...rows.flatMap(([title, text]) => describeRow(title, text, style)),
    ...showFindings(findings, indented(style), true).map((text) => `  ${text}`),
  ];
}

/** Wraps the text of a row next to its title. */
function describeRow(title: string, text: string, style: Style): string[] {
  const margin = " ".repeat(11);
  const [first = "", ...others] = style.wrap(margin + escapeLine(text));
  return [`  ${style.dim(title.padEnd(9))}${first.slice(margin.length)}`, ...others];
}

function describeCertificate(report: CertificateReport): string {
  return `${report.subject}, ${report.key}, ${formatExpiry(report)}`;
}
