/** Node-local peers, such as those of Submariner, in a mesh. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { V1Secret } from "@kubernetes/client-node";
import { isOwnCache } from "../../lib/peer/etcd-config.ts";
import type { KubernetesObject } from "../../lib/sandbox/object.ts";
import { type Sandbox, servingClusters, startSandbox } from "../../lib/sandbox/sandbox.ts";
import { caOf, clientOf } from "../support/material.ts";
import { entriesOf } from "../support/plans.ts";
import { type ProgramResult, run } from "../support/programs.ts";
import { configText, LOCAL, secretOf, textsOf } from "../support/targets.ts";

const NAMES = ["cluster1", "cluster2", "cluster3"];
const AGENTS = "cilium-clustermesh";
const COPY = "cilium-kvstoremesh";
const SUBMARINER: Record<string, string> = {
  submariner: configText("https://127.0.0.1:12379", ["submariner-ca.pem", "submariner.pem", "submariner-key.pem"]),
  "submariner-ca.pem": caOf("submariner").cert,
  "submariner.pem": clientOf(caOf("submariner")).cert,
  "submariner-key.pem": clientOf(caOf("submariner")).key,
};

describe("a node-local peer, in clusters with and without KVStoreMesh", () => {
  let sandbox: Sandbox;
  let dir: string;
  const go = (program: string, ...args: string[]): Promise<ProgramResult> =>
    run(program, args, { kubeconfig: sandbox.kubeconfig, cwd: dir });
  const mesh = (...args: string[]) => go("clustermesh-secrets", ...args);
  const storeOf = (cluster: string) => {
    const found = sandbox.clusters.find(({ description }) => description.name === cluster);
    assert.ok(found);
    return found.api.store;
  };
  const secretIn = (cluster: string, name: string) =>
    storeOf(cluster).read("Secret", "kube-system", name) as (V1Secret & KubernetesObject) | undefined;
  /** Writes files into a Secret as another tool does; null removes a file. */
  const merge = (cluster: string, name: string, files: Record<string, string | null>) => {
    const secret = secretIn(cluster, name);
    assert.ok(secret, `${cluster} has ${name}`);
    const data = { ...secret.data };
    for (const [key, text] of Object.entries(files)) {
      if (text === null) delete data[key];
      else data[key] = Buffer.from(text).toString("base64");
    }
    storeOf(cluster).put({ ...secret, data });
  };
  const submarinerIn = (cluster: string, name = AGENTS) =>
    Object.fromEntries(Object.entries(textsOf(secretIn(cluster, name))).filter(([key]) => key in SUBMARINER));
  const isUntouched = (what: string) => {
    for (const cluster of ["cluster1", "cluster3"]) assert.deepEqual(submarinerIn(cluster), SUBMARINER, what);
    assert.deepEqual(submarinerIn("cluster3", COPY), {}, what);
  };

  before(async () => {
    dir = mkdtempSync(join(tmpdir(), "node-local-"));
    sandbox = await startSandbox({ clusters: await servingClusters() });
    const connected = await mesh("connect", ...NAMES, "--yes", "--restart-agents");
    assert.equal(connected.code, 0, connected.stderr);
    for (const name of NAMES) {
      const { code, stderr } = await go("extract-secret", name, "--output-file", `${name}.json`);
      assert.equal(code, 0, stderr);
    }
    for (const cluster of ["cluster1", "cluster3"]) merge(cluster, AGENTS, SUBMARINER);
    writeFileSync(join(dir, "theirs.json"), JSON.stringify(secretOf(SUBMARINER)));
  });
  after(async () => {
    await sandbox?.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  test("is skipped by verify, without effect on the exit code", async () => {
    for (const cluster of ["cluster1", "cluster3"]) {
      const { code, stdout, stderr } = await mesh("verify", "--context", cluster, "--fail-on=warning");
      assert.equal(code, 0, stdout + stderr);
      assert.match(stdout, new RegExp(`^submariner \\(${cluster}\\): skipped: node-local$`, "m"));
      assert.match(stdout, /^2 of 2 peers connect, 1 skipped$/m);
    }
    const { stdout } = await mesh("verify", "--context", "cluster3", "-o", "json");
    const { peers, findings } = JSON.parse(stdout);
    const found = peers.find(({ name }: { name: string }) => name === "submariner");
    assert.deepEqual([found.skipped, found.findings, findings], ["node-local", [], []]);
    const file = await mesh("verify", "theirs.json", "--fail-on=warning");
    assert.deepEqual([file.code, file.stderr], [0, ""]);
    assert.match(file.stdout, /skipped: node-local/);
  });

  test("is a state in status, which does not wait for it", async () => {
    const { code, stdout } = await mesh("status", ...NAMES, "--probe", "--wait", "--timeout=20s");
    assert.equal(code, 0, stdout);
    assert.match(stdout, /^cluster1 .* – +✓ +✓ +⌂$/m);
    assert.match(stdout, /⌂ node-local/);
    assert.doesNotMatch(stdout, /migrate|submariner.*\[/);
    const report = JSON.parse((await mesh("status", ...NAMES, "-o", "json")).stdout);
    const states = report.pairs
      .filter(({ peer }: { peer: string }) => peer === "submariner")
      .map(({ importer, state, nodeLocal, findings }: Record<string, unknown>) => [
        importer,
        state,
        nodeLocal,
        findings,
      ]);
    assert.deepEqual(states, [
      ["cluster1", "node-local", true, []],
      ["cluster3", "node-local", true, []],
    ]);
  });

  test("is left unchanged by import, connect --wait, --migrate, --tls and rotate", async () => {
    const both = ["--context", "cluster1", "--context", "cluster3"];
    const calls: [program: string, ...args: string[]][] = [
      ["import-secrets", ...both, "--restart-agents", "cluster1.json", "cluster2.json", "cluster3.json"],
      ["import-secrets", ...both, "--migrate", "--restart-agents"],
      ["import-secrets", ...both, "--migrate", "--tls=peer", "--restart-agents"],
      ["clustermesh-secrets", "connect", ...NAMES, "--yes", "--wait", "--timeout=20s"],
      ["clustermesh-secrets", "rotate", "cluster2", "--all-contexts", "--yes"],
    ];
    for (const [program, ...args] of calls) {
      const { code, stderr } = await go(program, ...args);
      assert.equal(code, 0, stderr);
      assert.doesNotMatch(stderr, /submariner/, args.join(" "));
      isUntouched(args.join(" "));
    }
  });

  test("is not a cluster for connect --with", async () => {
    const { code, stderr } = await mesh("connect", "--with", "cluster1", "cluster3", "--yes", "--restart-agents");
    assert.equal(code, 0, stderr);
    assert.doesNotMatch(stderr, /submariner/);
    isUntouched("connect --with");
  });

  test("is kept by --prune, which prints the command that removes it", async () => {
    const { code, stderr } = await go("import-secrets", "--context", "cluster3", "--prune", "--yes", "cluster1.json");
    assert.equal(code, 0, stderr);
    assert.match(stderr, /removed cluster2/);
    const [, command] = /^ *kept submariner: node-local; to remove it:\n *(.*)$/m.exec(stderr) ?? [];
    assert.equal(command, "clustermesh-secrets disconnect submariner --from cluster3");
    isUntouched("--prune");
    const [program = "", ...args] = (command ?? "").split(" ");
    const removed = await go(program, ...args, "--yes");
    assert.equal(removed.code, 0, removed.stderr);
    assert.deepEqual(submarinerIn("cluster3"), {});
    merge("cluster3", AGENTS, SUBMARINER);
  });

  test("is refused as a file before anything is written, and inspect reports the reason", async () => {
    const before = JSON.stringify(storeOf("cluster2").all("Secret"));
    const refused = await go("import-secrets", "--context", "cluster2", "theirs.json", "cluster1.json");
    assert.equal(refused.code, 2, refused.stderr);
    assert.match(
      refused.stderr,
      /submariner is node-local: reachable only from the same node, .*\[endpoint-node-local\]/,
    );
    assert.match(refused.stderr, /--endpoint submariner=127\.0\.0\.1:12379$/m);
    assert.equal(JSON.stringify(storeOf("cluster2").all("Secret")), before);
    const inspected = await mesh("inspect", "theirs.json");
    assert.equal(inspected.code, 3);
    assert.match(inspected.stdout, /^submariner \(theirs\.json\): node-local: reachable only from the same node$/m);
    assert.equal(
      JSON.parse((await mesh("inspect", "theirs.json", "-o", "json")).stdout).peers[0].verdict,
      "node-local",
    );
    const mixed = ["--endpoint", "cluster1=127.0.0.1:2379", "--endpoint", "cluster1=10.0.0.1:2379"];
    assert.equal((await go("import-secrets", "--context", "cluster2", ...mixed, "cluster1.json")).code, 2);
    assert.equal(JSON.stringify(storeOf("cluster2").all("Secret")), before);
  });

  test("is configured for the agents only by --endpoint NAME=127.0.0.1:PORT, also in later imports", async () => {
    const entry = (name: string) => entriesOf(secretIn("cluster2", name)).find((one) => one.name === "cluster1");
    const imports = (...args: string[]) => go("import-secrets", "--context", "cluster2", ...args, "cluster1.json");
    for (const args of [["--endpoint", "cluster1=127.0.0.1:15379"], [], ["--migrate"]]) {
      const { code, stderr } = await imports(...args);
      assert.equal(code, 0, stderr);
      assert.deepEqual(entry(AGENTS)?.config?.endpoints, ["https://127.0.0.1:15379"], stderr);
      assert.equal(entry(COPY), undefined);
    }
    const { code, stdout } = await mesh("status", ...NAMES);
    assert.match(stdout, /^cluster2 .* ⌂ +– +✓/m);
    assert.equal(code, 3, "cluster3 lost cluster2 in an earlier step");
    const { stderr } = await imports("--endpoint", "cluster1=");
    assert.ok(isOwnCache(entry(AGENTS)?.config?.endpoints ?? []), stderr);
    assert.match(entry(COPY)?.config?.endpoints[0] ?? "", /^https:\/\/cluster1\.mesh\.cilium\.io:/);
  });

  test("is granted its etcd user by connect and skipped by rotate, if it belongs to the mesh", async () => {
    const config = SUBMARINER.submariner ?? "";
    merge("cluster3", AGENTS, { cluster2: config });
    const connected = await mesh("connect", ...NAMES, "--yes", "--restart-agents");
    assert.equal(connected.code, 0, connected.stderr);
    assert.match(connected.stderr, /kept cluster2.*: node-local; to remove it:/);
    const users = storeOf("cluster3").read("ConfigMap", "kube-system", "clustermesh-remote-users");
    assert.match(users?.data?.["users.yaml"], /remote-cluster2/);
    const rotated = await mesh("rotate", "cluster2", "--all-contexts", "--yes");
    assert.equal(rotated.code, 0, rotated.stderr);
    assert.match(rotated.stderr, /^cluster3: skipped cluster2: node-local$/m);
    assert.equal(textsOf(secretIn("cluster3", AGENTS)).cluster2, config);
    assert.equal(textsOf(secretIn("cluster3", COPY)).cluster2, undefined);
    merge("cluster3", AGENTS, { cluster2: null });
  });

  test("is an error if configured for KVStoreMesh, and --migrate moves it back", async () => {
    const files = Object.fromEntries(Object.keys(SUBMARINER).map((key) => [key, null]));
    const cache = configText("https://clustermesh-apiserver.kube-system.svc:2379", LOCAL);
    merge("cluster3", AGENTS, { ...files, submariner: cache });
    merge("cluster3", COPY, SUBMARINER);
    const status = await mesh("status", "cluster3");
    assert.equal(status.code, 3);
    assert.match(status.stdout, /\[node-local-misplaced\]\n {2}import-secrets --context cluster3 --migrate$/m);
    const verified = await mesh("verify", "--context", "cluster3");
    assert.match(verified.stdout, /^submariner \(cluster3\): skipped/m);

    const migrated = await go("import-secrets", "--context", "cluster3", "--migrate");
    assert.equal(migrated.code, 0, migrated.stderr);
    assert.match(migrated.stderr, /moved to another Secret: submariner/);
    assert.deepEqual(submarinerIn("cluster3", COPY), {});
    const entry = entriesOf(secretIn("cluster3", AGENTS)).find(({ name }) => name === "submariner");
    assert.deepEqual(entry?.peer?.endpoints, ["https://127.0.0.1:12379"]);
    assert.deepEqual(entry?.peer?.client, clientOf(caOf("submariner")));
    assert.equal((await mesh("status", "cluster3")).code, 0);
  });
});
