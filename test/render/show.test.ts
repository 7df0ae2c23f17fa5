import assert from "node:assert/strict";
import { test } from "node:test";
import type { TargetReport } from "../../lib/import/apply.ts";
import { type Plan, plan } from "../../lib/import/plan/plan.ts";
import type { PeerReport } from "../../lib/peer/inspect.ts";
import { showFindings } from "../../lib/render/findings.ts";
import { showInspection } from "../../lib/render/inspect.ts";
import { showSecret } from "../../lib/render/objects.ts";
import { showPlan } from "../../lib/render/plan.ts";
import { showReports } from "../../lib/render/reports.ts";
import { showMermaid, showStatus } from "../../lib/render/status.ts";
import { enumerate, escapeControlChars, escapeLine, styleFor } from "../../lib/render/style.ts";
import { showProbe } from "../../lib/render/verify.ts";
import { findingWith } from "../support/findings.ts";
import { caOf, clientOf } from "../support/material.ts";
import { configText, OPTIONS, peerOf, secretOf, targetOf } from "../support/targets.ts";

const plain = styleFor({}, {});
// biome-ignore lint/suspicious/noControlCharactersInRegex: matches control characters
const CONTROL = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/;

test("styleFor enables colours only on a terminal that supports them", () => {
  const coloured = "\u001b[31mx\u001b[39m";
  assert.equal(styleFor({ isTTY: true }, { TERM: "xterm" }).red("x"), coloured);
  assert.equal(styleFor({ isTTY: true }, { NO_COLOR: "1" }).red("x"), "x");
  assert.equal(styleFor({ isTTY: true }, { TERM: "dumb" }).red("x"), "x");
  assert.equal(styleFor({ isTTY: false }, {}).red("x"), "x");
  assert.equal(styleFor({}, {}).red("x"), "x");
});

test("escapeControlChars escapes invisible characters, escapeLine line breaks too", () => {
  assert.equal(escapeControlChars("a\u001b[2Jb\r\u009b\u202ec\nd"), "a\\x1b[2Jb\\x0d\\x9b\\u202ec\nd");
  assert.equal(escapeControlChars("cluster-1 → ü 日本"), "cluster-1 → ü 日本");
  const unseen = ["\u00ad", "\u061c", "\u200b", "\u200d", "\u200f", "\u2028", "\u2029", "\u2060", "\u2066", "\ufeff"];
  for (const sign of unseen) assert.match(escapeControlChars(`a${sign}b`), /^a\\[xu][0-9a-f]+b$/);
  assert.equal(escapeControlChars("\u{e0041}\ud800"), "\\ue0041\\ud800");
  assert.equal(escapeLine("a\n\u200bb"), "a\\n\\u200bb");
});

test("a name with line breaks cannot forge a line of output", () => {
  const forged = "c2\nerror: c9: all is lost\u2028x\r\n";
  const { peer } = peerOf("c2", 2);
  const facts = { ...peer.facts, name: forged, version: forged };
  const inspected: PeerReport = {
    ...{ name: forged, source: forged, layout: "other", version: forged, verdict: "fails", user: forged },
    ...{ endpoints: [{ url: forged, addresses: [forged], covered: true }], ca: "system", client: "importer" },
    findings: [findingWith("id-duplicate", { source: forged, key: forged }, forged, forged)],
  };
  const target = { ...targetOf("1.20"), source: forged, facts };
  const planned: Plan = {
    ...plan(target, [], OPTIONS),
    ...{ outcomes: new Map([[forged, "added"]]), granted: [forged], revoked: [forged], skippedSelf: true },
    ...{ keptOverrides: new Map([[forged, forged]]), kept: [forged], cleaned: [], missing: [], changes: [] },
    ...{ keptEndpoints: new Map([[forged, forged]]) },
    ...{
      endpointChanges: new Map([[forged, { before: forged, after: forged }]]),
      caChanges: new Map([[forged, { before: forged, after: forged }]]),
    },
  };
  const report = {
    state: "done" as const,
    source: forged,
    target,
    plan: planned,
    writes: 1,
    previews: [],
  } satisfies TargetReport;
  const cluster = { source: forged, name: forged, version: forged, waits: forged, pods: [], findings: [] };
  const probe = { name: forged, source: forged, addresses: [], findings: [] };
  const pair = { importer: forged, peer: forged, configured: true, findings: [] };
  const shown: [what: string, lines: string[], most: number][] = [
    ["findings", showFindings(inspected.findings, plain), 2],
    ["inspect", showInspection({ peers: [inspected], unreadable: [], findings: [] }, plain), 11],
    ["a plan", showPlan([{ source: forged, plan: planned }], plain, { details: false }), 3],
    ["a plan of many", showPlan(Array(5).fill({ source: forged, plan: planned }), plain, { details: false }), 8],
    ["an import", showReports([report], plain, { dryRun: false, details: false }), 10],
    ["an import into many", showReports(Array(5).fill(report), plain, { dryRun: false, details: false }), 12],
    ["status", showStatus({ clusters: [cluster], pairs: [pair] }, plain, { wide: true }), 9],
    [
      "mermaid",
      showMermaid({ clusters: [cluster], pairs: [pair] })
        .trimEnd()
        .split("\n"),
      3,
    ],
    ["verify", showProbe(probe, plain), 1],
  ];
  for (const [what, lines, most] of shown) {
    assert.ok(lines.length <= most, `${what}: ${lines.length} lines`);
    for (const line of lines) assert.doesNotMatch(line, /[\n\r\u2028]|^error: c9/, what);
  }
});

