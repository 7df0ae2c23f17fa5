import assert from "node:assert/strict";
import { constants, createSecureServer, type Http2ServerRequest } from "node:http2";
import { createServer } from "node:net";
import { test } from "node:test";
import type { TLSSocket } from "node:tls";
import type { Credentials } from "../../lib/kube/auth/credentials.ts";
import type { Context } from "../../lib/kube/kubeconfig/kubeconfig.ts";
import { ConnectionError, type Transport } from "../../lib/kube/transport/transport.ts";
import { issue, makeCa } from "../../lib/sandbox/pki.ts";
import { assertConnectionError, ca, certificate, type Handler, listen, open, serve } from "../support/api-server.ts";

const me = issue(ca, { cn: "me", usage: "client" });
const you = issue(ca, { cn: "you", usage: "client" });

const get = (transport: Transport, path = "/x") => transport.request({ method: "GET", path });
const post = (transport: Transport, path = "/x") => transport.request({ method: "POST", path, body: "{}" });
const ok: Handler = (_, response) => response.end("{}");

/** Responds with the request. */
const echo: Handler = async (request, response) => {
  let body = "";
  for await (const chunk of request) body += chunk;
  const { headers, method, url, httpVersion } = request;
  response.setHeader("x-answer", "yes");
  response.end(JSON.stringify({ method, url, httpVersion, headers, body }));
};

/** The common name of the client certificate; empty without one. */
function commonName({ stream }: Http2ServerRequest): string {
  const socket = stream.session?.socket as TLSSocket | undefined;
  return String(socket?.getPeerCertificate().subject?.CN ?? "");
}

