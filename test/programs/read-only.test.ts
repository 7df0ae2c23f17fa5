/** The programs on a read-only file system: they write no files but those that flags name. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";
import { type Sandbox, servingClusters, startSandbox } from "../../lib/sandbox/sandbox.ts";
import { node, type ProgramResult, programPath } from "../support/programs.ts";

describe("without permission to write files", () => {
  let sandbox: Sandbox;
  let home: string;
  let flag: string;

  before(async () => {
    home = await mkdtemp(join(tmpdir(), "read-only-"));
    sandbox = await startSandbox({ clusters: await servingClusters({ key: "ec" }) });
    const { stdout } = await promisify(execFile)(node, [
      "-p",
      "process.allowedNodeEnvironmentFlags.has('--permission')",
    ]);
    flag = stdout.trim() === "true" ? "--permission" : "--experimental-permission";
  });
  after(async () => {
    await sandbox?.stop();
    if (home) await rm(home, { recursive: true, force: true });
  });

  /** Runs a command with Node's permission model, which denies writes outside `writable`. */
  function call(args: readonly string[], writable: string | undefined): Promise<ProgramResult> {
    const permissions = [
      flag,
      "--allow-fs-read=*",
      ...(writable === undefined ? [] : [`--allow-fs-write=${writable}`]),
    ];
    const env = { PATH: "", HOME: home, TMPDIR: home, KUBECONFIG: sandbox.kubeconfig, NODE_NO_WARNINGS: "1" };
    return new Promise((resolve) => {
      const all = [...permissions, programPath("clustermesh-secrets"), ...args];
      const child = execFile(node, all, { env, cwd: home }, (_, stdout, stderr) =>
        resolve({ code: child.exitCode, stdout, stderr }),
      );
    });
  }

  const contexts = ["cluster1", "cluster2", "cluster3"];
  const calls: string[][] = [
    ["rbac", "--for", "status"],
    ["extract", "cluster1"],
    ["inspect", "cluster1.json"],
    ["import", "--context", "cluster2", "--restart-agents", "cluster1.json"],
    ["connect", ...contexts, "--restart-agents", "--yes"],
    ["verify", ...contexts.flatMap((name) => ["--context", name])],
    ["status", ...contexts, "--probe"],
    ["rotate", "cluster1", "--context", "cluster2", "--yes"],
    ["disconnect", "cluster1", "--from", "cluster2", "--yes"],
  ];

  test("extract writes the file of --output-file, and no other", async () => {
    const { code, stderr } = await call(["extract", "cluster1", "--output-file", "cluster1.json"], home);
    assert.equal(code, 0, stderr);
    assert.deepEqual(await readdir(home), ["cluster1.json"]);
  });

  for (const args of calls) {
    test(`${args[0]} works and writes no file`, async () => {
      const { code, stdout, stderr } = await call(args, undefined);
      assert.equal(code, 0, `${stdout}${stderr}`);
      assert.deepEqual(await readdir(home), ["cluster1.json"]);
    });
  }
});
