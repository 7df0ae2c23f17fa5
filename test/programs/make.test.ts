/** Makefile goals that run the programs: arguments and exit codes. */
import assert from "node:assert/strict";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { defaultClusters, type Sandbox, startSandbox } from "../../lib/sandbox/sandbox.ts";
import { runMake } from "../support/programs.ts";

describe("make", () => {
  let sandbox: Sandbox;
  let dir: string;
  const make = (goal: string, variables: Record<string, string>) => runMake(goal, variables, sandbox.kubeconfig);

  before(async () => {
    sandbox = await startSandbox({ clusters: defaultClusters() });
    dir = await mkdtemp(join(tmpdir(), "make-"));
  });
  after(async () => {
    await sandbox?.stop();
    if (dir) await rm(dir, { recursive: true, force: true });
  });

  test("passes ARGS to the sandbox", async () => {
    const { code, stdout, stderr } = await make("sandbox", { ARGS: "--help" });
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^Usage: clustermesh-secrets sandbox/m);
  });

  test("extracts the other clusters if one fails, and reports the exit code of the failure", async () => {
    const extracted = join(dir, "extracted");
    const { code, stderr } = await make("extract", { CONTEXTS: "cluster2 nowhere cluster1", DIR: extracted });
    assert.equal(code, 2);
    assert.match(stderr, /^error: .*nowhere/m);
    assert.match(stderr, /: extract\] Error 2$/m);
    assert.deepEqual((await readdir(extracted)).sort(), ["cluster1-secret.json", "cluster2-secret.json"]);
  });

  // The agents of cluster1 lack host aliases, so the program exits with 3.
  for (const goal of ["import", "mesh"]) {
    test(`${goal} exits with 2, and reports the exit code of the program in its last line`, async () => {
      const variables = { CONTEXTS: "cluster1 cluster2", DIR: join(dir, goal) };
      assert.equal((await make("extract", variables)).code, 0);
      const { code, stderr } = await make(goal, { ...variables, ARGS: "--dry-run=client" });
      assert.equal(code, 2);
      assert.match(stderr, new RegExp(`\\nmake: \\*\\*\\* \\[Makefile:\\d+: ${goal}\\] Error 3\\n$`));
    });
  }
});
