/** Streamed responses of both protocols, and the watches that they carry. */
import assert from "node:assert/strict";
import type { ServerHttp2Stream } from "node:http2";
import { connect, createServer, type Socket } from "node:net";
import { type TestContext, test } from "node:test";
import { setImmediate as nextTurn, setTimeout as sleep } from "node:timers/promises";
import { ApiError, configMaps, events, KubernetesApi, leases, secrets, type WatchEvent } from "../../lib/kube/api.ts";
import type { StreamedResponse, Transport } from "../../lib/kube/transport/transport.ts";
import {
  assertConnectionError,
  type Handler,
  listen,
  type OpenOptions,
  open,
  serve,
  type TestServer,
} from "../support/api-server.ts";
import { describeCluster, startCluster } from "../support/cluster.ts";

const never = new AbortController().signal;
const stream = (transport: Transport, signal = never, path = "/x") => transport.stream({ path }, signal);
const get = (transport: Transport, path = "/get") => transport.request({ method: "GET", path });

async function readAll({ body }: StreamedResponse): Promise<string> {
  let text = "";
  for await (const chunk of body) text += chunk;
  return text;
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await nextTurn();
}

/** Begins each response with a line, and keeps it open. */
const begin: Handler = (request, response) => {
  if (request.url === "/get") return void response.end("got");
  response.write("begun\n");
};

for (const kind of ["h2", "h1", "http"] as const) {
  test(`${kind}: the request timeout applies until the headers arrive, and chunks of text are not cut in characters`, async (t) => {
    const { url } = await serve(t, kind, async (request, response) => {
      assert.equal(request.headers.accept, "application/json");
      if (request.url === "/p/silent") return;
      response.writeHead(200, { "x-answer": "yes" });
      const bytes = Buffer.from("aü€😀z");
      for (const byte of bytes) {
        response.write(Buffer.of(byte));
        await sleep(50);
      }
      response.end();
    });
    const transport = open(t, `${url}/p`, { requestTimeout: 300 });
    const started = performance.now();
    const response = await stream(transport);
    assert.equal(response.headers["x-answer"], "yes");
    assert.equal(await readAll(response), "aü€😀z");
    assert.ok(performance.now() - started > 400);
    await assertConnectionError(stream(transport, never, "/silent"), /timed out after 0\.3s waiting for GET \/silent$/);
  });

  test(`${kind}: a stream ends for the server when its reader leaves, aborts or closes the transport`, async (t) => {
    let closed = 0;
    const { url } = await serve(t, kind, (request, response) => {
      response.on("close", () => closed++);
      begin(request, response);
    });
    const transport = open(t, url);
    for await (const chunk of (await stream(transport)).body) {
      assert.equal(chunk, "begun\n");
      break;
    }
    await until(() => closed === 1);
    const abort = new AbortController();
    const reading = readAll(await stream(transport, abort.signal));
    const reason = new Error("enough");
    abort.abort(reason);
    await assert.rejects(reading, reason);
    await assert.rejects(stream(transport, abort.signal), reason);
    await until(() => closed === 2);
    const last = readAll(await stream(transport));
    transport.close();
    await assertConnectionError(last, /cannot reach .*: connection closed/);
    await assertConnectionError(stream(transport), /connection closed/);
    await until(() => closed === 3);
  });

  test(`${kind}: a request can be aborted, also while it waits`, async (t) => {
    let arrived = 0;
    const { url } = await serve(t, kind, (request, response) => {
      arrived++;
      if (request.url === "/busy") response.writeHead(429, { "retry-after": "20" }).end();
    });
    const transport = open(t, url);
    for (const path of ["/silent", "/busy"]) {
      const abort = new AbortController();
      const sent = [transport.request({ method: "GET", path }, abort.signal), transport.stream({ path }, abort.signal)];
      const before = arrived;
      const reason = new Error("enough");
      const rejected = Promise.all(sent.map((one) => assert.rejects(one, reason)));
      await until(() => arrived === before + 2);
      abort.abort(reason);
      await rejected;
    }
  });

  test(`${kind}: a connection lost within the body is an error, and before the headers the request is sent again`, async (t) => {
    let refusals = 1;
    const { url, sockets, requests } = await serve(t, kind, (_, response) => {
      const cut = () => {
        for (const socket of sockets) socket.destroy();
      };
      if (refusals-- > 0) return cut();
      response.write("part of a li", () => setTimeout(cut, 20));
    });
    const transport = open(t, url);
    const response = await stream(transport);
    assert.equal(response.status, 200);
    assert.equal(requests.length, 2);
    await assertConnectionError(readAll(response), /cannot reach .*: connection reset by peer/);
    refusals = 2;
    await assertConnectionError(stream(transport), /connection reset by peer/);
    const unread = await stream(transport);
    await until(() => sockets.size === 0);
    await sleep(20);
    await assertConnectionError(readAll(unread), /connection reset by peer/);
  });

  test(`${kind}: new credentials after a 401, a delay after a 429, and other errors are complete responses`, async (t) => {
    let busy = 1;
    const { url, requests } = await serve(t, kind, (request, response) => {
      if (request.headers.authorization !== "Bearer 2") response.writeHead(401);
      else if (request.url === "/x" && busy-- > 0) response.writeHead(429, { "retry-after": "0" });
      else if (request.url === "/denied") response.writeHead(403);
      response.end(request.url);
    });
    let obtained = 0;
    const obtain = async () => ({ headers: { authorization: `Bearer ${++obtained}` } });
    const transport = open(t, url, { obtain });
    const ok = await stream(transport);
    assert.deepEqual([ok.status, await readAll(ok), requests.length], [200, "/x", 3]);
    const denied = await stream(transport, never, "/denied");
    assert.deepEqual([denied.status, await readAll(denied)], [403, "/denied"]);
    assert.equal(obtained, 2);
  });

  test(`${kind}: the body of an error must arrive within the request timeout`, async (t) => {
    const { url } = await serve(t, kind, (_, response) => {
      response.writeHead(500);
      response.write("{");
    });
    const transport = open(t, url, { requestTimeout: 150 });
    await assertConnectionError(stream(transport), /timed out after 0\.15s waiting for GET \/x$/);
  });

  test(`${kind}: a stream has no size limit`, async (t) => {
    const chunk = Buffer.alloc(1_048_576, "x");
    const { url } = await serve(t, kind, (_, response) => {
      let sent = 0;
      const more = () => {
        while (sent++ < 80) if (!response.write(chunk)) return response.once("drain", more);
        response.end();
      };
      more();
    });
    let length = 0;
    for await (const text of (await stream(open(t, url))).body) length += text.length;
    assert.equal(length, 80 * chunk.length);
  });

  test(`${kind}: ${kind === "h2" ? "streams and requests share one connection" : "requests do not wait for streams"}`, async (t) => {
    const { url, connections } = await serve(t, kind, begin);
    const transport = open(t, url);
    const open20 = await Promise.all(Array.from({ length: 20 }, () => stream(transport)));
    assert.equal(open20.length, 20);
    const answers = await Promise.all(Array.from({ length: 20 }, () => get(transport)));
    assert.deepEqual(new Set(answers.map(({ body }) => body)), new Set(["got"]));
    const most = kind === "h2" ? 1 : 26;
    assert.ok(connections() <= most, `${connections()} connections`);
  });
}

