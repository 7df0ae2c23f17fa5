import assert from "node:assert/strict";
import { test } from "node:test";
import type { TargetReport } from "../../lib/import/apply.ts";
import type { Change } from "../../lib/import/plan/change.ts";
import type { Outcome } from "../../lib/import/plan/merge-secret.ts";
import { type Plan, plan } from "../../lib/import/plan/plan.ts";
import { showDisruptions, showPlan } from "../../lib/render/plan.ts";
import { showReports } from "../../lib/render/reports.ts";
import { styleFor } from "../../lib/render/style.ts";
import { UserError } from "../../lib/util/errors.ts";
import { OPTIONS, targetOf } from "../support/targets.ts";

const plain = styleFor({}, {});
const FEW = { details: false };
const names = (count: number, prefix = "c") => Array.from({ length: count }, (_, i) => `${prefix}${i + 1}`);
const target = targetOf("1.18", { takesUsers: false });
const restart = (kind: "Deployment" | "DaemonSet", name: string, hostnames: string[]): Change => ({
  verb: "json-patch",
  ...{ kind, name, patch: [], hostnames },
});
const secret: Change = { verb: "merge-patch", kind: "Secret", name: "cilium-clustermesh", patch: { metadata: {} } };

function planOf(outcomes: Partial<Record<Outcome, string[]>>, more: Partial<Plan> = {}): Plan {
  const entries = Object.entries(outcomes).flatMap(([outcome, some]) =>
    some.map((name) => [name, outcome as Outcome] as const),
  );
  return { ...plan(target, [], OPTIONS), changes: [secret], outcomes: new Map(entries), ...more };
}

const planned = (count: number, of: (i: number) => Plan) => names(count).map((source, i) => ({ source, plan: of(i) }));
const done = (source: string, of: Plan, writes = 1): TargetReport => ({
  ...{ source, state: "done", target, plan: of, writes, previews: [] },
});

test("showPlan describes up to three clusters in a sentence each, then restarts and their reason", () => {
  const agents = restart("DaemonSet", "cilium", ["a.example", "b.example"]);
  const targets = planned(2, (i) => planOf({ added: ["x", "y"] }, i === 0 ? { changes: [agents, secret] } : {}));
  const last =
    "will restart daemonset/cilium (all Cilium agents) in c1 to add host aliases for a.example and b.example";
  assert.deepEqual(showPlan(targets, plain, FEW), [
    "c1: will add x and y; will restart daemonset/cilium",
    "c2: will add x and y",
    last,
  ]);
  assert.equal(showPlan(targets, plain, { ...FEW, asked: true }).at(-1), last.replace("in c1", "in c1, if confirmed,"));
  assert.deepEqual(showDisruptions(targets, plain, FEW), [last]);
});

test("endpoint changes are shown before writing, merged over clusters, and limited to six without details", () => {
  const change = { before: "https://x:1 at 10.0.0.1", after: "https://x:2 at 10.0.0.2" };
  const moving = planned(2, () => planOf({ changed: ["x"] }, { endpointChanges: new Map([["x", change]]) }));
  const line = "endpoint of x in c1 and c2: https://x:1 at 10.0.0.1 → https://x:2 at 10.0.0.2";
  assert.deepEqual(showPlan(moving, plain, FEW), ["c1: will change x", "c2: will change x", line]);
  assert.deepEqual(showDisruptions(moving, plain, FEW), [line]);
  const reports = moving.map(({ source, plan: of }) => done(source, of));
  assert.ok(showReports(reports, plain, { ...FEW, dryRun: true }).includes(line));
  assert.ok(!showReports(reports, plain, { ...FEW, dryRun: false }).includes(line), "shown before writing");
  const many = planned(1, () =>
    planOf({ changed: names(9) }, { endpointChanges: new Map(names(9).map((name) => [name, change])) }),
  );
  assert.equal(showDisruptions(many, plain, FEW).at(-1), "… and 3 more endpoint changes (use --details to show all)");
  assert.equal(showDisruptions(many, plain, { details: true }).length, 9);
});

