/** `status -o html` as built: its exit codes, its file, and the flags in its commands. */
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { defaultClusters, type Sandbox, startSandbox } from "../../lib/sandbox/sandbox.ts";
import { type ProgramResult, run } from "../support/programs.ts";
import { dataOf } from "../support/status-page.ts";

describe("status -o html", () => {
  let sandbox: Sandbox;
  let dir: string;
  const go = (...args: string[]): Promise<ProgramResult> =>
    run("clustermesh-secrets", args, { kubeconfig: sandbox.kubeconfig, cwd: dir });
  const status = (...args: string[]) => go("status", "cluster1", "cluster2", "cluster3", "-o", "html", ...args);

  before(async () => {
    dir = mkdtempSync(join(tmpdir(), "status-page-"));
    sandbox = await startSandbox({ clusters: defaultClusters("ec") });
  });
  after(async () => {
    await sandbox?.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  test("has the exit code of status, and the same bytes for the same state", async () => {
    const { code, stdout, stderr } = await status();
    assert.deepEqual([code, stderr], [3, ""], "clusters are not connected");
    assert.equal((await status()).stdout, stdout);
    assert.match(stdout, /^<!doctype html>\n/);
    assert.equal(stdout.match(/Content-Security-Policy/g)?.length, 1);
  });

  test("its commands have the connection flags of the call", async () => {
    const connected = await go("connect", "cluster1", "cluster2", "--yes", "--restart-agents");
    assert.equal(connected.code, 0, connected.stderr);
    const removed = await go("disconnect", "cluster1", "--from", "cluster2", "--yes");
    assert.equal(removed.code, 0, removed.stderr);
    const { code, stdout } = await status(`--kubeconfig=${sandbox.kubeconfig}`);
    assert.equal(code, 3);
    const flag = `--kubeconfig=${sandbox.kubeconfig}`;
    const command = `extract-secret ${flag} --context cluster1 | import-secrets ${flag} --context cluster2 -`;
    assert.ok(stdout.includes(`to connect them: <code>${command}</code>`), stdout);
    const remedies = dataOf(stdout).findings.map(([, , , , remedy]) => remedy?.[0]?.[1]);
    assert.ok(remedies.some((one) => one?.includes(flag)));
  });

  test("--output-file keeps the mode of an existing file", async () => {
    writeFileSync(join(dir, "mesh.html"), "old", { mode: 0o600 });
    const { code, stdout, stderr } = await status("--output-file", "mesh.html");
    assert.deepEqual([code, stdout, stderr], [3, "", "3 clusters, unhealthy: 2 errors, 1 warning\n"]);
    assert.match(readFileSync(join(dir, "mesh.html"), "utf8"), /<\/html>\n$/);
    assert.equal(statSync(join(dir, "mesh.html")).mode & 0o777, 0o600);
    assert.deepEqual(readdirSync(dir), ["mesh.html"]);
  });
});
