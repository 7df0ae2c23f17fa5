/** What the programs say of files that were renamed by hand or are something else, and that the remedies work. */
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { V1Secret } from "@kubernetes/client-node";
import { type Sandbox, servingClusters, startSandbox } from "../../lib/sandbox/sandbox.ts";
import { run } from "../support/programs.ts";

describe("files of another cluster, or of another kind", () => {
  let sandbox: Sandbox;
  let dir: string;
  let secret: V1Secret;
  const go = (program: string, ...args: string[]) => run(program, args, { kubeconfig: sandbox.kubeconfig, cwd: dir });

  before(async () => {
    sandbox = await startSandbox({ clusters: await servingClusters() });
    dir = await mkdtemp(join(tmpdir(), "foreign-"));
    const { code, stderr } = await go("extract-secret", "--context", "cluster2", "--output-file", "cluster2.json");
    assert.equal(code, 0, stderr);
    secret = JSON.parse(await readFile(join(dir, "cluster2.json"), "utf8")) as V1Secret;
  });
  after(async () => {
    await sandbox?.stop();
    if (dir) await rm(dir, { recursive: true, force: true });
  });

  test("a key renamed by hand: import, inspect and verify name both clusters", async () => {
    const { cluster2: config = "", ...data } = secret.data ?? {};
    await writeFile(join(dir, "renamed.json"), JSON.stringify({ ...secret, data: { ...data, cluster9: config } }));
    const both = /cluster9\S*: .*annotations describe cluster2, but the only entry is cluster9; ignored: id 2 /;
    const imported = await go("import-secrets", "--context", "cluster3", "--dry-run=client", "renamed.json");
    assert.equal(imported.code, 0, imported.stderr);
    assert.match(
      imported.stderr,
      /^warning: renamed\.json \(cluster9\): the annotations describe cluster2, .*; ignored: id 2 /m,
    );
    assert.match(
      imported.stderr,
      /^ {2}a key is the name of its cluster .* extract cluster9 again with extract-secret$/m,
    );
    const inspected = await go("clustermesh-secrets", "inspect", "renamed.json");
    assert.equal(inspected.code, 0, inspected.stdout);
    assert.match(inspected.stdout, both);
    assert.equal((await go("clustermesh-secrets", "inspect", "--fail-on=warning", "renamed.json")).code, 3);
    const verified = await go("clustermesh-secrets", "verify", "renamed.json");
    assert.equal(verified.code, 3, verified.stdout);
    assert.match(verified.stderr, both);
    assert.match(verified.stdout, /\[other-cluster\]/);
  });
});
