/** The state file of `sync` as built: one for each kubeconfig, and one process at a time. */
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { parse } from "yaml";
import { startFaultyMesh } from "../support/faulty-mesh.ts";
import { run } from "../support/programs.ts";
import { startSyncProcess } from "../support/sync-process.ts";

const STATES = "clustermesh-secrets";

/** Two clusters, `c1` and `c2`. */
async function startMesh(t: TestContext) {
  const mesh = await startFaultyMesh({ clusters: 2, users: ["sync"] });
  t.after(() => mesh.stop());
  return mesh;
}

function makeFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "sync-state-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

describe("the state file of sync", { concurrency: true }, () => {
  test("two meshes with the same selection and different kubeconfigs have different ones", async (t) => {
    const meshes = await Promise.all([startMesh(t), startMesh(t)]);
    const state = makeFolder(t);
    const env = { XDG_STATE_HOME: state };
    const [{ kubeconfig }, other] = meshes;
    const first = await startSyncProcess(["--all-contexts", "--yes"], { kubeconfig, env });
    t.after(() => first.close());
    await first.until("a write", ({ event }) => event === "written");
    const args = ["sync", "--all-contexts", "--once", "--yes"];
    const second = await run("clustermesh-secrets", args, { kubeconfig: other.kubeconfig, env });
    assert.equal(second.code, 0, second.stderr);
    assert.equal(await first.stop(), 0);
    const states = readdirSync(join(state, STATES));
    assert.equal(states.length, 2, states.join(" "));
    for (const [i, { kubeconfig }] of meshes.entries()) {
      const { code, stdout } = await run("clustermesh-secrets", ["status", "--sync"], { kubeconfig, env });
      // The first one was stopped; one of `--once` has done its work.
      assert.equal(code, i === 0 ? 3 : 0, stdout);
      assert.equal(stdout.includes("sync was stopped"), i === 0, stdout);
      assert.ok(stdout.replaceAll(/\s+/g, " ").includes(`--kubeconfig=${kubeconfig}, state in`), stdout);
    }
  });

  test("a second process is refused and changes nothing, and status reads it meanwhile", async (t) => {
    const mesh = await startMesh(t);
    const { kubeconfig } = mesh;
    const folder = makeFolder(t);
    const file = `--state-file=${join(folder, "state.json")}`;
    const sync = await startSyncProcess(["--all-contexts", "--yes", file], { kubeconfig: mesh.kubeconfigOf("sync") });
    t.after(() => sync.close());
    await sync.eventually("a saved state", () => readdirSync(folder).includes("state.json"));
    for (const more of [[], ["--once"], ["--listen=127.0.0.1:1"]]) {
      const args = ["sync", "--all-contexts", "--yes", file, ...more];
      const { code, stdout, stderr } = await run("clustermesh-secrets", args, { kubeconfig });
      assert.deepEqual([code, stdout], [2, ""], stderr);
      const text = `error: sync is already running as process ${sync.pid} (state file ${folder}/state.json)`;
      assert.equal(stderr, `${text}\n  stop it; pass another --state-file only for another mesh\n`);
    }
    const args = ["sync", `--contexts-file=${join(folder, "nope.txt")}`, "--yes", file];
    const { stderr: missing } = await run("clustermesh-secrets", args, { kubeconfig });
    assert.equal(missing, `error: ${folder}/nope.txt: no such file or directory\n`);
    assert.deepEqual(readdirSync(folder).sort(), ["state.json", "state.json.lock"]);
    const users = mesh.clusters.flatMap(({ api }) => api.requests.map(({ user }) => user));
    assert.deepEqual([...new Set(users)], ["sync"]);
    const status = (...args: string[]) => run("clustermesh-secrets", ["status", "--sync", file, ...args]);
    const [table, json, yaml] = await Promise.all([status(), status("-o", "json"), status("-o", "yaml")]);
    assert.deepEqual([table.code, json.code, yaml.code], [0, 0, 0], table.stdout);
    assert.match(table.stdout, /^c2 +2 +\d+s +reachable$/m);
    assert.equal(JSON.parse(json.stdout).members.length, 2);
    assert.equal(parse(yaml.stdout).members.length, 2);
    assert.ok(sync.isRunning);
  });
});
