/** extract-secret --endpoint and its effects on import, status, connect and rotate. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { V1Secret } from "@kubernetes/client-node";
import { type Sandbox, servingClusters, startSandbox } from "../../lib/sandbox/sandbox.ts";
import { type ProgramResult, run } from "../support/programs.ts";
import { textsOf } from "../support/targets.ts";

const NAMES = ["cluster1", "cluster2", "cluster3"];
const PAIR = ["cluster2", "cluster3"];

describe("an endpoint set with extract-secret --endpoint", () => {
  let sandbox: Sandbox;
  let dir: string;
  const go = (program: string, ...args: string[]): Promise<ProgramResult> =>
    run(program, args, { kubeconfig: sandbox.kubeconfig, cwd: dir });
  const mesh = (...args: string[]) => go("clustermesh-secrets", ...args);
  const extract = async (file: string, ...args: string[]) => {
    const { code, stdout, stderr } = await go("extract-secret", "cluster3", ...args);
    assert.equal(code, 0, stderr);
    writeFileSync(join(dir, file), stdout);
    return JSON.parse(stdout) as V1Secret;
  };
  /** The config with which cluster2 connects to cluster3. */
  const config = () => {
    const { store } = sandbox.clusters[1]?.api ?? assert.fail();
    const secrets = ["cilium-kvstoremesh", "cilium-clustermesh"].map((name) =>
      textsOf(store.read("Secret", "kube-system", name) as V1Secret | undefined),
    );
    return secrets.map((texts) => texts.cluster3 ?? "").find((text) => text.includes(".mesh.cilium.io")) ?? "";
  };

  before(async () => {
    dir = mkdtempSync(join(tmpdir(), "given-endpoint-"));
    sandbox = await startSandbox({ clusters: await servingClusters({ key: "ec" }) });
    const connected = await mesh("connect", ...NAMES, "--yes", "--restart-agents");
    assert.equal(connected.code, 0, connected.stderr);
  });
  after(async () => {
    await sandbox.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  test("is marked in the file, and import shows the old and the new endpoint", async () => {
    const given = await extract("given.json", "--endpoint", "10.1.2.3:2379");
    assert.equal(given.metadata?.annotations?.["clustermesh-secrets/endpoint"], "given");
    const own = await extract("own.json");
    assert.equal(own.metadata?.annotations?.["clustermesh-secrets/endpoint"], undefined);
    const into = ["--context", "cluster2", "given.json"];
    const change =
      /^endpoint of cluster3 in cluster2: https:\S+ at \S+( \S+)* → https:\/\/cluster3\.mesh\.cilium\.io:2379 at 10\.1\.2\.3$/m;
    const dry = await go("import-secrets", ...into, "--dry-run=client");
    assert.match(dry.stderr, change);
    const done = await go("import-secrets", ...into);
    assert.equal(done.code, 0, done.stderr);
    assert.match(done.stderr, change);
    assert.match(config(), /10\.1\.2\.3/);
  });

  test("is accepted by status, and kept and reported by connect and rotate", async () => {
    const before = config();
    const status = await mesh("status", ...NAMES, "-o", "json");
    assert.doesNotMatch(status.stdout, /endpoint-stale|addresses-stale/);
    const { pairs } = JSON.parse(status.stdout) as { pairs: Record<string, unknown>[] };
    assert.deepEqual(
      pairs.filter(({ endpointGiven }) => endpointGiven).map(({ importer, peer }) => [importer, peer]),
      [PAIR],
    );
    for (const call of [
      ["connect", ...PAIR],
      ["rotate", "cluster3", "--context", "cluster2"],
    ]) {
      const { code, stderr } = await mesh(...call, "--yes");
      assert.equal(code, 0, stderr);
      assert.match(stderr, /endpoint of cluster3: https:\/\/cluster3\.mesh\.cilium\.io:2379 at 10\.1\.2\.3/);
      assert.doesNotMatch(stderr, /\bchange/);
      assert.equal(config(), before);
    }
  });

  test("is reported with the command that resets it if it cannot be reached", async () => {
    await extract("wrong.json", "--endpoint", "127.0.0.9:1");
    const own = await extract("own.json");
    const imported = await go("import-secrets", "--context", "cluster2", "wrong.json");
    assert.equal(imported.code, 0, imported.stderr);
    for (const [context, ...call] of [
      ["cluster3", "status", ...NAMES, "--probe"],
      ["PEER", "verify", "--context", "cluster2"],
    ]) {
      const { code, stdout } = await mesh(...call);
      assert.equal(code, 3, stdout);
      assert.match(stdout, /refuses the connection/);
      const remedy = `extract-secret --context ${context} | import-secrets --context cluster2 --endpoint cluster3= -`;
      assert.ok(stdout.includes(remedy), stdout);
    }
    const flags = [`--kubeconfig=${sandbox.kubeconfig}`, "--namespace=kube-system"];
    const elsewhere = await run("clustermesh-secrets", ["verify", "--context", "cluster2", ...flags, "-o", "json"]);
    const [, extracting, importing] =
      /to reset it: extract-secret (.*) \| import-secrets (.*)"/.exec(elsewhere.stdout) ??
      assert.fail(elsewhere.stdout);
    assert.ok(extracting && importing);
    const extracted = await run("extract-secret", extracting.replace("PEER", "cluster3").split(" "));
    assert.equal(extracted.code, 0, extracted.stderr);
    const pasted = await run("import-secrets", [...importing.split(" "), "--dry-run=client"], {
      stdin: extracted.stdout,
    });
    assert.match(pasted.stderr, /would change cluster3/, "the printed commands work without KUBECONFIG");
    const file = await mesh("verify", "wrong.json");
    assert.match(file.stdout, /set with a flag.*\n? *.*extract-secret --context PEER --endpoint HOST:PORT > FILE/s);
    writeFileSync(join(dir, "own.json"), JSON.stringify(own));
    const reset = await go("import-secrets", "--context", "cluster2", "--endpoint", "cluster3=", "own.json");
    assert.equal(reset.code, 0, reset.stderr);
    const verified = await mesh("verify", "--context", "cluster2");
    assert.equal(verified.code, 0, verified.stdout);
    assert.equal((await go("import-secrets", "--context", "cluster2", "given.json")).code, 0);
  });

  test("is reset by the remedy of connect, which then shows endpoint changes again", async () => {
    const { stderr } = await mesh("connect", ...PAIR, "--yes");
    const [, remedy] = /set at extraction; to reset it:\n +(.+)$/m.exec(stderr) ?? [];
    assert.equal(remedy, "import-secrets --context cluster2 --endpoint cluster3= FILE");
    const args = (remedy ?? "").split(" ").slice(1, -1);
    const back = await go("import-secrets", ...args, "own.json", "--context", "cluster2");
    assert.equal(back.code, 0, back.stderr);
    assert.match(back.stderr, /^endpoint of cluster3 in cluster2: https:\S+:2379 at 10\.1\.2\.3 → https:/m);
    assert.doesNotMatch(config(), /10\.1\.2\.3/);
    const node = sandbox.clusters[2]?.api.store.all("Node")[0] as { status?: { addresses?: { address: string }[] } };
    for (const one of node.status?.addresses ?? []) one.address = "127.9.9.9";
    sandbox.clusters[2]?.api.store.put(node as never);
    const asked = await mesh("connect", ...PAIR);
    assert.equal(asked.code, 2);
    assert.match(asked.stderr, /^endpoint of cluster3 in cluster2: https:.* → https:.*127\.9\.9\.9/m);
  });
});
