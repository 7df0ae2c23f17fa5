/** `render`: files for Git, from files alone and from a cluster. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cp, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";
import { parse, parseAllDocuments } from "yaml";
import type { KubernetesObject } from "../../lib/sandbox/object.ts";
import { makeCa } from "../../lib/sandbox/pki.ts";
import { type Sandbox, type SandboxCluster, startSandbox } from "../../lib/sandbox/sandbox.ts";
import { run } from "../support/programs.ts";
import { runOnTerminal, withoutTerminals } from "../support/terminal.ts";

const NAMESPACE = "kube-system";
const FORMS = ["manifests", "helm-values"];

/** Clusters with one CA, except for c5. */
function clusters(): SandboxCluster[] {
  const ca = makeCa({ cn: "Mesh CA", key: "ec" });
  const versions = ["1.14.12", "1.16.3", "1.18.5", "1.20.2", "1.20.2"];
  return versions.map((version, i) => {
    const id = i + 1;
    const description = {
      name: `c${id}`,
      id,
      version,
      nodes: [{ name: `n${id}`, internalIPs: [`172.18.${id}.2`] }],
      clusterPoolCidrs: [`10.${id}.0.0/16`],
      service: { nodePort: 32_000 + id },
      authMode: "migration" as const,
    };
    return { description, pki: { key: "ec", ...(id < 5 && { ca }) } };
  });
}