for (const kind of ["h2", "h1", "http"] as const) {
  test(`${kind}: path, headers and body are sent, and the response is returned`, async (t) => {
    const { url } = await serve(t, kind, echo);
    const traced: string[] = [];
    const transport = open(t, `${url}/k8s/clusters/c`, {
      obtain: async () => ({ headers: { authorization: "Bearer SECRET", "impersonate-group": ["a,b", "c"] } }),
      trace: (line) => traced.push(line),
    });
    const body = JSON.stringify({ data: "SECRET ü" });
    const request = { method: "PATCH", path: "/api/v1/x?y=z", body, contentType: "application/merge-patch+json" };
    const { status, headers, body: answer } = await transport.request({ ...request, method: "PATCH" });
    const seen = JSON.parse(answer);
    assert.equal(status, 200);
    assert.equal(headers["x-answer"], "yes");
    assert.equal(seen.url, "/k8s/clusters/c/api/v1/x?y=z");
    assert.equal(seen.method, "PATCH");
    assert.equal(seen.httpVersion, kind === "h2" ? "2.0" : "1.1");
    assert.equal(seen.body, body);
    assert.equal(seen.headers.authorization, "Bearer SECRET");
    assert.match(seen.headers["impersonate-group"], /^a,b, ?c$/);
    assert.equal(seen.headers["content-type"], "application/merge-patch+json");
    assert.equal(seen.headers.accept, "application/json");
    assert.equal(traced[0], kind === "h2" ? "connected, h2" : "connected, http/1.1");
    assert.match(traced[1] ?? "", /^PATCH \/api\/v1\/x\?y=z 200 \d+ ms$/);
    assert.ok(!traced.join().includes("SECRET"));
  });

  test(`${kind}: concurrent requests share ${kind === "h2" ? "one connection" : "a few connections"}`, async (t) => {
    const { url, connections } = await serve(t, kind, (request, response) =>
      setTimeout(() => response.end(request.url), 10),
    );
    const transport = open(t, url);
    const paths = Array.from({ length: 40 }, (_, index) => `/${index}`);
    const answers = await Promise.all(paths.map((path) => get(transport, path)));
    assert.deepEqual(
      answers.map(({ body }) => body),
      paths,
    );
    await get(transport);
    assert.ok(connections() <= (kind === "h2" ? 1 : 6), `${connections()} connections`);
  });

  test(`${kind}: after a lost connection a read is retried once, a write is not`, async (t) => {
    let cuts = 1;
    const { url, requests, sockets } = await serve(t, kind, (_, response) => {
      if (cuts-- <= 0) return response.end("fine");
      for (const socket of sockets) socket.destroy();
    });
    const transport = open(t, url);
    assert.equal((await get(transport)).body, "fine");
    assert.equal(requests.length, 2);
    cuts = 1;
    await assertConnectionError(
      post(transport),
      /cannot reach https?:\/\/127\.0\.0\.1:\d+ \(context "a"\): connection reset by peer/,
    );
    assert.equal(requests.length, 3);
    assert.equal((await post(transport)).body, "fine");
    cuts = 2;
    await assertConnectionError(get(transport), /connection reset by peer/);
    assert.equal(requests.length, 6);
  });

  test(`${kind}: a response that precedes the end of the request is returned`, async (t) => {
    const { url } = await serve(t, kind, (_, response) => {
      response.writeHead(413, kind === "h2" ? {} : { connection: "close" });
      response.end("too large");
    });
    const transport = open(t, url);
    const request = { method: "POST", path: "/x", body: "x".repeat(8 * 1_048_576) } as const;
    const { status, body } = await transport.request(request);
    assert.deepEqual({ status, body }, { status: 413, body: "too large" });
    assert.equal((await get(transport)).status, 413);
  });

  test(`${kind}: an incomplete response is an error`, async (t) => {
    const { url, requests, sockets } = await serve(t, kind, (_, response) => {
      response.writeHead(200, { "content-length": "100" });
      response.write("{}");
      setTimeout(() => {
        for (const socket of sockets) socket.end();
      }, 20);
    });
    const transport = open(t, url);
    await assertConnectionError(get(transport), /connection reset by peer/);
    assert.equal(requests.length, 2);
  });

  test(`${kind}: a response of more than 64 MiB is refused`, async (t) => {
    const chunk = Buffer.alloc(1_048_576, " ");
    let sent = 0;
    const { url } = await serve(t, kind, (_, response) => {
      const more = () => {
        while (!response.destroyed && sent++ < 200) if (!response.write(chunk)) return response.once("drain", more);
        response.end();
      };
      response.on("error", () => {});
      more();
    });
    const transport = open(t, url);
    await assertConnectionError(get(transport), /response exceeds 64 MiB/);
    assert.ok(sent < 150, `${sent} MiB sent`);
  });

  test(`${kind}: a request times out, and the next one opens a new connection`, async (t) => {
    let silent = true;
    const { url, connections } = await serve(t, kind, (_, response) => {
      if (!silent) response.end("fine");
    });
    const transport = open(t, url, { requestTimeout: 150 });
    const started = performance.now();
    await assertConnectionError(get(transport, "/slow?secret=x"), /timed out after 0\.15s waiting for GET \/slow$/);
    assert.ok(performance.now() - started < 15_000, "not the default of 30 s");
    silent = false;
    assert.equal((await get(transport)).body, "fine");
    assert.equal(connections(), 2);
    const patient = open(t, url, { requestTimeout: 0 });
    assert.equal((await get(patient)).body, "fine");
  });

  test(`${kind}: close aborts requests in flight`, async (t) => {
    const { url, sockets } = await serve(t, kind, () => {});
    const transport = open(t, url);
    const pending = Array.from({ length: 9 }, () => get(transport));
    setTimeout(() => transport.close(), 100);
    await Promise.all(pending.map((one) => assertConnectionError(one, /connection closed/)));
    await assertConnectionError(get(transport), /closed/);
    const deadline = Date.now() + 10_000;
    while (sockets.size > 0 && Date.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 10));
    assert.equal(sockets.size, 0);
  });
}

