/** The HTTP server of `sync --listen`. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { describe, type TestContext, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import type { SyncSnapshot } from "../../lib/sync/snapshot.ts";
import { UserError } from "../../lib/util/errors.ts";
import {
  type HealthServer,
  type HealthServerOptions,
  parseListenAddress,
  startHealthServer,
} from "../../scripts/cli/health-server.ts";
import { syncSnapshot } from "../support/sync-snapshot.ts";

const INTERVAL = 600_000;

/** Starts a server on a free port of 127.0.0.1, which ends with the test. */
async function serve(
  t: TestContext,
  snapshot: () => SyncSnapshot = () => ({ ...syncSnapshot(), lastProgress: new Date() }),
  more: Partial<HealthServerOptions> = {},
): Promise<HealthServer & { get: (path: string, init?: RequestInit) => Promise<Response> }> {
  const options = { listen: { host: "127.0.0.1", port: 0 }, interval: INTERVAL, snapshot, ...more };
  const server = await startHealthServer(options);
  t.after(() => server.close());
  return { ...server, get: (path, init) => fetch(`http://${server.address}${path}`, init) };
}

/** Opens a connection, sends a text, and returns everything that is received until the server ends it. */
async function exchange(address: string, text: string): Promise<string> {
  const socket = open(address);
  socket.write(text);
  let received = "";
  socket.setEncoding("utf8").on("data", (chunk) => {
    received += chunk;
  });
  await closing(socket);
  return received;
}

/** Waits until a connection ends in any way: the server resets those that it gives up. */
function closing(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.once("close", () => resolve()));
}

function open(address: string): Socket {
  const [host = "", port = ""] = address.split(":");
  const socket = connect({ host, port: Number(port) });
  socket.on("error", () => {});
  return socket;
}

describe("--listen", () => {
  test("takes a port with or without an address", () => {
    assert.deepEqual(parseListenAddress(":8080"), { host: "", port: 8080 });
    assert.deepEqual(parseListenAddress("127.0.0.1:8080"), { host: "127.0.0.1", port: 8080 });
    assert.deepEqual(parseListenAddress("0.0.0.0:1"), { host: "0.0.0.0", port: 1 });
    assert.deepEqual(parseListenAddress("localhost:65535"), { host: "localhost", port: 65535 });
    assert.deepEqual(parseListenAddress("[::1]:8080"), { host: "::1", port: 8080 });
  });

  test("anything else is refused", () => {
    for (const text of [
      "",
      ":",
      "8080",
      "localhost",
      ":0",
      ":65536",
      "::1:8080",
      "[::1]",
      "http://x:1",
      "a b:1",
      ":80:80",
      "[x]:1",
    ]) {
      assert.throws(
        () => parseListenAddress(text),
        (error) =>
          error instanceof UserError &&
          error.exitCode === 2 &&
          error.message ===
            `invalid address ${JSON.stringify(text)} for --listen (examples: :8080, 127.0.0.1:8080, [::1]:8080)`,
        text,
      );
    }
  });

  test("a port in use is an error that names the flag", async (t) => {
    const { address } = await serve(t);
    const listen = { host: "127.0.0.1", port: Number(address.split(":")[1]) };
    await assert.rejects(startHealthServer({ listen, interval: INTERVAL, snapshot: syncSnapshot }), {
      exitCode: 1,
      message: `cannot listen on ${address}: address already in use\n  choose another address with --listen`,
    });
    await assert.rejects(
      startHealthServer({ listen: { host: "192.0.2.1", port: 9 }, interval: 1, snapshot: syncSnapshot }),
      {
        exitCode: 1,
        message: /^cannot listen on 192\.0\.2\.1:9: address not available\n/,
      },
    );
  });

  test("any address includes IPv4", async (t) => {
    const { address } = await serve(t, undefined, { listen: { host: "", port: 0 } });
    const [, port] = /:(\d+)$/.exec(address) ?? [];
    assert.equal((await fetch(`http://127.0.0.1:${port}/readyz`)).status, 200);
  });
});

describe("the probes", () => {
  test("/healthz fails if there was no progress for two intervals and a minute", async (t) => {
    let lastProgress = new Date(Date.now() - 2 * INTERVAL);
    const { get } = await serve(t, () => ({ ...syncSnapshot(), lastProgress }));
    const good = await get("/healthz");
    assert.deepEqual([good.status, await good.text()], [200, "ok\n"]);
    lastProgress = new Date(Date.now() - 2 * INTERVAL - 61_000);
    const bad = await get("/healthz");
    assert.deepEqual([bad.status, await bad.text()], [503, `no progress since ${lastProgress.toISOString()}\n`]);
  });

  test("/readyz fails until the loop is ready, and does not depend on progress", async (t) => {
    let isReady = false;
    const { get } = await serve(t, () => ({ ...syncSnapshot(), isReady }));
    assert.deepEqual([(await get("/readyz")).status, await (await get("/readyz")).text()], [503, "not ready\n"]);
    isReady = true;
    assert.equal((await get("/readyz")).status, 200);
  });
});