/** Forwards connections to a server until it is paused: then connections are half-open. */
async function startPausable(t: TestContext, { url }: TestServer) {
  const pairs: [Socket, Socket][] = [];
  const relay = await listen(
    t,
    createServer((near) => {
      const far = connect(Number(new URL(url).port), "127.0.0.1").on("error", () => {});
      near.on("close", () => far.destroy());
      far.on("close", () => near.destroy());
      near.pipe(far).pipe(near);
      pairs.push([near, far]);
    }),
  );
  const pause = () => {
    for (const [near, far] of pairs) near.unpipe().pause() && far.unpipe().pause();
  };
  return { ...relay, pause };
}

test("a half-open connection is detected by a ping; streams fail, and requests use a new connection", async (t) => {
  const server = await serve(t, "h2", begin);
  const relay = await startPausable(t, server);
  const transport = open(t, relay.url, { ping: { interval: 60, timeout: 60 } });
  const responses = await Promise.all([stream(transport), stream(transport)]);
  const [session] = server.sessions;
  let pings = 0;
  session?.on("ping", () => pings++);
  await until(() => pings >= 3);
  relay.pause();
  const ended = responses.map((one) => assertConnectionError(readAll(one), /: no response to a ping for 0\.06s$/));
  // A request in flight is sent again.
  assert.equal((await get(transport)).body, "got");
  await Promise.all(ended);
  assert.equal(relay.connections(), 2);
});

