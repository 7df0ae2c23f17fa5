/** The sandbox's API with kubectl, if it is installed. */
import assert from "node:assert/strict";
import { execFile, spawnSync } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { stringify } from "yaml";
import { defaultClusters, type Sandbox, startSandbox } from "../../lib/sandbox/sandbox.ts";

const missing = spawnSync("kubectl", ["version", "--client"]).status !== 0 && "kubectl not found";

describe("the sandbox with kubectl", { skip: missing }, () => {
  let sandbox: Sandbox;
  before(async () => {
    sandbox = await startSandbox({ clusters: defaultClusters().slice(0, 1) });
  });
  after(() => sandbox?.stop());

  const environment = () => ({ PATH: process.env.PATH, HOME: sandbox.dir, KUBECONFIG: sandbox.kubeconfig });
  const kubectl = (...args: string[]) =>
    new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
      execFile("kubectl", args, { env: environment() }, (error, stdout, stderr) =>
        resolve({ code: Number(error?.code ?? 0), stdout, stderr }),
      );
    });
  const done = async (...args: string[]) => {
    const { code, stdout, stderr } = await kubectl(...args);
    assert.deepEqual([code, stderr], [0, ""], args.join(" "));
    return stdout;
  };
  const read = (kind: string, name: string) => sandbox.clusters[0]?.api.store.read(kind, "default", name);
  const map = (data: Record<string, string>) => ({
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name: "applied", namespace: "default" },
    data,
  });

  test("apply, create -f, diff and delete -f", async () => {
    const file = join(sandbox.dir, "applied.yaml");
    await writeFile(file, stringify(map({ a: "1", b: "2" })));
    assert.equal(await done("apply", "-f", file), "configmap/applied created\n");
    assert.equal(await done("apply", "-f", file), "configmap/applied unchanged\n");
    await writeFile(file, stringify(map({ a: "3" })));
    const diff = await kubectl("diff", "-f", file);
    assert.equal(diff.code, 1, diff.stderr);
    assert.match(diff.stdout, /^- {2}b: "2"$/m);
    assert.equal(await done("apply", "-f", file), "configmap/applied configured\n");
    assert.deepEqual(read("ConfigMap", "applied")?.data, { a: "3" });
    assert.equal(await done("delete", "-f", file), 'configmap "applied" deleted\n');
    assert.equal(await done("create", "-f", file), "configmap/applied created\n");
  });

  test("apply refuses unknown fields", async () => {
    const file = join(sandbox.dir, "wrong.yaml");
    await writeFile(file, stringify({ ...map({}), metadata: { name: "wrong", namespace: "default" }, dataa: {} }));
    const { code, stderr } = await kubectl("apply", "-f", file);
    assert.equal(code, 1);
    assert.match(stderr, /strict decoding error: unknown field "dataa"/);
    assert.equal(read("ConfigMap", "wrong"), undefined);
  });

  test("create configmap, secret and namespace", async () => {
    await done("create", "configmap", "made", "--namespace=default", "--from-literal=a=b", "--from-literal=empty=");
    assert.deepEqual(read("ConfigMap", "made")?.data, { a: "b", empty: "" });
    await done("create", "secret", "generic", "made", "--namespace=default", "--from-literal=a=b");
    assert.deepEqual([read("Secret", "made")?.data, read("Secret", "made")?.type], [{ a: "Yg==" }, "Opaque"]);
    assert.equal(await done("create", "namespace", "made"), "namespace/made created\n");
  });

  test("get -w prints changes, and wait sees them", async (t) => {
    const api = sandbox.clusters[0]?.api;
    assert.ok(api);
    const watched = (a: string) => ({ ...map({ a }), metadata: { name: "watched", namespace: "default" } });
    const isWatched = (text: string) =>
      api.requests.some(({ path }) => path.includes("watch=true") && path.includes(text));
    const until = async (condition: () => boolean) => {
      while (!condition()) await sleep(20);
    };
    api.store.put(watched("1"));
    const command = ["get", "configmap", "watched", "--namespace=default", "--watch", "--output=jsonpath={.data.a} "];
    const child = execFile("kubectl", command, { env: environment() });
    t.after(() => child.kill());
    let printed = "";
    child.stdout?.on("data", (text: string) => {
      printed += text;
    });
    await until(() => isWatched("metadata.name%3Dwatched"));
    for (const a of ["2", "3"]) api.store.put(watched(a));
    await until(() => printed === "1 2 3 ");
    const waiting = done("wait", "configmap/watched", "--namespace=default", "--for=jsonpath={.data.a}=4");
    const { listeners } = api.store.history;
    await until(() => api.store.history.listeners > listeners);
    api.store.put(watched("4"));
    assert.equal(await waiting, "configmap/watched condition met\n");
  });

  test("auth can-i reports permissions", async () => {
    assert.equal(await done("auth", "can-i", "get", "secrets", "--namespace=kube-system"), "yes\n");
    const { code, stdout } = await kubectl("auth", "can-i", "get", "secrets", "--as=nobody");
    assert.deepEqual([code, stdout], [1, "no\n"]);
  });
});