test("connecting does not wait for credentials, except for a client certificate", async (t) => {
  const names: string[] = [];
  const { url, connections } = await serve(
    t,
    "h2",
    (request, response) => {
      names.push(commonName(request));
      response.end();
    },
    { requestCert: true, rejectUnauthorized: false, ca: ca.cert },
  );
  let give: (credentials: Credentials) => void = () => {};
  const obtain = () =>
    new Promise<Credentials>((resolve) => {
      give = resolve;
    });
  for (const presentsCertificate of [false, true]) {
    const before = connections();
    // An interactive login takes longer than the connection timeout.
    const transport = open(t, url, { obtain, context: { presentsCertificate }, connectTimeout: 300 });
    const answer = get(transport);
    await new Promise((resolve) => setTimeout(resolve, 500));
    assert.equal(connections() - before, presentsCertificate ? 0 : 1);
    give({ headers: {}, ...me });
    assert.equal((await answer).status, 200);
  }
  assert.deepEqual(names, ["", "me"]);
});

test("a missing or rejected client certificate is described", async (t) => {
  const wanted = { requestCert: true, rejectUnauthorized: true };
  for (const kind of ["h2", "h1"] as const) {
    const { url } = await serve(t, kind, ok, { ...wanted, ca: ca.cert });
    await assertConnectionError(get(open(t, url)), /cannot reach .*: the server requires a client certificate/);
    const picky = await serve(t, kind, ok, { ...wanted, ca: makeCa({ cn: "other" }).cert });
    const obtain = async () => ({ headers: {}, ...me });
    // Servers of Node close the connection without an alert.
    const refused = open(t, picky.url, { obtain, context: { presentsCertificate: true } });
    await assertConnectionError(get(refused), /the server rejected the client certificate|connection reset by peer/);
  }
});

test("the server certificate is verified by CA, name and validity period", async (t) => {
  const { url } = await serve(t, "h2", ok);
  const tls = (over: Partial<Context["tls"]>) => open(t, url, { context: { tls: { insecure: false, ...over } } });
  const other = makeCa({ cn: "ca" });
  assert.equal((await get(tls({ ca: ca.cert }))).status, 200);
  assert.equal((await get(tls({ ca: other.cert + ca.cert }))).status, 200);
  assert.equal((await get(tls({ ca: ca.cert, serverName: "api.test" }))).status, 200);
  assert.equal((await get(tls({ ca: ca.cert, serverName: "127.0.0.1" }))).status, 200);
  assert.equal((await get(tls({ insecure: true }))).status, 200);
  assert.equal((await get(tls({ insecure: true, serverName: "other.test" }))).status, 200);
  const unknown = /cannot reach .*: certificate signed by unknown authority; set certificate-authority in the/;
  await assertConnectionError(get(tls({})), unknown);
  await assertConnectionError(get(tls({ ca: other.cert })), unknown);
  const names = /certificate is valid for .*api\.test.*, not for (other\.test|127\.0\.0\.2); set tls-server-name in/;
  await assertConnectionError(get(tls({ ca: ca.cert, serverName: "other.test" })), names);
  await assertConnectionError(get(tls({ ca: ca.cert, serverName: "127.0.0.2" })), names);

  // As in Go, an intermediate CA can be a trust anchor.
  const middle = makeCa({ cn: "middle", issuer: ca });
  const leaf = issue(middle, { cn: "api", usage: "server", ips: ["127.0.0.1"] });
  const below = await serve(t, "h2", ok, leaf);
  assert.equal((await get(open(t, below.url, { context: { tls: { insecure: false, ca: middle.cert } } }))).status, 200);

  const yesterday = new Date(Date.now() - 86_400_000);
  const past = { notBefore: new Date(0), notAfter: yesterday };
  const old = await serve(t, "h2", ok, issue(ca, { cn: "api", usage: "server", ips: ["127.0.0.1"], ...past }));
  await assertConnectionError(get(open(t, old.url)), /certificate has expired$/);
  const tomorrow = { notBefore: new Date(Date.now() + 86_400_000) };
  const early = await serve(t, "h2", ok, issue(ca, { cn: "api", usage: "server", ips: ["127.0.0.1"], ...tomorrow }));
  await assertConnectionError(get(open(t, early.url)), /certificate is not yet valid; check the clock/);
});

