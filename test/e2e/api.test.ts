/** The built programs with a real API server: permissions, conflicts, preserved and removed fields. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";
import type { V1ConfigMap, V1Secret } from "@kubernetes/client-node";
import { parse } from "yaml";
import { clusterObjects, clusterPki } from "../../lib/sandbox/chart.ts";
import type { ClusterDescription } from "../../lib/sandbox/description.ts";
import { run } from "../support/programs.ts";
import { type ApiServer, type ApiServers, startApiServers, waitFor, withoutRealServers } from "../support/real.ts";

const NAMES = ["cluster1", "cluster2", "cluster3", "cluster4"];
const SECRETS = "/api/v1/namespaces/kube-system/secrets";
const CONFIG_MAPS = "/api/v1/namespaces/kube-system/configmaps";
const LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration";

describe("the programs on real API servers", { skip: withoutRealServers() }, () => {
  let servers: ApiServers;
  let dir: string;
  const file = (name: string) => join(dir, `${name}.json`);
  const imports = (...args: string[]) => run("import-secrets", args, { kubeconfig: servers.kubeconfig });
  const read = (api: ApiServer, name: string): Promise<V1Secret> => api.ask("GET", `${SECRETS}/${name}`);

  before(async () => {
    servers = await startApiServers(NAMES, { users: [{ name: "narrow" }] });
    dir = await mkdtemp(join(tmpdir(), "real-api-"));
    for (const [i, name] of NAMES.entries()) {
      const description: ClusterDescription = {
        name,
        id: i + 1,
        version: name === "cluster2" ? "1.18.5" : "1.20.2",
        nodes: [{ name: `${name}-node`, internalIPs: [`172.18.${i}.2`] }],
      };
      await servers.get(name).create(clusterObjects(description, clusterPki(description, { key: "ec" })));
      const args = ["--context", name, "--output-file", file(name)];
      const { code, stderr } = await run("extract-secret", args, { kubeconfig: servers.kubeconfig });
      assert.equal(code, 0, stderr);
    }
  });
  after(async () => {
    await servers?.stop();
    if (dir) await rm(dir, { recursive: true, force: true });
  });

  test("a second import writes nothing: no resourceVersion changes", async () => {
    const api = servers.get("cluster2");
    const state = async () =>
      Promise.all(
        [`${SECRETS}/cilium-kvstoremesh`, `${SECRETS}/cilium-clustermesh`].map(
          async (path) => (await api.ask("GET", path)).metadata.resourceVersion,
        ),
      );
    const first = await imports("--context", "cluster2", file("cluster1"), file("cluster3"));
    assert.equal(first.code, 0, first.stderr);
    assert.match(first.stderr, /will restart deployment\/clustermesh-apiserver in /);
    const before = await state();
    const second = await imports("--context", "cluster2", file("cluster1"), file("cluster3"));
    assert.equal(second.code, 0, second.stderr);
    assert.doesNotMatch(second.stderr, /patched/);
    assert.deepEqual(await state(), before);
  });

  test("our writes are recorded under our field manager", async () => {
    const { metadata } = await read(servers.get("cluster2"), "cilium-kvstoremesh");
    assert.deepEqual([...new Set(metadata?.managedFields?.map(({ manager }) => manager))], ["clustermesh-secrets"]);
  });

  test("foreign keys and other peers are unchanged, and the annotation of kubectl apply is removed", async () => {
    const api = servers.get("cluster3");
    const data = { foreign: Buffer.from([0, 255, 1]).toString("base64"), other: Buffer.from("x").toString("base64") };
    const annotations = { [LAST_APPLIED]: JSON.stringify({ data: "with keys" }), mine: "kept" };
    await api.ask("POST", SECRETS, {
      apiVersion: "v1",
      kind: "Secret",
      metadata: { name: "cilium-kvstoremesh", annotations },
      data,
    });
    const { code, stderr } = await imports("--context", "cluster3", file("cluster1"));
    assert.equal(code, 0, stderr);
    assert.match(
      stderr,
      /removed kubectl's last-applied annotation, which contains private keys, from secret\/cilium-kvstoremesh/,
    );
    const secret = await read(api, "cilium-kvstoremesh");
    assert.equal(secret.data?.foreign, data.foreign);
    assert.equal(secret.data?.other, data.other);
    assert.equal(secret.metadata?.annotations?.[LAST_APPLIED], undefined);
    assert.equal(secret.metadata?.annotations?.mine, "kept");
    assert.ok(secret.data?.cluster1);
  });

  test("imports at the same time into one target: all peers and all users are there", async () => {
    const files = ["cluster1", "cluster2", "cluster3"];
    const ended = await Promise.all(files.map((name) => imports("--context", "cluster4", file(name))));
    for (const { code, stderr } of ended) assert.equal(code, 0, stderr);
    const api = servers.get("cluster4");
    for (const name of ["cilium-kvstoremesh", "cilium-clustermesh"]) {
      const { data } = await read(api, name);
      for (const peer of files) assert.ok(data?.[peer], `${peer} in ${name}`);
    }
    const users: V1ConfigMap = await api.ask("GET", `${CONFIG_MAPS}/clustermesh-remote-users`);
    const names = (parse(users.data?.["users.yaml"] ?? "") as { users: { name: string }[] }).users.map(
      ({ name }) => name,
    );
    assert.deepEqual(names.sort(), ["remote-cluster1", "remote-cluster2", "remote-cluster3"]);
  });

  test("what kubectl prints of a cluster is a file too", async (t) => {
    const kubectl = promisify(execFile);
    const args = ["--context", "cluster2", "-n", "kube-system", "get", "secret", "cilium-kvstoremesh", "-o", "yaml"];
    const env = { ...process.env, KUBECONFIG: servers.kubeconfig };
    const { stdout } = await kubectl("kubectl", args, { env }).catch(() => ({ stdout: "" }));
    if (stdout === "") return t.skip("there is no kubectl here");
    const options = { kubeconfig: servers.kubeconfig, stdin: stdout };
    const { code, stderr } = await run("import-secrets", ["--context", "cluster4", "-"], options);
    assert.equal(code, 0, stderr);
    assert.match(stderr, /unchanged cluster1 and cluster3/);
  });

  test("extraction succeeds with the minimal permissions, and names each missing one", async () => {
    const api = servers.get("cluster1");
    const kubeconfig = servers.kubeconfigFor("narrow");
    const core = (resources: string[], verbs: string[], resourceNames?: string[]) => ({
      apiGroups: [""],
      resources,
      verbs,
      ...(resourceNames && { resourceNames }),
    });
    const workloads = (resource: string, resourceNames: string[]) => ({
      apiGroups: ["apps"],
      resources: [resource],
      verbs: ["get"],
      resourceNames,
    });
    await api.allow(
      "narrow",
      [
        core(["configmaps"], ["get"], ["cilium-config", "clustermesh-remote-users"]),
        core(["services"], ["get"], ["clustermesh-apiserver"]),
        core(["pods"], ["list"]),
        workloads("deployments", ["clustermesh-apiserver", "cilium-operator"]),
        workloads("daemonsets", ["cilium"]),
      ],
      "kube-system",
    );
    await api.allow("narrow", [core(["nodes"], ["list"])]);
    const extract = () => run("extract-secret", ["--context", "cluster1"], { kubeconfig });
    const refused = await waitFor("the rights", async () => {
      const ended = await extract();
      return /remote-cert/.test(ended.stderr) && ended;
    });
    assert.equal(refused.code, 1);
    assert.match(
      refused.stderr,
      /not allowed to get secret\/clustermesh-apiserver-remote-cert in namespace kube-system/,
    );
    assert.match(refused.stderr, /kubectl auth can-i get secrets\/clustermesh-apiserver-remote-cert -n kube-system/);
    assert.equal(refused.stdout, "");

    await api.allow("narrow", [core(["secrets"], ["get"], ["clustermesh-apiserver-remote-cert"])], "kube-system");
    const { stdout, stderr } = await waitFor("the right to the Secret", async () => {
      const ended = await extract();
      return ended.code === 0 && ended;
    });
    assert.match(stderr, /cannot list across namespaces; assuming kube-system \(override with --namespace\)/);
    assert.match(stderr, /cannot read secret\/clustermesh-apiserver-server-cert: forbidden/);
    const { data } = JSON.parse(stdout) as V1Secret;
    assert.match(Buffer.from(data?.cluster1 ?? "", "base64").toString(), /https:\/\/cluster1\.mesh\.cilium\.io:32379/);
  });

  test("an error in one file stops the import into every target", async () => {
    const state = async () =>
      Promise.all(NAMES.map(async (name) => (await servers.get(name).ask("GET", SECRETS)).metadata.resourceVersion));
    const before = await state();
    const contexts = NAMES.flatMap((name) => ["--context", name]);
    const { code, stderr } = await imports(...contexts, file("cluster1"), join(dir, "missing.json"));
    assert.equal(code, 2, stderr);
    for (const name of NAMES) {
      const list = await servers.get(name).ask("GET", SECRETS);
      const managed = (list.items as V1Secret[]).filter(({ metadata }) => metadata?.name?.startsWith("cilium-"));
      for (const { metadata } of managed) {
        assert.ok(
          Number(metadata?.resourceVersion) <= Number(before[NAMES.indexOf(name)]),
          `${name} ${metadata?.name}`,
        );
      }
    }
  });
});
