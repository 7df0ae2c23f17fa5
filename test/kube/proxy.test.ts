import assert from "node:assert/strict";
import { createServer as createHttpServer, request as httpRequest, type IncomingMessage } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import { createServer, connect as netConnect, type Socket } from "node:net";
import { type TestContext, test } from "node:test";
import { KubeconfigError } from "../../lib/kube/kubeconfig/kubeconfig.ts";
import { proxyFor } from "../../lib/kube/transport/proxy.ts";
import { makeCa } from "../../lib/sandbox/pki.ts";
import {
  assertConnectionError,
  ca,
  certificate,
  contextOf,
  type Handler,
  listen,
  open,
  serve,
} from "../support/api-server.ts";

const env = { HTTP_PROXY: "http://plain:1", HTTPS_PROXY: "http://secure:2" };
const chosen = (url: string, over: NodeJS.ProcessEnv = {}) =>
  proxyFor(contextOf(url), new URL(url), { ...env, ...over })?.host;

test("the proxy of the environment depends on the scheme and excludes loopback; proxy-url precedes it", () => {
  assert.equal(chosen("https://h"), "secure:2");
  assert.equal(chosen("http://h"), "plain:1");
  assert.equal(chosen("https://h", { HTTPS_PROXY: "", https_proxy: "low:3" }), "low:3");
  assert.equal(chosen("https://h", { HTTPS_PROXY: "bare.example:3128" }), "bare.example:3128");
  assert.equal(chosen("https://h", { HTTPS_PROXY: undefined, ALL_PROXY: "http://all:1" }), undefined);
  for (const host of ["localhost", "127.0.0.1", "127.9.9.9", "[::1]"]) {
    assert.equal(chosen(`https://${host}:6443`), undefined, host);
  }
  assert.equal(chosen("https://127.example.com"), "secure:2");
  const context = { ...contextOf("https://127.0.0.1"), proxyUrl: "socks5://mine:1080" };
  assert.equal(proxyFor(context, new URL(context.server), { ...env, NO_PROXY: "*" })?.href, "socks5://mine:1080");
});

test("NO_PROXY is matched as by Go", () => {
  const exempt: [string, string][] = [
    ["*", "https://h"],
    ["a, example.com ,b", "https://example.com"],
    ["example.com", "https://api.EXAMPLE.com"],
    [".example.com", "https://api.example.com"],
    ["*.example.com", "https://api.example.com"],
    ["example.com:443", "https://example.com"],
    ["example.com:6443", "https://api.example.com:6443"],
    ["10.1.2.3", "https://10.1.2.3:6443"],
    ["10.1.2.3:6443", "https://10.1.2.3:6443"],
    ["10.0.0.0/8", "https://10.1.2.3"],
    ["fd00::/16", "https://[fd00::1]"],
    ["fd00:0::1", "https://[fd00::1]"],
    ["[fd00::1]:6443", "https://[fd00::1]:6443"],
  ];
  for (const [list, url] of exempt) assert.equal(chosen(url, { NO_PROXY: list }), undefined, `${list} ${url}`);
  const kept: [string, string][] = [
    ["", "https://h"],
    [",", "https://h"],
    ["example.com", "https://badexample.com"],
    [".example.com", "https://example.com"],
    ["*.example.com", "https://example.com"],
    ["*h", "https://h"],
    ["example.com:443", "https://example.com:6443"],
    [":443", "https://h"],
    ["[fd00::1]", "https://[fd00::1]:6443"],
    ["10.1.2.3:443", "https://10.1.2.3:6443"],
    ["2.3", "https://10.1.2.3"],
    ["10.0.0.0/33", "https://10.1.2.3"],
    ["h/8", "https://h"],
    ["::/0", "https://10.1.2.3"],
    ["0.0.0.0/0", "https://h"],
  ];
  for (const [list, url] of kept) assert.equal(chosen(url, { NO_PROXY: list }), "secure:2", `${list} ${url}`);
});

test("an invalid proxy is refused without its password in the message", () => {
  for (const [proxyUrl, message] of [
    ["ftp://me:SECRET@h", /unsupported proxy scheme ftp:\/\/: must be http, https or socks5/],
    ["http://me:SECRET@h:port", /invalid proxy URL/],
  ] as const) {
    assert.throws(
      () => proxyFor({ ...contextOf("https://h"), proxyUrl }, new URL("https://h"), {}),
      (error: Error) =>
        error instanceof KubeconfigError && message.test(error.message) && !error.message.includes("SECRET"),
    );
  }
});

/** A name that only the proxy resolves. */
const SERVER = "https://api.test:6443";
const echo: Handler = (request, response) => response.end(request.url);

interface Proxy {
  url: string;
  /** The requests that it received, with their credentials. */
  asked: string[];
}

