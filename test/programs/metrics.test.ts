/** `-o prometheus` of status and inspect, and its file for node_exporter. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";
import { parse } from "yaml";
import { defaultClusters, type Sandbox, startSandbox } from "../../lib/sandbox/sandbox.ts";
import { node, type ProgramResult, programPath, run } from "../support/programs.ts";

interface Certificate {
  use: string;
  expiresAt: string;
}

describe("-o prometheus", () => {
  let sandbox: Sandbox;
  let dir: string;
  const contexts = ["cluster1", "cluster2", "cluster3"];
  const go = (...args: string[]): Promise<ProgramResult> =>
    run("clustermesh-secrets", args, { kubeconfig: sandbox.kubeconfig, cwd: dir });
  const modeOf = (name: string) => statSync(join(dir, name)).mode & 0o777;

  before(async () => {
    dir = mkdtempSync(join(tmpdir(), "metrics-"));
    sandbox = await startSandbox({ clusters: defaultClusters("ec") });
    const { code, stderr } = await go("connect", ...contexts, "--yes", "--restart-agents");
    assert.equal(code, 0, stderr);
    const args = ["extract", "cluster2", "--output-file", "cluster2.json"];
    assert.equal((await go(...args)).code, 0);
    // A cluster that does not answer.
    const config = parse(readFileSync(sandbox.kubeconfig, "utf8"));
    config.clusters[0].cluster.server = "https://127.0.0.1:1";
    writeFileSync(join(dir, "down"), JSON.stringify(config));
  });
  after(async () => {
    await sandbox?.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  test("status prints what -o json contains, and the same bytes again", async () => {
    const first = await go("status", ...contexts, "-o", "prometheus");
    assert.deepEqual([first.code, first.stderr], [0, ""]);
    assert.equal((await go("status", ...contexts, "-o", "prometheus")).stdout, first.stdout);
    const { clusters, pairs } = JSON.parse((await go("status", ...contexts, "-o", "json")).stdout);
    for (const { source, name, certificates } of clusters) {
      assert.ok(first.stdout.includes(`clustermesh_cluster_up{context="${source}"} 1\n`));
      for (const { use, expiresAt } of certificates as Certificate[]) {
        const labels = `context="${source}",cluster="${name}",use="${use}"`;
        const line = `clustermesh_certificate_expiry_timestamp_seconds{${labels}} ${Date.parse(expiresAt) / 1000}\n`;
        assert.ok(first.stdout.includes(line), line);
      }
    }
    for (const { importer, peer } of pairs) {
      const line = `clustermesh_peer_healthy{context="${importer}",cluster="${importer}",peer="${peer}"} 1\n`;
      assert.ok(first.stdout.includes(line), line);
    }
  });

  test("inspect prints metrics of files, with the exit codes of other outputs", async () => {
    const good = await go("inspect", "cluster2.json", "-o", "prometheus");
    assert.deepEqual([good.code, good.stderr], [0, ""]);
    assert.match(good.stdout, /^clustermesh_file_peer_connects\{file="cluster2\.json",peer="cluster2"\} 1$/m);
    writeFileSync(join(dir, "cut.json"), '{"kind": "Secret"');
    const bad = await go("inspect", "cluster2.json", "cut.json", "-o", "prometheus");
    assert.equal(bad.code, 2);
    assert.match(bad.stdout, /^clustermesh_file_readable\{file="cut\.json"\} 0$/m);
  });

  test("a cluster that cannot be read is in the file, with exit code 1", async () => {
    const args = ["status", ...contexts, "-o", "prometheus", "--output-file", "down.prom"];
    const { code, stdout, stderr } = await run("clustermesh-secrets", args, {
      kubeconfig: join(dir, "down"),
      cwd: dir,
    });
    assert.deepEqual([code, stdout], [1, ""]);
    assert.match(stderr, /^\d clusters \(1 unreadable\), unhealthy: \d+ errors?, \d+ warnings?$/m);
    const text = readFileSync(join(dir, "down.prom"), "utf8");
    assert.match(
      text,
      /^clustermesh_cluster_up\{context="cluster1"\} 0\nclustermesh_cluster_up\{context="cluster2"\} 1$/m,
    );
  });

  test("--output-file is replaced as a whole, and readable by everyone whatever the umask", async () => {
    writeFileSync(join(dir, "mesh.prom"), "old\n", { mode: 0o600 });
    const command = `umask 077; exec "${node}" "${programPath("clustermesh-secrets")}" status cluster2 -o prometheus`;
    const env = { PATH: process.env.PATH, HOME: "/nonexistent", KUBECONFIG: sandbox.kubeconfig };
    const { stdout } = await promisify(execFile)("sh", ["-c", command], { cwd: dir, env });
    for (const name of ["mesh.prom", "new.prom"]) {
      await promisify(execFile)("sh", ["-c", `${command} --output-file ${name}`], { cwd: dir, env });
      assert.equal(readFileSync(join(dir, name), "utf8"), stdout, name);
      assert.equal(modeOf(name), 0o644, name);
    }
    assert.deepEqual(
      readdirSync(dir).filter((name) => name.startsWith(".")),
      [],
    );
  });

  test("an --output-file that cannot be written is an error, and leaves the old one", {
    skip: process.getuid?.() === 0 && "root can write everywhere",
  }, async () => {
    const folder = mkdtempSync(join(dir, "locked-"));
    writeFileSync(join(folder, "mesh.prom"), "old\n");
    chmodSync(folder, 0o555);
    const path = join(folder, "mesh.prom");
    const { code, stderr } = await go("status", "cluster2", "-o", "prometheus", "--output-file", path);
    chmodSync(folder, 0o755);
    assert.deepEqual([code, stderr], [1, `error: cannot write ${path}: permission denied\n`]);
    assert.deepEqual([readFileSync(path, "utf8"), readdirSync(folder)], ["old\n", ["mesh.prom"]]);
  });

  test("--output-file in a missing folder, or with another output, is refused", async () => {
    const missing = await go("status", "cluster2", "-o", "prometheus", "--output-file", "/nonexistent/mesh.prom");
    assert.equal(missing.code, 1);
    assert.match(missing.stderr, /^error: cannot write \/nonexistent\/mesh\.prom: /);
    for (const [outputs, ...args] of [
      ["-o html or -o prometheus", "status", "cluster2"],
      ["-o prometheus", "inspect", "cluster2.json", "-o", "json"],
    ]) {
      const { code, stdout, stderr } = await go(...args, "--output-file", "other.prom");
      assert.deepEqual([code, stdout, stderr], [2, "", `error: --output-file requires ${outputs}\n`], args[0]);
    }
  });

  test("prom-client is loaded for this output alone", async () => {
    const preload = join(dir, "preload.cjs");
    writeFileSync(preload, 'process.on("exit", () => console.error(Object.keys(require.cache).join("\\n")));');
    const loadsPromClient = async (...args: string[]) => {
      const env = { NODE_OPTIONS: `--require ${preload}` };
      const ended = await run("clustermesh-secrets", args, { kubeconfig: sandbox.kubeconfig, cwd: dir, env });
      assert.match(ended.stderr, /\/dist\/clustermesh-secrets\.js$/m);
      return /prom-client/.test(ended.stderr);
    };
    for (const args of [
      ["status", "cluster2"],
      ["inspect", "cluster2.json"],
    ]) {
      assert.equal(await loadsPromClient(...args), false, args[0]);
      assert.equal(await loadsPromClient(...args, "-o", "json"), false, args[0]);
      assert.equal(await loadsPromClient(...args, "-o", "prometheus"), true, args[0]);
    }
  });

  test("shells complete the output and its file", async () => {
    for (const command of ["status", "inspect"]) {
      assert.match((await go("__complete", command, "-o", "")).stdout, /^prometheus$/m, command);
      assert.match((await go("__complete", command, "--output-f")).stdout, /^--output-file\t/m, command);
      assert.equal((await go("__complete", command, "--output-file", "")).stdout, ":0\n", command);
    }
  });
});
