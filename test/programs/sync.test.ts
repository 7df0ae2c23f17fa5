/** `sync` as built, on sandbox clusters. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import type { V1Secret } from "@kubernetes/client-node";
import { type Sandbox, type SandboxCluster, startSandbox } from "../../lib/sandbox/sandbox.ts";
import { type ProgramResult, run } from "../support/programs.ts";
import { KEYS, runOnTerminal, withoutTerminals } from "../support/terminal.ts";

const NAMES = ["c1", "c2", "c3"];

/** Clusters that resolve the names of their peers without host aliases, so that no restart is needed. */
function describeClusters(names: readonly string[], parts: { version?: string; id?: number } = {}): SandboxCluster[] {
  return names.map((name) => {
    const n = Number(name.slice(1));
    const nodes = [1, 2].map((node) => ({ name: `${name}-node${node}`, internalIPs: [`172.18.${n}.${node}`] }));
    return { description: { name, id: n, version: "1.20.2", nodes, ...parts } };
  });
}

describe("sync", () => {
  let sandbox: Sandbox;
  let dir: string;
  /** Runs it without a terminal until it ends. */
  const go = (...args: string[]): Promise<ProgramResult> =>
    run("clustermesh-secrets", ["sync", ...args], { kubeconfig: sandbox.kubeconfig, cwd: dir, env: { HOME: dir } });
  const once = (...args: string[]) => go("--once", "--yes", "--state-file=state.json", ...args);
  const clusterOf = (name: string) => {
    const found = sandbox.clusters.find(({ description }) => description.name === name);
    assert.ok(found, name);
    return found.api;
  };
  const peersOf = (cluster: string) => {
    const found = clusterOf(cluster).store.read("Secret", "kube-system", "cilium-clustermesh") as V1Secret | undefined;
    return NAMES.filter((name) => found?.data?.[name] !== undefined);
  };
  const peers = () => NAMES.map(peersOf);
  const FULL = [
    ["c2", "c3"],
    ["c1", "c3"],
    ["c1", "c2"],
  ];
  const requests = () => sandbox.clusters.reduce((sum, { api }) => sum + api.requests.length, 0);
  const writes = () => sandbox.clusters.flatMap(({ api }) => api.requests.filter(isWrite));
  const file = (name: string, text: string) => {
    writeFileSync(join(dir, name), text);
    return name;
  };

  before(() => {
    dir = mkdtempSync(join(tmpdir(), "sync-programs-"));
  });
  after(() => rmSync(dir, { recursive: true, force: true }));
  beforeEach(async () => {
    sandbox = await startSandbox({ clusters: describeClusters(NAMES) });
  });
  afterEach(async () => {
    await sandbox.stop();
    rmSync(join(dir, "state.json"), { force: true });
  });

  test("without a terminal and without --yes is refused before anything is contacted", async () => {
    for (const more of [[], ["--once"]]) {
      const { code, stdout, stderr } = await go("--all-contexts", "--state-file=state.json", ...more);
      assert.deepEqual(
        [code, stdout, stderr],
        [2, "", "error: confirmation required: stdin is not a terminal; pass --yes\n"],
      );
    }
    assert.equal(requests(), 0);
    assert.throws(() => statSync(join(dir, "state.json")));
  });

  test("invalid flags are refused before anything is contacted", async () => {
    const all = "--all-contexts";
    const cases: [args: string[], message: RegExp][] = [
      [[all, "--settle=soon"], /^error: invalid duration "soon" for --settle \(examples: 30s, 5m\)\n$/],
      [[all, "--settle=0"], /^error: invalid value for --settle: must be at least 100ms\n$/],
      [[all, "--interval=0"], /^error: invalid value for --interval: must be at least 1s\n$/],
      [[all, "--interval=999ms"], /^error: invalid value for --interval: must be at least 1s\n$/],
      [[all, "--address-grace=-1s"], /^error: .*--address-grace/],
      [[all, "--prune-after=10"], /^error: invalid duration "10" for --prune-after \(examples: 30d, 36h, 90m\)\n$/],
      [[all, "--prune-after=0h"], /^error: invalid value for --prune-after: must be more than 0\n$/],
      [[all, "--fight-limit=0"], /^error: invalid value for --fight-limit: must be at least 1\n$/],
      [[all, "--log-format=yaml"], /^error: invalid value "yaml" for --log-format: must be one of text, json\n$/],
      [[all, "--listen=99999"], /^error: invalid address "99999" for --listen \(examples: :8080, .*\)\n$/],
      [[all, "--once", "--listen=:0"], /^error: --once and --listen are mutually exclusive\n$/],
      [[all, "--hub=c1", "--pairs=x"], /^error: --hub and --pairs are mutually exclusive\n$/],
      [[all, "--pairs=missing"], /^error: missing: no such file or directory\n$/],
      [[all, `--pairs=${file("bad.pairs", "c1 c2\nc3\n")}`], /^error: bad\.pairs: line 2 has 1 name, expected 2\n$/],
      [
        [all, "--state=cluster", "--state-file=x"],
        /^error: --state-file and --state=cluster are mutually exclusive\n$/,
      ],
      [[all, "--lisen=:0"], /^error: unknown flag: --lisen; did you mean --listen\?\n$/],
      [["c1", "c9"], /^error: context "c9" does not exist .*\n$/],
      [["c1"], /^error: at least two clusters are required\n {2}example: .*\n {2}see .*\n$/],
      [[], /^error: no contexts given: .*\n/],
      [["--contexts-file=missing.txt"], /^error: missing\.txt: no such file or directory\n$/],
      [["c1", "c2", "--hub=c9"], /^error: context "c9" does not exist .*\n$/],
      [[`--contexts-file=${file("empty.txt", "")}`], /^error: empty\.txt: no contexts\n$/],
      [["--clusters-from=secrets", "--clusters-context=c9"], /^error: context "c9" does not exist .*\n$/],
    ];
    // Without --yes, they precede the missing confirmation.
    for (const [args, message] of cases.flatMap(([args, message]) =>
      [["--yes"], []].map((yes): (typeof cases)[number] => [[...yes, ...args], message]),
    )) {
      const { code, stdout, stderr } = await go(...args);
      assert.deepEqual([code, stdout], [2, ""], `${args}: ${stderr}`);
      assert.match(stderr, message);
    }
    assert.equal(requests(), 0);
  });

  test("a port in use is an error", async (t) => {
    const server = createServer();
    t.after(() => server.close());
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as { port: number };
    const { code, stderr } = await go(
      "--all-contexts",
      "--yes",
      `--listen=127.0.0.1:${port}`,
      "--state-file=state.json",
    );
    assert.deepEqual(
      [code, stderr],
      [
        1,
        `error: cannot listen on 127.0.0.1:${port}: address already in use\n  choose another address with --listen\n`,
      ],
    );
    assert.equal(requests(), 0);
  });

  test("Secrets that do not exist yet are a warning", async () => {
    const { code, stderr } = await once("--clusters-from=secrets", "--clusters-context=c1");
    assert.equal(code, 0, stderr);
    assert.match(
      stderr,
      /^warning: no Secret describes a cluster in namespace .*; pass --clusters-namespace, or .*\n/m,
    );
    assert.match(stderr, /started with 0 members/);
  });

  test("an unknown hub is refused, and an unknown name in the pairs is a warning", async () => {
    const { code, stderr } = await once("--all-contexts", "--hub=c9");
    assert.equal(code, 2, stderr);
    assert.match(stderr, /^error: no member is the hub "c9"\n {2}members: c1, c2 and c3\n$/m);
    assert.deepEqual(writes(), []);
    const pairs = await once("--all-contexts", `--pairs=${file("some.pairs", "c1 c2\nc2 c9\n")}`);
    assert.equal(pairs.code, 0, pairs.stderr);
    assert.match(pairs.stderr, /warning: no member is named c9; check --hub and --pairs\n/);
    assert.deepEqual(peers(), [["c2"], ["c1"], []]);
  });

  test("--once writes everything and exits with 0, and again if there is nothing to do", async () => {
    const first = await once("--all-contexts");
    assert.equal(first.code, 0, first.stderr);
    assert.deepEqual(peers(), FULL);
    const before = writes().length;
    const second = await once("--all-contexts");
    assert.equal(second.code, 0, second.stderr);
    assert.equal(writes().length, before);
    const watches = sandbox.clusters.flatMap(({ api }) => api.requests.filter(({ path }) => path.includes("watch=")));
    assert.deepEqual(watches, [], "one round watches nothing");
  });

  test("--once with a cluster that is down writes the others and exits with 1", async () => {
    await clusterOf("c3").stop();
    const { code, stderr } = await once("--all-contexts");
    assert.equal(code, 1, stderr);
    assert.deepEqual(peers().slice(0, 2), [["c2"], ["c1"]]);
    assert.match(stderr, /warning: c3: cannot be read: cannot reach https:\S+ \(context "c3"\): connection refused/);
    assert.doesNotMatch(stderr, /retrying/, "it does not");
  });

  test("--hub and --pairs connect only those pairs", async () => {
    assert.equal((await once("--hub=c2", ...NAMES)).code, 0);
    assert.deepEqual(peers(), [["c2"], ["c1", "c3"], ["c2"]]);
    assert.equal((await once("--all-contexts", `--pairs=${file("star.pairs", "c3 * # with all\n")}`)).code, 0);
    assert.deepEqual(
      peers(),
      [
        ["c2", "c3"],
        ["c1", "c3"],
        ["c1", "c2"],
      ],
      "what was connected stays",
    );
  });
});

