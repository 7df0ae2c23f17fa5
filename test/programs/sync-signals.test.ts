/** How signals end `sync` as built: after the write under way, with the state saved and the Lease released. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { node, programPath } from "../support/programs.ts";
import { isWrite, type SyncPair, startPair } from "../support/sync-pair.ts";

/** Holds the first write of a cluster until `release`. */
function holdWrite({ mesh }: SyncPair, name: string) {
  const cluster = mesh.clusters.find((one) => one.name === name) ?? assert.fail();
  let release = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  let isHeld = () => {};
  const held = new Promise<void>((resolve) => {
    isHeld = resolve;
  });
  cluster.api.onRequest = async (request) => {
    if (!isWrite(request)) return;
    isHeld();
    await released;
  };
  return { held, release };
}

const members = (file: string): unknown[] => JSON.parse(readFileSync(file, "utf8")).members;

async function startWithHeldWrite(t: TestContext, ...args: string[]) {
  const pair = await startPair(t);
  const write = holdWrite(pair, "c1");
  t.after(write.release);
  const file = join(pair.folder, "state.json");
  return { pair, write, file, args: ["--all-contexts", `--state-file=${file}`, ...args] };
}

describe("sync that is ended by a signal", { concurrency: true }, () => {
  for (const [signal, code] of [
    ["SIGTERM", 0],
    ["SIGINT", null],
    ["SIGHUP", null],
  ] as const) {
    test(`${signal} ends it after the write under way, with the state saved`, async (t) => {
      const { pair, write, file, args } = await startWithHeldWrite(t);
      const sync = await pair.start(...args);
      await write.held;
      const ended = sync.stop(signal);
      await sync.until("the end", ({ event }) => event === "stopping");
      await sync.eventually("an answer", async () => (await fetch(`http://${sync.listen}/healthz`)).ok);
      assert.ok(sync.isRunning);
      write.release();
      // A shell reports 130 for SIGINT, because the process ends by the signal.
      assert.equal(await ended, code);
      const kinds = sync.events.map(({ event }) => event);
      assert.deepEqual(kinds.slice(-1), ["stopped"]);
      assert.ok(sync.events.some(({ event, target }) => event === "written" && target === "c1"));
      assert.equal(pair.writes().filter((one) => one.startsWith("c1 ")).length, 1, pair.writes().join("\n"));
      assert.equal(members(file).length, 2);
      assert.ok(!existsSync(`${file}.lock`), "the state is released");
    });
  }

  test("a second signal ends it at once, and the next process takes over its state", async (t) => {
    const { pair, write, file, args } = await startWithHeldWrite(t);
    const sync = await pair.start(...args);
    await write.held;
    sync.signal("SIGTERM");
    await sync.until("the end", ({ event }) => event === "stopping");
    assert.equal(await sync.stop("SIGTERM"), null);
    assert.ok(!sync.events.some(({ event }) => event === "stopped"));
    assert.ok(existsSync(`${file}.lock`));
    write.release();
    const position = sync.position;
    sync.start();
    await sync.until("a start", ({ event }) => event === "started", position);
    assert.equal(await sync.stop(), 0);
  });

  test("SIGTERM ends a single round by the signal, since it may be incomplete", async (t) => {
    const { pair, write, file, args } = await startWithHeldWrite(t, "--once", "--yes");
    const env = { PATH: process.env.PATH, HOME: pair.folder, KUBECONFIG: pair.kubeconfig };
    const child = spawn(node, [programPath("clustermesh-secrets"), "sync", ...args], { env, stdio: "ignore" });
    await write.held;
    child.kill("SIGTERM");
    const closed = once(child, "close");
    write.release();
    assert.deepEqual(await closed, [null, "SIGTERM"]);
    assert.equal(members(file).length, 2);
  });

  test("an API server that does not answer does not delay it", async (t) => {
    const pair = await startPair(t);
    pair.mesh.clusters[0]?.relay.leave("silent");
    const sync = await pair.start("--all-contexts", "--request-timeout=5m");
    await sync.until("a start", ({ event }) => event === "started");
    assert.equal(await sync.stop(), 0);
    assert.deepEqual(pair.writes(), []);
  });
});

describe("sync with its state in a cluster", () => {
  test("one on standby writes nothing, and takes over when the leader ends", async (t) => {
    const pair = await startPair(t);
    const [home] = pair.mesh.clusters;
    assert.ok(home);
    const args = ["--all-contexts", "--state=cluster", "--state-context=c1", "--state-namespace=default"];
    const first = await pair.start(...args);
    await first.until("leading", ({ event }) => event === "leading");
    const second = await pair.start(...args);
    const { holder } = await second.until("standby", ({ event }) => event === "standby");
    const lease = () => home.api.store.read("Lease", "default", "clustermesh-secrets-sync") as { spec?: unknown };
    assert.equal((lease().spec as { holderIdentity: string }).holderIdentity, holder);
    await first.until("a write", ({ event, target }) => event === "written" && target === "c2");
    assert.deepEqual(
      second.events.map(({ event }) => event),
      ["listening", "standby"],
    );
    assert.equal((await fetch(`http://${second.listen}/readyz`)).status, 200);
    assert.equal(await second.metric("clustermesh_sync_leader"), 0);
    assert.equal(await first.stop(), 0);
    const written = pair.writes().filter((one) => !one.includes("clustermesh-secrets-sync"));
    await second.until("takeover", ({ event }) => event === "leading");
    await second.until("a start", ({ event }) => event === "started");
    await second.reconciliations(2);
    assert.deepEqual(
      pair.writes().filter((one) => !one.includes("clustermesh-secrets-sync")),
      written,
      "all was written",
    );
    assert.equal(await second.stop(), 0);
    assert.equal((lease().spec as { holderIdentity: string }).holderIdentity, "");
  });
});
