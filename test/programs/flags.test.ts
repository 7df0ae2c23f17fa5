/** Empty flags and arguments, as unset shell variables produce them: the programs and make send no request. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, describe, test } from "node:test";
import { defaultClusters, type Sandbox, startSandbox } from "../../lib/sandbox/sandbox.ts";
import { run, runMake } from "../support/programs.ts";

describe("an empty flag or argument", () => {
  let sandbox: Sandbox;
  let dir: string;
  /** A file of cluster2 that can be imported into the current context, cluster1. */
  let file: string;
  const requests = () => sandbox.clusters.flatMap(({ api }) => api.requests);

  before(async () => {
    sandbox = await startSandbox({ clusters: defaultClusters("ec") });
    dir = await mkdtemp(join(tmpdir(), "flags-"));
    file = join(dir, "cluster2.json");
    const args = ["--context", "cluster2", "--output-file", file];
    assert.equal((await run("extract-secret", args, { kubeconfig: sandbox.kubeconfig })).code, 0);
  });
  beforeEach(() => {
    for (const { api } of sandbox.clusters) api.requests.length = 0;
  });
  after(async () => {
    await sandbox?.stop();
    if (dir) await rm(dir, { recursive: true, force: true });
  });

  const needsArgument = /^error: flag needs an argument: --context\n$/;
  const table: [program: string, args: (file: string) => string[], expected: RegExp][] = [
    ["import-secrets", (file) => [file, "--context="], needsArgument],
    ["import-secrets", (file) => [file, "--context", ""], needsArgument],
    ["import-secrets", (file) => [file, "--context"], needsArgument],
    ["import-secrets", (file) => ["--context", "--yes", file], needsArgument],
    ["import-secrets", (file) => ["--context=", file], needsArgument],
    ["import-secrets", (file) => [file, "--context=cluster3", "--context="], needsArgument],
    [
      "import-secrets",
      (file) => ["--context", file],
      /^error: context ".*cluster2\.json" does not exist|^error: at least one FILE is required/,
    ],
    [
      "import-secrets",
      (file) => ["--context=cluster3", file, ""],
      /^error: invalid argument "": FILE must not be empty\n$/,
    ],
    ["extract-secret", () => ["--context="], needsArgument],
    ["clustermesh-secrets", () => ["status", "--context="], needsArgument],
    ["clustermesh-secrets", () => ["status", ""], /^error: invalid argument "": CONTEXT must not be empty\n$/],
    ["clustermesh-secrets", () => ["verify", "--context"], needsArgument],
    ["clustermesh-secrets", () => ["connect", "cluster1", "", "--yes"], /: CONTEXT must not be empty\n$/],
    ["clustermesh-secrets", () => ["disconnect", "", "--all-contexts", "--yes"], /: CLUSTER must not be empty\n$/],
    [
      "clustermesh-secrets",
      () => ["rotate", "cluster1", "--trust=", "--all-contexts"],
      /needs an argument: --trust\n$/,
    ],
  ];
  for (const [program, args, expected] of table) {
    test(`${program} ${args("FILE")
      .map((word) => word || "''")
      .join(" ")}`, async () => {
      const ended = await run(program, args(file), { kubeconfig: sandbox.kubeconfig });
      assert.equal(ended.code, 2, ended.stderr);
      assert.equal(ended.stdout, "");
      assert.match(ended.stderr, expected);
      assert.deepEqual(requests(), []);
    });
  }

  test("without the empty flag, the file is imported into the current context", async () => {
    const { code, stderr } = await run("import-secrets", [file, "--dry-run=client"], {
      kubeconfig: sandbox.kubeconfig,
    });
    assert.equal(code, 3, stderr);
    assert.match(stderr, /^cluster1 .*: would add cluster2 \(dry run\)/m);
    assert.ok(requests().length > 0);
  });

  const make = (goal: string, variables: Record<string, string>) => runMake(goal, variables, sandbox.kubeconfig);

  for (const goal of ["extract", "import", "diff", "migrate", "status", "connect", "mesh"]) {
    test(`make ${goal} with blank CONTEXTS`, async () => {
      const { code, stderr } = await make(goal, { CONTEXTS: " ", DIR: dir });
      assert.equal(code, 2);
      assert.match(stderr, /^error: CONTEXTS is not set\n {2}make \w+ CONTEXTS="cluster1 cluster2"$/m);
      assert.deepEqual(requests(), []);
    });
  }

  test("make disconnect without CLUSTER, and make import without DIR", async () => {
    assert.match(
      (await make("disconnect", { CLUSTER: " ", CONTEXTS: "cluster1" })).stderr,
      /^error: CLUSTER or CONTEXTS is not set\n {2}make disconnect CLUSTER=/,
    );
    assert.match((await make("import", { DIR: " ", CONTEXTS: "cluster1" })).stderr, /FILE must not be empty/);
    assert.deepEqual(requests(), []);
  });
});
