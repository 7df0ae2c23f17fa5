/** How the commands over many clusters read: their whole output, for meshes of 30 and of 60 clusters, in 100 columns. */
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import type { V1Secret } from "@kubernetes/client-node";
import type { ClusterDescription } from "../../lib/sandbox/description.ts";
import { type Sandbox, startSandbox } from "../../lib/sandbox/sandbox.ts";
import { assertGolden } from "../support/golden.ts";
import { run } from "../support/programs.ts";

const VERSIONS = ["1.20.2", "1.18.5", "1.14.12"];

/** A cluster as the chart installs it, with the chart's default pod CIDR. */
function description(id: number): ClusterDescription {
  const name = `cluster${id}`;
  return {
    name,
    id,
    version: VERSIONS[id % VERSIONS.length] ?? "",
    nodes: [{ name: `${name}-node1`, internalIPs: [`172.18.${id}.2`] }],
    clusterPoolCidrs: ["10.0.0.0/8"],
    service: { nodePort: 31_000 + id },
  };
}

async function start(t: TestContext, count: number): Promise<Sandbox> {
  const clusters = Array.from({ length: count }, (_, i) => ({ description: description(i + 1) }));
  const sandbox = await startSandbox({ clusters });
  t.after(() => sandbox.stop());
  return sandbox;
}

const COLUMNS = "100";

function assertNarrow(text: string): void {
  for (const line of text.split("\n")) assert.ok(line.length <= Number(COLUMNS), line);
}

describe("what people read of many clusters", () => {
  for (const count of [30, 60]) {
    test(`connect and status of ${count} clusters`, async (t) => {
      const { kubeconfig, clusters } = await start(t, count);
      const go = (...args: string[]) => run("clustermesh-secrets", args, { kubeconfig, env: { COLUMNS } });

      const asked = await go("connect", "--all-contexts");
      assert.equal(asked.code, 2);
      assertGolden(`connect-${count}-plan`, asked.stderr);
      assertNarrow(asked.stderr);
      const done = await go("connect", "--all-contexts", "--yes");
      assert.equal(done.code, 3, "agents of 1.14 were not restarted");
      assertGolden(`connect-${count}`, done.stderr);
      assertNarrow(done.stderr);
      const again = await go("connect", "--all-contexts", "--yes", "--restart-agents");
      assert.equal(again.code, 0);
      assertGolden(`connect-${count}-again`, again.stderr);
      assertNarrow(again.stderr);

      const healthy = await go("status", "--all-contexts");
      assert.equal(healthy.code, 0, healthy.stdout);
      assertGolden(`status-${count}`, healthy.stdout);
      assertNarrow(healthy.stdout);
      // One is away, the node port of another changed, and a third lost a peer.
      await clusters[4]?.api.stop();
      const service = clusters[6]?.api.store.read("Service", "kube-system", "clustermesh-apiserver");
      assert.ok(service?.spec);
      service.spec.ports[0].nodePort = 32_000;
      clusters[6]?.api.store.put(service);
      const removed = await go("disconnect", "cluster9", "--from", "cluster12", "--yes");
      assert.equal(removed.code, 0, removed.stderr);
      const unhealthy = await go("status", "--all-contexts");
      assert.equal(unhealthy.code, 1, unhealthy.stdout);
      const port = new URL(clusters[4]?.api.url ?? "").port;
      assertGolden(`status-${count}-unhealthy`, unhealthy.stdout.replace(`:${port} `, ":PORT "));
      assertNarrow(unhealthy.stdout.replace(/^ {2}\S.*$/gm, ""));
      if (count === 30) assert.ok(healthy.stdout.trimEnd().split("\n").length <= 40, "fits on a screen");
    });
  }

  test("a bad file, imported into a cluster with twenty peers that a chart wrote", async (t) => {
    const dir = await mkdtemp(join(tmpdir(), "golden-"));
    t.after(() => rm(dir, { recursive: true, force: true }));
    const sandbox = await start(t, 2);
    const [target] = sandbox.clusters;
    const path = join(dir, "cluster2.json");
    const { kubeconfig } = sandbox;
    assert.equal((await run("extract-secret", ["cluster2", "--output-file", path], { kubeconfig })).code, 0);
    const good: V1Secret = JSON.parse(await readFile(path, "utf8"));
    const data = { ...good.data };
    for (let i = 0; i < 20; i++) {
      const name = `peer${String(i).padStart(3, "0")}`;
      const config = Buffer.from(good.data?.cluster2 ?? "", "base64")
        .toString()
        .replaceAll("cluster2", name);
      data[name] = Buffer.from(config).toString("base64");
      for (const file of [".key", ".crt", "-ca.crt"]) data[`${name}${file}`] = good.data?.[`cluster2${file}`] ?? "";
    }
    for (const key of Object.keys(data)) if (key.startsWith("cluster2")) delete data[key];
    const metadata = { name: "cilium-clustermesh", namespace: "kube-system" };
    target?.api.store.put({ apiVersion: "v1", kind: "Secret", metadata, type: "Opaque", data });
    await writeFile(path, JSON.stringify({ ...good, data: { ...good.data, "cluster2-ca.crt": "" } }));
    const { code, stderr } = await run("import-secrets", ["--context", "cluster1", "cluster2.json"], {
      kubeconfig,
      cwd: dir,
      env: { COLUMNS },
    });
    assert.equal(code, 2);
    assertGolden("import-bad-file", stderr);
  });
});
