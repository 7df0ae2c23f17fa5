/** Safeguards of import-secrets on the sandbox: confirmation, concurrent changes and interruption. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { V1Secret } from "@kubernetes/client-node";
import { parse, stringify } from "yaml";
import type { KubernetesObject } from "../../lib/sandbox/object.ts";
import { type Sandbox, startSandbox } from "../../lib/sandbox/sandbox.ts";
import { CAREFUL, carefulCluster, carefulTests } from "../support/careful.ts";
import { node, programPath, run } from "../support/programs.ts";

const NAMESPACE = "kube-system";
const OBJECTS = [
  ["Secret", "cilium-clustermesh"],
  ["Secret", "cilium-kvstoremesh"],
  ["ConfigMap", "clustermesh-remote-users"],
] as const;

const start = () => startSandbox({ clusters: CAREFUL.map((name) => ({ description: carefulCluster(name) })) });
const apiIn = (sandbox: Sandbox, name: string) => {
  const cluster = sandbox.clusters.find(({ description }) => description.name === name);
  assert.ok(cluster, name);
  return cluster.api;
};

carefulTests("import-secrets, with care, on the sandbox", async () => {
  const sandbox = await start();
  return {
    kubeconfig: sandbox.kubeconfig,
    read: async (context, kind, name) => apiIn(sandbox, context).store.read(kind, NAMESPACE, name),
    create: async (context, object) => void apiIn(sandbox, context).store.put(object as KubernetesObject),
    remove: async (context, kind, name) => void apiIn(sandbox, context).store.remove(kind, NAMESPACE, name),
    stop: () => sandbox.stop(),
  };
});

describe("import-secrets under interference", () => {
  let sandbox: Sandbox;
  let dir: string;
  const file = (name: string) => join(dir, `${name}.json`);
  const imports = (...args: string[]) => run("import-secrets", args, { kubeconfig: sandbox.kubeconfig, cwd: dir });
  const api = () => apiIn(sandbox, "c1");
  const read = (name: string) => api().store.read("Secret", NAMESPACE, name) as unknown as V1Secret | undefined;
  const peersIn = () =>
    ["cilium-clustermesh", "cilium-kvstoremesh"].map((name) =>
      Object.keys(read(name)?.data ?? {}).filter((key) => !key.includes(".")),
    );
  /** Starts a program, by default an import, without waiting for it. `waitFor` resolves once stderr matches. */
  const begin = (program = "import-secrets", args = ["--context", "c1", file("c2")]) => {
    const child = spawn(node, [programPath(program), ...args], {
      env: { PATH: process.env.PATH, HOME: "/nonexistent", KUBECONFIG: sandbox.kubeconfig },
      stdio: ["ignore", "ignore", "pipe"],
    });
    let stderr = "";
    child.stderr.on("data", (chunk) => {
      stderr += chunk;
    });
    const ended = once(child, "close").then(([code, signal]) => ({ code, signal, stderr }));
    const waitFor = async (words: RegExp) => {
      while (!words.test(stderr)) {
        await Promise.race([once(child.stderr, "data"), ended]);
        assert.ok(
          child.exitCode === null && child.signalCode === null,
          `it exited without printing ${words}: ${stderr}`,
        );
      }
    };
    return { kill: (signal: NodeJS.Signals) => child.kill(signal), waitFor, ended };
  };

  before(async () => {
    sandbox = await start();
    dir = await mkdtemp(join(tmpdir(), "disturbed-"));
    for (const context of CAREFUL) {
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
    api().onRequest = undefined;
    for (const [kind, name] of OBJECTS) api().store.remove(kind, NAMESPACE, name);
  });

  test("--prune does not remove a peer that was added after the confirmation", async () => {
    assert.equal((await imports("--context", "c1", file("c2"), file("c3"))).code, 0);
    let isAdded = false;
    api().onRequest = ({ method }) => {
      if (method === "PATCH" && !isAdded) {
        isAdded = true;
        const secret = structuredClone(read("cilium-clustermesh")) as V1Secret;
        secret.data = { ...secret.data, c9: secret.data?.c2 ?? "" };
        api().store.put(secret as unknown as KubernetesObject);
      }
      return undefined;
    };
    const { code, stderr } = await imports("--context", "c1", "--prune", "--yes", file("c3"));
    assert.equal(code, 2);
    assert.match(
      stderr,
      /the target changed since it was read, and the import would now also remove c9\n\s*review the changes and rerun/,
    );
    assert.deepEqual(peersIn()[0], ["c2", "c3", "c9"]);
  });

  test("two contexts of one cluster are one target", async () => {
    const { contexts, ...rest } = parse(await readFile(sandbox.kubeconfig, "utf8"));
    const { context } = contexts.find(({ name }: { name: string }) => name === "c1");
    const kubeconfig = join(dir, "two");
    await writeFile(kubeconfig, stringify({ ...rest, contexts: [...contexts, { name: "again", context }] }));
    const args = ["--kubeconfig", kubeconfig, "--context", "c1", "--context", "again", file("c2")];
    const { code, stderr } = await imports(...args);
    assert.equal(code, 0, stderr);
    assert.match(stderr, /skipped context again: same cluster as context c1/);
    assert.equal(stderr.match(/added c2/g)?.length, 1);
  });

  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    test(`${signal} stops after the current write, and a second run completes the work`, async () => {
      const writing = new Promise<void>((resolve) => {
        api().onRequest = async ({ method }) => {
          if (method !== "POST") return undefined;
          resolve();
          await sleep(300);
          return undefined;
        };
      });
      const { kill, ended } = begin();
      await writing;
      kill(signal);
      const { code, signal: endedBy, stderr } = await ended;
      assert.deepEqual([code, endedBy], [null, signal], stderr);
      assert.match(stderr, /interrupted: stopping after the current write/);
      assert.match(stderr, /c1: interrupted \(partly written; rerun to complete\)/);
      assert.deepEqual(peersIn(), [[], ["c2"]]);
      api().onRequest = undefined;
      assert.equal((await imports("--context", "c1", file("c2"))).code, 0);
      assert.deepEqual(peersIn(), [["c2"], ["c2"]]);
    });
  }

  test("a second signal stops immediately, during a write", async () => {
    const answering = new AbortController();
    const writing = new Promise<void>((resolve) => {
      api().onRequest = async ({ method }) => {
        if (method !== "POST") return undefined;
        resolve();
        await once(answering.signal, "abort");
        return undefined;
      };
    });
    const { kill, waitFor, ended } = begin();
    await writing;
    kill("SIGINT");
    await waitFor(/stopping after the current write/);
    kill("SIGTERM");
    const { signal, stderr } = await ended;
    answering.abort();
    assert.equal(signal, "SIGTERM", stderr);
    assert.match(stderr, /^interrupted during a write; rerun to complete$/m);
  });

  test("an interrupt during --wait stops immediately and reports that all changes were written", async () => {
    // After the write, c1 denies all reads.
    api().onRequest = ({ path }) =>
      path.includes("cilium-config") && peersIn()[0]?.length === 1 ? { status: 403 } : undefined;
    const { kill, waitFor, ended } = begin("clustermesh-secrets", ["connect", "c1", "c2", "--yes", "--wait"]);
    await waitFor(/^waiting: /m);
    kill("SIGINT");
    const { signal, stderr } = await ended;
    assert.equal(signal, "SIGINT", stderr);
    assert.match(stderr, /^interrupted; all changes were written\n$/m);
    assert.deepEqual(peersIn(), [["c2"], ["c2"]]);
  });

  test("an interrupt before the first write stops immediately", async () => {
    const asked = new Promise<void>((resolve) => {
      api().onRequest = async () => {
        resolve();
        await sleep(1_000);
        return undefined;
      };
    });
    const { kill, ended } = begin();
    await asked;
    kill("SIGINT");
    assert.deepEqual(await ended, { code: null, signal: "SIGINT", stderr: "interrupted; nothing was written\n" });
    assert.deepEqual(peersIn(), [[], []]);
  });

  test("mutually exclusive flags are rejected", async () => {
    for (const flags of [
      ["--prune", "--migrate"],
      ["--diff", "-o", "yaml"],
      ["--restart-agents", "--no-restarts"],
    ]) {
      const { code, stderr } = await imports("--context", "c1", ...flags, file("c2"));
      assert.equal(code, 2, flags.join(" "));
      assert.match(stderr, /are mutually exclusive\n$/);
    }
  });
});
