/**
 * Faults at every request of every command that writes, kills at random moments, and many at once: each object is the
 * old or the new one, whole, what stood goes on standing, and one run without faults reaches the goal. On the sandbox.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { V1Secret } from "@kubernetes/client-node";
import { decodeFiles, readEntries, writePeerFile } from "../../lib/peer/secret.ts";
import type { KubernetesObject } from "../../lib/sandbox/object.ts";
import type { ApiAnswer } from "../../lib/sandbox/server.ts";
import { type Joined, joined } from "../support/joined.ts";
import { node, programPath, run } from "../support/programs.ts";
import { peerOf } from "../support/targets.ts";

const KINDS = ["Secret", "ConfigMap", "Deployment", "DaemonSet"];
const SECRETS = ["cilium-kvstoremesh", "cilium-clustermesh"];

const failing = (status: number, headers?: Record<string, string>): ApiAnswer => ({
  status,
  body: { kind: "Status", apiVersion: "v1", status: "Failure", code: status, reason: "Fault", message: "a fault" },
  ...(headers && { headers }),
});

const FAULTS: Record<string, ApiAnswer | "slow"> = {
  "a reset before the request arrived": { status: 0, cut: "before" },
  "a reset after it arrived": { status: 0, cut: "after" },
  "a truncated body": { status: 0, cut: "within" },
  "500": failing(500),
  "503": failing(503),
  "409": failing(409),
  "429 with Retry-After": failing(429, { "retry-after": "1" }),
  slow: "slow",
};
/** At reads these three stand for all. */
const AT_READS = ["a reset before the request arrived", "a truncated body", "500"];