test("pings are sent only while streams are open and nothing arrives, and keep no process running", async (t) => {
  const streams: ServerHttp2Stream[] = [];
  const server = await serve(t, "h2", (request, response) => {
    streams.push(response.stream as ServerHttp2Stream);
    begin(request, response);
  });
  const transport = open(t, server.url, { ping: { interval: 20, timeout: 10_000 } });
  await get(transport);
  const [session] = server.sessions;
  let pings = 0;
  session?.on("ping", () => pings++);
  await sleep(100);
  assert.equal(pings, 0);
  const timers = () => process.getActiveResourcesInfo().filter((type) => type === "Timeout").length;
  const before = timers();
  const response = await stream(transport);
  await until(() => pings >= 2);
  assert.equal(timers(), before);
  const busy = setInterval(() => streams.at(-1)?.write("x"), 2);
  t.after(() => clearInterval(busy));
  await sleep(50);
  const quiet = pings;
  await sleep(200);
  assert.ok(pings <= quiet + 2, `${pings - quiet} pings while data arrived`);
  clearInterval(busy);
  streams.at(-1)?.end();
  await readAll(response);
  const ended = pings;
  await sleep(100);
  assert.ok(pings <= ended + 1);
});

test("a connection that is replaced after a timeout is closed once its streams have ended", async (t) => {
  for (const kind of ["h2", "h1"] as const) {
    const server = await serve(t, kind, (request, response) => {
      if (request.url !== "/silent") begin(request, response);
    });
    const transport = open(t, server.url, { requestTimeout: 200, ping: { interval: 50, timeout: 1_000 } });
    const abort = new AbortController();
    const response = await stream(transport, abort.signal);
    await assertConnectionError(get(transport, "/silent"), /timed out/);
    assert.equal((await get(transport)).body, "got");
    const reading = assert.rejects(readAll(response));
    await sleep(100);
    assert.ok(server.sockets.size > 1, kind);
    abort.abort();
    await reading;
    await until(() => server.sockets.size === 1);
  }
});

/** An API whose server responds to each request as `handle` does. */
async function startHostile(t: TestContext, handle: Handler, options: OpenOptions = {}) {
  const server = await serve(t, "h2", handle);
  const transport = open(t, server.url, options);
  const context = { context: "prod", flags: "--context prod", fieldManager: "me" };
  return { api: new KubernetesApi(transport, context), ...server };
}

const from = { resourceVersion: "1", timeoutSeconds: 60, signal: never };

async function collect<T extends object>(watch: AsyncGenerator<WatchEvent<T>>, count = Number.POSITIVE_INFINITY) {
  const found: string[] = [];
  for await (const { type, object } of watch) {
    const { name, resourceVersion } = (object as { metadata: { name?: string; resourceVersion: string } }).metadata;
    found.push(`${type} ${name ?? resourceVersion}`);
    if (found.length === count) break;
  }
  return found;
}

async function apiErrorOf(promise: Promise<unknown>): Promise<ApiError> {
  const error = await promise.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof ApiError, String(error));
  return error;
}

test("a watch has the path, the parameters and the selectors of its objects", async (t) => {
  const { api, requests } = await startHostile(t, (_, response) => response.end());
  await collect(api.watch(leases, { ...from, namespace: "n s", name: "x" }));
  await collect(api.watch(events, { ...from, labelSelector: "a=b", metadataOnly: true }));
  const query = "watch=true&allowWatchBookmarks=true&resourceVersion=1&timeoutSeconds=60";
  assert.deepEqual(requests, [
    `GET /apis/coordination.k8s.io/v1/namespaces/n%20s/leases?${query}&fieldSelector=metadata.name%3Dx`,
    `GET /api/v1/events?${query}&labelSelector=a%3Db`,
  ]);
});

test("a watch continues a list, and sees the changes of the object with a name", async (t) => {
  const { api, server, change, remove } = await startCluster(t, describeCluster());
  const namespace = "kube-system";
  const { items, resourceVersion } = await api.listAt(configMaps, { namespace, name: "cilium-config" });
  assert.deepEqual(
    items.map(({ metadata }) => metadata?.name),
    ["cilium-config"],
  );
  const all = await api.listAt(secrets, { namespace });
  assert.ok(all.items.length > 1);
  const selection = { namespace, name: "cilium-config", resourceVersion, timeoutSeconds: 60, signal: never };
  change("ConfigMap", "cilium-config", (object) => (object.data.debug = "true"));
  const watch = api.watch(configMaps, selection);
  const first = await watch.next();
  assert.equal(first.value?.type, "MODIFIED");
  assert.equal(first.value?.object.data?.debug, "true");
  await api.mergePatch(configMaps, namespace, "cilium-config", { data: { debug: "false" } });
  remove("ConfigMap", "cilium-config");
  assert.deepEqual(await collect(watch, 2), ["MODIFIED cilium-config", "DELETED cilium-config"]);
  await until(() => server.store.history.listeners === 0);
});