test("a changed CA is shown before writing, with the certificates before and after", () => {
  const change = { before: "CN=Cilium CA (SHA-256 11…)", after: "CN=Cilium CA (SHA-256 22…)" };
  const changing = planned(2, () => planOf({ changed: ["x"] }, { caChanges: new Map([["x", change]]) }));
  const line = `CA of x in c1 and c2: ${change.before} → ${change.after}`;
  assert.deepEqual(showPlan(changing, plain, FEW), ["c1: will change x", "c2: will change x", line]);
  assert.deepEqual(showDisruptions(changing, plain, FEW), [line]);
});

test("an endpoint set at extraction is reported with the command that resets it", () => {
  const of = planOf({ unchanged: ["x"] }, { keptEndpoints: new Map([["x", "https://x:1 at 10.0.0.1"]]) });
  assert.deepEqual(showReports([done("c1", of, 0)], plain, { ...FEW, dryRun: false }).slice(1), [
    "  endpoint of x: https://x:1 at 10.0.0.1, set at extraction; to reset it:",
    "    import-secrets --context c1 --endpoint x= FILE",
    "nothing written",
  ]);
});

test("showPlan prints a table row for each of thirty clusters", () => {
  const all = names(30);
  const targets = planned(30, (i) =>
    planOf(
      { added: all.filter((_, j) => j !== i) },
      { granted: all.slice(1), changes: [restart("Deployment", "clustermesh-apiserver", all), secret] },
    ),
  );
  const lines = showPlan(targets, plain, FEW);
  assert.equal(lines[0], "CLUSTER   ADDED   USERS   RESTARTS");
  assert.equal(lines[1], "c1        29      +29     apiserver");
  assert.equal(lines.length, 32);
  assert.equal(
    lines[31],
    "will restart deployment/clustermesh-apiserver in all 30 clusters to add host aliases for 30 names",
  );
  const details = showPlan(targets, plain, { details: true });
  assert.ok(details[0]?.startsWith("c1: will add c2, c3, ") && details[0].includes(" c29 and c30;"), details[0]);
  assert.ok(details.at(-1)?.endsWith("c28, c29 and c30"), details.at(-1));
});

test("a table column with few distinct names shows names, and every removed peer is named", () => {
  const few = showPlan(
    planned(5, () => planOf({ dropped: ["x"], unchanged: names(9) }, { revoked: ["remote-x"] })),
    plain,
    FEW,
  );
  assert.deepEqual(few.slice(0, 2), ["CLUSTER   REMOVED   UNCHANGED   USERS", "c1        x         9           -1"]);
  const many = showPlan(
    planned(5, (i) => planOf({ dropped: i === 0 ? ["y"] : names(12, "x") })),
    plain,
    FEW,
  );
  assert.deepEqual(many.slice(6), [
    "will remove y from c1",
    `will remove ${names(12, "x").join(", ")} from c2, c3, c4 and c5`,
  ]);
});

test("showReports prints a table with a status for each cluster, then failures, then merged notes", () => {
  const missing = [
    {
      workload: { kind: "DaemonSet", name: "cilium" } as Plan["missing"][number]["workload"],
      hostnames: ["h"],
      isOutdated: false,
    },
  ];
  const reports: TargetReport[] = [
    done("c1", planOf({ added: ["x"] })),
    done("c2", planOf({ unchanged: ["x"] }), 0),
    done("c3", planOf({ added: ["x"] }, { missing })),
    done("c4", planOf({ added: ["x"], held: ["y"] }, { missing })),
    { source: "c5", state: "failed", error: new UserError("no route", 1), writes: 1 },
  ];
  assert.deepEqual(showReports(reports, plain, { dryRun: false, details: false }), [
    "CLUSTER   VERSION   ADDED   PENDING   UNCHANGED   STATUS",
    "c1        1.18.3    x       0         0           written",
    "c2        1.18.3    0       0         x           unchanged",
    "c3        1.18.3    x       0         0           needs restart",
    "c4        1.18.3    x       y         0           needs restart",
    "c5        -         -       -         -           partly written",
    "error: c5: no route (partly written; rerun to complete)",
    "not connecting yet: daemonset/cilium has no host alias for h in c3 and c4",
    "  rerun with --restart-agents to add it (restarts its pods)",
    "pending until pods restart with the new host aliases in c4: y (still connected by the current hostname)",
    "Secrets written; pods pick them up within about two minutes",
  ]);
  const outdated = missing.map((one) => ({ ...one, isOutdated: true }));
  const [report] = showReports([done("c1", planOf({ unchanged: ["x"] }, { missing: outdated }))], plain, {
    dryRun: false,
    details: false,
  }).slice(1);
  assert.equal(report, "  restart needed: daemonset/cilium has outdated host aliases for h");
  const dry = showReports(reports.slice(0, 4), plain, { dryRun: true, details: false });
  assert.match(dry[1] ?? "", / would change$/);
  assert.doesNotMatch(dry.join("\n"), /written/);
});

