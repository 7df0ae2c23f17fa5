/** The sandbox's API with kubectl, if it is installed. */
import assert from "node:assert/strict";
import { execFile, spawnSync } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { stringify } from "yaml";
import { defaultClusters, type Sandbox, startSandbox } from "../../lib/sandbox/sandbox.ts";

const missing = spawnSync("kubectl", ["version", "--client"]).status !== 0 && "kubectl not found";

describe("the sandbox with kubectl", { skip: missing }, () => {
  let sandbox: Sandbox;
  before(async () => {
    sandbox = await startSandbox({ clusters: defaultClusters().slice(0, 1) });
  });
  after(() => sandbox?.stop());

  const kubectl = (...args: string[]) =>
    new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
      const env = { PATH: process.env.PATH, HOME: sandbox.dir, KUBECONFIG: sandbox.kubeconfig };
      execFile("kubectl", args, { env }, (error, stdout, stderr) =>
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

  test("auth can-i reports permissions", async () => {
    assert.equal(await done("auth", "can-i", "get", "secrets", "--namespace=kube-system"), "yes\n");
    const { code, stdout } = await kubectl("auth", "can-i", "get", "secrets", "--as=nobody");
    assert.deepEqual([code, stdout], [1, "no\n"]);
  });
});
