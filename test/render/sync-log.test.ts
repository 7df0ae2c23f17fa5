/** The log of `sync`: a line for each event. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { FINDING_CODES, type FindingCode } from "../../lib/peer/finding-codes.ts";
import { styleFor } from "../../lib/render/style.ts";
import { formatSyncEvent } from "../../lib/render/sync-log.ts";
import { HOLD_REASONS } from "../../lib/sync/state.ts";
import type { SyncEvent } from "../../lib/sync/sync-event.ts";
import { findingWith } from "../support/findings.ts";
import { caOf, clientOf } from "../support/material.ts";

const plain = styleFor({}, {});
const coloured = styleFor({ isTTY: true, columns: 80 }, { TERM: "xterm" });
const time = new Date("2030-01-02T03:04:05.678Z");
const since = "2030-01-02T03:00:00Z";
/** The changes of a plan that changes no peer. */
const unchanged = { added: [], changed: [], removed: [], parts: [], resetBy: [] };

type Happened = SyncEvent extends infer E ? (E extends SyncEvent ? Omit<E, "time"> : never) : never;
const textOf = (event: Happened) =>
  formatSyncEvent({ time, ...event } as SyncEvent, "text", plain).slice("00:00:00 ".length);
const jsonOf = (event: Happened) => JSON.parse(formatSyncEvent({ time, ...event } as SyncEvent, "json", plain));

/** An event of each kind whose texts are all `text`. */
function eventsWith(text: string, code: FindingCode): Happened[] {
  const [entry, cluster, target, object, error] = [text, text, text, text, text];
  return [
    { kind: "started", members: 3, selection: text },
    { kind: "member-joined", entry, cluster },
    { kind: "member-left", entry, cluster, keptBecause: text, remedy: text },
    { kind: "member-unreachable", entry, error, retryIn: 5000 },
    { kind: "member-unreachable", entry, error },
    { kind: "member-unavailable", entry, cluster, error },
    { kind: "member-reachable", entry, cluster },
    { kind: "planned", target, added: [text, text], changed: [text], removed: [text], parts: [], resetBy: [text] },
    { kind: "written", target, object, peers: [text, text], removed: [text] },
    { kind: "write-failed", target, error },
    ...HOLD_REASONS.map(
      (reason): Happened => ({
        kind: "held",
        record: { target, peer: text, reason, since: text, until: text, message: text, remedy: text },
      }),
    ),
    { kind: "released", target, peer: text, reason: "check" },
    { kind: "rollout-stalled", target, workloads: [text], since: new Date(0) },
    { kind: "finding", target, finding: findingWith(code, { source: text, key: text }, text, text) },
    { kind: "watch-restarted", entry, object, reason: "error", error },
    { kind: "leading" },
    { kind: "standby", holder: text },
    { kind: "state-unreadable", where: text, error },
    { kind: "events-denied", target, error },
    { kind: "list-failed", error },
    { kind: "list-recovered" },
    { kind: "list-watch-failed", error },
    { kind: "names-unknown", names: [text] },
    { kind: "finished", clusters: 3, written: 1, unchanged: 1, failed: 1, held: 2 },
    { kind: "stopping", signal: text },
    { kind: "stopped" },
  ];
}

