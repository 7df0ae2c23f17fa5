/** `sync --once`, as a CronJob runs it: its exit codes, and what its log has in every run. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { startSandbox } from "../../lib/sandbox/sandbox.ts";
import { describeCluster } from "../support/cluster.ts";
import { run } from "../support/programs.ts";

/** Two clusters, of which one has to be restarted to resolve the name of the other. */
async function startClusters(t: TestContext) {
  const old = describeCluster({ name: "old", id: 1, version: "1.18.5" });
  const current = describeCluster({ name: "current", id: 2, version: "1.20.2" });
  const sandbox = await startSandbox({ clusters: [{ description: old }, { description: current }] });
  t.after(() => sandbox.stop());
  const folder = mkdtempSync(join(tmpdir(), "sync-once-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const execute = (...args: string[]) =>
    run("clustermesh-secrets", args, { kubeconfig: sandbox.kubeconfig, env: { XDG_STATE_HOME: folder } });
  const versions = () =>
    sandbox.clusters.map(({ api: { store } }) =>
      ["cilium-clustermesh", "cilium-kvstoremesh"].map(
        (name) => store.read("Secret", "kube-system", name)?.metadata.resourceVersion,
      ),
    );
  return { execute, versions, sandbox };
}

test("every run reports what is held, and exits with 3 until it is not", async (t) => {
  const { execute, versions } = await startClusters(t);
  const once = () => execute("sync", "--all-contexts", "--once", "--yes");
  const hold = /warning: old: holding peer current: deployment\/clustermesh-apiserver must be restarted .* \[restart\]/;
  const first = await once();
  assert.equal(first.code, 3, first.stderr);
  assert.match(first.stderr, hold);
  assert.match(first.stderr, /\n\S+ 2 clusters: 2 written, 1 pair held\n$/);
  assert.match(first.stderr, /^\S+ current: wrote secret\/cilium-kvstoremesh: old$/m);
  const written = versions();

  const second = await once();
  assert.equal(second.code, 3, second.stderr);
  assert.match(second.stderr, hold);
  assert.doesNotMatch(second.stderr, /: (adding|changing|removing|wrote) /);
  assert.deepEqual(versions(), written);

  const remedy = / \[restart\]; clustermesh-secrets (connect old current)$/m.exec(second.stderr)?.[1];
  assert.ok(remedy, second.stderr);
  assert.equal((await execute(...remedy.split(" "), "--yes")).code, 0);
  const third = await once();
  assert.equal(third.code, 0, third.stderr);
  assert.match(third.stderr, /^\S+ old: released peer current \[restart\]$/m);
  assert.match((await once()).stderr, /^\S+ started with .*\n\S+ 2 clusters: 2 unchanged, nothing held\n$/);
});

test("a cluster that cannot be read fails the run", async (t) => {
  const { execute, sandbox } = await startClusters(t);
  const [old] = sandbox.clusters;
  await old?.api.stop();
  const { code, stderr } = await execute("sync", "--all-contexts", "--once", "--yes");
  assert.equal(code, 1, stderr);
  assert.match(stderr, /warning: old: cannot be read: cannot reach .*: connection refused/);
  assert.doesNotMatch(stderr, /retrying/, "the process ends");
  assert.match(stderr, /\n\S+ 2 clusters: 1 unchanged, 1 failed, nothing held\n$/);
  const json = await execute("sync", "--all-contexts", "--once", "--yes", "--log-format=json");
  const { time: _, ...last } = JSON.parse(json.stderr.trimEnd().split("\n").at(-1) ?? "");
  assert.deepEqual(last, {
    ...{ level: "info", event: "finished", clusters: 2, written: 0, unchanged: 1, failed: 1, held: 0 },
    message: "2 clusters: 1 unchanged, 1 failed, nothing held",
  });
});