test("verify and inspect fit in 50 columns without breaking words, and keep failed steps", () => {
  const narrow = styleFor({ isTTY: true, columns: 50 }, { NO_COLOR: "1" });
  const steps = (["tcp", "tls", "client", "user", "heartbeat", "config"] as const).map((step) => ({
    ...{ step, ok: step !== "config", ms: 12 },
  }));
  const address = {
    endpoint: "https://c2.mesh.cilium.io:32379",
    host: "c2.mesh.cilium.io",
    ip: "127.18.2.2",
    port: 32379,
    steps,
    failed: "config" as const,
  };
  const server = {
    subject: "CN=clustermesh-apiserver.cilium.io",
    issuer: "CN=Cilium CA",
    names: [],
    expires: "2029-11-25",
    expiresAt: "2029-11-25T12:00:00Z",
    daysLeft: 1094,
  };
  const probe = { name: "c2", source: "c1", findings: [], addresses: [{ ...address, server }] };
  assert.deepEqual(showProbe(probe, narrow), [
    "c2 (c1): connects",
    "  ADDRESS          TCP   TLS   CERT  USER  CONFIG",
    "  127.18.2.2:32379 12 ms 12 ms 12 ms 12 ms failed",
    "  columns left out: HEARTBEAT, SYNCED",
    "  c2.mesh.cilium.io at 127.18.2.2: server",
    "    certificate",
    "    CN=clustermesh-apiserver.cilium.io, until",
    "    2029-11-25 (1094 days)",
  ]);
  const peer: PeerReport = {
    ...{
      name: "c2",
      source: "c2.json",
      layout: "chart-mixed",
      version: "1.20.2",
      verdict: "connects",
      user: "remote",
    },
    ...{ endpoints: [{ url: "https://c2.mesh.cilium.io:32379", addresses: [], covered: true }], ca: "system" },
    ...{ client: "importer", findings: [] },
  };
  assert.deepEqual(showInspection({ peers: [peer], unreadable: [], findings: [] }, narrow).slice(1, 5), [
    "  cluster  Cilium 1.20.2, Helm chart layout with",
    "             its own certificate and a shared CA",
    "  endpoint https://c2.mesh.cilium.io:32379",
    "           covered by the server certificate",
  ]);
});

test("enumerate lists a few names and counts many", () => {
  const names = Array.from({ length: 14 }, (_, i) => `c${i + 1}`);
  assert.equal(enumerate([]), "");
  assert.equal(enumerate(["a"]), "a");
  assert.equal(enumerate(["a", "b"]), "a and b");
  assert.equal(enumerate(["a", "b", "c"]), "a, b and c");
  assert.equal(enumerate(names), `${names.slice(0, 11).join(", ")} and 3 more`);
});

test("showSecret describes files without printing private keys", () => {
  const ca = caOf("c2");
  const client = clientOf(ca);
  const paths = ["c2-ca.crt", "c2.crt", "c2.key"] as const;
  const secret = secretOf({
    c2: configText("https://c2.mesh.cilium.io:32379", paths),
    "c2-ca.crt": ca.cert,
    "c2.crt": client.cert,
    "c2.key": client.key,
    other: "\u001b[2J",
  });
  const text = showSecret(secret, plain).join("\n");
  assert.match(text, /^ {2}c2: https:\/\/c2\.mesh\.cilium\.io:32379$/m);
  assert.match(text, /^ {2}c2-ca\.crt: CA .*, until \d{4}-\d\d-\d\d$/m);
  assert.match(text, /^ {2}c2\.crt: certificate remote, until/m);
  assert.match(text, /^ {2}c2\.key: private key$/m);
  assert.match(text, /^ {2}other: 4 bytes$/m);
  assert.doesNotMatch(text, CONTROL);
  const body = client.key.split("\n")[1];
  assert.ok(body && !text.includes(body), "no line of the key");
});
