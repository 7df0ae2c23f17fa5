/** Observations against the sandbox, and against servers that end, break and refuse watches. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { setImmediate as nextTurn, setTimeout as sleep } from "node:timers/promises";
import type { V1ConfigMap } from "@kubernetes/client-node";
import { ApiError, configMaps, KubernetesApi, secrets } from "../../lib/kube/api.ts";
import { type ObserveOptions, type ObserveTiming, observeObjects } from "../../lib/kube/observe.ts";
import type { UserError } from "../../lib/util/errors.ts";
import { type Handler, type Kind, type OpenOptions, open, serve } from "../support/api-server.ts";
import { describeCluster, startCluster } from "../support/cluster.ts";

const QUICK: Partial<ObserveTiming> = { minDelay: 5, maxDelay: 40, steady: 10 };

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await nextTurn();
}

/** Starts to observe ConfigMaps; it ends after the test. `log` has the changes and restarts. */
function observe(t: TestContext, api: KubernetesApi, options: Partial<ObserveOptions<V1ConfigMap>> = {}) {
  const abort = new AbortController();
  const log: string[] = [];
  const errors: UserError[] = [];
  const repeated: boolean[] = [];
  const done = observeObjects(api, configMaps, {
    namespace: "kube-system",
    signal: abort.signal,
    timing: QUICK,
    onChange: (change) => {
      if (change.kind === "listed")
        log.push(`listed ${change.objects.map(({ metadata }) => metadata?.name).join(",")}`);
      else log.push(`${change.event.type} ${change.event.object.metadata?.name}`);
    },
    onRestart: (reason, error, isRepeated) => {
      log.push(reason);
      repeated.push(isRepeated);
      if (error) errors.push(error);
    },
    ...options,
  });
  const stop = async () => {
    abort.abort();
    await done;
  };
  t.after(stop);
  return { log, errors, repeated, stop };
}

/** An API whose server handles lists as ConfigMap lists of version 5, and watches as `onWatch` does. */
async function startHostile(
  t: TestContext,
  onWatch: Handler,
  { kind = "h2", onList, ...options }: OpenOptions & { kind?: Kind; onList?: Handler } = {},
) {
  const lists: string[] = [];
  const watches: URLSearchParams[] = [];
  const server = await serve(t, kind, (request, response) => {
    const query = new URL(request.url, "http://x").searchParams;
    if (query.has("watch")) {
      watches.push(query);
      return onWatch(request, response);
    }
    lists.push(request.url);
    if (onList) return onList(request, response);
    response.end(JSON.stringify({ metadata: { resourceVersion: "5" }, items: [{ metadata: { name: "a" } }] }));
  });
  const context = { context: "prod", flags: "--context prod", fieldManager: "me" };
  const api = new KubernetesApi(open(t, server.url, options), context);
  const versions = () => watches.map((query) => query.get("resourceVersion"));
  return { ...server, api, lists, watches, versions };
}

const line = (type: string, resourceVersion: string, name = "a") =>
  `${JSON.stringify({ type, object: { metadata: { name, resourceVersion } } })}\n`;
const bookmark = (resourceVersion: string) =>
  `${JSON.stringify({ type: "BOOKMARK", object: { metadata: { resourceVersion } } })}\n`;
const status = (code: number, reason: string) => JSON.stringify({ kind: "Status", code, reason, message: reason });

test("objects are listed, and their changes follow until the signal aborts", async (t) => {
  const { api, server, change, remove } = await startCluster(t, describeCluster());
  const { log, stop } = observe(t, api, { name: "cilium-config" });
  await until(() => server.store.history.listeners === 1);
  change("ConfigMap", "cilium-config", (object) => (object.data.a = "1"));
  remove("ConfigMap", "cilium-config");
  await until(() => log.length === 3);
  assert.deepEqual(log, ["listed cilium-config", "MODIFIED cilium-config", "DELETED cilium-config"]);
  await stop();
  assert.equal(log.length, 3);
  await until(() => server.store.history.listeners === 0);
  const paths = server.requests.map(({ path }) => path);
  assert.equal(paths.length, 2);
  for (const path of paths) assert.match(path, /[?&]fieldSelector=metadata\.name%3Dcilium-config/);
  const seconds = Number(/timeoutSeconds=(\d+)/.exec(paths[1] ?? "")?.[1]);
  assert.ok(seconds >= 300 && seconds <= 600, `${seconds}`);
});

test("a watch that ends is resumed from the last version, also of a bookmark, without a list", async (t) => {
  const answers = [line("ADDED", "7", "b") + bookmark("9"), line("MODIFIED", "12", "b"), ""];
  const { api, lists, watches, versions } = await startHostile(t, async (_, response) => {
    const answer = answers.shift();
    if (answer === undefined) return void response.writeHead(200);
    response.write(answer);
    await sleep(30);
    response.end();
  });
  // On a busy machine, a watch may open and end at once.
  const { log, errors } = observe(t, api, { timing: { ...QUICK, steady: 0 } });
  // The last one may have ended too.
  await until(() => watches.length >= 4);
  assert.deepEqual(versions().slice(0, 4), ["5", "9", "12", "12"]);
  assert.deepEqual(log.slice(0, 6), ["listed a", "ADDED b", "ended", "MODIFIED b", "ended", "ended"]);
  assert.equal(lists.length, 1);
  assert.deepEqual(errors, []);
});