test("a restart without other changes is reported", () => {
  const plan = planOf({ unchanged: ["x"] }, { changes: [restart("DaemonSet", "cilium", ["h"])] });
  const shown = (count: number) =>
    showReports(
      names(count, "c").map((source) => done(source, plan)),
      plain,
      { dryRun: false, details: false },
    );
  assert.deepEqual(shown(1), ["c1 (Cilium 1.18.3): unchanged x", "  restarting daemonset/cilium"]);
  assert.match(shown(5)[1] ?? "", / restarting$/);
});

test("a narrow terminal keeps the columns of changes", () => {
  const narrow = styleFor({ isTTY: true, columns: 60 }, { NO_COLOR: "1" });
  const change = (i: number) =>
    planOf(
      { added: ["x"], changed: [`y${i}`], dropped: [`z${i}`], unchanged: names(9) },
      { granted: ["remote-x"], changes: [restart("Deployment", "clustermesh-apiserver", ["h"])] },
    );
  const reports = names(5).map((name, i) => done(`arn:aws:eks:eu-1:1234:cluster/${name}`, change(i)));
  const lines = showReports(reports, narrow, { dryRun: false, details: false });
  for (const line of lines) assert.ok(line.length <= 60, line);
  assert.match(lines[0] ?? "", /^CLUSTER +ADDED CHANGED REMOVED USERS RESTARTS +STATUS$/);
});

test("a dry run reports planned removals in the conditional", () => {
  const report = done("c1", planOf({ changed: ["x"] }, { cleaned: ["cilium-clustermesh"] }), 0);
  const what = "kubectl's last-applied annotation, which contains private keys, from secret/cilium-clustermesh";
  for (const reports of [[report], Array<TargetReport>(4).fill(report)]) {
    const text = (dryRun: boolean) => showReports(reports, plain, { dryRun, details: false }).join("\n");
    assert.match(text(false), /^ *removed kubectl's last-applied annotation/m);
    assert.match(text(true), /^ *would remove kubectl's last-applied annotation/m);
    assert.doesNotMatch(text(true), /\bremoved\b/);
  }
  assert.ok(showReports([report], plain, { dryRun: true, details: false }).includes(`  would remove ${what}`));
});

test("a kept peer is reported with the command that removes it", () => {
  const kept = (count: number, dryRun = false) => {
    const sources = names(count, "a context ");
    const reports = sources.map((source) => done(source, planOf({ unchanged: ["x"] }, { kept: ["submariner"] })));
    const lines = showReports(reports, plain, { dryRun, details: false });
    const at = lines.findIndex((line) => line.includes("submariner"));
    return lines.slice(at, at + 2).map((line) => line.trim());
  };
  const command = "clustermesh-secrets disconnect submariner";
  assert.deepEqual(kept(1), ["kept submariner: node-local; to remove it:", `${command} --from 'a context 1'`]);
  assert.match(kept(1, true)[0] ?? "", /^would keep submariner: /);
  assert.equal(
    kept(5)[1],
    `${command} ${names(5, "a context ")
      .map((name) => `--from '${name}'`)
      .join(" ")}`,
  );
  assert.deepEqual(kept(9), [
    "kept submariner in all 9 clusters: node-local; to remove it:",
    `${command} --from CONTEXT`,
  ]);
});
