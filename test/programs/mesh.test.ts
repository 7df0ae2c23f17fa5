/** The mesh commands as built, on sandbox clusters with listening etcds. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import type { V1Secret } from "@kubernetes/client-node";
import { parse, stringify } from "yaml";
import { type Sandbox, servingClusters, startSandbox } from "../../lib/sandbox/sandbox.ts";
import { type ProgramResult, run } from "../support/programs.ts";

const NAMES = ["cluster1", "cluster2", "cluster3"];
const KINDS = ["Secret", "ConfigMap", "Deployment", "DaemonSet"];

describe("the mesh commands", () => {
  let sandbox: Sandbox;
  let dir: string;
  const go = (...args: string[]): Promise<ProgramResult> =>
    run("clustermesh-secrets", args, { kubeconfig: sandbox.kubeconfig });
  const peersOf = (cluster: string) => {
    const found = sandbox.clusters.find(({ description }) => description.name === cluster);
    const secret = found?.api.store.read("Secret", "kube-system", "cilium-clustermesh") as V1Secret | undefined;
    return NAMES.filter((name) => secret?.data?.[name] !== undefined);
  };
  /** A hash of all objects of all clusters, to detect changes. */
  const fingerprint = () =>
    createHash("sha256")
      .update(JSON.stringify(sandbox.clusters.map(({ api }) => KINDS.map((kind) => api.store.all(kind)))))
      .digest("hex");

  before(() => {
    dir = mkdtempSync(join(tmpdir(), "mesh-programs-"));
  });
  after(() => rmSync(dir, { recursive: true, force: true }));
  beforeEach(async () => {
    sandbox = await startSandbox({ clusters: await servingClusters({ key: "ec" }) });
  });
  afterEach(() => sandbox.stop());
  const connect = (...args: string[]) => go("connect", ...NAMES, "--yes", "--restart-agents", ...args);

  test("connect, status, verify and disconnect a mesh", async () => {
    const asked = await go("connect", ...NAMES);
    assert.equal(asked.code, 2);
    assert.match(asked.stderr, /will add cluster2 and cluster3/);
    assert.match(asked.stderr, /confirmation required: stdin is not a terminal; pass --yes/);
    assert.deepEqual(peersOf("cluster1"), []);
    const dry = await connect("--dry-run=server");
    assert.equal(dry.code, 0, dry.stderr);
    assert.deepEqual(peersOf("cluster1"), []);
    const diff = await go("connect", ...NAMES, "--diff", "--restart-agents");
    assert.equal(diff.code, 1, diff.stderr);
    assert.match(diff.stdout, /^\+\+\+ planned\/cluster3\/kube-system\/Secret\/cilium-kvstoremesh$/m);

    const done = await connect();
    assert.equal(done.code, 0, done.stderr);
    assert.doesNotMatch(done.stderr, /skipped/);
    for (const name of NAMES)
      assert.deepEqual(
        peersOf(name),
        NAMES.filter((other) => other !== name),
      );
    const before = fingerprint();
    const again = await connect("--wait", "--timeout=20s");
    assert.equal(again.code, 0, again.stderr);
    assert.match(again.stderr, /the mesh is healthy/);
    assert.equal(fingerprint(), before);

    const status = await go("status", "--all-contexts", "--probe");
    assert.equal(status.code, 0, status.stdout);
    assert.match(status.stdout, /^cluster1 .* – +✓ +✓$/m);
    assert.match(status.stdout, /^3 clusters, healthy, with 1 warning$/m);
    assert.match(status.stdout, /loopback addresses: cluster1, cluster2, cluster3 \[loopback-address\]$/m);
    const verified = await go("verify", "--context", "cluster3");
    assert.equal(verified.code, 0, verified.stdout);
    assert.match(verified.stdout, /^2 of 2 peers connect$/m);
    assert.equal(fingerprint(), before, "reading changes nothing");

    const nowhere = await go("disconnect", "cluster3");
    assert.equal(nowhere.code, 2);
    assert.match(nowhere.stderr, /no contexts given/);
    const left = await go("disconnect", "cluster3", "--all-contexts", "--yes");
    assert.equal(left.code, 0, left.stderr);
    assert.deepEqual(peersOf("cluster1"), ["cluster2"]);
    assert.deepEqual(peersOf("cluster3"), ["cluster1", "cluster2"], "its own config stays");
    const last = await go("disconnect", "cluster2", "--from", "cluster1", "--yes");
    assert.equal(last.code, 0, last.stderr);
    assert.deepEqual(peersOf("cluster1"), [], "a Secret may be left empty, and is kept");
    assert.ok(sandbox.clusters[0]?.api.store.read("Secret", "kube-system", "cilium-clustermesh"));
    const nothing = await go("disconnect", "cluster2", "--from", "cluster1", "--yes");
    assert.deepEqual(
      [nothing.code, /no cluster has this peer: cluster2/.test(nothing.stderr)],
      [0, true],
      nothing.stderr,
    );
  });

  test("disconnect and rotate --trust reject an unknown peer with a suggestion", async () => {
    await connect();
    const before = fingerprint();
    for (const names of [["clutser2"], ["cluster3", "clutser2"]]) {
      const { code, stderr } = await go("disconnect", ...names, "--all-contexts", "--yes");
      assert.deepEqual([code, fingerprint() === before], [2, true], stderr);
      assert.match(
        stderr,
        /^error: cluster "clutser2": not a peer of cluster1, .*; did you mean cluster2\?\n {2}peers: /,
      );
    }
    const ca = join(dir, "ca.crt");
    writeFileSync(ca, sandbox.clusters[1]?.pki.ca.cert ?? "");
    const { code, stderr } = await go("rotate", "clutser2", "--trust", ca, "--all-contexts", "--yes");
    assert.deepEqual([code, fingerprint() === before], [2, true], stderr);
    assert.match(stderr, /^error: cluster "clutser2": not a peer of .*; did you mean cluster2\?\n/);
  });

  test("disconnect skips the context of the removed cluster if it is down, and no other", async () => {
    await connect();
    await sandbox.clusters[2]?.api.stop();
    const done = await go("disconnect", "cluster3", "--all-contexts", "--yes");
    assert.equal(done.code, 0, done.stderr);
    assert.match(done.stderr, /^skipped cluster3, which leaves the mesh: .*refused/m);
    assert.deepEqual([peersOf("cluster1"), peersOf("cluster2")], [["cluster2"], ["cluster1"]]);
    const again = await go("disconnect", "cluster3", "--all-contexts", "--yes");
    assert.deepEqual([again.code, /no cluster has this peer: cluster3/.test(again.stderr)], [0, true], again.stderr);
    const before = fingerprint();
    const other = await go("disconnect", "cluster2", "--all-contexts", "--yes");
    assert.deepEqual([other.code, fingerprint() === before], [1, true], other.stderr);
    assert.match(other.stderr, /cluster3: .*\[cluster-unreadable\]/);
  });

  test("disconnect --wait waits for the remaining clusters, whether the removed one is up or down", async () => {
    await connect();
    const call = ["disconnect", "cluster3", "--all-contexts", "--yes", "--wait", "--timeout=20s"];
    const up = await go(...call);
    assert.deepEqual([up.code, /the mesh is/.test(up.stderr)], [0, true], up.stderr);
    await connect();
    await sandbox.clusters[2]?.api.stop();
    const down = await go(...call);
    assert.deepEqual([down.code, /the mesh is/.test(down.stderr)], [0, true], down.stderr);
  });

  const calledOtherwise: [what: string, contexts: string[], cluster: string][] = [
    ["its entry in the kubeconfig", ["admin@third"], "cluster3"],
    ["another context of its server", ["admin@third", "cluster3"], "third"],
  ];
  for (const [what, contexts, cluster] of calledOtherwise) {
    test(`disconnect identifies the removed cluster by ${what}`, async () => {
      await connect();
      await sandbox.clusters[2]?.api.stop();
      const file = join(dir, "kubeconfig");
      const config = parse(readFileSync(sandbox.kubeconfig, "utf8"));
      const [entry] = config.clusters.filter(({ name }: { name: string }) => name === "cluster3");
      const [own] = config.contexts.filter(({ name }: { name: string }) => name === "cluster3");
      entry.name = cluster;
      own.context.cluster = cluster;
      const others = config.contexts.filter((one: unknown) => one !== own);
      config.contexts = [...contexts.map((name) => ({ ...own, name })), ...others];
      writeFileSync(file, stringify(config));
      const { code, stderr } = await run("clustermesh-secrets", ["disconnect", "cluster3", "--all-contexts", "--yes"], {
        kubeconfig: file,
      });
      assert.equal(code, 0, stderr);
      assert.match(stderr, /^skipped admin@third, which leaves the mesh: /m);
      assert.deepEqual(peersOf("cluster1"), ["cluster2"]);
    });
  }

  test("disconnect has no flags for connecting to peers", async () => {
    const { stdout } = await go("disconnect", "--help");
    assert.match(stdout, /--take-ownership/);
    for (const flag of ["--addresses=2", "--tls=peer", "--restart-agents", "--no-restarts"]) {
      const name = flag.replace(/^--(no-)?|=.*/g, "");
      assert.doesNotMatch(stdout, new RegExp(`--(no-)?${name}\\b`));
      const { code, stderr } = await go("disconnect", "cluster2", "--all-contexts", "--yes", flag);
      assert.deepEqual([code, stderr.startsWith("error: unknown flag: --")], [2, true], stderr);
    }
  });

  test("the remedies of status after a removal reconnect or disconnect the clusters", async () => {
    await connect();
    await go("disconnect", "cluster3", "--all-contexts", "--yes");
    const remedies = async (code: string) => {
      const { pairs } = JSON.parse((await go("status", ...NAMES, "-o", "json")).stdout) as {
        pairs: { findings: { code: string; remedy: string }[] }[];
      };
      return pairs
        .flatMap(({ findings }) => findings)
        .filter((one) => one.code === code)
        .map(({ remedy }) => remedy);
    };
    assert.deepEqual(await remedies("one-sided"), [
      "to connect them: extract-secret --context cluster3 | import-secrets --context cluster1 -\nto disconnect them: clustermesh-secrets disconnect cluster1 --from cluster3",
      "to connect them: extract-secret --context cluster3 | import-secrets --context cluster2 -\nto disconnect them: clustermesh-secrets disconnect cluster2 --from cluster3",
    ]);
    for (const name of ["cluster1", "cluster2"]) {
      assert.equal((await go("disconnect", name, "--from", "cluster3", "--yes")).code, 0);
    }
    assert.deepEqual(await remedies("one-sided"), []);
    const [connecting, ...others] = await remedies("not-connected");
    assert.deepEqual(
      [connecting, ...others],
      ["clustermesh-secrets connect cluster1 cluster3", "clustermesh-secrets connect cluster2 cluster3"],
    );
    const [, ...words] = (connecting ?? "").split(" ");
    assert.equal((await go(...words, "--yes", "--restart-agents")).code, 0);
    assert.deepEqual([await remedies("one-sided"), peersOf("cluster3")], [[], ["cluster1"]]);
  });

  test("connect builds a star, adds a cluster, and reads contexts from a file", async () => {
    const star = await go("connect", "--hub", "cluster1", "cluster2", "cluster3", "--yes", "--restart-agents");
    assert.equal(star.code, 0, star.stderr);
    assert.deepEqual([peersOf("cluster2"), peersOf("cluster3")], [["cluster1"], ["cluster1"]]);
    await go("disconnect", "cluster3", "--from", "cluster1", "--yes");
    await go("disconnect", "cluster1", "--from", "cluster3", "--yes");

    const joined = await go("connect", "--with", "cluster1", "cluster3", "--yes", "--restart-agents");
    assert.equal(joined.code, 0, joined.stderr);
    assert.match(joined.stderr, /^peers of cluster1: cluster2$/m);
    assert.deepEqual(peersOf("cluster2"), ["cluster1", "cluster3"]);
    assert.deepEqual(peersOf("cluster3"), ["cluster1", "cluster2"]);

    const file = join(dir, "contexts");
    writeFileSync(file, "# the mesh\ncluster1\n\ncluster2\ncluster3\n");
    const listed = await go("connect", "--contexts-file", file, "--yes");
    assert.equal(listed.code, 0, listed.stderr);
    assert.match(listed.stderr, /cluster1 .*unchanged cluster2 and cluster3/);
  });

  test("connect with an unreachable cluster writes nothing, or the others with --skip-unreachable", async () => {
    await sandbox.clusters[2]?.api.stop();
    const before = fingerprint();
    const refused = await connect();
    assert.equal(refused.code, 1, refused.stderr);
    assert.match(refused.stderr, /cluster3: .*refused.*\[cluster-unreadable\]/s);
    assert.match(refused.stderr, /--skip-unreachable/);
    assert.equal(fingerprint(), before);
    const others = await connect("--skip-unreachable");
    assert.equal(others.code, 3, others.stderr);
    assert.deepEqual([peersOf("cluster1"), peersOf("cluster2")], [["cluster2"], ["cluster1"]]);
    const status = await go("status", ...NAMES);
    assert.equal(status.code, 1);
    assert.match(status.stdout, /^error: cluster3: /m);
    assert.match(status.stdout, /^cluster1 .* – +✓/m);
  });

  /** Writes the kubeconfig of the sandbox with another context for cluster2, with other cluster settings. */
  function withContext(name: string, way: object): string {
    const kubeconfig = parse(readFileSync(sandbox.kubeconfig, "utf8"));
    const { cluster } = kubeconfig.clusters.find((one: { name: string }) => one.name === "cluster2");
    kubeconfig.clusters.push({ name, cluster: { server: cluster.server, ...way } });
    kubeconfig.contexts.push({ name, context: { cluster: name, user: "cluster2" } });
    const file = join(dir, name);
    writeFileSync(file, stringify(kubeconfig));
    return file;
  }

  test("two contexts of one cluster are one cluster, even with different settings", async () => {
    const kubeconfig = withContext("insecure", { "insecure-skip-tls-verify": true });
    const by = (program: string, ...args: string[]) => run(program, args, { kubeconfig });
    const file = join(dir, "cluster1.json");
    assert.equal((await by("extract-secret", "--context", "cluster1", "--output-file", file)).code, 0);
    const before = fingerprint();

    const contexts = ["--context", "cluster2", "--context", "insecure"];
    const dry = await by("import-secrets", ...contexts, "--dry-run=client", "-o", "json", file);
    assert.equal(dry.code, 0, dry.stderr);
    assert.match(dry.stderr, /warning: certificate of https:\S+ is not verified \(insecure-skip-tls-verify\)/);
    assert.match(dry.stderr, /insecure: skipped: same cluster as context cluster2 \[same-cluster\]/);
    assert.equal(dry.stderr.match(/would add cluster1 \(dry run\)/g)?.length, 1);
    assert.doesNotMatch(dry.stdout, /"clustermesh-secrets\/context": "insecure"/);

    const args = ["cluster1", "cluster2", "insecure", "--dry-run=client"];
    const connected = await by("clustermesh-secrets", "connect", ...args, "--restart-agents");
    assert.equal(connected.code, 0, connected.stderr);
    assert.match(connected.stderr, /skipped context insecure: same cluster as context cluster2/);
    assert.equal(connected.stderr.match(/: would add /g)?.length, 2);
    assert.doesNotMatch(connected.stderr, /-twice/);
    const alone = await by("clustermesh-secrets", "connect", "cluster2", "insecure", "--yes");
    assert.deepEqual([alone.code, /at least two clusters are required/.test(alone.stderr)], [2, true], alone.stderr);

    const status = await by("clustermesh-secrets", "status", "cluster1", "cluster2", "insecure");
    assert.equal(status.code, 0, status.stdout);
    assert.match(status.stdout, /^insecure +cluster2 +2 /m);
    assert.match(status.stdout, /^warning: insecure: skipped: same cluster as context cluster2 \[same-cluster\]$/m);
    assert.match(status.stdout, /^cluster1 +cluster1 +1 .* – +·\ncluster2 +cluster2 +2 .* · +–\ninsecure/m);
    assert.doesNotMatch(status.stdout, /-twice/);
    assert.equal(fingerprint(), before);
  });

  test("an invalid context is an unreadable cluster of --all-contexts, and an error if it is named", async () => {
    const kubeconfig = withContext("stale", { "certificate-authority": "/gone/ca.crt" });
    const by = (...args: string[]) => run("clustermesh-secrets", args, { kubeconfig });
    const before = fingerprint();
    const status = await by("status", "--all-contexts");
    assert.equal(status.code, 1, status.stderr);
    assert.match(
      status.stdout,
      /^error: stale: .*cannot read certificate-authority \/gone\/ca\.crt: no such file or directory \[cluster-unreadable\]$/m,
    );
    assert.match(status.stdout, /^cluster1 .* – +· +·$/m);
    assert.match(status.stdout, /^4 clusters \(1 unreadable\), /m);

    const all = ["connect", "--all-contexts", "--dry-run=client", "--restart-agents"];
    const refused = await by(...all);
    assert.equal(refused.code, 1, refused.stderr);
    assert.match(
      refused.stderr,
      /^error: stale: .*\/gone\/ca\.crt: no such file or directory \[cluster-unreadable\]$/m,
    );
    assert.match(refused.stderr, /pass --skip-unreachable$/m);
    assert.doesNotMatch(refused.stderr, /: would add /);
    const others = await by(...all, "--skip-unreachable");
    assert.equal(others.code, 3, others.stderr);
    assert.equal(others.stderr.match(/: would add /g)?.length, 3);
    assert.match(others.stderr, /^error: stale: .*\[cluster-unreadable\]$/m);

    for (const named of [
      ["status", "cluster1", "stale"],
      ["connect", "cluster1", "stale", "--dry-run=client", "--skip-unreachable"],
    ]) {
      const { code, stdout, stderr } = await by(...named);
      assert.deepEqual([code, stdout], [2, ""], stderr);
      assert.match(
        stderr,
        /^error: context "stale": cannot read certificate-authority \/gone\/ca\.crt: no such file or directory\n$/,
      );
    }
    assert.equal(fingerprint(), before);
  });

  test("missing RBAC permissions are reported before the first write", async () => {
    const forbid = [
      { verb: "patch", resource: "daemonsets" },
      { verb: "create", resource: "secrets", namespace: "kube-system" },
    ];
    const clusters = (await servingClusters({ key: "ec" })).map((cluster, i) => ({
      ...cluster,
      serving: false,
      users: [{ name: "u", token: `u${i}`, ...(i === 0 && { forbid }) }],
    }));
    await sandbox.stop();
    sandbox = await startSandbox({ clusters });
    const before = fingerprint();
    const { code, stderr } = await connect();
    assert.equal(code, 2, stderr);
    assert.match(stderr, /not allowed to patch daemonset\/cilium in namespace kube-system \[not-allowed\]/);
    assert.match(stderr, /check with: kubectl auth can-i create secrets -n kube-system .*--context cluster1/);
    assert.equal(fingerprint(), before);
  });

  test("duplicate ids and all other errors are reported together", async () => {
    for (const [i, data] of [{ "cluster-id": "2" }, {}, { "max-connected-clusters": "511" }].entries()) {
      const { store } = (sandbox.clusters[i] as Sandbox["clusters"][number]).api;
      const config = store.read("ConfigMap", "kube-system", "cilium-config");
      if (config) store.put({ ...config, data: { ...config.data, ...data } });
    }
    const before = fingerprint();
    const { code, stderr } = await connect();
    assert.equal(code, 2, stderr);
    for (const finding of ["id-duplicate", "maximum-differs"]) assert.ok(stderr.includes(`[${finding}]`), stderr);
    assert.equal(fingerprint(), before);
  });

  test("invalid calls exit with 2 before any request", async () => {
    const none = () => sandbox.clusters.reduce((sum, { api }) => sum + api.requests.length, 0);
    const calls: string[][] = [
      ["connect"],
      ["connect", "cluster1"],
      ["connect", "cluster1", "nowhere", "--yes"],
      ["connect", "--contexts-file", "/nonexistent"],
      ["connect", "cluster1", "cluster2", "--hub", "cluster1", "--with", "cluster2"],
      ["connect", "cluster1", "cluster2", "--parallel", "0"],
      ["connect", "cluster1", "cluster2", "--timeout", "soon"],
      ["disconnect", "--all-contexts"],
      ["disconnect", "No_Name", "--all-contexts"],
      ["rotate", "--all-contexts"],
      ["rotate", "cluster1", "--trust", "/nonexistent", "--all-contexts"],
      ["status", "cluster1", "--all-contexts"],
      ["status", "cluster1", "--wait", "--watch"],
      ["status", "--contxt", "cluster1"],
      ["verify"],
      ["verify", "--cert", "/nonexistent", "--context", "cluster1"],
      ["verify", "--cert", "/nonexistent", "--key", "/nonexistent", "--context", "cluster1"],
      ["verify", "/nonexistent"],
      ["inspect"],
      ["inspect", "/nonexistent"],
      ["inspect", "-o", "xml", "x"],
    ];
    for (const call of calls) {
      const { code, stdout, stderr } = await go(...call);
      assert.equal(code, 2, `${call.join(" ")}: ${stderr}${stdout}`);
      assert.ok(stderr.split("\n").length <= 4, stderr);
      assert.doesNotMatch(stderr + stdout, /^ {4}at |ENOENT/m);
    }
    assert.equal(none(), 0);
  });

  test("output contains no key, no file is left behind, and --debug logs requests", async () => {
    await connect();
    const file = join(dir, "cluster2.json");
    const extracted = await run("extract-secret", ["--context", "cluster2", "--output-file", file], {
      kubeconfig: sandbox.kubeconfig,
    });
    assert.equal(extracted.code, 0, extracted.stderr);
    const temporary = mkdtempSync(join(tmpdir(), "mesh-left-"));
    const keys = sandbox.clusters.flatMap(({ pki }) => [pki.remote.key, pki.server.key, pki.ca.key, pki.local.key]);
    const lines = keys.flatMap((key) =>
      key.split("\n").filter((line) => line.length > 20 && !line.startsWith("-----")),
    );
    const secrets = [...lines, ...lines.map((line) => Buffer.from(line).toString("base64").slice(4, -4))];
    for (const call of [
      ["inspect", file],
      ["inspect", file, "-o", "json"],
      ["inspect", file, "-o", "yaml"],
      ["verify", file, "--debug"],
      ["verify", file, "-o", "json"],
      ["verify", "--context", "cluster1", "-o", "yaml", "--debug"],
      ["status", ...NAMES, "--probe", "-o", "json", "--debug"],
      ["status", ...NAMES, "-o", "wide"],
      ["status", ...NAMES, "-o", "mermaid"],
      ["connect", ...NAMES, "--diff", "--debug"],
      ["rotate", "cluster2", "--all-contexts", "--yes", "--debug"],
      ["disconnect", "cluster2", "--all-contexts", "--yes", "--debug"],
    ]) {
      const { code, stdout, stderr } = await run("clustermesh-secrets", call, {
        kubeconfig: sandbox.kubeconfig,
        env: { TMPDIR: temporary },
      });
      assert.equal(code, 0, `${call.join(" ")}: ${stderr}`);
      for (const secret of secrets) assert.ok(!`${stdout}${stderr}`.includes(secret), call.join(" "));
      if (call.includes("--debug") && call.includes(NAMES[0] as string)) assert.match(stderr, / ms {2}cluster1: GET /);
    }
    assert.deepEqual(readdirSync(temporary), []);
    rmSync(temporary, { recursive: true });
    assert.ok(readFileSync(sandbox.kubeconfig, "utf8").includes("current-context: cluster1"), "no context is changed");
  });
});