describe("sync --once that holds something", () => {
  let dir: string;
  before(() => {
    dir = mkdtempSync(join(tmpdir(), "sync-programs-"));
  });
  after(() => rmSync(dir, { recursive: true, force: true }));

  test("exits with 3 for two clusters with one id, and reports them each time", async (t) => {
    const clusters = [...describeClusters(["c1", "c2"]), ...describeClusters(["c3"], { id: 2 })];
    const { kubeconfig, stop, clusters: started } = await startSandbox({ clusters });
    t.after(stop);
    for (let i = 0; i < 2; i++) {
      const args = ["sync", "--once", "--yes", "--all-contexts", "--state-file=ids.json"];
      const { code, stderr } = await run("clustermesh-secrets", args, { kubeconfig, cwd: dir, env: { HOME: dir } });
      assert.equal(code, 3, stderr);
      assert.match(stderr, /warning: c2: holding all peers: .* \[duplicate\]/);
      assert.match(stderr, /warning: c3: holding all peers: .* \[duplicate\]/);
    }
    assert.deepEqual(
      started.flatMap(({ api }) => api.requests.filter(isWrite)),
      [],
    );
  });

  test("exits with 3 if pods must be restarted, with one line per target and a command that does it", async (t) => {
    const { kubeconfig, stop } = await startSandbox({ clusters: describeClusters(NAMES, { version: "1.18.5" }) });
    t.after(stop);
    const options = { kubeconfig, cwd: dir, env: { HOME: dir } };
    const args = ["sync", "--once", "--yes", "--all-contexts", "--state-file=restarts.json"];
    const held = await run("clustermesh-secrets", args, options);
    assert.equal(held.code, 3, held.stderr);
    const lines = held.stderr.split("\n").filter((line) => line.includes("[restart]"));
    assert.equal(lines.length, 3, held.stderr);
    for (const line of lines) {
      const [, command = ""] = / \[restart\]; clustermesh-secrets (connect .*)$/.exec(line) ?? [];
      const done = await run("clustermesh-secrets", [...command.split(" "), "--yes"], options);
      assert.equal(done.code, 0, done.stderr);
    }
    const last = await run("clustermesh-secrets", args, options);
    assert.equal(last.code, 0, last.stderr);
  });
});