test("missing servers and servers without TLS are described", async (t) => {
  const gone = await listen(t, createServer());
  const { url } = await serve(t, "http", ok);
  await assertConnectionError(
    get(open(t, url.replace("http:", "https:"))),
    /first record does not look like a TLS handshake; check that the server speaks HTTPS/,
  );
  const hangsUp = await listen(
    t,
    createServer((socket) => socket.end()),
  );
  await assertConnectionError(get(open(t, hangsUp.url)), /connection reset by peer/);
  const silent = await listen(t, createServer());
  const started = performance.now();
  const slow = /cannot reach .*: timed out after 0\.2s$/;
  await assertConnectionError(get(open(t, silent.url, { connectTimeout: 200 })), slow);
  assert.ok(performance.now() - started < 4_000, "not the default of 5 s");
  await assertConnectionError(
    get(open(t, silent.url.replace("https", "http"), { requestTimeout: 200 })),
    /timed out after 0\.2s waiting for GET/,
  );
  await assertConnectionError(
    get(open(t, "https://name.invalid")),
    /no such host|temporary failure in name resolution/,
  );
  const { port } = new URL(gone.url);
  await assertConnectionError(
    get(open(t, `https://127.0.0.9:${port}`)),
    /connection refused; check that the cluster is running/,
  );
  await assertConnectionError(get(open(t, `http://127.0.0.9:${port}`)), /connection refused/);
});

test("a transport reconnects to a server that starts later", async (t) => {
  const first = await serve(t, "h2", ok);
  const { port } = new URL(first.url);
  const url = `https://127.0.0.8:${port}`;
  const transport = open(t, url, { context: { tls: { insecure: true } } });
  await assertConnectionError(get(transport), /refused/);
  await assertConnectionError(get(transport), /refused/);
  const server = createSecureServer(certificate, ok as never);
  await new Promise<void>((resolve) => server.listen(Number(port), "127.0.0.8", resolve));
  t.after(() => server.close());
  assert.equal((await get(transport)).status, 200);
  transport.close();
});

test("close aborts a connection attempt", async (t) => {
  const silent = await listen(
    t,
    createServer((socket) => socket.resume()),
  );
  const transport = open(t, silent.url, { connectTimeout: 60_000 });
  const answer = get(transport);
  setTimeout(() => transport.close(), 50);
  await assertConnectionError(answer, /connection closed/);
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(silent.sockets.size, 0);
});

test("after GOAWAY reads and writes use a new connection", async (t) => {
  const { url, sessions, requests, connections } = await serve(t, "h2", (request, response) => {
    if (request.url === "/last") request.stream.session?.goaway();
    setTimeout(() => response.end(request.url), 30);
  });
  const transport = open(t, url);
  const [beside, last] = await Promise.all([get(transport, "/beside"), get(transport, "/last")]);
  assert.deepEqual([beside.body, last.body], ["/beside", "/last"]);
  assert.equal((await post(transport, "/new")).body, "/new");
  assert.equal(connections(), 2);
  sessions.at(-1)?.close();
  await new Promise((resolve) => setTimeout(resolve, 50));
  const many = await Promise.all([1, 2, 3].map((one) => post(transport, `/${one}`)));
  assert.deepEqual(
    many.map(({ body }) => body),
    ["/1", "/2", "/3"],
  );
  assert.equal(connections(), 3);
  assert.equal(requests.length, 6);
});

test("a request on a refused stream is retried once, even a write; other resets are errors", async (t) => {
  let code: number = constants.NGHTTP2_REFUSED_STREAM;
  let refusals = 1;
  const { url, requests } = await serve(t, "h2", (request, response) => {
    if (refusals-- > 0) request.stream.close(code);
    else response.end("fine");
  });
  const transport = open(t, url);
  assert.equal((await post(transport)).body, "fine");
  assert.equal(requests.length, 2);
  refusals = 2;
  await assertConnectionError(post(transport), /the server refused the stream/);
  assert.equal(requests.length, 4);
  code = constants.NGHTTP2_INTERNAL_ERROR;
  refusals = 1;
  await assertConnectionError(post(transport), /cannot reach /);
  assert.equal(requests.length, 5);
});

