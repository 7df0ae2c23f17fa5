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

/** Sends back what it was sent. */
const echo: Handler = async (request, response) => {
  let body = "";
  for await (const chunk of request) body += chunk;
  const { headers, method, url, httpVersion } = request;
  response.setHeader("x-answer", "yes");
  response.end(JSON.stringify({ method, url, httpVersion, headers, body }));
};

/** Of the client certificate; empty where there is none. */
function commonName({ stream }: Http2ServerRequest): string {
  const socket = stream.session?.socket as TLSSocket | undefined;
  return String(socket?.getPeerCertificate().subject?.CN ?? "");
}

for (const kind of ["h2", "h1", "http"] as const) {
  test(`${kind}: path, headers and body arrive, and the answer comes back`, async (t) => {
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

  test(`${kind}: many requests at once share ${kind === "h2" ? "one connection" : "a few connections"}`, async (t) => {
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

  test(`${kind}: a connection that is cut: a read is asked once more, a write is not`, async (t) => {
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
      /127\.0\.0\.1:\d+ \(context a\) cannot be reached: the connection was cut/,
    );
    assert.equal(requests.length, 3);
    assert.equal((await post(transport)).body, "fine");
    cuts = 2;
    await assertConnectionError(get(transport), /the connection was cut/);
    assert.equal(requests.length, 6);
  });

  test(`${kind}: an answer that comes before all is sent is taken`, async (t) => {
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

  test(`${kind}: half an answer is none`, async (t) => {
    const { url, requests, sockets } = await serve(t, kind, (_, response) => {
      response.writeHead(200, { "content-length": "100" });
      response.write("{}");
      setTimeout(() => {
        for (const socket of sockets) socket.end();
      }, 20);
    });
    const transport = open(t, url);
    await assertConnectionError(get(transport), /the connection was cut/);
    assert.equal(requests.length, 2);
  });

  test(`${kind}: an answer of more than 64 MiB is refused`, async (t) => {
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
    await assertConnectionError(get(transport), /an answer of more than 64 MiB/);
    assert.ok(sent < 150, `${sent} MiB sent`);
  });

  test(`${kind}: a server that does not answer: the time is up, and the next request gets a connection of its own`, async (t) => {
    let silent = true;
    const { url, connections } = await serve(t, kind, (_, response) => {
      if (!silent) response.end("fine");
    });
    const transport = open(t, url, { requestTimeout: 150 });
    const started = performance.now();
    await assertConnectionError(get(transport, "/slow?secret=x"), /did not answer within 0\.15 s: GET \/slow$/);
    assert.ok(performance.now() - started < 15_000, "not the 30 s that are usual");
    silent = false;
    assert.equal((await get(transport)).body, "fine");
    assert.equal(connections(), 2);
    const patient = open(t, url, { requestTimeout: 0 });
    assert.equal((await get(patient)).body, "fine");
  });

  test(`${kind}: close ends what is under way at once`, async (t) => {
    const { url, sockets } = await serve(t, kind, () => {});
    const transport = open(t, url);
    const pending = Array.from({ length: 9 }, () => get(transport));
    setTimeout(() => transport.close(), 100);
    await Promise.all(pending.map((one) => assertConnectionError(one, /the connection was closed/)));
    await assertConnectionError(get(transport), /closed/);
    const deadline = Date.now() + 10_000;
    while (sockets.size > 0 && Date.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 10));
    assert.equal(sockets.size, 0);
  });
}

test("the connection is made while the credentials are on their way; a certificate is waited for", async (t) => {
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
    // A login by hand takes longer than a connection may.
    const transport = open(t, url, { obtain, context: { presentsCertificate }, connectTimeout: 300 });
    const answer = get(transport);
    await new Promise((resolve) => setTimeout(resolve, 500));
    assert.equal(connections() - before, presentsCertificate ? 0 : 1);
    give({ headers: {}, ...me });
    assert.equal((await answer).status, 200);
  }
  assert.deepEqual(names, ["", "me"]);
});

test("a server that wants a client certificate, and one that does not like ours", async (t) => {
  const wanted = { requestCert: true, rejectUnauthorized: true };
  for (const kind of ["h2", "h1"] as const) {
    const { url } = await serve(t, kind, ok, { ...wanted, ca: ca.cert });
    await assertConnectionError(get(open(t, url)), /cannot be reached: it wants a client certificate/);
    const picky = await serve(t, kind, ok, { ...wanted, ca: makeCa({ cn: "other" }).cert });
    const obtain = async () => ({ headers: {}, ...me });
    // Node's servers just hang up; others say why.
    const refused = open(t, picky.url, { obtain, context: { presentsCertificate: true } });
    await assertConnectionError(get(refused), /it refused the client certificate|the connection was cut/);
  }
});

test("whom the server's certificate is verified by, and for which name", async (t) => {
  const { url } = await serve(t, "h2", ok);
  const tls = (over: Partial<Context["tls"]>) => open(t, url, { context: { tls: { insecure: false, ...over } } });
  const other = makeCa({ cn: "ca" });
  assert.equal((await get(tls({ ca: ca.cert }))).status, 200);
  assert.equal((await get(tls({ ca: other.cert + ca.cert }))).status, 200);
  assert.equal((await get(tls({ ca: ca.cert, serverName: "api.test" }))).status, 200);
  assert.equal((await get(tls({ ca: ca.cert, serverName: "127.0.0.1" }))).status, 200);
  assert.equal((await get(tls({ insecure: true }))).status, 200);
  assert.equal((await get(tls({ insecure: true, serverName: "other.test" }))).status, 200);
  const unknown = /cannot be reached: its certificate is not signed by a known CA; certificate-authority in the/;
  await assertConnectionError(get(tls({})), unknown);
  await assertConnectionError(get(tls({ ca: other.cert })), unknown);
  const names = /its certificate is for .*api\.test.*; tls-server-name in the kubeconfig/;
  await assertConnectionError(get(tls({ ca: ca.cert, serverName: "other.test" })), names);
  await assertConnectionError(get(tls({ ca: ca.cert, serverName: "127.0.0.2" })), names);

  // As for Go, an intermediate CA is as good as a root.
  const middle = makeCa({ cn: "middle", issuer: ca });
  const leaf = issue(middle, { cn: "api", usage: "server", ips: ["127.0.0.1"] });
  const below = await serve(t, "h2", ok, leaf);
  assert.equal((await get(open(t, below.url, { context: { tls: { insecure: false, ca: middle.cert } } }))).status, 200);

  const yesterday = new Date(Date.now() - 86_400_000);
  const past = { notBefore: new Date(0), notAfter: yesterday };
  const old = await serve(t, "h2", ok, issue(ca, { cn: "api", usage: "server", ips: ["127.0.0.1"], ...past }));
  await assertConnectionError(get(open(t, old.url)), /its certificate has expired/);
  const tomorrow = { notBefore: new Date(Date.now() + 86_400_000) };
  const early = await serve(t, "h2", ok, issue(ca, { cn: "api", usage: "server", ips: ["127.0.0.1"], ...tomorrow }));
  await assertConnectionError(get(open(t, early.url)), /not valid yet/);
});

test("servers that are not there, or speak something else", async (t) => {
  const gone = await listen(t, createServer());
  const { url } = await serve(t, "http", ok);
  await assertConnectionError(
    get(open(t, url.replace("http:", "https:"))),
    /it does not speak TLS; is it an http:\/\/ server\?/,
  );
  const hangsUp = await listen(
    t,
    createServer((socket) => socket.end()),
  );
  await assertConnectionError(get(open(t, hangsUp.url)), /the connection was cut/);
  const silent = await listen(t, createServer());
  const started = performance.now();
  const slow = /cannot be reached: no connection within 0\.2 s/;
  await assertConnectionError(get(open(t, silent.url, { connectTimeout: 200 })), slow);
  assert.ok(performance.now() - started < 4_000, "not the 5 s that are usual");
  await assertConnectionError(
    get(open(t, silent.url.replace("https", "http"), { requestTimeout: 200 })),
    /did not answer within 0\.2 s/,
  );
  await assertConnectionError(
    get(open(t, "https://name.invalid")),
    /its name (is not known to DNS|could not be resolved now)/,
  );
  const { port } = new URL(gone.url);
  await assertConnectionError(
    get(open(t, `https://127.0.0.9:${port}`)),
    /the connection was refused; is the cluster up\?/,
  );
  await assertConnectionError(get(open(t, `http://127.0.0.9:${port}`)), /the connection was refused/);
});

test("a server that comes up later is reached by the same transport", async (t) => {
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

test("close while it still connects ends at once", async (t) => {
  const silent = await listen(
    t,
    createServer((socket) => socket.resume()),
  );
  const transport = open(t, silent.url, { connectTimeout: 60_000 });
  const answer = get(transport);
  setTimeout(() => transport.close(), 50);
  await assertConnectionError(answer, /the connection was closed/);
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(silent.sockets.size, 0);
});

test("GOAWAY: what comes after it goes over a new connection, writes too", async (t) => {
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

test("a stream that the server refused to begin is sent again, once, a write too; another reset is not", async (t) => {
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
  await assertConnectionError(post(transport), /the server took no more requests/);
  assert.equal(requests.length, 4);
  code = constants.NGHTTP2_INTERNAL_ERROR;
  refusals = 1;
  await assertConnectionError(post(transport), /cannot be reached: /);
  assert.equal(requests.length, 5);
});

test("429 and 503: a read waits as long as the server says and asks again, up to four times", async (t) => {
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
  for (const [said, ask] of once) {
    retry = said;
    requests.length = 0;
    assert.equal((await ask(transport)).status, 503);
    assert.equal(requests.length, 1);
  }
  [busy, retry] = [99, "20"];
  setTimeout(() => transport.close(), 50);
  await assertConnectionError(get(transport), /closed/);
});

test("401: the credentials are obtained once more, and asked with once", async (t) => {
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

test("401 with a certificate that is renewed: it is shown on a new connection", async (t) => {
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

test("credentials that cannot be had are their own error", async (t) => {
  const { url } = await serve(t, "h2", ok);
  const obtain = async () => {
    throw new ConnectionError("no token today");
  };
  for (const presentsCertificate of [false, true]) {
    await assertConnectionError(get(open(t, url, { obtain, context: { presentsCertificate } })), /^no token today$/);
  }
});