describe("requests", () => {
  test("/metrics are those of the snapshot, with the type that Prometheus expects", async (t) => {
    const { get } = await serve(t);
    const response = await get("/metrics?collect[]=x");
    assert.equal(response.status, 200);
    assert.equal(response.headers.get("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    assert.equal(response.headers.get("cache-control"), "no-store");
    const text = await response.text();
    assert.match(text, /^clustermesh_sync_leader 1$/m);
    assert.match(text, /^clustermesh_sync_build_info\{version="[^"]+"\} 1$/m);
    assert.match(text, /^process_resident_memory_bytes [1-9]\d{6,}$/m);
    assert.match(text, /^process_cpu_seconds_total \d/m);
    assert.ok(text.endsWith("\n"));
  });

  test("HEAD has the headers of GET and no body", async (t) => {
    const { get } = await serve(t);
    for (const path of ["/metrics", "/healthz", "/readyz"]) {
      const response = await get(path, { method: "HEAD" });
      assert.equal(response.status, 200, path);
      assert.ok(Number(response.headers.get("content-length")) > 0, path);
      assert.equal(await response.text(), "");
    }
  });

  test("nothing else is served", async (t) => {
    const { get, address } = await serve(t);
    for (const path of ["/", "/metrics/", "/debug", "/healthz/x", "/__proto__", "/constructor", "/..%2fmetrics"]) {
      assert.equal((await get(path)).status, 404, path);
    }
    for (const method of ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"]) {
      const response = await get("/metrics", { method, ...(method !== "OPTIONS" && { body: "x" }) });
      assert.deepEqual([response.status, response.headers.get("allow")], [405, "GET, HEAD"], method);
    }
    assert.match(await exchange(address, "nonsense\r\n\r\n"), /^HTTP\/1\.1 400 /);
    assert.match(await exchange(address, `GET /${"x".repeat(9000)} HTTP/1.1\r\nhost: x\r\n\r\n`), /^HTTP\/1\.1 431 /);
    assert.match(
      await exchange(address, "POST /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\nx"),
      /^HTTP\/1\.1 405 [\s\S]*connection: close/i,
    );
    assert.equal((await get("/readyz")).status, 200);
  });

  test("an error while metrics are rendered is answered, and does not end the process", async (t) => {
    let state: SyncSnapshot["state"] | undefined;
    const { get } = await serve(t, () => ({ ...syncSnapshot(), lastProgress: new Date(), state: state as never }));
    const response = await get("/metrics");
    assert.deepEqual([response.status, await response.text()], [500, "cannot render metrics\n"]);
    state = syncSnapshot().state;
    assert.equal((await get("/metrics")).status, 200);
    assert.equal((await get("/healthz")).status, 200);
  });
});

describe("slow and greedy clients", () => {
  test("a connection without a complete request is ended", async (t) => {
    const { address } = await serve(t, undefined, { timeout: 100 });
    const received = await Promise.all(
      ["", "GET /metrics HTTP/1.1\r\nhost: x\r\n"].map((text) => exchange(address, text)),
    );
    for (const text of received) assert.match(text, /^HTTP\/1\.1 408 /);
  });

  test("a reader that does not read is ended", async (t) => {
    const snapshot = syncSnapshot();
    // A text of 30 MB, more than the buffers of two sockets.
    const entry = (i: number) => `${i}-${"x".repeat(3000)}`;
    snapshot.state.members = Array.from({ length: 100 }, (_, i) => ({ entry: entry(i), cluster: `c${i}` }));
    const { address } = await serve(t, () => ({ ...snapshot, lastProgress: new Date() }), { timeout: 3000 });
    const socket = open(address);
    t.after(() => socket.destroy());
    socket.pause();
    let isEnded = false;
    socket.once("error", () => {
      isEnded = true;
    });
    socket.write("GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n");
    // A paused socket learns of its end by writing; empty lines between requests have no meaning.
    while (!isEnded) {
      socket.write("\r\n");
      await setTimeout(50);
    }
    assert.equal(socket.bytesRead, 0);
  });

  test("more than 64 connections are refused, and served again afterwards", async (t) => {
    const { address, get } = await serve(t);
    const sockets = Array.from({ length: 64 }, () => open(address));
    t.after(() => {
      for (const socket of sockets) socket.destroy();
    });
    await Promise.all(sockets.map((socket) => once(socket, "connect")));
    assert.equal(await exchange(address, "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"), "");
    for (const socket of sockets) socket.destroy();
    for (;;) {
      const status = await get("/healthz").then(
        (response) => response.status,
        () => undefined,
      );
      if (status === 200) break;
    }
  });

  test("stopping ends open connections and the socket at once", async (t) => {
    const server = await serve(t);
    const socket = open(server.address);
    await once(socket, "connect");
    const closed = closing(socket);
    server.close();
    await closed;
    await assert.rejects(server.get("/healthz"));
  });
});