test("after a 410, as an event or as a response, the objects are listed again", async (t) => {
  const answers: Handler[] = [
    (_, response) =>
      response.end(`${bookmark("6")}${line("ERROR", "").replace(/\{"metadata.*\}\}/, `${status(410, "Expired")}}`)}`),
    (_, response) => response.writeHead(410).end(status(410, "Gone")),
    (_, response) => void response.writeHead(200),
  ];
  const { api, lists, watches, versions } = await startHostile(t, (...args) => answers.shift()?.(...args));
  const { log, errors } = observe(t, api);
  await until(() => watches.length === 3);
  assert.deepEqual(versions(), ["5", "5", "5"]);
  assert.deepEqual(log, ["listed a", "expired", "listed a", "expired", "listed a"]);
  assert.equal(lists.length, 3);
  for (const error of errors) assert.equal((error as ApiError).status, 410);
});

test("history that was compacted while the watch was away is replaced by a list", async (t) => {
  const { api, server, change } = await startCluster(t, describeCluster());
  let isAway = false;
  server.onRequest = () => (isAway ? { status: 503, body: { kind: "Status", code: 503 } } : undefined);
  const { log } = observe(t, api, { name: "cilium-config", timing: { ...QUICK, duration: 500 } });
  await until(() => server.store.history.listeners === 1);
  isAway = true;
  await until(() => log.includes("error"));
  change("ConfigMap", "cilium-config", (object) => (object.data.a = "1"));
  server.store.history.compact();
  isAway = false;
  await until(() => log.filter((entry) => entry.startsWith("listed")).length === 2);
  assert.deepEqual([log[0], log.at(-1)], ["listed cilium-config", "listed cilium-config"]);
});

const broken: [name: string, onWatch: Handler, relists: boolean][] = [
  ["an HTML page", (_, response) => response.end("<html></html>"), true],
  ["truncated JSON", (_, response) => response.end(line("ADDED", "6").slice(0, 20)), true],
  [
    "a bookmark without a version",
    (_, response) => response.end('{"type":"BOOKMARK","object":{"metadata":{}}}\n'),
    true,
  ],
  ["no content", (_, response) => response.writeHead(204).end(), true],
  ["a 400", (_, response) => response.writeHead(400).end(status(400, "BadRequest")), true],
  ["a 403", (_, response) => response.writeHead(403).end(status(403, "Forbidden")), true],
  ["a 404 without JSON", (_, response) => response.writeHead(404).end("404 page not found"), true],
  ["a 410 each time", (_, response) => response.writeHead(410).end(status(410, "Expired")), true],
  [
    "a 429",
    (_, response) => response.writeHead(429, { "retry-after": "0" }).end(status(429, "TooManyRequests")),
    false,
  ],
  ["a 500", (_, response) => response.writeHead(500).end(status(500, "InternalError")), false],
  ["an end at once", (_, response) => response.end(), false],
  ["a closed connection", (request) => request.stream.session?.destroy(), false],
  ["a refused stream", (request) => request.stream.close(7), false],
];

for (const [name, onWatch, relists] of broken) {
  test(`a watch that is answered with ${name} again and again is retried with growing delays`, async (t) => {
    const { api, lists, watches } = await startHostile(t, onWatch);
    const timing = { minDelay: 20, maxDelay: 240, steady: 60_000 };
    const { log, errors, stop } = observe(t, api, { timing });
    await until(() => errors.length >= 3);
    const attempts = log.length;
    const started = performance.now();
    await until(() => errors.length >= 7);
    // 80, 160, 160, 160 ms, each with up to half of it more.
    const waited = performance.now() - started;
    assert.ok(waited > 540, `${waited} ms`);
    await stop();
    assert.ok(watches.length < 60, `${watches.length} watches`);
    // The version is not trusted after the third failure.
    const listed = log.slice(0, attempts).filter((entry) => entry.startsWith("listed")).length;
    assert.equal(listed, relists ? 3 : 1);
    assert.ok(lists.length > 3);
  });
}

test("an endless line is an error, and the objects are watched again", async (t) => {
  let isFirst = true;
  const { api, versions } = await startHostile(t, (_, response) => {
    if (!isFirst) return void response.write(line("ADDED", "6", "b"));
    isFirst = false;
    const chunk = Buffer.alloc(1_048_576, "x");
    const more = () => {
      while (!response.destroyed) if (!response.write(chunk)) return void response.once("drain", more);
    };
    response.on("error", () => {});
    more();
  });
  const { log, errors } = observe(t, api);
  await until(() => log.includes("ADDED b"));
  assert.deepEqual(log, ["listed a", "error", "listed a", "ADDED b"]);
  assert.match(errors[0]?.message ?? "", /event exceeds 16 MiB/);
  assert.deepEqual(versions(), ["5", "5"]);
});

