/** Renders the results of probes as text and as plain data. Pure. */

import type { Finding } from "../peer/findings.ts";
import type { EtcdContent } from "../probe/etcd-checks.ts";
import type { AddressProbe, PeerProbe } from "../probe/probe.ts";
import { STEPS, type StepName } from "../probe/steps.ts";
import { formatHostPort } from "../util/address.ts";
import { formatExpiry } from "../x509/expiry.ts";
import { showFindings } from "./findings.ts";
import { escapeLine, indented, type Style } from "./style.ts";

const TITLES: Record<StepName, string> = {
  resolve: "resolve",
  tcp: "TCP",
  tls: "TLS",
  client: "cert",
  user: "user",
  heartbeat: "beat",
  config: "config",
  synced: "synced",
};
const ONE: Record<EtcdContent, string> = {
  nodes: "node",
  identities: "identity",
  endpoints: "endpoint",
  services: "service",
};
const SHOWN = STEPS.filter((step) => step !== "resolve");

/**
 * Renders one peer: its verdict, a row for each address with the milliseconds of each step, and its findings.
 *
 * @param apart - findings that are reported elsewhere, grouped with those of other peers.
 */
export function showProbe(probe: PeerProbe, style: Style, apart: ReadonlySet<Finding> = new Set()): string[] {
  const { name, source, addresses } = probe;
  const findings = probe.findings.filter((one) => !apart.has(one));
  const lines = [`${style.bold(escapeLine(name))} ${style.dim(`(${escapeLine(source)})`)}: ${verdict(probe, style)}`];
  if (addresses.length > 0) lines.push(...table(addresses, style));
  for (const line of about(addresses)) lines.push(`  ${escapeLine(line)}`);
  lines.push(...showFindings(findings, indented(style), true).map((line) => `  ${line}`));
  return lines;
}

/** Returns the verdict: whether a peer connects. */
function verdict({ addresses, findings, skipped }: PeerProbe, style: Style): string {
  if (skipped !== undefined) return style.dim("skipped: only reachable from a node");
  if (findings.some(({ severity }) => severity === "error")) {
    const works = addresses.some(({ failed }) => failed === undefined);
    return style.red(works ? "connects by some of its addresses only" : "does not connect");
  }
  if (findings.length > 0) return style.yellow("connects, with warnings");
  return style.green("connects");
}

function table(addresses: readonly AddressProbe[], style: Style): string[] {
  const where = addresses.map((one) => escapeLine(formatHostPort({ host: one.ip, port: one.port })));
  const width = Math.max(7, ...where.map(({ length }) => length));
  const head = SHOWN.map((step) => TITLES[step].padStart(7)).join("");
  const rows = addresses.map(({ steps }, i) => {
    const cells = SHOWN.map((step) => {
      const done = steps.find((one) => one.step === step);
      if (!done) return style.dim("–".padStart(7));
      return done.ok ? `${Math.round(done.ms)} ms`.padStart(7) : style.red("failed".padStart(7));
    });
    return `  ${(where[i] ?? "").padEnd(width)}${cells.join("")}`;
  });
  return [style.dim(`  ${"address".padEnd(width)}${head}`), ...rows];
}

/** Returns what the addresses reported about the cluster, without repetitions. */
function about(addresses: readonly AddressProbe[]): string[] {
  const lines = addresses.flatMap((one) => {
    const { server, user, roles, heartbeatAge, id, counts, host, ip } = one;
    const name = host === ip ? [] : [`${host} at ${ip}`];
    const shown = server ? [`server certificate ${server.subject}, ${formatExpiry(server)}`] : [];
    if (!counts || id === undefined) return one.failed && shown.length > 0 ? [[...name, ...shown].join(": ")] : [];
    return [
      `${host}: ${shown.join("")}`,
      `id ${id}, as user ${user} (role ${roles?.join(", ") || "none"}), heartbeat ${heartbeatAge} s ago`,
      Object.entries(counts)
        .map(([kind, count]) => `${count} ${count === 1 ? ONE[kind as EtcdContent] : kind}`)
        .join(", "),
    ];
  });
  return [...new Set(lines)];
}

/** Returns the last line: how many of the probed peers connect. */
export function showSum(probes: readonly PeerProbe[], style: Style): string {
  const tried = probes.filter(({ skipped }) => skipped === undefined);
  const good = tried.filter(({ findings }) => !findings.some(({ severity }) => severity === "error")).length;
  const apart = probes.length > tried.length ? `, ${probes.length - tried.length} skipped` : "";
  const text = `${good} of ${tried.length} ${tried.length === 1 ? "peer connects" : "peers connect"}${apart}`;
  return good === tried.length ? style.green(text) : style.red(text);
}
