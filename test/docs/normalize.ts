/** What differs between two runs of a documented command, and the sample values that the pages show instead. */
import { createHash } from "node:crypto";

/** The day that the pages are written on. */
const TODAY = Date.UTC(2026, 10, 26);
const DAY = 86_400_000;

/** Values that differ between runs of a page. */
export interface RunValues {
  /** Start of the run, in milliseconds. */
  now: number;
  /** The folder in which the commands run. */
  folder: string;
  /** URLs of the embedded API servers. */
  servers: readonly string[];
  /** Fingerprints so far, in the order in which they were printed. */
  fingerprints: string[];
}

type Rule = (text: string, values: RunValues) => string;

const RULES: Readonly<Record<string, Rule>> = {
  "temporary kubeconfig": (text) =>
    text.replace(/[\w./-]*\/clustermesh-sandbox-\w{6}\b/g, "/tmp/clustermesh-sandbox-Xk2QaB"),
  folder: (text, { folder }) => text.replaceAll(folder, "/home/me/mesh"),
  "URL of an API server": (text, { servers }) =>
    servers.reduce((all, url) => all.replaceAll(url, "https://127.0.0.1:6443"), text),
  "node port of an embedded cluster": (text) =>
    text.replace(/\b(127\.18\.(\d+)\.\d+|cluster(\d+)\.mesh\.cilium\.io):3\d{4}\b/g, (_, host, byAddress, byName) => {
      return `${host}:${32_378 + Number(byAddress ?? byName)}`;
    }),
  "time of day": (text) => text.replace(/(\d{4}-\d\d-\d\d)T\d\d:\d\d:\d\d(?:\.\d+)?Z/g, "$1T12:00:00Z"),
  date: (text, { now }) =>
    text.replace(/\b20\d\d-\d\d-\d\d\b/g, (date) => {
      const days = Math.round((Date.parse(date) - now + (now % DAY)) / DAY);
      return new Date(TODAY + days * DAY).toISOString().slice(0, 10);
    }),
  "time of a metric": (text, { now }) =>
    text.replace(/(_timestamp_seconds\{.*\} )(\d+)$/gm, (_, series, seconds) => {
      const days = Math.floor((Number(seconds) * 1000 - now + (now % DAY)) / DAY);
      return `${series}${(TODAY + (days + 0.5) * DAY) / 1000}`;
    }),
  fingerprint: (text, { fingerprints }) =>
    text.replace(/\b(?:[0-9a-f]{32}|[0-9a-f]{16})\b/g, (hex) => {
      const start = hex.slice(0, 16);
      if (!fingerprints.includes(start)) fingerprints.push(start);
      const sample = createHash("sha256")
        .update(`${fingerprints.indexOf(start)}`)
        .digest("hex");
      return sample.slice(0, hex.length);
    }),
  "state of a kubeconfig": (text) => text.replace(/\bsync-[0-9a-f]{12}\.json/g, "sync-3f1c0a9be752.json"),
  // Clusters are written at the same time.
  "log of sync": (text) =>
    text.replace(/(?:^\d\d:\d\d:\d\d .*(?:\n|$))+/gm, (log) => {
      const lines = log
        .trimEnd()
        .split("\n")
        .map((line) => `12:00:00${line.slice(8)}`);
      const subjectOf = (line = "") => /^\S+ (?:(?:warning|error): )?(\w+): /.exec(line)?.[1];
      const first = lines.findIndex((line) => subjectOf(line) !== undefined);
      const last = lines.findLastIndex((line) => subjectOf(line) !== undefined);
      const about = lines.slice(first, last + 1).sort((a, b) => ((subjectOf(a) ?? "") < (subjectOf(b) ?? "") ? -1 : 1));
      return first === -1
        ? `${lines.join("\n")}\n`
        : `${[...lines.slice(0, first), ...about, ...lines.slice(last + 1)].join("\n")}\n`;
    }),
  "last contact of a member": (text) =>
    text.replace(/\b\d+s( +)(?=reachable$)/gm, (found) => "5s".padEnd(found.length)),
  "age of a heartbeat": (text) => text.replace(/\bheartbeat \d+ s ago/g, "heartbeat 5 s ago"),
  "latency in the table of verify": (text) =>
    text.replace(/^ +ADDRESS +TCP\b.*\n(?: +\S+:\d+ .*(?:\n|$))+/gm, (table) => {
      const rows = table
        .trimEnd()
        .split("\n")
        .map((row) => (row.match(/\d+ ms|\S+/g) ?? []).map((cell) => cell.replace(/\d+ ms/, "3 ms")));
      const widths = rows[0]?.map((_, column) => Math.max(...rows.map((cells) => cells[column]?.length ?? 0))) ?? [];
      const lines = rows.map((cells) =>
        `  ${cells.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join("   ")}`.trimEnd(),
      );
      return `${lines.join("\n")}\n`;
    }),
};

/** Replaces what differs between runs. */
export function normalize(text: string, values: RunValues): string {
  return Object.values(RULES).reduce((all, rule) => rule(all, values), text);
}