for (const kind of ["h2", "h1"] as const) {
  test(`${kind}: a watch cut in the middle of a line is resumed from the last whole one`, async (t) => {
    let cuts = 2;
    const { api, sockets, lists, watches, versions } = await startHostile(
      t,
      (_, response) => {
        const version = 10 - cuts;
        const text = line("MODIFIED", String(version));
        if (cuts-- <= 0) return void response.write(text);
        response.write(text + text.slice(0, 25), () =>
          setTimeout(() => {
            for (const socket of sockets) socket.destroy();
          }, 20),
        );
      },
      { kind },
    );
    const { log, errors } = observe(t, api);
    await until(() => log.length === 6);
    assert.deepEqual(log, ["listed a", "MODIFIED a", "error", "MODIFIED a", "error", "MODIFIED a"]);
    assert.deepEqual(versions(), ["5", "8", "9"]);
    assert.equal(lists.length, 1);
    assert.equal(watches.length, 3);
    for (const { message } of errors) assert.match(message, /cannot reach .*: connection reset by peer/);
  });

  test(`${kind}: a token that expires is renewed for the next watch, and Retry-After is honored`, async (t) => {
    let valid = 1;
    let busy = 1;
    const { api, requests } = await startHostile(
      t,
      (request, response) => {
        if (request.headers.authorization !== `Bearer ${valid}`) return void response.writeHead(401).end("{}");
        if (busy-- > 0) return void response.writeHead(429, { "retry-after": "1" }).end("{}");
        response.write(line("ADDED", "6"));
        if (valid++ === 1) setTimeout(() => response.end(), 20);
      },
      { kind, obtain: async () => ({ headers: { authorization: `Bearer ${valid}` } }) },
    );
    const { log } = observe(t, api);
    const started = performance.now();
    await until(() => log.length === 4);
    assert.deepEqual(log, ["listed a", "ADDED a", "ended", "ADDED a"]);
    assert.ok(performance.now() - started > 990);
    assert.equal(requests.length, 1 + 2 + 2);
  });
}

test("a list that fails is repeated with a delay, and every error is reported", async (t) => {
  let failures = 3;
  const { api, lists } = await startHostile(t, (_, response) => void response.writeHead(200), {
    onList: (_, response) => {
      if (failures-- > 0) response.writeHead(500).end(status(500, "InternalError"));
      else response.end(JSON.stringify({ metadata: { resourceVersion: "5" }, items: [] }));
    },
  });
  const { log, errors, repeated } = observe(t, api);
  await until(() => log.includes("listed "));
  assert.deepEqual(log, ["error", "error", "error", "listed "]);
  assert.deepEqual(repeated, [false, true, true]);
  assert.equal(lists.length, 4);
  for (const error of errors) assert.ok(error instanceof ApiError && error.status === 500);
});

test("an observation ends while it connects, lists, waits and watches", async (t) => {
  const silent = () => {};
  const { api, lists, watches } = await startHostile(t, silent, { onList: silent });
  const listing = observe(t, api);
  await until(() => lists.length === 1);
  await listing.stop();
  const refused = await startHostile(t, silent, { onList: (_, response) => response.writeHead(403).end("{}") });
  const waiting = observe(t, refused.api, { timing: { minDelay: 600_000, maxDelay: 900_000 } });
  await until(() => waiting.log.length === 1);
  await waiting.stop();
  const connecting = observe(
    t,
    new KubernetesApi(open(t, "https://192.0.2.1"), { context: "a", flags: "", fieldManager: "a" }),
  );
  await connecting.stop();
  const { api: other, watches: others } = await startHostile(t, silent);
  const watching = observe(t, other);
  await until(() => others.length === 1);
  await watching.stop();
  assert.deepEqual(
    [listing.log, waiting.log, connecting.log, watching.log, watches],
    [[], ["error"], [], ["listed a"], []],
  );
});

test("an error of the consumer ends the observation, and its watch", async (t) => {
  const { api, server } = await startCluster(t, describeCluster());
  const signal = new AbortController().signal;
  const mistake = new Error("mistake");
  const failing = observeObjects(api, secrets, {
    signal,
    onChange: ({ kind }) => {
      if (kind === "event") throw mistake;
    },
  });
  const rejected = assert.rejects(failing, mistake);
  await until(() => server.store.history.listeners === 1);
  const { metadata, ...secret } = server.store.all("Secret")[0] ?? assert.fail();
  server.store.put({ ...secret, metadata: { ...metadata, labels: { a: "b" } } } as never);
  await rejected;
  await until(() => server.store.history.listeners === 0);
});

test("many observations share a signal without a warning", async (t) => {
  const warnings: Error[] = [];
  const onWarning = (warning: Error) => warnings.push(warning);
  process.on("warning", onWarning);
  t.after(() => process.off("warning", onWarning));
  const { api, server } = await startCluster(t, describeCluster());
  const abort = new AbortController();
  const all = Array.from({ length: 40 }, () =>
    observeObjects(api, configMaps, { signal: abort.signal, onChange: () => {} }),
  );
  await until(() => server.store.history.listeners === 40);
  abort.abort();
  await Promise.all(all);
  await nextTurn();
  assert.deepEqual(warnings, []);
});
