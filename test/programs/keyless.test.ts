/** Clusters without certificate Secrets, and files without keys. */
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { V1Secret } from "@kubernetes/client-node";
import { makeCa } from "../../lib/sandbox/pki.ts";
import { type Sandbox, startSandbox } from "../../lib/sandbox/sandbox.ts";
import { run } from "../support/programs.ts";
import { textsOf } from "../support/targets.ts";

const NAMESPACE = "kube-system";

describe("clusters without certificate Secrets", () => {
  let sandbox: Sandbox;
  let dir: string;
  const call = (program: string, ...args: string[]) => run(program, args, { kubeconfig: sandbox.kubeconfig, cwd: dir });
  const extract = (...args: string[]) => call("extract-secret", ...args);
  const storeOf = (name: string) => {
    const cluster = sandbox.clusters.find(({ description }) => description.name === name);
    assert.ok(cluster);
    return cluster.api.store;
  };
  const textsIn = (name: string, secret: string) =>
    textsOf(storeOf(name).read("Secret", NAMESPACE, secret) as V1Secret | undefined);

  before(async () => {
    const ca = makeCa({ cn: "Mesh CA", key: "ec" });
    const cluster = (id: number, version: string, more = {}) => ({
      description: {
        name: `c${id}`,
        id,
        version,
        nodes: [{ name: `n${id}`, internalIPs: [`172.18.${id}.2`] }],
        clusterPoolCidrs: [`10.${id}.0.0/16`],
        ...more,
      },
      pki: { ca },
    });
    const csi = { csiDriver: "csi.cert-manager.io" };
    sandbox = await startSandbox({
      clusters: [
        cluster(1, "1.20.2", csi),
        cluster(2, "1.18.5", { ...csi, kvstoremesh: false }),
        cluster(3, "1.20.2"),
        { ...cluster(4, "1.20.2"), pki: {} as { ca: typeof ca } },
      ],
    });
    dir = await mkdtemp(join(tmpdir(), "keyless-"));
    for (const context of ["c1", "c2"]) {
      const { code, stderr } = await extract("--context", context, "--output-file", join(dir, `${context}.json`));
      assert.equal(code, 0, stderr);
    }
  });
  after(async () => {
    await sandbox?.stop();
    if (dir) await rm(dir, { recursive: true, force: true });
  });

  test("extract-secret writes endpoint and names without CA and key, reports it, and is reproducible", async () => {
    const { code, stdout, stderr } = await extract("--context", "c2");
    assert.equal(code, 0, stderr);
    assert.equal(stdout, await readFile(join(dir, "c2.json"), "utf8"));
    const secret = JSON.parse(stdout) as V1Secret;
    const texts = textsOf(secret);
    assert.deepEqual(Object.keys(texts), ["c2"]);
    assert.match(texts.c2 ?? "", /^endpoints:\n- https:\/\/c2\.mesh\.cilium\.io:32379\n/);
    assert.match(texts.c2 ?? "", /172\.18\.2\.2/);
    assert.match(texts.c2 ?? "", /key-file: \S*\/common-etcd-client\.key/);
    assert.match(secret.metadata?.annotations?.["clustermesh-secrets/server-names"] ?? "", /^\*\.mesh\.cilium\.io,/);
    assert.match(stderr, /"common-etcd-client" \(CSI driver csi\.cert-manager\.io\), not from Secrets/);
    assert.doesNotMatch(stderr, /private key|terminal/);
  });

  test("--server-name sets the file and its URL; an invalid name is rejected before any request", async () => {
    const { code, stdout, stderr } = await extract("--context", "c1", "--server-name", "*.Example.com");
    assert.equal(code, 0, stderr);
    assert.match(textsOf(JSON.parse(stdout)).c1 ?? "", /^endpoints:\n- https:\/\/c1\.example\.com:32379\n/);
    assert.doesNotMatch(stderr, /assuming/);
    const asked = sandbox.clusters[0]?.api.requests.length;
    for (const name of ["a_b.*", "*", "*.", "-a", "http://x", "a,b", "10.0.0.0/8", "*.com:1", "[::1]"]) {
      const refused = await extract("--context", "c1", "--server-name", "good.example", `--server-name=${name}`);
      assert.equal(refused.code, 2, name);
      assert.match(refused.stderr, /^error: invalid value ".*" for --server-name: must be a host name/);
      assert.equal(refused.stdout, "");
    }
    const both = await extract("--keyless", "--external-workload");
    assert.deepEqual([both.code, both.stdout], [2, ""]);
    assert.match(both.stderr, /--keyless and --external-workload are mutually exclusive/);
    assert.equal(sandbox.clusters[0]?.api.requests.length, asked);
  });

  test("--keyless omits an existing key, and a target with another CA refuses the file", async () => {
    const file = join(dir, "c3.json");
    const { code, stderr } = await extract("--context", "c3", "--keyless", "--output-file", file);
    assert.equal(code, 0, stderr);
    const text = await readFile(file, "utf8");
    assert.deepEqual(Object.keys(textsOf(JSON.parse(text))), ["c3"]);
    assert.doesNotMatch(text, /PRIVATE KEY/);
    assert.match(text, /BEGIN CERTIFICATE/, "the CA, in an annotation");
    const refused = await call("import-secrets", "--context", "c4", file);
    assert.equal(refused.code, 2, refused.stderr);
    assert.match(refused.stderr, /the CA of c3 differs from the CA of the target \[ca-differs\]/);
    assert.equal(storeOf("c4").read("Secret", NAMESPACE, "cilium-kvstoremesh"), undefined);
  });

  test("import-secrets configures the own certificate of targets with and without Secrets", async () => {
    const files = ["c1.json", "c2.json", "c3.json"];
    const contexts = ["c1", "c2", "c3"].flatMap((name) => ["--context", name]);
    const { code, stderr } = await call("import-secrets", ...contexts, "--restart-agents", ...files);
    assert.equal(code, 0, stderr);
    for (const [target, secret] of [
      ["c1", "cilium-kvstoremesh"],
      ["c2", "cilium-clustermesh"],
      ["c3", "cilium-kvstoremesh"],
    ] as const) {
      const texts = textsIn(target, secret);
      const peers = ["c1", "c2", "c3"].filter((name) => name !== target);
      assert.deepEqual(Object.keys(texts).sort(), peers, "configs, and no certificate or key");
      for (const peer of peers) assert.match(texts[peer] ?? "", /cert-file: \S*\/common-etcd-client\.crt/);
    }
    // One line per target with an unreadable certificate, and one for the files without a CA.
    const warned = stderr.split("\n").filter((line) => line.includes("[common-unverified]"));
    const [c1 = "", c2 = "", others = "", ...more] = warned;
    assert.match(c1, /^warning: c1: .*"common-etcd-client" \(CSI driver csi\.cert-manager\.io\) and cannot be read/);
    assert.match(c2, /^warning: c2: /);
    assert.match(others, /^warning: files of 2 peers do not contain the CA, .*: c1\.json \(c1\), c2\.json \(c2\)/);
    assert.deepEqual(more, []);
    const again = await call("import-secrets", ...contexts, ...files);
    assert.equal(again.code, 0, again.stderr);
    assert.match(again.stderr, /^c1 .*unchanged c2 and c3$/m);
  });

  test("status reports a healthy mesh, and connect has nothing to do", async () => {
    const status = await call("clustermesh-secrets", "status", "c1", "c2", "c3");
    assert.equal(status.code, 0, status.stdout + status.stderr);
    assert.match(status.stdout, /^c1 .* – +✓ +✓\nc2 .* ✓ +– +✓\nc3 .* ✓ +✓ +–$/m);
    const connect = await call("clustermesh-secrets", "connect", "c1", "c2", "c3");
    assert.equal(connect.code, 0, connect.stderr);
    assert.match(connect.stderr, /^c1 .*unchanged c2 and c3$/m);
    assert.doesNotMatch(connect.stderr, /common-etcd-client files/, "a message about a file");
  });
});
