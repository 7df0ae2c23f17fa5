/** Watches of the sandbox beyond the contract: connections, slow clients, hooks. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { type ClientHttp2Session, type ClientHttp2Stream, connect } from "node:http2";
import { request as httpsRequest } from "node:https";
import { createInterface } from "node:readline";
import { type TestContext, test } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { KubernetesObject } from "../../lib/sandbox/object.ts";
import { type Api, type ApiOptions, startApi } from "../../lib/sandbox/server.ts";

const PATH = "/api/v1/namespaces/kube-system/configmaps?watch=1";

function configMap(name: string, text = ""): KubernetesObject {
  return { apiVersion: "v1", kind: "ConfigMap", metadata: { name, namespace: "kube-system" }, data: { a: text } };
}

async function start(t: TestContext, options: ApiOptions = {}): Promise<{ api: Api; session: ClientHttp2Session }> {
  const api = await startApi(options);
  const session = connect(api.url, { ca: api.ca.cert }).on("error", () => {});
  t.after(async () => {
    session.destroy();
    await api.stop();
  });
  return { api, session };
}

/** Starts a watch over HTTP/2, and waits for the status. */
async function open({ api, session }: { api: Api; session: ClientHttp2Session }, query = "") {
  const stream = session.request({ ":path": PATH + query, authorization: `Bearer ${api.token}` });
  stream.on("error", () => {});
  const [headers] = await once(stream, "response");
  return { stream, status: Number(headers[":status"]) };
}

/** Reads all events until the end. */
async function readAll(stream: ClientHttp2Stream) {
  const events: { type: string; object: KubernetesObject & { code?: number } }[] = [];
  for await (const line of createInterface({ input: stream })) events.push(JSON.parse(line));
  return events;
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await nextTurn();
}

test("watches share an HTTP/2 connection, and end with their streams", async (t) => {
  const server = await start(t);
  const { history } = server.api.store;
  const watches = await Promise.all(Array.from({ length: 20 }, () => open(server)));
  assert.deepEqual(new Set(watches.map(({ status }) => status)), new Set([200]));
  assert.equal(history.listeners, 20);
  const lines = watches.map(({ stream }) => once(createInterface({ input: stream }), "line"));
  server.api.store.put(configMap("a"));
  for (const [line] of await Promise.all(lines)) assert.equal(JSON.parse(line).object.metadata.name, "a");
  for (const { stream } of watches) stream.close();
  await until(() => history.listeners === 0);
  assert.deepEqual(
    new Set(server.api.requests.map(({ path, status }) => `${path} ${status}`)),
    new Set([`${PATH} 200`]),
  );
});

test("a watch ends with its connection, also if that is closed before the watch begins", async (t) => {
  const { api } = await start(t);
  for (const delayed of [false, true]) {
    let reach = () => {};
    const reached = new Promise<void>((resolve) => {
      reach = resolve;
    });
    let proceed = () => {};
    api.onRequest = async () => {
      reach();
      if (delayed) await new Promise<void>((resolve) => (proceed = resolve));
      return undefined;
    };
    const headers = { authorization: `Bearer ${api.token}` };
    const handled = api.requests.length;
    const request = httpsRequest(new URL(PATH, api.url), { ca: api.ca.cert, headers, agent: false });
    const closed = new Promise((resolve) => request.on("error", () => {}).once("close", resolve));
    request.end();
    await reached;
    if (!delayed) await once(request, "response");
    request.destroy();
    await closed;
    // The server sees the end of a connection later than the client.
    for (let i = 0; delayed && i < 100; i++) await nextTurn();
    proceed();
    await until(() => api.requests.length > handled && api.store.history.listeners === 0);
  }
});

test("a client that does not read is closed when its changes are compacted; what is buffered does not grow", async (t) => {
  const server = await start(t, { history: { changes: 5 } });
  const { store } = server.api;
  const { stream } = await open(server);
  stream.pause();
  const text = "x".repeat(500_000);
  let writes = 0;
  for (; store.history.listeners > 0; writes++) {
    store.put(configMap("large", `${writes} ${text}`));
    await nextTurn();
  }
  assert.ok(writes >= 5 && writes < 20, `${writes} writes`);
  stream.resume();
  const events = await readAll(stream);
  assert.ok(events.length < writes, `${events.length} of ${writes} events`);
  for (const [i, { object }] of events.entries()) assert.equal(object.data.a, `${i} ${text}`);
  const last = events.at(-1)?.object.metadata.resourceVersion;
  const resumed = await readAll((await open(server, `&resourceVersion=${last}`)).stream);
  assert.deepEqual(
    resumed.map(({ type, object }) => [type, object.code]),
    [["ERROR", 410]],
  );
});

test("a client that reads slowly gets every change that is not compacted, in order", async (t) => {
  const server = await start(t);
  const { store } = server.api;
  const { stream } = await open(server, "&timeoutSeconds=3");
  const text = "x".repeat(100_000);
  stream.pause();
  for (let i = 0; i < 30; i++) store.put(configMap("large", `${i} ${text}`));
  await nextTurn();
  stream.resume();
  const events = await readAll(stream);
  assert.deepEqual(
    events.map(({ object }) => object.data.a.split(" ")[0]),
    Array.from({ length: 30 }, (_, i) => String(i)),
  );
});

test("changes by the store, and of pods that start, are events", async (t) => {
  const { api, session } = await start(t, {
    objects: [
      {
        apiVersion: "v1",
        kind: "Pod",
        metadata: { name: "p", namespace: "kube-system" },
        spec: { containers: [], volumes: [{ name: "v", configMap: { name: "mounted" } }] },
        status: { phase: "Pending" },
      },
    ],
  });
  const authorization = `Bearer ${api.token}`;
  const stream = session.request({ ":path": "/api/v1/pods?watch=1&timeoutSeconds=1", authorization });
  await once(stream, "response");
  api.store.put(configMap("mounted"));
  api.store.remove("Pod", "kube-system", "p");
  assert.equal(api.store.remove("Pod", "kube-system", "p"), false);
  const events = await readAll(stream);
  assert.deepEqual(
    events.map(({ type, object }) => [type, object.status.phase]),
    [
      ["ADDED", "Pending"],
      ["MODIFIED", "Running"],
      ["DELETED", "Running"],
    ],
  );
});

test("onRequest can answer a watch with 410, and stop ends watches", async (t) => {
  const server = await start(t);
  server.api.onRequest = () => ({ status: 410, body: { kind: "Status", code: 410, reason: "Expired" } });
  const refused = await open(server);
  assert.equal(refused.status, 410);
  refused.stream.resume();
  server.api.onRequest = undefined;
  const { stream } = await open(server);
  const closed = once(stream, "close");
  await server.api.stop();
  await closed;
  await until(() => server.api.store.history.listeners === 0);
});

test("objects of the start are not in the history", async (t) => {
  const server = await start(t, { objects: [configMap("a")] });
  const events = await readAll((await open(server, "&resourceVersion=1")).stream);
  assert.deepEqual(
    events.map(({ object }) => object.code),
    [410],
  );
});