test("a watch ends after timeoutSeconds and when its signal aborts", async (t) => {
  const { api, server } = await startCluster(t, describeCluster());
  const { resourceVersion } = await api.listAt(secrets);
  const watch = { resourceVersion, signal: never };
  const bookmarks = await collect(api.watch(secrets, { ...watch, timeoutSeconds: 1 }));
  assert.deepEqual(bookmarks, []);
  const abort = new AbortController();
  let opened = 0;
  const running = collect(
    api.watch(secrets, { ...watch, timeoutSeconds: 600, signal: abort.signal, onOpen: () => opened++ }),
  );
  await until(() => server.store.history.listeners === 1);
  await until(() => opened === 1);
  abort.abort();
  assert.deepEqual(await running, []);
  assert.deepEqual(await collect(api.watch(secrets, { ...watch, timeoutSeconds: 600, signal: abort.signal })), []);
  await until(() => server.store.history.listeners === 0);
});

test("with metadataOnly, lists and watches have no data", async (t) => {
  const { api, change } = await startCluster(t, describeCluster());
  const selection = { namespace: "kube-system", metadataOnly: true };
  const { items, resourceVersion } = await api.listAt(secrets, selection);
  change("Secret", "cilium-ca", (object) => (object.metadata.labels = { a: "b" }));
  const watch = api.watch(secrets, { ...selection, resourceVersion, timeoutSeconds: 60, signal: never });
  const { value } = await watch.next();
  assert.equal(value?.object.metadata?.labels?.a, "b");
  for (const object of [...items, value?.object]) {
    assert.ok(object?.metadata?.name);
    assert.deepEqual(
      Object.keys(object).filter((key) => !["apiVersion", "kind", "metadata"].includes(key)),
      [],
    );
  }
  await watch.return();
});

test("a compacted version is an error with status 410, and a denied watch names the permission", async (t) => {
  const forbid = [{ verb: "watch", resource: "secrets" }];
  const { api, server, change } = await startCluster(t, describeCluster(), { forbid });
  const { resourceVersion } = await api.listAt(configMaps);
  change("ConfigMap", "cilium-config", (object) => (object.data.debug = "true"));
  server.store.history.compact();
  const watch = { resourceVersion, timeoutSeconds: 60, signal: never };
  const expired = await apiErrorOf(collect(api.watch(configMaps, { ...watch, namespace: "kube-system" })));
  assert.deepEqual([expired.status, expired.reason, expired.subject.verb], [410, "Expired", "watch"]);
  assert.match(
    expired.message,
    /: cannot watch configmaps in namespace kube-system: The resourceVersion for the provided watch is too old\. \(410\)$/,
  );
  const denied = await apiErrorOf(collect(api.watch(secrets, { ...watch, namespace: "kube-system", name: "x" })));
  assert.equal(denied.status, 403);
  assert.match(denied.message, /: not allowed to watch secret\/x in namespace kube-system as tester\n/);
  assert.match(denied.message, /\n {2}check with: kubectl auth can-i watch secrets\/x -n kube-system --kubeconfig /);
});

const bookmark = (metadata: unknown) => `${JSON.stringify({ type: "BOOKMARK", object: { metadata } })}\n`;
const added = `${JSON.stringify({ type: "ADDED", object: { metadata: { name: "a", resourceVersion: "2" } } })}\n`;

test("a response that is not a watch is an error", async (t) => {
  let answer = "";
  const { api } = await startHostile(t, (_, response) => response.end(answer));
  const bad: [answer: string, message: RegExp][] = [
    ["<html>\n<body>login</body>\n</html>\n", /event is not JSON; check that the server is a Kubernetes API server/],
    [added + added.slice(0, 30), /event is not JSON/],
    ["null\n", /event is not JSON/],
    [bookmark({}), /response is not a watch event/],
    [bookmark({ resourceVersion: 7 }), /response is not a watch event/],
    [bookmark({ resourceVersion: "" }), /response is not a watch event/],
    [bookmark(null), /response is not a watch event/],
    ['{"type":"BOOKMARK"}\n', /response is not a watch event/],
    ['{"type":"TOUCHED","object":{"metadata":{"name":"a","resourceVersion":"2"}}}\n', /not a watch event/],
    ['{"type":"ADDED","object":{"metadata":{"resourceVersion":"2"}}}\n', /response is not a watch event/],
    ['{"kind":"ConfigMapList","items":[]}', /response is not a watch event/],
    ['{"type":"ERROR"}\n', /cannot watch configmaps in all namespaces: no reason given \(500\)/],
    ['{"type":"ERROR","object":{"code":"x","message":7}}\n', /no reason given \(500\)/],
    ['{"type":"ERROR","object":{"code":504,"reason":"Timeout","message":"late"}}\n', /: late \(504\)/],
  ];
  for (const [text, message] of bad) {
    answer = text;
    const error = await apiErrorOf(collect(api.watch(configMaps, from)));
    assert.match(error.message, message, text);
    assert.equal(error.message.split("\n").length, 1);
  }
  answer = `${added}\n  \r\n${added.trim()}`;
  assert.deepEqual(await collect(api.watch(configMaps, from)), ["ADDED a", "ADDED a"]);
});

