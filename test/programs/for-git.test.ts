/** Manifests for Git, including those of a target whose Secrets Argo CD owns. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";
import { parseAllDocuments } from "yaml";
import { defaultClusters, type Sandbox, startSandbox } from "../../lib/sandbox/sandbox.ts";
import { node, programPath, run } from "../support/programs.ts";

describe("a target whose Secret is owned by Argo CD", () => {
  let sandbox: Sandbox;
  let dir: string;
  const imports = (...args: string[]) =>
    run("import-secrets", ["--context", "cluster3", ...args], { kubeconfig: sandbox.kubeconfig, cwd: dir });
  const writes = () => sandbox.clusters.flatMap(({ api }) => api.requests.filter(({ method }) => method !== "GET"));

  before(async () => {
    sandbox = await startSandbox({ clusters: defaultClusters() });
    dir = await mkdtemp(join(tmpdir(), "for-git-"));
    const args = ["--context", "cluster2", "--output-file", join(dir, "cluster2.json")];
    assert.equal((await run("extract-secret", args, { kubeconfig: sandbox.kubeconfig })).code, 0);
    sandbox.clusters[2]?.api.store.put({
      apiVersion: "v1",
      kind: "Secret",
      metadata: {
        name: "cilium-clustermesh",
        namespace: "kube-system",
        labels: { "argocd.argoproj.io/instance": "mesh" },
      },
      type: "Opaque",
      data: {},
    });
  });
  after(async () => {
    await sandbox?.stop();
    if (dir) await rm(dir, { recursive: true, force: true });
  });

  const warning =
    /^warning: .*secret\/cilium-clustermesh belongs to Argo CD application mesh, so an import without --take-ownership would be refused \[owner-resets\]$/m;

  test("an import is refused; previews warn, with the exit code of an unowned target", async () => {
    const refused = await imports("cluster2.json");
    assert.equal(refused.code, 2);
    assert.match(
      refused.stderr,
      /belongs to Argo CD application mesh, which would revert the changes \[owned-by-other\]$/m,
    );
    for (const [code, ...args] of [
      [0, "--dry-run=client"],
      [0, "--dry-run=server"],
      [0, "--dry-run=client", "-o", "yaml"],
      [1, "--diff"],
    ] as const) {
      const previewed = await imports(...args, "cluster2.json");
      assert.equal(previewed.code, code, previewed.stderr);
      assert.match(previewed.stderr, warning, args.join(" "));
    }
    const connected = await run("clustermesh-secrets", ["connect", "cluster2", "cluster3", "--dry-run=client"], {
      kubeconfig: sandbox.kubeconfig,
    });
    assert.equal(connected.code, 0, connected.stderr);
    assert.match(connected.stderr, warning);
    assert.ok(writes().every(({ path }) => path.includes("dryRun=All") || path.includes("selfsubjectaccessreviews")));
  });

  test("manifests contain no fields set by the API server", async () => {
    const { stdout } = await imports("--dry-run=client", "-o", "yaml", "cluster2.json");
    const documents = parseAllDocuments(stdout).map((document) => document.toJS());
    assert.ok(documents.length >= 2);
    for (const { kind, metadata } of documents) {
      for (const field of ["uid", "resourceVersion", "creationTimestamp", "managedFields", "generation"]) {
        assert.ok(!(field in metadata), `${kind} ${metadata.name}: ${field}`);
      }
    }
  });

  const printTo = async (mask: string, ...args: string[]) => {
    const words = ["--context", "cluster3", "--dry-run=client", "-o", "yaml", ...args].join(" ");
    const script = `umask ${mask}; "${node}" "${programPath("import-secrets")}" ${words} cluster2.json > out.yaml`;
    const { stderr } = await promisify(execFile)("bash", ["-c", script], {
      cwd: dir,
      env: { ...process.env, KUBECONFIG: sandbox.kubeconfig },
    });
    const hasKey = parseAllDocuments(await readFile(join(dir, "out.yaml"), "utf8")).some((document) =>
      Object.values<string>(document.toJS().data ?? {}).some((text) =>
        Buffer.from(text, "base64").includes("PRIVATE KEY-----"),
      ),
    );
    await rm(join(dir, "out.yaml"));
    return { stderr, hasKey };
  };

  test("private keys in a file readable by others cause a warning", async () => {
    const open = await printTo("022");
    assert.equal(open.hasKey, true);
    assert.match(open.stderr, /^warning: private key written to a file readable by others; run umask 077/m);
    const own = await printTo("077");
    assert.equal(own.hasKey, true);
    assert.doesNotMatch(own.stderr, /private key/);
    const piped = await imports("--dry-run=client", "-o", "yaml", "cluster2.json");
    assert.doesNotMatch(piped.stderr, /private key/);
  });
});
