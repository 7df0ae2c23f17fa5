/** import-secrets in tired hands: what it shows first, what it asks, and where it stops. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { V1ConfigMap, V1Secret } from "@kubernetes/client-node";
import { parseAllDocuments } from "yaml";
import type { KubernetesObject } from "../../lib/sandbox/object.ts";
import { type Sandbox, startSandbox } from "../../lib/sandbox/sandbox.ts";
import { node, programPath, run } from "../support/programs.ts";

const NAMESPACE = "kube-system";
const nodes = [{ name: "n", internalIPs: ["172.18.4.2"] }];
const NAMES = ["c1", "c2", "c3"];

describe("import-secrets, with care", () => {
  let sandbox: Sandbox;
  let dir: string;
  const file = (name: string) => join(dir, `${name}.json`);
  const imports = (...args: string[]) => run("import-secrets", args, { kubeconfig: sandbox.kubeconfig, cwd: dir });
  const apiOf = (name: string) => {
    const cluster = sandbox.clusters.find(({ description }) => description.name === name);
    assert.ok(cluster, name);
    return cluster.api;
  };
  const read = <T>(kind: string, name: string, context = "c1") =>
    apiOf(context).store.read(kind, NAMESPACE, name) as unknown as T | undefined;
  const peersIn = (context = "c1") =>
    ["cilium-clustermesh", "cilium-kvstoremesh"].map((name) =>
      Object.keys(read<V1Secret>("Secret", name, context)?.data ?? {}).filter((key) => !key.includes(".")),
    );
  const put = (object: V1Secret) => apiOf("c1").store.put(object as unknown as KubernetesObject);
  const writes = (context = "c1") => apiOf(context).requests.filter(({ method }) => method !== "GET");

  before(async () => {
    sandbox = await startSandbox({
      clusters: NAMES.map((name, i) => ({ description: { name, id: i + 1, version: "1.20.2", nodes } })),
    });
    dir = await mkdtemp(join(tmpdir(), "careful-"));
    for (const context of NAMES) {
      const args = ["--context", context, "--output-file", file(context)];
      const { code, stderr } = await run("extract-secret", args, { kubeconfig: sandbox.kubeconfig });
      assert.equal(code, 0, stderr);
    }
  });
  after(async () => {
    await sandbox?.stop();
    if (dir) await rm(dir, { recursive: true, force: true });
  });
  beforeEach(() => {
    for (const context of NAMES) {
      const api = apiOf(context);
      api.onRequest = undefined;
      api.requests.length = 0;
      for (const name of ["cilium-clustermesh", "cilium-kvstoremesh"]) api.store.remove("Secret", NAMESPACE, name);
      api.store.remove("ConfigMap", NAMESPACE, "clustermesh-remote-users");
    }
  });

  test("--diff exits as kubectl diff, and writes nothing", async () => {
    const args = ["--context", "c1", "--context", "c3", "--diff", file("c2")];
    const changes = await imports(...args);
    assert.equal(changes.code, 1, changes.stderr);
    assert.match(changes.stdout, /^\+\+\+ planned\/c1\/kube-system\/Secret\/cilium-kvstoremesh$/m);
    assert.match(changes.stdout, /^\+\+\+ planned\/c3\/kube-system\/Secret\/cilium-kvstoremesh$/m);
    assert.doesNotMatch(changes.stdout, /PRIVATE KEY|LS0tLS1CRUdJ/);
    assert.deepEqual([changes.stderr, writes(), writes("c3")], ["", [], []]);
    assert.equal((await imports(...args.filter((arg) => arg !== "--diff"))).code, 0);
    const none = await imports(...args);
    assert.deepEqual([none.code, none.stdout, none.stderr], [0, "", ""]);
    const trouble = await imports("--context", "c1", "--diff", "nowhere.json");
    assert.deepEqual([trouble.code, trouble.stdout], [2, ""]);
    assert.equal((await imports("--context", "nowhere", "--diff", file("c2"))).code, 2);
  });

  test("--dry-run prints the objects, as worked out here and as the server would store them, and stores nothing", async () => {
    const printed = new Map<string, unknown[]>();
    for (const mode of ["client", "server"]) {
      const { code, stdout, stderr } = await imports("--context", "c1", `--dry-run=${mode}`, "-o", "yaml", file("c2"));
      assert.equal(code, 0, stderr);
      assert.match(stderr, /added c2 \(dry run\)/);
      assert.doesNotMatch(stderr, /kubelet/);
      printed.set(
        mode,
        parseAllDocuments(stdout).map((document) => {
          const { kind, metadata, data } = document.toJS();
          assert.equal(metadata.annotations["clustermesh-secrets/context"], "c1");
          assert.equal("uid" in metadata, mode === "server", metadata.name);
          return { kind, name: metadata.name, data };
        }),
      );
    }
    assert.deepEqual(printed.get("client"), printed.get("server"));
    assert.equal(printed.get("client")?.length, 3);
    assert.deepEqual(peersIn(), [[], []]);
    assert.deepEqual([...new Set(writes().map(({ path }) => path.includes("dryRun=All")))], [true]);
    const real = await imports("--context", "c1", "-o", "json", file("c2"));
    assert.equal(JSON.parse(`${real.stdout.split(/^}$/m)[0]}}`).metadata.name, "cilium-kvstoremesh");
    assert.deepEqual(peersIn(), [["c2"], ["c2"]]);
  });

  test("--prune wants --yes where nobody can be asked, and then the files are the whole truth", async () => {
    assert.equal((await imports("--context", "c1", file("c2"), file("c3"))).code, 0);
    const unasked = await imports("--context", "c1", "--prune", file("c3"));
    assert.equal(unasked.code, 2);
    assert.match(unasked.stderr, /^c1: drops c2; no longer lets in remote-c2\nerror: dropping peers wants --yes/);
    assert.match(unasked.stderr, /nothing was written\n$/);
    assert.deepEqual(peersIn(), [
      ["c2", "c3"],
      ["c2", "c3"],
    ]);
    const agreed = await imports("--context", "c1", "--prune", "--yes", file("c3"));
    assert.equal(agreed.code, 0, agreed.stderr);
    assert.deepEqual(peersIn(), [["c3"], ["c3"]]);
    assert.equal(
      read<V1ConfigMap>("ConfigMap", "clustermesh-remote-users")?.data?.["users.yaml"],
      "users:\n  - name: remote-c3\n    role: remote\n",
    );
    const everything = await imports("--context", "c1", "--prune", "--yes", file("c1"));
    assert.equal(everything.code, 2);
    assert.match(everything.stderr, /would drop everything \[prune-everything\]/);
  });

  test("a peer that came while it pruned is not dropped unasked", async () => {
    assert.equal((await imports("--context", "c1", file("c2"), file("c3"))).code, 0);
    const api = apiOf("c1");
    let came = false;
    api.onRequest = ({ method }) => {
      if (method === "PATCH" && !came) {
        came = true;
        const secret = structuredClone(read<V1Secret>("Secret", "cilium-clustermesh")) as V1Secret;
        secret.data = { ...secret.data, c9: secret.data?.c2 ?? "" };
        put(secret);
      }
      return undefined;
    };
    const { code, stderr } = await imports("--context", "c1", "--prune", "--yes", file("c3"));
    assert.equal(code, 2);
    assert.match(stderr, /the target changed meanwhile: c9 came, and would be dropped; run again/);
    assert.deepEqual(peersIn()[0], ["c2", "c3", "c9"]);
  });

  test("--migrate needs no files, says what it does first, and finds nothing a second time", async () => {
    assert.equal((await imports("--context", "c1", file("c2"), file("c3"))).code, 0);
    // As an upgrade leaves it: the agents' Secret leads to the peers, and the copy is not configured.
    const api = apiOf("c1");
    const remote = structuredClone(read<V1Secret>("Secret", "cilium-kvstoremesh")) as V1Secret;
    api.store.remove("Secret", NAMESPACE, "cilium-kvstoremesh");
    api.store.remove("Secret", NAMESPACE, "cilium-clustermesh");
    const { resourceVersion: _, uid: __, ...metadata } = remote.metadata ?? {};
    put({ ...remote, metadata: { ...metadata, name: "cilium-clustermesh" } });
    const first = await imports("--context", "c1", "--migrate");
    assert.equal(first.code, 0, first.stderr);
    assert.match(first.stderr, /^c1: moves c2 and c3\nc1 \(Cilium 1\.20\.2, KVStoreMesh\): moved c2 and c3$/m);
    assert.deepEqual(peersIn(), [
      ["c2", "c3"],
      ["c2", "c3"],
    ]);
    const count = writes().length;
    const second = await imports("--context", "c1", "--migrate");
    assert.equal(second.code, 0, second.stderr);
    assert.match(second.stderr, /unchanged c2 and c3\n {2}nothing written/);
    assert.equal(writes().length, count);
  });

  test("--endpoint holds at the next import, which says so, until it is taken back", async () => {
    assert.equal((await imports("--context", "c1", "--endpoint", "c2=10.1.1.1:2379", file("c2"))).code, 0);
    const config = () =>
      Buffer.from(read<V1Secret>("Secret", "cilium-kvstoremesh")?.data?.c2 ?? "", "base64").toString();
    assert.match(config(), /- 10\.1\.1\.1$/m);
    const again = await imports("--context", "c1", file("c2"));
    assert.match(
      again.stderr,
      /unchanged c2\n {2}c2 is reached at 10\.1\.1\.1:2379, as --endpoint said; --endpoint c2= takes/,
    );
    assert.equal((await imports("--context", "c1", "--endpoint", "c2=", file("c2"))).code, 0);
    assert.match(config(), /- 172\.18\.4\.2$/m);
    for (const [value, expected] of [
      ["c2", /is not of the form NAME=HOST:PORT/],
      ["C2=a:1", /is not of the form NAME=HOST:PORT/],
      ["c2=a", /is not of the form host:port/],
      ["c9=10.1.1.1:1", /c9, which is not among the peers/],
      ["c2=nowhere.invalid:1", /nowhere\.invalid does not resolve/],
    ] as const) {
      const { code, stderr } = await imports("--context", "c1", "--endpoint", value, file("c2"));
      assert.ok(code === 2 || (code === 1 && value.includes("nowhere")), `${value}: ${code}`);
      assert.match(stderr, expected, value);
    }
  });

  test("a Secret of Helm's is refused, and taken where that is said", async () => {
    assert.equal((await imports("--context", "c1", file("c2"))).code, 0);
    const _api = apiOf("c1");
    const secret = structuredClone(read<V1Secret>("Secret", "cilium-clustermesh")) as V1Secret;
    secret.metadata = {
      ...secret.metadata,
      labels: { "app.kubernetes.io/managed-by": "Helm" },
      annotations: { ...secret.metadata?.annotations, "meta.helm.sh/release-name": "cilium" },
    };
    put(secret);
    const refused = await imports("--context", "c1", file("c3"));
    assert.equal(refused.code, 2);
    assert.match(
      refused.stderr,
      /Secret cilium-clustermesh belongs to Helm release cilium.*\[owned-by-other\]\n.*--take-ownership/,
    );
    const taken = await imports("--context", "c1", "--take-ownership", file("c3"));
    assert.equal(taken.code, 0, taken.stderr);
    assert.equal(
      read<V1Secret>("Secret", "cilium-clustermesh")?.metadata?.annotations?.["helm.sh/resource-policy"],
      "keep",
    );
  });

  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    test(`${signal}: the write under way is finished, the next is not begun, and running again completes`, async () => {
      const api = apiOf("c1");
      const begun = new Promise<void>((resolve) => {
        api.onRequest = async ({ method }) => {
          if (method === "POST") {
            resolve();
            await sleep(300);
          }
          return undefined;
        };
      });
      const child = spawn(node, [programPath("import-secrets"), "--context", "c1", file("c2")], {
        env: { PATH: process.env.PATH, HOME: "/nonexistent", KUBECONFIG: sandbox.kubeconfig },
        stdio: ["ignore", "ignore", "pipe"],
      });
      let stderr = "";
      child.stderr.on("data", (chunk) => {
        stderr += chunk;
      });
      await begun;
      child.kill(signal);
      const [code] = await once(child, "close");
      assert.equal(code, 1, stderr);
      assert.match(stderr, /interrupted: stopping after the write under way/);
      assert.match(stderr, /c1: interrupted \(some of it is written; run again to complete\)/);
      assert.deepEqual(peersIn(), [[], ["c2"]]);
      api.onRequest = undefined;
      assert.equal((await imports("--context", "c1", file("c2"))).code, 0);
      assert.deepEqual(peersIn(), [["c2"], ["c2"]]);
    });
  }

  test("interrupted before the first write, it ends at once", async () => {
    const api = apiOf("c1");
    const asked = new Promise<void>((resolve) => {
      api.onRequest = async () => {
        resolve();
        await sleep(1_000);
        return undefined;
      };
    });
    const child = spawn(node, [programPath("import-secrets"), "--context", "c1", file("c2")], {
      env: { PATH: process.env.PATH, HOME: "/nonexistent", KUBECONFIG: sandbox.kubeconfig },
      stdio: ["ignore", "ignore", "pipe"],
    });
    let stderr = "";
    child.stderr.on("data", (chunk) => {
      stderr += chunk;
    });
    await asked;
    child.kill("SIGINT");
    const [code] = await once(child, "close");
    assert.deepEqual([code, stderr], [1, "interrupted; nothing was written\n"]);
    assert.deepEqual(peersIn(), [[], []]);
  });

  test("flags that exclude each other", async () => {
    for (const flags of [
      ["--prune", "--migrate"],
      ["--diff", "-o", "yaml"],
      ["--restart-agents", "--no-restarts"],
    ]) {
      const { code, stderr } = await imports("--context", "c1", ...flags, file("c2"));
      assert.equal(code, 2, flags.join(" "));
      assert.match(stderr, /exclude each other\n$/);
    }
  });
});
