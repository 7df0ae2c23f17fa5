/** Reports on many clusters and peers: few lines, errors last. */
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { V1Secret } from "@kubernetes/client-node";
import { type Sandbox, startSandbox } from "../../lib/sandbox/sandbox.ts";
import { run } from "../support/programs.ts";

const nodes = (n: number) => [{ name: `c${n}-node1`, internalIPs: [`172.18.${n}.2`] }];
const charted = Array.from({ length: 20 }, (_, i) => `peer${String(i + 1).padStart(3, "0")}`);

describe("an import into a cluster with twenty peers of a chart", () => {
  let sandbox: Sandbox;
  let dir: string;
  const file = (name: string) => join(dir, name);
  const imports = (...args: string[]) =>
    run("import-secrets", ["--context", "c1", ...args], { kubeconfig: sandbox.kubeconfig, cwd: dir });

  before(async () => {
    const peers = charted.map((name, i) => ({ name, ips: [`172.18.9.${i + 1}`], port: 32_379 }));
    sandbox = await startSandbox({
      clusters: [
        { description: { name: "c1", id: 1, version: "1.20.2", nodes: nodes(1), configEnabled: true, peers } },
        { description: { name: "c2", id: 2, version: "1.20.2", nodes: nodes(2) } },
      ],
    });
    dir = await mkdtemp(join(tmpdir(), "reports-"));
    const args = ["--context", "c2", "--output-file", file("good.json")];
    assert.equal((await run("extract-secret", args, { kubeconfig: sandbox.kubeconfig })).code, 0);
    const secret = JSON.parse(await readFile(file("good.json"), "utf8")) as V1Secret;
    const data = { ...secret.data, "c2.key": Buffer.from("no key").toString("base64") };
    await writeFile(file("bad.json"), JSON.stringify({ ...secret, data }));
  });
  after(async () => {
    await sandbox?.stop();
    if (dir) await rm(dir, { recursive: true, force: true });
  });

  test("the error of an invalid file is last, and warnings on existing peers are one line", async () => {
    const { code, stderr } = await imports("bad.json");
    assert.equal(code, 2);
    assert.equal(
      stderr,
      `warning: c1: cluster ids of 20 existing peers are unknown, so duplicates cannot be detected: ${charted.slice(0, 10).join(", ")} and 10 more [id-unknown]
  re-extract with extract-secret, then import the new file
error: bad.json (c2): the key file contains no PEM private key [key-invalid]
  re-extract with extract-secret, then import the new file
error: nothing was written because of 1 error
`,
    );
    const all = await imports("bad.json", "--details");
    assert.equal(all.stderr.match(/\[id-unknown\]/g)?.length, 20);
  });

  test("a repeated import does not report the existing peers", async () => {
    const first = await imports("good.json");
    assert.equal(first.code, 0, first.stderr);
    assert.equal(first.stderr.match(/id-unknown/g)?.length, 1, first.stderr);
    const again = await imports("good.json");
    assert.equal(again.code, 0, again.stderr);
    assert.doesNotMatch(again.stderr, /warning|peer0/);
  });

  test("status reports all peers in one line, and JSON each of them", async () => {
    const status = (...args: string[]) =>
      run("clustermesh-secrets", ["status", "c1", ...args], { kubeconfig: sandbox.kubeconfig });
    const { stdout } = await status();
    assert.equal(stdout.match(/\[id-unknown\]/g)?.length, 1, stdout);
    const { pairs } = JSON.parse((await status("-o", "json")).stdout);
    const unknown = pairs.filter((pair: { findings: { code: string }[] }) =>
      pair.findings.some(({ code }) => code === "id-unknown"),
    );
    assert.deepEqual(
      unknown.map(({ peer }: { peer: string }) => peer),
      charted,
    );
    assert.equal(unknown[0].findings[0].remedyTemplate, undefined);
  });
});
