/** `sync --listen` as built, and what it reports of watches that are denied. */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { describe, test } from "node:test";
import { run } from "../support/programs.ts";
import { startPair } from "../support/sync-pair.ts";

describe("sync --listen", { concurrency: true }, () => {
  test("is not ready before each cluster was read, then answers three paths, and GET and HEAD alone", async (t) => {
    const pair = await startPair(t);
    const [first] = pair.mesh.clusters;
    assert.ok(first);
    let release = () => {};
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    t.after(() => release());
    first.api.onRequest = async () => {
      await released;
      return undefined;
    };
    const sync = await pair.start("--all-contexts");
    await sync.until("a start", ({ event }) => event === "started");
    const get = async (path: string, method = "GET") => {
      const response = await fetch(`http://${sync.listen}${path}`, { method });
      return [response.status, method === "HEAD" ? "" : await response.text()];
    };
    assert.deepEqual(await get("/readyz"), [503, "not ready\n"]);
    assert.deepEqual(await get("/healthz"), [200, "ok\n"]);
    assert.equal(await sync.metric("clustermesh_sync_ready"), 0);
    release();
    await sync.eventually("readiness", async () => (await get("/readyz"))[0] === 200);
    assert.deepEqual(await get("/readyz?verbose"), [200, "ok\n"]);
    assert.equal(await sync.metric("clustermesh_sync_ready"), 1);
    assert.deepEqual(await get("/metrics", "HEAD"), [200, ""]);
    for (const path of ["/", "/metrics/", "/debug/pprof", "/..%2fmetrics", "/constructor"]) {
      assert.deepEqual(await get(path), [404, "not found\n"]);
    }
    for (const method of ["POST", "PUT", "DELETE", "OPTIONS"]) {
      assert.deepEqual(await get("/readyz", method), [405, "method not allowed\n"]);
    }
    assert.equal(await sync.stop(), 0);
  });

  test("a port in use ends it before anything is read or written, in the format of the log", async (t) => {
    const pair = await startPair(t);
    const server = createServer();
    t.after(() => server.close());
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const listen = `127.0.0.1:${(server.address() as { port: number }).port}`;
    const states = join(pair.folder, "states");
    for (const format of ["text", "json"]) {
      const flags = [`--listen=${listen}`, `--log-format=${format}`, `--state-file=${states}/state.json`];
      const args = ["sync", "--all-contexts", "--yes", ...flags];
      const { code, stdout, stderr } = await run("clustermesh-secrets", args, { kubeconfig: pair.kubeconfig });
      assert.deepEqual([code, stdout], [1, ""]);
      const cause = `cannot listen on ${listen}: address already in use\n  choose another address with --listen`;
      if (format === "text") assert.equal(stderr, `error: ${cause}\n`);
      else {
        const { time, ...rest } = JSON.parse(stderr);
        assert.ok(Date.parse(time));
        assert.deepEqual(rest, { level: "error", event: "message", message: cause });
      }
    }
    assert.deepEqual(readdirSync(states), []);
    assert.ok(pair.mesh.clusters.every(({ api }) => api.requests.length === 0));
  });

  test("a watch that is denied is reported once, and again if the cause changes", async (t) => {
    const pair = await startPair(t);
    const [first] = pair.mesh.clusters;
    assert.ok(first);
    const failWith = (status: number) => {
      first.api.onRequest = ({ path }) => (/^\/api\/v1\/nodes\?.*watch=/.test(path) ? { status } : undefined);
    };
    failWith(403);
    const sync = await pair.start("--all-contexts");
    const restarts = () => sync.metric("clustermesh_sync_watch_restarts_total");
    const reported = () => sync.events.filter(({ event }) => event === "watch-restarted");
    await sync.eventually("restarts", async () => ((await restarts()) ?? 0) >= 3);
    assert.equal(reported().length, 1, JSON.stringify(reported()));
    assert.deepEqual([reported()[0]?.entry, reported()[0]?.object], ["c1", "nodes"]);
    assert.match(reported()[0]?.message ?? "", /^c1: the watch of nodes ended: .*not allowed to watch nodes/);
    failWith(500);
    await sync.eventually("another report", () => reported().length === 2);
    assert.match(reported()[1]?.message ?? "", /^c1: the watch of nodes ended: .*500/);
    assert.ok(sync.events.some(({ event, target }) => event === "written" && target === "c1"));
    assert.equal(await sync.stop(), 0);
  });
});