describe("text", () => {
  test("states who, what and why, with the local time", () => {
    const lines: [Happened, string][] = [
      [{ kind: "started", members: 1, selection: "--all-contexts" }, "started with 1 member: --all-contexts"],
      [{ kind: "member-joined", entry: "c4", cluster: "c4" }, "c4: joined"],
      [{ kind: "member-joined", entry: "admin@c4", cluster: "c4" }, "admin@c4: joined (cluster c4)"],
      [{ kind: "member-left", entry: "c4" }, "c4: left"],
      [
        { kind: "member-left", entry: "c4", remedy: "run: clustermesh-secrets disconnect c4 --from c1" },
        "c4: left; its config stays in the others; run: clustermesh-secrets disconnect c4 --from c1",
      ],
      [{ kind: "member-left", entry: "c4", pruneAfter: 86_400_000 }, "c4: left; removed from the others in 24h"],
      [{ kind: "list-recovered" }, "the members can be listed again"],
      [
        { kind: "member-left", entry: "c4", keptBecause: "the list is empty" },
        "warning: c4: left; not pruned: the list is empty",
      ],
      [
        { kind: "member-unreachable", entry: "c4", error: "cannot connect\n  kubectl get ns", retryIn: 20_000 },
        "warning: c4: cannot be read: cannot connect; kubectl get ns; retrying in 20s",
      ],
      [{ kind: "member-unreachable", entry: "c4", error: "forbidden" }, "warning: c4: cannot be read: forbidden"],
      [
        { kind: "list-watch-failed", error: "forbidden" },
        "warning: cannot watch the list of members, which is read once an interval: forbidden",
      ],
      [
        { kind: "member-unavailable", entry: "c4", error: "no address" },
        "error: c4: other clusters cannot reach it: no address",
      ],
      [{ kind: "member-reachable", entry: "c4" }, "c4: can be read again"],
      [
        { kind: "names-unknown", names: ["c8", "c9"] },
        "warning: no member is named c8 and c9; check --hub and --pairs",
      ],
      [
        { kind: "planned", target: "c1", ...unchanged, added: ["c2", "c3"], changed: ["c4"], removed: ["c5"] },
        "c1: adding c2, c3, changing c4 and removing c5",
      ],
      [
        { kind: "planned", target: "c1", ...unchanged, changed: ["c4", "c5"], parts: ["CA", "certificate"] },
        "c1: changing c4, c5 (CA, certificate)",
      ],
      [
        { kind: "planned", target: "c1", ...unchanged, added: ["c2"], resetBy: ["helm", "unknown"] },
        'c1: adding c2; reset by field manager "helm" and an unknown client',
      ],
      [
        { kind: "written", target: "c1", object: "secret/cilium-clustermesh", peers: ["c2", "c3"] },
        "c1: wrote secret/cilium-clustermesh: c2, c3",
      ],
      [
        { kind: "written", target: "c1", object: "secret/cilium-clustermesh", peers: ["c2", "c4"], removed: ["c4"] },
        "c1: wrote secret/cilium-clustermesh: c2; removed c4",
      ],
      [
        { kind: "written", target: "c1", object: "secret/cilium-clustermesh", peers: ["c4"], removed: ["c4"] },
        "c1: wrote secret/cilium-clustermesh: removed c4",
      ],
      [
        { kind: "written", target: "c1", object: "configmap/clustermesh-remote-users", peers: [] },
        "c1: wrote configmap/clustermesh-remote-users",
      ],
      [{ kind: "write-failed", target: "c1", error: "forbidden" }, "error: c1: cannot be written: forbidden"],
      [
        {
          kind: "held",
          record: {
            target: "c1",
            peer: "c2",
            reason: "contested",
            since,
            until: "2030-01-02T03:05:00Z",
            message: "reset by helm",
          },
        },
        "warning: c1: holding peer c2: reset by helm, until 2030-01-02T03:05:00Z [contested]",
      ],
      [
        {
          kind: "held",
          record: { target: "c1", reason: "duplicate", since, message: "id 3 is used twice", remedy: "fix it" },
        },
        "warning: c1: holding all peers: id 3 is used twice [duplicate]; fix it",
      ],
      [
        {
          kind: "held",
          record: { target: "c1", peer: "c2", reason: "ca-order", since, message: "waiting for the server" },
        },
        "c1: holding peer c2: waiting for the server [ca-order]",
      ],
      [
        {
          kind: "held",
          record: { target: "c1", peer: "c2", reason: "check", since, message: "expired" },
          peers: ["c3", "c4"],
        },
        "warning: c1: holding peers c2, c3, c4: expired [check]",
      ],
      [{ kind: "released", target: "c1", peer: "c2", reason: "ca-order" }, "c1: released peer c2 [ca-order]"],
      [
        {
          kind: "finding",
          target: "c1",
          finding: findingWith("ca-stale", { source: "c1", key: "c2" }, "is stale", "run x"),
        },
        "error: c1: (c2) is stale [ca-stale]; run x",
      ],
      [
        { kind: "watch-restarted", entry: "c1", object: "secrets", reason: "expired" },
        "c1: restarted the watch of secrets: its resource version expired",
      ],
      [
        { kind: "watch-restarted", entry: "c1", object: "secrets", reason: "error", error: "connection reset" },
        "warning: c1: the watch of secrets ended: connection reset",
      ],
      [
        { kind: "rollout-stalled", target: "c1", workloads: ["deployment/x"], since: new Date(0) },
        "warning: c1: deployment/x has not become available since its restart at 1970-01-01T00:00:00.000Z; no other cluster is restarted",
      ],
      [{ kind: "leading" }, "leading"],
      [{ kind: "standby", holder: "pod-2" }, "on standby: pod-2 leads"],
      [{ kind: "standby" }, "on standby"],
      [
        { kind: "state-unreadable", where: "configmap/x", error: "not JSON" },
        "error: cannot read the state in configmap/x, so nothing is pruned: not JSON",
      ],
      [{ kind: "events-denied", target: "c1", error: "forbidden" }, "warning: c1: no Events are created: forbidden"],
      [{ kind: "stopping", signal: "SIGTERM" }, "stopping after the current write: SIGTERM"],
      [{ kind: "stopped" }, "stopped"],
    ];
    for (const [event, line] of lines) assert.equal(textOf(event), line);
    const [first] = formatSyncEvent({ time, kind: "leading" }, "text", plain).split(" ");
    assert.equal(first, time.toTimeString().slice(0, 8));
  });

  test("has colours on a terminal alone", () => {
    const event: SyncEvent = { time, kind: "write-failed", target: "c1", error: "forbidden" };
    assert.match(
      formatSyncEvent(event, "text", coloured),
      // biome-ignore lint/suspicious/noControlCharactersInRegex: colours
      /^\u001b\[2m\d\d:\d\d:\d\d\u001b\[22m \u001b\[31merror\u001b\[39m: \u001b\[1mc1\u001b\[22m: cannot/,
    );
    assert.ok(!formatSyncEvent(event, "json", coloured).includes("\\u001b"));
  });
});

describe("JSON", () => {
  test("has the fields of the event, and the sentence of the text", () => {
    assert.deepEqual(jsonOf({ kind: "planned", target: "c1", ...unchanged, added: ["c2"] }), {
      ...{ time: "2030-01-02T03:04:05.678Z", level: "info", event: "planned", target: "c1" },
      ...{ added: ["c2"], changed: [], removed: [], message: "c1: adding c2" },
    });
    assert.deepEqual(
      jsonOf({ kind: "planned", target: "c1", ...unchanged, changed: ["c2"], parts: ["addresses"], resetBy: ["helm"] }),
      {
        ...{ time: "2030-01-02T03:04:05.678Z", level: "info", event: "planned", target: "c1" },
        ...{ added: [], changed: ["c2"], removed: [], parts: ["addresses"], resetBy: ["helm"] },
        message: 'c1: changing c2 (addresses); reset by field manager "helm"',
      },
    );
    assert.deepEqual(jsonOf({ kind: "member-unreachable", entry: "c4", error: "timeout", retryIn: 20_400 }), {
      ...{ time: "2030-01-02T03:04:05.678Z", level: "warning", event: "member-unreachable", entry: "c4" },
      ...{ error: "timeout", retryInSeconds: 20, message: "c4: cannot be read: timeout; retrying in 20s" },
    });
    const record = {
      target: "c1",
      peer: "c2",
      reason: "restart" as const,
      since,
      message: "needs an alias",
      remedy: "run x",
    };
    assert.deepEqual(jsonOf({ kind: "held", record }), {
      ...{ time: "2030-01-02T03:04:05.678Z", level: "warning", event: "held", target: "c1", peer: "c2" },
      ...{ reason: "restart", since, remedy: "run x", message: "c1: holding peer c2: needs an alias [restart]; run x" },
    });
    const finding = findingWith("client-stale", { source: "c1" }, "is old");
    assert.deepEqual(jsonOf({ kind: "finding", target: "c1", finding }), {
      ...{ time: "2030-01-02T03:04:05.678Z", level: "warning", event: "finding", target: "c1", code: "client-stale" },
      ...{ source: "c1", message: "c1: is old [client-stale]" },
    });
  });

  test("the sentence is that of the text", () => {
    for (const event of eventsWith("x", "ca-stale")) {
      assert.equal(textOf(event).replace(/^(?:warning|error): /, ""), jsonOf(event).message);
    }
  });
});

describe("texts of others", () => {
  const hostile = fc.oneof(
    fc.string({ unit: "binary", maxLength: 600 }),
    fc.string({
      unit: fc.constantFrom("\n", "\r", "\u0085", "\u2028", "\u001b", "\u009b", "\u202e", '"', "\\", "\ud800", "a"),
      maxLength: 40,
    }),
  );
  const code = fc.constantFrom(...(Object.keys(FINDING_CODES) as FindingCode[]));

  test("any text gives exactly one line without control characters, and valid JSON", () => {
    fc.assert(
      fc.property(hostile, code, (text, found) => {
        for (const event of eventsWith(text, found)) {
          for (const format of ["text", "json"] as const) {
            const line = formatSyncEvent({ time, ...event } as SyncEvent, format, plain);
            assert.doesNotMatch(line, /\p{C}|\p{Zl}|\p{Zp}/u, event.kind);
          }
          const parsed = jsonOf(event);
          assert.equal(parsed.event, event.kind);
          assert.equal(parsed.time, "2030-01-02T03:04:05.678Z");
          assert.match(parsed.level, /^(?:info|warning|error)$/);
          assert.equal(typeof parsed.message, "string");
        }
      }),
      { numRuns: 60 },
    );
  });

  test("a key is never printed", () => {
    const { key } = clientOf(caOf("a"));
    const inside = [key, key.replaceAll("\n", "\\n"), Buffer.from(key).toString("base64"), `x: ${key} y`];
    const secrets = [key.split("\n")[1] ?? "", Buffer.from(key).toString("base64").slice(0, 60)];
    for (const text of inside) {
      for (const event of eventsWith(text, "ca-stale")) {
        for (const format of ["text", "json"] as const) {
          const line = formatSyncEvent({ time, ...event } as SyncEvent, format, plain);
          assert.ok(!secrets.some((one) => line.includes(one)), line);
        }
      }
    }
  });

  test("a remedy is not cut, as other long texts are", () => {
    const remedy = `kubectl --kubeconfig=${"/folder".repeat(80)} get pods`;
    const record = { target: "c1", reason: "check" as const, since, message: "m".repeat(400), remedy };
    const event: Happened = { kind: "held", record };
    assert.ok(textOf(event).endsWith(`m [check]; ${remedy}`));
    assert.equal(jsonOf(event).remedy, remedy);
    assert.match(textOf(event), /: m{180}… \(140 more characters\) …m{80} \[/);
  });

  test("a command in an error is not cut, and is omitted if it is too long", () => {
    const errorWith = (length: number) => `${"m".repeat(400)}; check with: kubectl get ${"x".repeat(length)}`;
    const eventOf = (error: string): Happened => ({ kind: "write-failed", target: "c1", error });
    assert.ok(textOf(eventOf(errorWith(600))).endsWith(`m; check with: kubectl get ${"x".repeat(600)}`));
    assert.ok(jsonOf(eventOf(errorWith(600))).error.endsWith("x".repeat(600)));
    assert.match(textOf(eventOf(errorWith(2000))), /m; \(2,0\d\d characters omitted\)$/);
  });

  test("long lists are complete in JSON alone", () => {
    const peers = Array.from({ length: 253 }, (_, i) => `c${i}`);
    const event: Happened = { kind: "written", target: "c300", object: "secret/cilium-clustermesh", peers };
    assert.equal(jsonOf(event).peers.length, 253);
    assert.match(textOf(event), /: c0, c1, c2, c3, c4, c5, c6, c7, c8, c9 and 243 more$/);
  });
});
