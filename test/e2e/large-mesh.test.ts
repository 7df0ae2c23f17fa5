/** Large meshes of the sandbox. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { test } from "node:test";
import { node, programPath, run } from "../support/programs.ts";

for (const { count, args, ca } of [
  { count: 254, args: [], ca: "different CAs" },
  { count: 60, args: ["--shared-ca"], ca: "one CA" },
]) {
  test(`${count} clusters with ${ca} in one connect`, async () => {
    const sandbox = spawn(node, [programPath("clustermesh-secrets"), "sandbox", "--clusters", String(count), ...args], {
      stdio: ["ignore", "pipe", "ignore"],
      env: { PATH: process.env.PATH, HOME: "/nonexistent" },
    });
    try {
      const kubeconfig = await new Promise<string>((resolve, reject) => {
        sandbox.stdout.once("data", (chunk) => resolve(String(chunk).trim().replace("export KUBECONFIG=", "")));
        sandbox.once("exit", () => reject(new Error("the sandbox ended")));
      });
      const { code, stderr } = await run("clustermesh-secrets", ["connect", "--all-contexts", "--yes"], { kubeconfig });
      assert.equal(code, 0, stderr.slice(-2_000));
      assert.equal(
        stderr.match(new RegExp(`^cluster\\d+ +1\\.20\\.2 +${count - 1} .* written$`, "gm"))?.length,
        count,
        stderr.slice(0, 2_000),
      );
      const status = await run("clustermesh-secrets", ["status", "--all-contexts", "-o", "json"], { kubeconfig });
      assert.equal(status.code, 0, status.stderr);
      const { pairs } = JSON.parse(status.stdout);
      assert.equal(pairs.filter(({ state }: { state: string }) => state === "ok").length, count * (count - 1));
    } finally {
      sandbox.kill();
    }
  });
}