describe("faults, kills and crowds", () => {
  let mesh: Joined;
  let dir: string;
  let initial: Map<string, KubernetesObject[]>;
  let old: string;
  const clusters = () => mesh.sandbox.clusters;
  const go = (args: string[]) => run("clustermesh-secrets", args, { kubeconfig: mesh.sandbox.kubeconfig });

  before(async () => {
    dir = mkdtempSync(join(tmpdir(), "faults-"));
    mesh = await joined({ after: () => {} } as never, [{ version: "1.20.2" }, { version: "1.18.5" }], { apart: true });
    old = join(dir, "old.json");
    writeFileSync(old, JSON.stringify(writePeerFile(peerOf("c9", 9).peer)));
    const { code, stderr } = await go(["import", "--context", "c1", "--context", "c2", old]);
    assert.equal(code, 0, stderr);
    initial = all();
  });
  after(async () => {
    await mesh?.sandbox.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  function all(): Map<string, KubernetesObject[]> {
    return new Map(
      clusters().map(({ description, api }) => [description.name, KINDS.flatMap((kind) => api.store.all(kind))]),
    );
  }
  function restore(objects: Map<string, KubernetesObject[]>): void {
    for (const { description, api } of clusters()) {
      const wanted = objects.get(description.name) ?? [];
      for (const kind of KINDS) {
        for (const { metadata } of api.store.all(kind)) {
          if (!wanted.some((one) => one.kind === kind && one.metadata.name === metadata.name)) {
            api.store.remove(kind, metadata.namespace, metadata.name);
          }
        }
      }
      for (const object of wanted) api.store.put(structuredClone(object));
    }
  }
  /** The data of what is written, in every cluster. */
  function data(): string {
    const of = (name: string, kind: string, object: string) =>
      clusters()
        .find(({ description }) => description.name === name)
        ?.api.store.read(kind, "kube-system", object)?.data;
    const written = [...SECRETS.map((name) => ["Secret", name]), ["ConfigMap", "clustermesh-remote-users"]];
    return JSON.stringify(
      clusters().map(({ description: { name } }) => written.map(([kind = "", one = ""]) => of(name, kind, one))),
    );
  }
  /** Every Secret is whole, agents are led to nothing that is not fetched, and `stays` is there. */
  function assertWhole(when: string, stays = ["c9"]): void {
    for (const { description, api } of clusters()) {
      const names = SECRETS.map((name) => {
        const secret = api.store.read("Secret", "kube-system", name) as unknown as V1Secret | undefined;
        const { files, findings } = decodeFiles(secret ?? {}, { source: name });
        const entries = readEntries(files, {}, name);
        assert.deepEqual(
          [...findings, ...entries.flatMap((entry) => entry.findings)],
          [],
          `${when}: ${description.name}`,
        );
        return entries.map((entry) => entry.name);
      });
      const [fetched = [], agents = []] = names;
      for (const name of agents)
        assert.ok(fetched.includes(name), `${when}: ${description.name}'s agents look for ${name}`);
      for (const name of stays) assert.ok(agents.includes(name), `${when}: ${description.name} lost ${name}`);
    }
  }

  const commands: Record<string, { args: () => string[]; connectedBefore: boolean }> = {
    import: { args: () => ["import", "--context", "c1", join(dir, "new.json")], connectedBefore: false },
    connect: { args: () => ["connect", "c1", "c2", "--yes"], connectedBefore: false },
    disconnect: { args: () => ["disconnect", "c2", "--context", "c1", "--yes"], connectedBefore: true },
    rotate: { args: () => ["rotate", "c2", "--context", "c1", "--yes"], connectedBefore: true },
  };

  for (const [command, { args, connectedBefore }] of Object.entries(commands)) {
    test(`${command}: each fault at each request`, async (t) => {
      writeFileSync(join(dir, "new.json"), JSON.stringify(writePeerFile(peerOf("c7", 7).peer)));
      restore(initial);
      if (connectedBefore) assert.equal((await go(["connect", "c1", "c2", "--yes"])).code, 0);
      if (command === "rotate") mesh.rotate("c2");
      const start = all();
      const api = clusters()[0]?.api;
      assert.ok(api);
      const requests: string[] = [];
      api.onRequest = ({ method }) => void requests.push(method);
      const done = await go(args());
      assert.equal(done.code, 0, done.stderr);
      const goal = data();
      let runs = 0;
      // What is asked at once comes in any order, so a fault is aimed at the n-th read or write.
      const reads = requests.filter((method) => method === "GET").length;
      const aims = [
        ...Array.from({ length: reads }, (_, n) => ({ method: "GET", n, kinds: AT_READS })),
        ...Array.from({ length: requests.length - reads }, (_, n) => ({ method: "", n, kinds: Object.keys(FAULTS) })),
      ];
      for (const { method, n, kinds } of aims) {
        for (const kind of kinds) {
          restore(start);
          let seen = 0;
          api.onRequest = async (request) => {
            if ((request.method === "GET") !== (method === "GET") || seen++ !== n) return undefined;
            const fault = FAULTS[kind];
            if (fault !== "slow") return fault;
            await sleep(200);
            return undefined;
          };
          const when = `${command}: ${kind} at ${method || "write"} ${n + 1}`;
          const hit = await go(args());
          api.onRequest = undefined;
          assert.ok([0, 1, 2, 3].includes(hit.code ?? -1), `${when}: ${hit.stderr}`);
          assert.doesNotMatch(hit.stderr, /fault of the program|^ {4}at /m, when);
          assertWhole(when);
          const again = await go(args());
          assert.equal(again.code, 0, `${when}, again: ${again.stderr}`);
          assert.equal(data(), goal, when);
          runs++;
        }
      }
      t.diagnostic(`${runs} faults at ${requests.length} requests`);
    });
  }

  test("killed at 100 random moments", async (t) => {
    restore(initial);
    const started = performance.now();
    assert.equal((await go(["connect", "c1", "c2", "--yes"])).code, 0);
    const took = performance.now() - started;
    const goal = data();
    let within = 0;
    for (let i = 0; i < 100; i++) {
      restore(initial);
      const child = spawn(node, [programPath("clustermesh-secrets"), "connect", "c1", "c2", "--yes"], {
        env: { PATH: process.env.PATH, HOME: "/nonexistent", KUBECONFIG: mesh.sandbox.kubeconfig },
        stdio: "ignore",
      });
      const ended = new Promise<string | null>((resolve) => child.on("close", (_, signal) => resolve(signal)));
      // Most writes are in the last third.
      await sleep(took * (0.4 + 0.7 * ((i * 37) % 100) * 0.01));
      child.kill("SIGKILL");
      await ended;
      // What the server had taken is done before it is looked at.
      await sleep(20);
      assertWhole(`kill ${i}`);
      if (data() !== goal) within++;
    }
    assert.equal((await go(["connect", "c1", "c2", "--yes"])).code, 0);
    assert.equal(data(), goal);
    t.diagnostic(`100 kills, ${within} of them before the end`);
    assert.ok(within > 10, `only ${within} came before the end`);
  });

  test("twenty at once, connects and imports: no peer is lost", async () => {
    restore(initial);
    const files = Array.from({ length: 12 }, (_, i) => {
      const file = join(dir, `p${i}.json`);
      writeFileSync(file, JSON.stringify(writePeerFile(peerOf(`p${i}`, 20 + i).peer)));
      return file;
    });
    const all = await Promise.all([
      ...files.map((file) => go(["import", "--context", "c1", "--context", "c2", file])),
      ...Array.from({ length: 8 }, () => go(["connect", "c1", "c2", "--yes"])),
    ]);
    for (const { code, stderr } of all) assert.equal(code, 0, stderr);
    const peers = files.map((_, i) => `p${i}`);
    assertWhole("twenty at once", ["c9", ...peers]);
    const secret = clusters()[0]?.api.store.read("Secret", "kube-system", "cilium-clustermesh");
    assert.ok(secret?.data?.c2, "and they know each other");
  });
});

test("254 clusters, each with a CA of its own, in one connect", async () => {
  for (const sharedCa of [false, true]) {
    const sandbox = spawn(
      node,
      [programPath("clustermesh-secrets"), "sandbox", "--clusters", "254", ...(sharedCa ? ["--shared-ca"] : [])],
      { stdio: ["ignore", "pipe", "ignore"], env: { PATH: process.env.PATH, HOME: "/nonexistent" } },
    );
    try {
      const kubeconfig = await new Promise<string>((resolve, reject) => {
        sandbox.stdout.once("data", (chunk) => resolve(String(chunk).trim().replace("export KUBECONFIG=", "")));
        sandbox.once("exit", () => reject(new Error("the sandbox ended")));
      });
      const { code, stderr } = await run("clustermesh-secrets", ["connect", "--all-contexts", "--yes"], { kubeconfig });
      assert.equal(code, 0, stderr.slice(-2_000));
      assert.equal(stderr.match(/: added /g)?.length, 254);
      const status = await run("clustermesh-secrets", ["status", "--all-contexts", "-o", "json"], { kubeconfig });
      assert.equal(status.code, 0, status.stderr);
      const { pairs } = JSON.parse(status.stdout);
      assert.equal(pairs.filter(({ state }: { state: string }) => state === "ok").length, 254 * 253);
    } finally {
      sandbox.kill();
    }
  }
});