/** An HTTP proxy that connects each request to `to`. */
async function httpProxy(t: TestContext, to: string, answer = "200 OK", secure?: object): Promise<Proxy> {
  const asked: string[] = [];
  const port = Number(new URL(to).port);
  const note = (request: IncomingMessage) =>
    asked.push(`${request.method} ${request.url} ${request.headers["proxy-authorization"] ?? "-"}`);
  const server = secure ? createHttpsServer(secure) : createHttpServer();
  server.on("tlsClientError", () => {});
  server.on("connect", (request: IncomingMessage, socket: Socket) => {
    note(request);
    socket.on("error", () => {});
    socket.write(`HTTP/1.1 ${answer}\r\n\r\n`);
    if (!answer.startsWith("200")) return void socket.end();
    const through = netConnect(port, "127.0.0.1").on("error", () => socket.destroy());
    through.pipe(socket).pipe(through);
    socket.once("close", () => through.destroy());
    return undefined;
  });
  server.on("request", (request, response) => {
    note(request);
    const { pathname, host } = new URL(request.url ?? "");
    const onward = httpRequest({ host: "127.0.0.1", port, path: pathname, headers: { host } });
    onward.on("response", (answer) => answer.pipe(response));
    onward.end();
  });
  const { url } = await listen(t, server, secure ? "https" : "http");
  return { url, asked };
}

for (const kind of ["h2", "h1"] as const) {
  test(`${kind} through proxies: each connection uses a tunnel`, async (t) => {
    const { url, connections } = await serve(t, kind, echo);
    const plain = await httpProxy(t, url);
    const secure = await httpProxy(t, url, "200 OK", certificate);
    for (const { url: proxyUrl, asked } of [plain, secure]) {
      const before = connections();
      const transport = open(t, SERVER, { context: { proxyUrl: proxyUrl.replace("://", "://m%65:p%40ss@") } });
      const answers = await Promise.all(
        Array.from({ length: 9 }, (_, index) => transport.request({ method: "GET", path: `/${index}` })),
      );
      assert.deepEqual(
        answers.map(({ body }) => body),
        answers.map((_, index) => `/${index}`),
      );
      assert.equal(asked.length, connections() - before);
      const credentials = `Basic ${Buffer.from("me:p@ss").toString("base64")}`;
      assert.deepEqual([...new Set(asked)], [`CONNECT api.test:6443 ${credentials}`]);
    }
    const byEnvironment = open(t, SERVER, { env: { HTTPS_PROXY: plain.url } });
    assert.equal((await byEnvironment.request({ method: "GET", path: "/" })).status, 200);
    assert.equal(plain.asked.at(-1), "CONNECT api.test:6443 -");
  });
}

test("an http proxy forwards requests to a plain http server by absolute URL", async (t) => {
  const { url } = await serve(t, "http", echo);
  const { url: proxyUrl, asked } = await httpProxy(t, url);
  const transport = open(t, "http://api.test:8080/p", { context: { proxyUrl: proxyUrl.replace("://", "://me:pw@") } });
  assert.equal((await transport.request({ method: "GET", path: "/x" })).body, "/p/x");
  assert.deepEqual(asked, [`GET http://api.test:8080/p/x Basic ${Buffer.from("me:pw").toString("base64")}`]);
});

test("failures of a proxy are described", async (t) => {
  const { url } = await serve(t, "h2", echo);
  const get = (proxyUrl: string, tls = {}) =>
    open(t, SERVER, {
      context: { proxyUrl, tls: { ca: ca.cert, insecure: false, ...tls } },
      connectTimeout: 300,
    }).request({ method: "GET", path: "/" });
  const guarded = await httpProxy(t, url, "407 No");
  await assertConnectionError(
    get(guarded.url),
    /cannot connect to api\.test:6443 through proxy 127\.0\.0\.1:\d+: unexpected status 407; add a user and password/,
  );
  await assertConnectionError(
    get((await httpProxy(t, url, "403 No")).url),
    /cannot connect to api\.test:6443 .*: unexpected status 403/,
  );
  const { host } = new URL(guarded.url.replace("127.0.0.1", "127.0.0.7"));
  await assertConnectionError(get(`http://${host}`), /cannot reach proxy 127\.0\.0\.7:\d+: connection refused$/);
  const silent = await listen(t, createServer(), "http");
  await assertConnectionError(
    get(silent.url),
    /cannot reach https:\/\/api\.test:6443 \(context "a"\): timed out after 0\.3s/,
  );
  await assertConnectionError(get(silent.url.replace("http", "socks5")), /timed out after 0\.3s/);

  const secure = await httpProxy(t, url, "200 OK", certificate);
  await assertConnectionError(
    get(secure.url, { ca: makeCa({ cn: "other" }).cert }),
    /cannot reach proxy .*: (self-signed certificate|certificate signed by unknown authority)$/,
  );
  assert.equal((await get(secure.url, { ca: undefined, insecure: true })).status, 200);
  // The server is verified by its own name, not that of the proxy.
  await assertConnectionError(get(secure.url, { serverName: "other.test" }), /certificate is valid for .*api\.test/);
  const byAddress = open(t, "https://10.9.9.9", { context: { proxyUrl: secure.url } });
  await assertConnectionError(byAddress.request({ method: "GET", path: "/" }), /certificate is valid for .*api\.test/);
});