describe("sync that runs", { skip: withoutTerminals() }, () => {
  let sandbox: Sandbox;
  let dir: string;
  const on = (answers: [RegExp, string][]) => {
    const args = ["sync", "--all-contexts", "--state-file=state.json"];
    const env = { HOME: dir, NO_COLOR: "1" };
    return runOnTerminal("clustermesh-secrets", args, { kubeconfig: sandbox.kubeconfig, cwd: dir, env, answers });
  };
  const writes = () => sandbox.clusters.flatMap(({ api }) => api.requests.filter(isWrite));
  const question = /write such changes from now on\? \[y\/N\] /;

  before(async () => {
    dir = mkdtempSync(join(tmpdir(), "sync-programs-"));
    sandbox = await startSandbox({ clusters: describeClusters(NAMES) });
  });
  after(async () => {
    await sandbox?.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  test("shows the plan in order and asks: no and Ctrl-C write nothing, yes does, and Ctrl-C then stops it", async () => {
    const no = await on([[question, `n${KEYS.enter}`]]);
    assert.equal(no.code, 2, no.output);
    assert.match(no.output, /^c1: will add c2 and c3.*\nc2: will add c1 and c3.*\nc3: will add c1 and c2/m);
    assert.match(no.output, /\[y\/N\] n\nnothing was written\n$/);
    const interrupted = await on([[question, KEYS.ctrlC]]);
    assert.equal(interrupted.code, 130, interrupted.output);
    assert.deepEqual(writes(), []);
    const yes = await on([
      [question, `y${KEYS.enter}`],
      [/(?:wrote configmap.*){3}/s, KEYS.ctrlC],
    ]);
    assert.equal(yes.code, 130, yes.output);
    assert.match(yes.output, /\[y\/N\] y\nwatching 3 clusters; press Ctrl-C to stop\n/);
    assert.match(yes.output, /\n\d\d:\d\d:\d\d stopping after the current write: SIGINT\n\d\d:\d\d:\d\d stopped\n$/);
    assert.equal(statSync(join(dir, "state.json")).mode & 0o777, 0o600);
    assert.throws(() => statSync(join(dir, "state.json.lock")), "the state is released");
  });

  test("without a terminal for its questions is refused", async () => {
    const args = ["sync", "--all-contexts", "--state-file=state.json"];
    const options = {
      kubeconfig: sandbox.kubeconfig,
      cwd: dir,
      env: { HOME: dir },
      line: '"$@" 2>log.txt; cat log.txt',
    };
    const { output } = await runOnTerminal("clustermesh-secrets", args, options);
    assert.equal(output, "error: confirmation required: stderr is not a terminal; pass --yes\n");
  });

  test("names the clusters that its plan does not cover", async (t) => {
    const { kubeconfig, clusters, stop } = await startSandbox({ clusters: describeClusters(NAMES) });
    t.after(stop);
    const [, away] = clusters;
    assert.ok(away);
    away.api.onRequest = () => ({ status: 503, body: { kind: "Status", message: "away", code: 503 } });
    const args = ["sync", "--all-contexts", "--state-file=away.json"];
    const env = { HOME: dir, NO_COLOR: "1" };
    const options = { kubeconfig, cwd: dir, env, answers: [[question, `n${KEYS.enter}`]] as [RegExp, string][] };
    const { output } = await runOnTerminal("clustermesh-secrets", args, options);
    assert.match(output, /\nthe plan covers 2 of 3 clusters; c2 will be connected once readable\nKeep /);
  });

  test("names its own flag for restarts in the plan", async (t) => {
    const { kubeconfig, stop } = await startSandbox({ clusters: describeClusters(NAMES, { version: "1.18.5" }) });
    t.after(stop);
    const args = ["sync", "--all-contexts", "--state-file=plan.json"];
    const env = { HOME: dir, NO_COLOR: "1" };
    const options = { kubeconfig, cwd: dir, env, answers: [[question, `n${KEYS.enter}`]] as [RegExp, string][] };
    const { output } = await runOnTerminal("clustermesh-secrets", args, options);
    assert.match(output, /rerun with --restarts/);
  });
});

function isWrite({ method, path }: { method: string; path: string }): boolean {
  return method !== "GET" && !path.includes("/events") && !path.includes("accessreviews");
}
