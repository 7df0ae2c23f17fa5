import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { parse } from "yaml";
import { clusterPki } from "../../lib/sandbox/chart.ts";
import { defaultClusters, type Sandbox, servingClusters, startSandbox } from "../../lib/sandbox/sandbox.ts";

interface Kubeconfig {
  "current-context": string;
  clusters: { name: string; cluster: { server: string; "certificate-authority-data": string } }[];
  users: { name: string; user: { token: string } }[];
  contexts: { name: string; context: { cluster: string; user: string } }[];
}

/** Gets an object from the cluster of a context, by the kubeconfig alone. */
function get(
  sandbox: Sandbox,
  context: string,
  path: string,
): Promise<{ status: number; body: { status?: { phase: string } } }> {
  const kubeconfig: Kubeconfig = parse(readFileSync(sandbox.kubeconfig, "utf8"));
  const { cluster, user } = kubeconfig.contexts.find(({ name }) => name === context)?.context ?? {
    cluster: "",
    user: "",
  };
  const target = kubeconfig.clusters.find(({ name }) => name === cluster)?.cluster;
  const token = kubeconfig.users.find(({ name }) => name === user)?.user.token;
  assert.ok(target);
  const ca = Buffer.from(target["certificate-authority-data"], "base64").toString();
  return new Promise((resolve, reject) => {
    const options = { ca, headers: { authorization: `Bearer ${token}` } };
    request(new URL(path, target.server), options, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("end", () =>
        resolve({ status: response.statusCode ?? 0, body: JSON.parse(Buffer.concat(chunks).toString()) }),
      );
    })
      .on("error", reject)
      .end();
  });
}

test("three clusters share a kubeconfig with mode 0600", async (t) => {
  const started = performance.now();
  const sandbox = await startSandbox();
  t.after(() => sandbox.stop());
  t.diagnostic(`started in ${Math.round(performance.now() - started)} ms`);
  assert.equal(statSync(sandbox.kubeconfig).mode & 0o777, 0o600);
  assert.equal(statSync(sandbox.dir).mode & 0o777, 0o700);
  const kubeconfig: Kubeconfig = parse(readFileSync(sandbox.kubeconfig, "utf8"));
  assert.equal(kubeconfig["current-context"], "cluster1");
  assert.deepEqual(
    kubeconfig.contexts.map(({ name }) => name),
    ["cluster1", "cluster2", "cluster3"],
  );
  for (const [context, phase] of [
    ["cluster1", "Running"],
    ["cluster2", "Running"],
    ["cluster3", "Pending"],
  ] as const) {
    const deployment = await get(
      sandbox,
      context,
      "/apis/apps/v1/namespaces/kube-system/deployments/clustermesh-apiserver",
    );
    assert.equal(deployment.status, 200);
    const { api } = sandbox.clusters.find(({ description }) => description.name === context) ?? assert.fail();
    assert.deepEqual(
      api.store.all("Pod").map(({ status }) => status.phase),
      [phase],
    );
  }
  const ports = sandbox.clusters
    .map(({ description }) => description.service || undefined)
    .map((service) => service?.nodePort);
  assert.equal(new Set(ports).size, 3);
  assert.equal(new Set(sandbox.clusters.map(({ pki }) => pki.ca.cert)).size, 3);
  await sandbox.stop();
  assert.equal(existsSync(sandbox.dir), false);
});

test("custom clusters with a shared CA, users and an existing folder", async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "sandbox-test-"));
  t.after(() => rmSync(dir, { recursive: true }));
  const [first, second] = defaultClusters().map(({ description }) => description);
  assert.ok(first && second);
  const pki = clusterPki(first, { key: "ec" });
  const sandbox = await startSandbox({
    clusters: [
      { description: first, pki, users: [{ name: "nobody", token: "t", allow: [] }] },
      { description: second, pki: { ca: pki.ca } },
    ],
    dir,
  });
  t.after(() => sandbox.stop());
  assert.equal((await get(sandbox, "cluster1", "/api/v1/nodes")).status, 403);
  assert.equal((await get(sandbox, "cluster2", "/api/v1/nodes")).status, 200);
  assert.equal(sandbox.clusters[1]?.pki.ca.cert, pki.ca.cert);
  await sandbox.stop();
  assert.equal(existsSync(dir), true);
  assert.equal(existsSync(sandbox.kubeconfig), false);
});

test("started clusters are stopped if another one fails to start", async () => {
  const [first] = defaultClusters("ec");
  assert.ok(first);
  const broken = {
    ...first,
    description: { ...first.description, service: { annotations: { a: (() => {}) as unknown as string } } },
  };
  await assert.rejects(startSandbox({ clusters: [first, broken] }), { name: "DataCloneError" });
});

test("concurrent sandboxes use different node ports", async (t) => {
  const one = await startSandbox({ clusters: await servingClusters({ key: "ec" }) });
  t.after(() => one.stop());
  const second = await startSandbox({ clusters: await servingClusters({ key: "ec" }) });
  t.after(() => second.stop());
  for (const [i, { api, nodePorts }] of second.clusters.entries()) {
    assert.notEqual(nodePorts?.port, one.clusters[i]?.nodePorts?.port);
    const service = api.store.read("Service", "kube-system", "clustermesh-apiserver");
    assert.equal(service?.spec.ports[0].nodePort, nodePorts?.port);
  }
});
