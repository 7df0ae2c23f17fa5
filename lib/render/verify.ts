/** Results of live checks of peers. Pure. */
import type { Finding } from "../peer/findings.ts";
import type { EtcdContent } from "../probe/etcd-checks.ts";
import type { AddressProbe, PeerProbe } from "../probe/probe.ts";
import type { StepName } from "../probe/steps.ts";
import { formatHostPort } from "../util/address.ts";
import { formatExpiry } from "../x509/expiry.ts";
import { showFindings } from "./findings.ts";
import { escapeLine, indented, type Style } from "./style.ts";
import { showTable } from "./table.ts";

/** Titles of the columns; the step `resolve` has none, because it precedes the addresses. */
const TITLES: readonly (readonly [StepName, string])[] = [
  ["tcp", "TCP"],
  ["tls", "TLS"],
  ["client", "CERT"],
  ["user", "USER"],
  ["heartbeat", "HEARTBEAT"],
  ["config", "CONFIG"],
  ["synced", "SYNCED"],
];
const SINGULARS: Record<EtcdContent, string> = {
  nodes: "node",
  identities: "identity",
  endpoints: "endpoint",
  services: "service",
};

/**
 * Describes one peer: its verdict, a row for each address with the milliseconds of each step, and its findings.
 *
 * @param shared - findings that are printed elsewhere, because other peers have them too.
 */
export function showProbe(probe: PeerProbe, style: Style, shared: ReadonlySet<Finding> = new Set()): string[] {
  const { name, source, addresses } = probe;
  const findings = probe.findings.filter((one) => !shared.has(one));
  const body = [
    ...(addresses.length > 0 ? showAddresses(addresses, style) : []),
    ...describeServers(addresses).flatMap((line) => indented(style).wrap(escapeLine(line))),
    ...showFindings(findings, indented(style), true),
  ];
  const title = `${style.bold(escapeLine(name))} ${style.dim(`(${escapeLine(source)})`)}`;
  return [`${title}: ${verdictOf(probe, style)}`, ...body.map((line) => `  ${line}`)];
}

function verdictOf({ addresses, findings, skipped }: PeerProbe, style: Style): string {
  if (skipped !== undefined) return style.dim("skipped: node-local");
  if (findings.some(({ severity }) => severity === "error")) {
    const failures = addresses.filter(({ failed }) => failed !== undefined).length;
    if (failures === addresses.length) return style.red("does not connect");
    return style.red(failures > 0 ? "connects through some addresses only" : "connects, with errors");
  }
  if (findings.length > 0) return style.yellow("connects, with warnings");
  return style.green("connects");
}

/**
 * Prints the milliseconds of each step. A table that is too wide loses the steps that failed nowhere, the last ones first; they
 * are named below it.
 */
function showAddresses(addresses: readonly AddressProbe[], style: Style): string[] {
  const columns = TITLES.map(([step, title], index) => {
    const results = addresses.map(({ steps }) => steps.find((one) => one.step === step));
    return {
      title,
      cells: results.map((result) => (!result ? "-" : result.ok ? `${Math.round(result.ms)} ms` : "failed")),
      paint: (cell: string, row: number) =>
        !results[row] ? style.dim(cell) : results[row].ok ? cell : style.red(cell),
      ...(results.every((result) => result?.ok !== false) && { dispensable: index + 1 }),
    };
  });
  const cells = addresses.map(({ ip, port }) => escapeLine(formatHostPort({ host: ip, port })));
  const lines = showTable([{ title: "ADDRESS", cells }, ...columns], { ...style, width: style.width - 2 });
  const omitted = columns.filter(({ title }) => !lines[0]?.includes(title)).map(({ title }) => title);
  if (omitted.length === 0) return lines;
  return [...lines, style.dim(`columns left out: ${omitted.join(", ")}`)];
}

/** Describes the servers behind the addresses; equal lines are merged. */
function describeServers(addresses: readonly AddressProbe[]): string[] {
  const lines = addresses.flatMap(({ server, user, roles, heartbeatAge, id, counts, host, ip, failed }) => {
    const certificate = server ? `server certificate ${server.subject}, ${formatExpiry(server)}` : "";
    if (!counts || id === undefined) {
      if (!failed || !server) return [];
      return [host === ip ? certificate : `${host} at ${ip}: ${certificate}`];
    }
    return [
      `${host}: ${certificate}`,
      `cluster id ${id}, user ${user} (role ${roles?.join(", ") || "none"}), heartbeat ${heartbeatAge} s ago`,
      Object.entries(counts)
        .map(([kind, count]) => `${count} ${count === 1 ? SINGULARS[kind as EtcdContent] : kind}`)
        .join(", "),
    ];
  });
  return [...new Set(lines)];
}

/** Counts the peers that connect, and the skipped ones. */
export function showProbeSummary(probes: readonly PeerProbe[], style: Style): string {
  const tried = probes.filter(({ skipped }) => skipped === undefined);
  const connected = tried.filter(({ findings }) => !findings.some(({ severity }) => severity === "error")).length;
  const skipped = probes.length > tried.length ? `, ${probes.length - tried.length} skipped` : "";
  const text = `${connected} of ${tried.length} ${tried.length === 1 ? "peer connects" : "peers connect"}${skipped}`;
  return connected === tried.length ? style.green(text) : style.red(text);
}
