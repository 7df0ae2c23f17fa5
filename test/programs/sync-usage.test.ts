/** `sync` as built, used wrongly, or where its output is not read. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { type FaultyMesh, startFaultyMesh } from "../support/faulty-mesh.ts";
import { node, type ProgramResult, programPath, run } from "../support/programs.ts";
import { removeFolder, temporaryFolder } from "../support/real-process.ts";
import { type SyncPair, startPair } from "../support/sync-pair.ts";

describe("wrong usage of sync", { concurrency: true }, () => {
  let mesh: FaultyMesh;
  let folder: string;

  before(async () => {
    folder = temporaryFolder("sync-usage");
    mesh = await startFaultyMesh({ clusters: 2, users: [] });
  });
  after(async () => {
    await mesh?.stop();
    removeFolder(folder);
  });

  const file = (name: string, text: string) => {
    const path = join(folder, name);
    writeFileSync(path, text);
    return path;
  };
  const cases: [what: string, args: () => string[], message: RegExp][] = [
    ["an unset variable for a file", () => ["--contexts-file", ""], /flag needs an argument: --contexts-file/],
    ["an unset variable with =", () => ["c1", "c2", "--state-file="], /flag needs an argument: --state-file/],
    ["an unset variable for a context", () => ["c1", ""], /context "" does not exist|empty/],
    ["a folder in place of a file", () => [`--contexts-file=${folder}`], /sync-usage\S*: .*directory/],
    ["a file with a broken name", () => [`--contexts-file=${file("bad.txt", "c1\nc\u001b[31m2\n")}`], /does not exist/],
    ["an empty file", () => [`--contexts-file=${file("empty.txt", "\n# c1\n")}`], /empty\.txt: no contexts/],
    [
      "an empty file beside contexts",
      () => ["c1", "c2", `--contexts-file=${file("none.txt", "")}`],
      /none\.txt: no contexts/,
    ],
    ["an empty file of pairs", () => ["c1", "c2", `--pairs=${file("empty.pairs", "")}`], /empty\.pairs/],
    [
      "a duration that is not finite",
      () => ["c1", "c2", "--settle=Infinitys"],
      /invalid duration "Infinitys" for --settle/,
    ],
    ["a flag twice", () => ["c1", "c2", "--settle=1s", "--settle=2s"], /--settle/],
    ["a flag of connect", () => ["c1", "c2", "--dry-run=client"], /unknown flag: --dry-run/],
    [
      "a state file in a file",
      () => ["c1", "c2", `--state-file=${file("plain", "")}/x`],
      /cannot use state file .*plain/,
    ],
    [
      "a folder as state file",
      () => ["c1", "c2", `--state-file=${folder}`],
      /cannot use state file .*: is not a regular file/,
    ],
    ["a kubeconfig that is not YAML", () => ["--all-contexts", `--kubeconfig=${file("k", "\t{")}`], /k: /],
  ];
  for (const [what, args, message] of cases) {
    test(`${what} is refused`, async () => {
      const env = { XDG_STATE_HOME: join(folder, what.replaceAll(" ", "-")) };
      const words = ["sync", ...args(), "--yes", "--once"];
      const { code, stdout, stderr } = await run("clustermesh-secrets", words, { kubeconfig: mesh.kubeconfig, env });
      assert.deepEqual([code, stdout], [2, ""], stderr);
      assert.match(stderr, message);
      assert.match(stderr, /^error: /);
      assert.doesNotMatch(stderr, /\n\s+at |node:internal|unexpected/);
      assert.ok(!stderr.includes("\u001b"));
      assert.ok(mesh.clusters.every(({ api }) => api.requests.length === 0));
    });
  }
});

describe("sync --once", { concurrency: true }, () => {
  test("without a cluster that can be reached fails, writes nothing, and keeps the state", async (t) => {
    const pair = await startPair(t);
    for (const { relay } of pair.mesh.clusters) relay.leave("refused");
    const env = { XDG_STATE_HOME: pair.folder };
    const args = ["sync", "--all-contexts", "--once", "--yes"];
    const { code, stdout, stderr } = await run("clustermesh-secrets", args, { kubeconfig: pair.kubeconfig, env });
    assert.deepEqual([code, stdout], [1, ""], stderr);
    const [started, ...lines] = stderr.trimEnd().split("\n");
    assert.match(lines.pop() ?? "", /^\S+ 2 clusters: 2 failed, nothing held$/);
    assert.match(started ?? "", /started with 2 members/);
    assert.equal(lines.length, 2, stderr);
    for (const line of lines) assert.match(line, /warning: c[12]: cannot be read: cannot reach .*: connection refused/);
    const status = await run("clustermesh-secrets", ["status", "--sync"], { kubeconfig: pair.kubeconfig, env });
    assert.equal(status.code, 3);
    assert.match(status.stdout, /^c1 +- +- +unreachable$/m);
  });

  test("completes if the reader of its output ends, and shows no colors, and no lines of a terminal", async (t) => {
    const pair = await startPair(t);
    const command = [node, programPath("clustermesh-secrets"), "sync", "--all-contexts", "--once", "--yes"];
    const closed = await runShell(pair, `${quote(command)} 2>&1 | head -1; exit "\${PIPESTATUS[0]}"`);
    assert.equal(closed.code, 0, closed.stderr);
    assert.match(closed.stdout, /^\S+ started with 2 members/);
    assert.equal(closed.stdout.split("\n").length, 2);
    const { kubeconfig } = pair.mesh;
    const difference = await run("clustermesh-secrets", ["connect", "c1", "c2", "--diff"], { kubeconfig });
    assert.equal(difference.code, 0, difference.stdout);
  });

  test("a log that is not a terminal has whole lines without colors, however narrow the terminal is", async (t) => {
    const pair = await startPair(t);
    pair.mesh.clusters[1]?.relay.leave("refused");
    const args = ["sync", "--all-contexts", "--once", "--yes"];
    for (const variables of [
      { NO_COLOR: "1", COLUMNS: "40" },
      { TERM: "xterm-256color", COLUMNS: "40" },
    ]) {
      const env = { XDG_STATE_HOME: pair.folder, ...variables };
      const { code, stderr } = await run("clustermesh-secrets", args, { kubeconfig: pair.kubeconfig, env });
      assert.equal(code, 1);
      assert.match(
        stderr,
        /^\d\d:\d\d:\d\d warning: c2: cannot be read: cannot reach https:\S+ \(context "c2"\): .*$/m,
      );
      assert.ok(!stderr.includes("\u001b"), stderr);
      for (const line of stderr.trimEnd().split("\n")) assert.match(line, /^\d\d:\d\d:\d\d /);
    }
  });

  test("a folder for the state that cannot be written is refused before anything is read", async (t) => {
    const pair = await startPair(t);
    const readOnly = join(pair.folder, "read-only");
    mkdirSync(readOnly, { mode: 0o500 });
    const flag = process.getuid?.() === 0 ? "/proc/state.json" : join(readOnly, "state.json");
    const args = ["sync", "--all-contexts", "--once", "--yes", `--state-file=${flag}`];
    const { code, stderr } = await run("clustermesh-secrets", args, { kubeconfig: pair.kubeconfig });
    assert.equal(code, 2, stderr);
    assert.match(stderr, /^error: cannot use state file \S+: .*\n$/);
    assert.deepEqual(readdirSync(readOnly), []);
    assert.ok(pair.mesh.clusters.every(({ api }) => api.requests.length === 0));
  });
});

/** Runs a command line of bash with the kubeconfig of a mesh. */
async function runShell({ kubeconfig, folder }: SyncPair, line: string): Promise<ProgramResult> {
  const env = { PATH: process.env.PATH, HOME: folder, KUBECONFIG: kubeconfig };
  const child = spawn("bash", ["-c", line], { env, stdio: ["ignore", "pipe", "pipe"] });
  const result = { stdout: "", stderr: "" };
  child.stdout.on("data", (chunk) => {
    result.stdout += chunk;
  });
  child.stderr.on("data", (chunk) => {
    result.stderr += chunk;
  });
  return new Promise((resolve) => child.on("close", (code) => resolve({ code, ...result })));
}

function quote(words: readonly string[]): string {
  return words.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(" ");
}