test("after 429 and 503 a read is retried after the delay of Retry-After, at most four times", async (t) => {
  let busy = 1;
  let [status, retry] = [429, "1"];
  const { url, requests } = await serve(t, "h2", (_, response) => {
    if (busy-- > 0) response.writeHead(status, retry === "" ? {} : { "retry-after": retry });
    response.end();
  });
  const transport = open(t, url);
  const started = performance.now();
  assert.equal((await get(transport)).status, 200);
  assert.ok(performance.now() - started >= 990);
  [busy, status, retry] = [99, 503, "0"];
  requests.length = 0;
  assert.equal((await get(transport)).status, 503);
  assert.equal(requests.length, 4);
  const once: [string, (transport: Transport) => Promise<{ status: number }>][] = [
    ["0", post],
    ["", get],
    ["3600", get],
    ["Wed, 21 Oct 2037 07:28:00 GMT", get],
  ];
  for (const [retryAfter, send] of once) {
    retry = retryAfter;
    requests.length = 0;
    assert.equal((await send(transport)).status, 503);
    assert.equal(requests.length, 1);
  }
  [busy, retry] = [99, "20"];
  setTimeout(() => transport.close(), 50);
  await assertConnectionError(get(transport), /closed/);
});

test("after a 401 a request is retried once with new credentials", async (t) => {
  const { url, requests } = await serve(t, "h2", (request, response) => {
    if (request.headers.authorization !== "good") response.writeHead(401);
    response.end();
  });
  const given = ["old", "good", "never"];
  const obtain = async () => ({ headers: { authorization: given.shift() ?? "" } });
  const transport = open(t, url, { obtain });
  const answers = await Promise.all([get(transport), post(transport), get(transport)]);
  assert.deepEqual(
    answers.map(({ status }) => status),
    [200, 200, 200],
  );
  assert.deepEqual(given, ["never"]);
  assert.equal(requests.length, 6);

  requests.length = 0;
  const same = open(t, url, { obtain: async () => ({ headers: { authorization: "old" } }) });
  assert.equal((await get(same)).status, 401);
  assert.equal(requests.length, 1);
  let n = 0;
  const hopeless = open(t, url, { obtain: async () => ({ headers: { authorization: String(n++) } }) });
  assert.equal((await get(hopeless)).status, 401);
  assert.equal(n, 2);
});

test("a request that is refused before and after a 401, with which the server ends the connection, is sent again", async (t) => {
  const answers = ["refused", 401, "refused", 200];
  const { url } = await serve(t, "h2", (request, response) => {
    const answer = answers.shift();
    if (answer === "refused") return void request.stream.close(constants.NGHTTP2_REFUSED_STREAM);
    response.writeHead(Number(answer));
    response.end();
  });
  const given = ["old", "new"];
  const transport = open(t, url, { obtain: async () => ({ headers: { authorization: given.shift() ?? "" } }) });
  assert.equal((await post(transport)).status, 200);
  assert.deepEqual(answers, []);
});

test("after a 401 a renewed certificate is presented on a new connection", async (t) => {
  const { url, connections } = await serve(
    t,
    "h2",
    (request, response) => {
      response.writeHead(commonName(request) === "you" ? 200 : 401);
      response.end();
    },
    { requestCert: true, ca: ca.cert },
  );
  const given = [me, you];
  const obtain = async () => ({ headers: {}, ...given.shift() });
  const transport = open(t, url, { obtain, context: { presentsCertificate: true } });
  const answers = await Promise.all([1, 2, 3].map(() => get(transport)));
  assert.deepEqual(
    answers.map(({ status }) => status),
    [200, 200, 200],
  );
  assert.equal(connections(), 2);
});

test("an error of the credentials is thrown unchanged", async (t) => {
  const { url } = await serve(t, "h2", ok);
  const obtain = async () => {
    throw new ConnectionError("no token today");
  };
  for (const presentsCertificate of [false, true]) {
    await assertConnectionError(get(open(t, url, { obtain, context: { presentsCertificate } })), /^no token today$/);
  }
});