/** A SOCKS 5 proxy (RFC 1928) that connects each request to the port of `to`. */
async function socksProxy(t: TestContext, to: string, { password = "", reply = 0, bound = [1, 127, 0, 0, 1] } = {}) {
  const asked: string[] = [];
  const server = createServer(async (socket) => {
    socket.on("error", () => {});
    let received = Buffer.alloc(0);
    let wake = () => {};
    const onData = (bytes: Buffer) => {
      received = Buffer.concat([received, bytes]);
      wake();
    };
    socket.on("data", onData);
    const take = async (length: number): Promise<Buffer> => {
      while (received.length < length) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      const taken = received.subarray(0, length);
      received = received.subarray(length);
      return taken;
    };
    const [, methods = 0] = await take(2);
    const offered = [...(await take(methods))];
    const method = password === "" ? 0 : offered.includes(2) ? 2 : 255;
    socket.write(Buffer.from([5, method]));
    if (method === 2) {
      const name = await take((await take(2))[1] ?? 0);
      const word = await take((await take(1))[0] ?? 0);
      const good = `${name}:${word}` === password;
      socket.write(Buffer.from([1, good ? 0 : 1]));
      if (!good) return;
    }
    const [, , , kind] = await take(4);
    const host = kind === 1 ? await take(4) : kind === 4 ? await take(16) : await take((await take(1))[0] ?? 0);
    asked.push(`${kind} ${kind === 3 ? host : host.toString("hex")} ${(await take(2)).readUInt16BE()}`);
    socket.off("data", onData).pause();
    const answer = Buffer.from([5, reply, 0, ...bound, 0, 0]);
    // In two segments, as on a network.
    socket.write(answer.subarray(0, 3));
    setTimeout(() => socket.write(answer.subarray(3)), 20);
    const through = netConnect(Number(new URL(to).port), "127.0.0.1").on("error", () => socket.destroy());
    setTimeout(() => through.pipe(socket).pipe(through), 40);
    socket.once("close", () => through.destroy());
  });
  const { url } = await listen(t, server, "socks5");
  return { url, asked };
}

test("SOCKS 5: the proxy resolves names, with and without a password, for each protocol", async (t) => {
  for (const kind of ["h2", "h1", "http"] as const) {
    const { url } = await serve(t, kind, echo);
    const get = (proxyUrl: string, server = SERVER) => {
      const tls = { ca: ca.cert, insecure: false, serverName: "api.test" };
      const target = kind === "http" ? server.replace("https", "http") : server;
      return open(t, target, { context: { proxyUrl, tls } }).request({ method: "GET", path: "/x" });
    };
    const free = await socksProxy(t, url);
    assert.equal((await get(free.url)).body, "/x");
    assert.equal((await get(free.url.replace("socks5:", "socks5h:"))).body, "/x");
    assert.equal((await get(free.url, "https://10.1.2.3:6443")).body, "/x");
    assert.equal((await get(free.url, "https://[fd00::1:2]:6443")).body, "/x");
    assert.deepEqual(free.asked, [
      "3 api.test 6443",
      "3 api.test 6443",
      "1 0a010203 6443",
      "4 fd000000000000000000000000010002 6443",
    ]);
    const guarded = await socksProxy(t, url, { password: "me:p@ss", bound: [3, 2, 104, 105] });
    const withPassword = (word: string) => guarded.url.replace("://", `://me:${word}@`);
    assert.equal((await get(withPassword("p%40ss"))).body, "/x");
    await assertConnectionError(
      get(withPassword("SECRET")),
      /through proxy 127\.0\.0\.1:\d+: Socks5 Authentication failed$/,
    );
    await assertConnectionError(get(guarded.url), /no accepted authentication type/);
    const v6 = await socksProxy(t, url, { bound: [4, ...Array<number>(16).fill(0)] });
    assert.equal((await get(v6.url)).body, "/x");
    const strict = await socksProxy(t, url, { reply: 2 });
    await assertConnectionError(
      get(strict.url),
      /cannot connect to api\.test:6443 through .*: Socks5 proxy rejected connection - NotAllowed/,
    );
    const other = await serve(t, "http", echo);
    await assertConnectionError(get(other.url.replace("http", "socks5")), /api\.test:6443 .*invalid socks version/);
    const mute = await listen(
      t,
      createServer((socket) => socket.end()),
      "socks5",
    );
    await assertConnectionError(get(mute.url), /api\.test:6443 .*: Socket closed/);
    const { host } = new URL(url.replace("127.0.0.1", "127.0.0.7"));
    await assertConnectionError(get(`socks5://${host}`), /cannot reach proxy 127\.0\.0\.7:\d+: connection refused$/);
  }
});