test("a line has at most 16 MiB", async (t) => {
  let isClosed = false;
  const { api } = await startHostile(t, (_, response) => {
    response.on("close", () => {
      isClosed = true;
    });
    const chunk = Buffer.alloc(1_048_576, "x");
    const more = () => {
      while (!isClosed) if (!response.write(chunk)) return void response.once("drain", more);
    };
    response.on("error", () => {});
    more();
  });
  const error = await apiErrorOf(collect(api.watch(configMaps, from)));
  assert.match(error.message, /event exceeds 16 MiB/);
  await until(() => isClosed);
});

test("an error response of a watch is an error with its status; the body of another status is not read", async (t) => {
  let status = 200;
  const { api } = await startHostile(t, (_, response) => {
    response.writeHead(status);
    if (status === 206) response.write("{");
    else response.end(status === 500 ? "<html>" : JSON.stringify({ message: "why" }));
  });
  const expected: [number, RegExp][] = [
    [500, /response is not JSON.* \(500\)/],
    [404, /cannot watch configmaps in all namespaces: why \(404\)/],
    [206, /response is not JSON.* \(206\)/],
  ];
  for (const [code, message] of expected) {
    status = code;
    const error = await apiErrorOf(collect(api.watch(configMaps, from)));
    assert.equal(error.status, code);
    assert.match(error.message, message);
  }
});

test("a watch that the server does not end is ended 30 s after its time", async (t) => {
  const { api } = await startHostile(t, (_, response) => response.writeHead(200));
  t.mock.timers.enable({ apis: ["setTimeout"] });
  let isOpen = false;
  const onOpen = () => {
    isOpen = true;
  };
  const next = api.watch(configMaps, { ...from, onOpen }).next();
  const rejected = assertConnectionError(
    next,
    /context "prod": the server has not ended the watch of configmaps after 60s/,
  );
  await until(() => isOpen);
  t.mock.timers.tick(90_000);
  await rejected;
});

test("a list for a watch is complete, from one version, and validated", async (t) => {
  const pages: [number, object][] = [];
  const { api, requests } = await startHostile(t, (_, response) => {
    const [status, page] = pages.shift() ?? [500, {}];
    response.writeHead(status).end(JSON.stringify(page));
  });
  const item = (name: string) => ({ metadata: { name } });
  pages.push([200, { metadata: { resourceVersion: "7", continue: "next" }, items: [item("a")] }]);
  pages.push([200, { metadata: { resourceVersion: "7" }, items: [item("b")] }]);
  const { items, resourceVersion } = await api.listAt(configMaps, { namespace: "n", labelSelector: "a=b" });
  assert.deepEqual([items, resourceVersion], [[item("a"), item("b")], "7"]);
  assert.deepEqual(requests, [
    "GET /api/v1/namespaces/n/configmaps?limit=500&labelSelector=a%3Db",
    "GET /api/v1/namespaces/n/configmaps?limit=500&labelSelector=a%3Db&continue=next",
  ]);
  pages.push([200, { metadata: { resourceVersion: "7", continue: "next" }, items: [item("a")] }]);
  pages.push([410, { reason: "Expired", message: "expired", metadata: { continue: "other" } }]);
  assert.equal((await apiErrorOf(api.listAt(configMaps))).status, 410);
  pages.push([200, { metadata: { resourceVersion: "7" }, items: null }]);
  assert.deepEqual(await api.listAt(configMaps), { items: [], resourceVersion: "7" });
  const bad = [
    { items: [] },
    { metadata: null, items: [] },
    { metadata: { resourceVersion: 7 }, items: [] },
    { metadata: { resourceVersion: "7" }, items: {} },
    { metadata: { resourceVersion: "7" }, items: [null] },
    { metadata: { resourceVersion: "7" }, items: [{ metadata: {} }] },
    [],
  ];
  for (const page of bad) {
    pages.push([200, page]);
    const error = await apiErrorOf(api.listAt(configMaps));
    assert.match(error.message, /cannot list configmaps in all namespaces: response is not a list of objects \(200\)/);
  }
});