describe("render", () => {
  let sandbox: Sandbox;
  let dir: string;
  const names = ["c1", "c2", "c3", "c4"];
  const files = names.map((name) => `${name}.json`);
  const render = (...args: string[]) =>
    run("clustermesh-secrets", ["render", ...args], { kubeconfig: sandbox.kubeconfig, cwd: dir });
  const offline = (...args: string[]) => run("clustermesh-secrets", ["render", ...args], { cwd: dir });
  const apiOf = (name: string) => {
    const cluster = sandbox.clusters.find(({ description }) => description.name === name);
    assert.ok(cluster);
    return cluster.api;
  };
  const writes = () =>
    sandbox.clusters.flatMap(({ api }) => api.requests).filter(({ method }) => method !== "GET").length;
  /** Writes what exists of a cluster, as kubectl prints it. */
  const printExisting = async (name: string): Promise<string> => {
    const kinds = {
      Secret: ["cilium-clustermesh", "cilium-kvstoremesh"],
      ConfigMap: ["clustermesh-remote-users"],
      DaemonSet: ["cilium"],
      Deployment: ["clustermesh-apiserver", "cilium-operator"],
    };
    const items = Object.entries(kinds).flatMap(([kind, all]) =>
      all.map((one) => apiOf(name).store.read(kind, NAMESPACE, one)).filter((object) => object !== undefined),
    );
    await writeFile(join(dir, `existing-${name}.json`), JSON.stringify({ apiVersion: "v1", kind: "List", items }));
    return `existing-${name}.json`;
  };

  before(async () => {
    sandbox = await startSandbox({ clusters: clusters() });
    dir = await mkdtemp(join(tmpdir(), "render-"));
    for (const name of [...names, "c5"]) {
      const args = ["--context", name, "--output-file", join(dir, `${name}.json`)];
      const { code, stderr } = await run("extract-secret", args, { kubeconfig: sandbox.kubeconfig });
      assert.equal(code, 0, stderr);
    }
    const keyless = await run("extract-secret", ["--context", "c4", "--keyless"], { kubeconfig: sandbox.kubeconfig });
    await writeFile(join(dir, "c4-keyless.json"), keyless.stdout);
  });
  after(async () => {
    await sandbox?.stop();
    if (dir) await rm(dir, { recursive: true, force: true });
  });

  test("the same bytes from files alone and from the cluster, against nothing and against what exists", async () => {
    const before = writes();
    for (const name of names) {
      for (const form of FORMS) {
        const whole = await offline("--target", `${name}.json`, "--whole", "-o", form, ...files);
        assert.equal(whole.code, 0, whole.stderr);
        assert.equal((await render("--context", name, "--whole", "-o", form, ...files)).stdout, whole.stdout);
        assert.equal((await offline("--target", `${name}.json`, "--whole", "-o", form, ...files)).stdout, whole.stdout);
        const target = ["--target", `${name}.json`, "--existing", await printExisting(name)];
        const merged = await offline(...target, "-o", form, ...files);
        assert.equal(merged.code, 0, merged.stderr);
        assert.equal((await render("--context", name, "-o", form, ...files)).stdout, merged.stdout);
        assert.doesNotMatch(merged.stdout, /resourceVersion|uid:|managedFields|Timestamp/);
      }
    }
    const [withKey, without] = await Promise.all(
      ["c4.json", "c4-keyless.json"].map((file) => offline("--target", file, "--whole", ...files)),
    );
    assert.equal(withKey?.stdout, without?.stdout);
    assert.equal(writes(), before, "nothing is written");
  });

  test("an import writes what was rendered against the existing objects", async () => {
    const rendered = await render("--context", "c4", ...files);
    const flags = ["--context", "c4", ...files];
    const { code, stderr } = await run("import-secrets", flags, { kubeconfig: sandbox.kubeconfig, cwd: dir });
    assert.equal(code, 0, stderr);
    for (const document of parseAllDocuments(rendered.stdout)) {
      const { kind, metadata, data } = document.toJS() as KubernetesObject;
      const stored = apiOf("c4").store.read(kind, NAMESPACE, metadata.name);
      assert.deepEqual(stored?.data, data, metadata.name);
      assert.deepEqual(stored?.metadata.annotations, metadata.annotations, metadata.name);
    }
    assert.equal((await render("--context", "c4", ...files)).stdout, rendered.stdout);
    const existing = ["--target", "c4.json", "--existing", await printExisting("c4")];
    assert.equal((await offline(...existing, ...files)).stdout, rendered.stdout);
  });

  test("what exists is unknown: refused without --whole, with --whole a warning", async () => {
    const refused = await offline("--target", "c4.json", "c2.json");
    assert.deepEqual([refused.code, refused.stdout], [2, ""]);
    assert.match(
      refused.stderr,
      /^error: the existing objects of the target are unknown\n {2}.*: kubectl --context CONTEXT get .*\n.*--whole\n$/,
    );
    const whole = await offline("--target", "c4.json", "--whole", "c2.json");
    assert.equal(whole.code, 0, whole.stderr);
    assert.match(whole.stderr, /^warning: c4: .* are removed \[whole-objects\]$/m);
    for (const content of ["", '{"kind":"List","items":[]}', '{"kind":"Service","metadata":{"name":"a"}}']) {
      await writeFile(join(dir, "none.json"), content);
      const none = await offline("--target", "c4.json", "--existing", "none.json", "c2.json");
      assert.deepEqual([none.code, none.stdout], [2, ""], content);
      assert.match(none.stderr, /^error: none\.json contains no object of the target in namespace kube-system\n/);
    }
  });

  test("private keys are refused unless included, and then only their files are private", async () => {
    for (const form of [...FORMS, "kustomize"]) {
      const out = join(dir, `out-${form}`);
      const args = ["--target", "c4.json", "--whole", "-o", form, "--output-dir", out, "c2.json", "c5.json"];
      const refused = await offline(...args);
      assert.equal(refused.code, 2);
      assert.match(refused.stderr, /^error: \S+\.yaml would contain private keys\n[\s\S]*--include-private-keys/);
      await assert.rejects(stat(out), "nothing is written");
      const { code, stderr, stdout } = await offline(...args, "--include-private-keys");
      assert.deepEqual([code, stdout], [0, ""], stderr);
      for (const path of await readdir(out)) {
        const { mode } = await stat(join(out, path));
        const text = await readFile(join(out, path), "utf8");
        const isPrivate = text.includes("LS0tLS1CRUdJTiBFQyBQUklWQVRF") || text.includes("LS0tLS1CRUdJTiBQUklWQVRF");
        assert.equal((mode & 0o077) === 0, isPrivate, path);
      }
    }
  });

  test("the refusal of private keys names what makes each one unnecessary", async () => {
    const refusal = async (...args: string[]) => (await offline("--target", "c4.json", ...args)).stderr;
    const include = /\n {2}or pass --include-private-keys, .*\n$/;
    const byMode = await refusal("--whole", "--tls=peer", "c2.json", "c3.json");
    assert.match(byMode, /\n {2}c2 and c3: no key is needed with --tls=auto\n/);
    assert.match(byMode, include);
    const byCa = await refusal("--whole", "c2.json", "c5.json");
    assert.match(byCa, /\n {2}c5 is reached by the key in its file: the CA of c5 differs from the CA of the target\n/);
    assert.doesNotMatch(byCa, /c2:|--tls/);
    const keys = await offline("--target", "c4.json", "--whole", "--include-private-keys", "c5.json");
    await writeFile(join(dir, "with-keys.yaml"), keys.stdout);
    assert.match(await refusal("--existing", "with-keys.yaml", "c2.json"), /\n {2}existing objects contain the keys: /);
  });

  test("private keys are not printed to a terminal", { skip: withoutTerminals() }, async () => {
    const args = ["render", "--target", "c4.json", "--whole", "c2.json", "c5.json", "--include-private-keys"];
    const { code, output } = await runOnTerminal("clustermesh-secrets", args, { cwd: dir });
    assert.equal(code, 2);
    assert.match(output, /: refusing to print private keys to a terminal\n {2}pass --output-dir DIR/);
    assert.doesNotMatch(output, /apiVersion/);
  });

  test("a folder is the same when it is rendered again; kustomize builds it", async (t) => {
    for (const form of [...FORMS, "kustomize"]) {
      const out = join(dir, `again-${form}`);
      const args = ["--target", "c2.json", "--whole", "-o", form, "--output-dir", out, ...files];
      const first = await offline(...args);
      assert.equal(first.code, 0, first.stderr);
      await cp(out, `${out}-copy`, { recursive: true });
      assert.equal((await offline(...args)).code, 0);
      const { stdout } = await promisify(execFile)("diff", ["-r", out, `${out}-copy`]);
      assert.equal(stdout, "");
    }
    const kustomize = promisify(execFile)("kubectl", ["kustomize", join(dir, "again-kustomize")]);
    const built = await kustomize.catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOENT") throw error;
      return undefined;
    });
    if (!built) return t.skip("kubectl is not installed");
    const objects = parseAllDocuments(built.stdout).map((document) => document.toJS().metadata.name);
    assert.deepEqual(objects.sort(), ["cilium-clustermesh", "cilium-kvstoremesh", "clustermesh-remote-users"]);
  });

  test("files of an earlier rendering are removed and named, other files stay", async () => {
    const out = join(dir, "stale");
    const args = ["--target", "c3.json", "--whole", "--output-dir", out, "-o"];
    const first = await offline(...args, "kustomize", "c2.json");
    assert.equal(first.code, 0, first.stderr);
    assert.doesNotMatch(first.stderr, /^removed/m);
    assert.ok((await readdir(out)).includes("host-aliases"));
    const foreign = "kind: SealedSecret\nmetadata:\n  name: cilium-kvstoremesh\n";
    await writeFile(join(out, "cilium-kvstoremesh.yaml"), foreign);
    await writeFile(join(out, "other.yaml"), "a: b\n");
    const second = await offline(...args, "helm-values", "c2.json");
    assert.equal(second.code, 0, second.stderr);
    assert.deepEqual(await readdir(out), ["cilium-kvstoremesh.yaml", "other.yaml", "values.yaml"]);
    assert.match(second.stderr, /^removed cilium-clustermesh\.yaml, .*host-aliases\/kustomization\.yaml.* from /m);
    const refused = await offline(...args, "kustomize", "c2.json", "c5.json");
    assert.equal(refused.code, 2);
    assert.ok((await readdir(out)).includes("values.yaml"), "nothing is removed if nothing is rendered");
  });

  test("-o name prints the objects and the workloads to patch, which contains no key", async () => {
    const { code, stdout, stderr } = await offline("--target", "c1.json", "--whole", "-o", "name", ...files, "c5.json");
    assert.equal(code, 0, stderr);
    const names = ["secret/cilium-clustermesh", "configmap/clustermesh-remote-users", "daemonset.apps/cilium"];
    assert.equal(stdout, names.map((name) => `${name}\n`).join(""));
    const refused = await offline("--target", "c1.json", "--whole", "-o", "name", "--output-dir", "names", ...files);
    const message = "error: --output=name and --output-dir are mutually exclusive\n";
    assert.deepEqual([refused.code, refused.stderr], [2, message]);
  });

  test("users of 1.16 with KVStoreMesh include the cluster's own", async () => {
    const { stdout } = await offline("--target", "c2.json", "--whole", ...files);
    const users = parseAllDocuments(stdout)
      .map((document) => document.toJS())
      .find(({ kind }) => kind === "ConfigMap");
    const granted = parse(users.data["users.yaml"]).users.map(({ name }: { name: string }) => name);
    assert.deepEqual(granted, ["remote-c1", "remote-c2", "remote-c3", "remote-c4"]);
  });

  test("a file of an earlier version is assumed to be as the chart, or refused with the command that extracts it", async () => {
    const file = JSON.parse(await readFile(join(dir, "c3.json"), "utf8"));
    const { annotations } = file.metadata;
    const isNew = /\/(?:mounts-|config-readers|common-|client-)/;
    for (const name of Object.keys(annotations)) if (isNew.test(name)) delete annotations[name];
    await writeFile(join(dir, "older.json"), JSON.stringify(file));
    const older = await offline("--target", "older.json", "--whole", ...files);
    assert.equal(older.code, 0, older.stderr);
    assert.match(older.stderr, /^warning: .*\[assumed\]$/m);
    assert.equal(older.stdout, (await offline("--target", "c3.json", "--whole", ...files)).stdout);
    delete annotations["clustermesh-secrets/kvstoremesh"];
    await writeFile(join(dir, "older.json"), JSON.stringify(file));
    const refused = await offline("--target", "older.json", "--whole", ...files);
    assert.deepEqual([refused.code, refused.stdout], [2, ""]);
    assert.match(refused.stderr, /whether KVStoreMesh runs, .* \[target-unknown\]$/m);
    assert.match(refused.stderr, /: extract-secret --context CONTEXT --output-file older\.json$/m);
  });

  test("only some of the existing objects: those that are rendered without are named", async () => {
    const daemonSet = { apiVersion: "apps/v1", kind: "DaemonSet", metadata: { name: "cilium" } };
    await writeFile(join(dir, "some.json"), JSON.stringify(daemonSet));
    const { code, stderr } = await offline("--target", "c4.json", "--existing", "some.json", "c2.json");
    assert.equal(code, 0, stderr);
    const names = "secret/cilium-kvstoremesh, secret/cilium-clustermesh and configmap/clustermesh-remote-users";
    assert.match(stderr, new RegExp(`^warning: c4: .* replaced by ${names}, .* \\[whole-objects\\]$`, "m"));
  });

  test("objects that are sealed, and those of another cluster, are refused", async () => {
    const sealed = {
      apiVersion: "bitnami.com/v1alpha1",
      kind: "SealedSecret",
      metadata: { name: "cilium-clustermesh" },
    };
    const imported = {
      apiVersion: "v1",
      kind: "Secret",
      metadata: { name: "cilium-clustermesh", annotations: { "clustermesh-secrets/peers": '{"c4":{"id":4}}' } },
      data: { c4: Buffer.from("endpoints:\n- https://c4.mesh.cilium.io:32004\n").toString("base64") },
    };
    for (const [object, message] of [
      [
        sealed,
        /\[foreign-file\]\n {2}kubectl --context CONTEXT get \S+ .* \| \S+ render --existing=- --target c4\.json c2\.json\n/,
      ],
      [
        imported,
        /those of another cluster: secret\/cilium-clustermesh contains c4 .*\[existing-foreign\]\n {2}print .*: kubectl/,
      ],
    ] as const) {
      await writeFile(join(dir, "wrong.json"), JSON.stringify(object));
      const { code, stdout, stderr } = await offline("--target", "c4.json", "--existing", "wrong.json", "c2.json");
      assert.deepEqual([code, stdout], [2, ""], stderr);
      assert.match(stderr, message);
    }
  });

  test("the target, the existing objects or a peer is read from stdin, with or without a byte order mark", async () => {
    const existing = await printExisting("c4");
    const args = ["--target", "c4.json", "--existing", existing, "c2.json"];
    const expected = await offline(...args);
    assert.equal(expected.code, 0, expected.stderr);
    for (const file of ["c4.json", existing, "c2.json"]) {
      const stdin = await readFile(join(dir, file), "utf8");
      for (const mark of ["", "\uFEFF"]) {
        const piped = args.map((arg) => (arg === file ? "-" : arg));
        const { stdout, stderr } = await run("clustermesh-secrets", ["render", ...piped], {
          cwd: dir,
          stdin: mark + stdin,
        });
        assert.equal(stdout, expected.stdout, stderr);
      }
    }
  });

  test("invalid calls and unreadable input are refused", async () => {
    for (const [args, message] of [
      [["c2.json"], /--target or --context is required/],
      [["--target", "c4.json", "--whole"], /at least one FILE is required/],
      [["--target", "c4.json", "--context", "c4", "c2.json"], /--target and --context are mutually exclusive/],
      [
        ["--target", "c4.json", "--existing", "a", "--whole", "c2.json"],
        /--existing and --whole are mutually exclusive/,
      ],
      [["--context", "c4", "--existing", "a", "c2.json"], /--existing and --context are mutually exclusive/],
      [["--target", "c4.json", "--whole", "-o", "kustomize", "c2.json"], /--output=kustomize requires --output-dir/],
      ...FORMS.map((form): [string[], RegExp] => [
        ["--target", "c4.json", "--whole", "-o", form, "c4.json"],
        /nothing to render: no file contains a peer of c4/,
      ]),
      [
        ["--target", "c4.json", "--whole", "-o", "kustomize", "--output-dir", "none", "c4.json"],
        /nothing to render: no file contains a peer of c4/,
      ],
      [["--target", "-", "--whole", "-"], /only one of --target, --existing and FILE can be - \(stdin\)/],
      [
        ["--target", "c4.json", "--whole", "-o", "helm-values", "--no-users", "c2.json"],
        /--no-users and --output=helm-values/,
      ],
      [["--target", "missing.json", "--whole", "c2.json"], /missing\.json: no such file/i],
      [["--target", "c4.json", "--whole", "missing.json"], /\[unreadable\]/],
      [["--target", "none.json", "--whole", "c2.json"], /^error: nothing rendered: 1 error$/m],
    ] as const) {
      await writeFile(join(dir, "none.json"), "{}");
      const { code, stdout, stderr } = await offline(...args);
      assert.deepEqual([code, stdout], [2, ""], stderr);
      assert.match(stderr, message);
    }
    const unreachable = await offline("--context", "c4", "c2.json");
    assert.notEqual(unreachable.code, 0);
  });
});
