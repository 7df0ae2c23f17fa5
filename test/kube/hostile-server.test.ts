/** What an API server, an issuer or a network that is not trusted can do to the client. */
import assert from "node:assert/strict";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { type TestContext, test } from "node:test";
import { KubernetesApi, nodes, secrets } from "../../lib/kube/api.ts";
import { obtainCredentials } from "../../lib/kube/auth/credentials.ts";
import { openContext } from "../../lib/kube/open.ts";
import type { Request, Transport } from "../../lib/kube/transport/transport.ts";
import { issue, makeCa } from "../../lib/sandbox/pki.ts";
import { UserError } from "../../lib/util/errors.ts";
import { assertConnectionError, ca, contextOf, open, serve } from "../support/api-server.ts";

const other = makeCa({ cn: "other" });

function apiOf(transport: Transport): KubernetesApi {
  return new KubernetesApi(transport, { context: "a", flags: "--context a", fieldManager: "me" });
}

const noStream = () => Promise.reject(new Error("unexpected stream"));

/** An API whose server gives each request the same response. */
function apiWith(status: number, body: object): { api: KubernetesApi; requests: Request[] } {
  const requests: Request[] = [];
  const request = async (one: Request) => {
    requests.push(one);
    return { status, headers: {}, body: JSON.stringify(body) };
  };
  return { api: apiOf({ request, stream: noStream, close() {} }), requests };
}

/** Returns the message of the UserError with which a promise is rejected. */
async function messageOf(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof UserError, String(error));
  return error.message;
}

/** Sets the variable with which Node's programs turn off verification, until the end of the test. */
function turnOffVerification(t: TestContext): void {
  const before = process.env.NODE_TLS_REJECT_UNAUTHORIZED;
  process.env.NODE_TLS_REJECT_UNAUTHORIZED = "0";
  t.after(() => {
    if (before === undefined) delete process.env.NODE_TLS_REJECT_UNAUTHORIZED;
    else process.env.NODE_TLS_REJECT_UNAUTHORIZED = before;
  });
}

test("a redirect is not followed, and its target receives nothing", async (t) => {
  const target = await serve(t, "h1", (_, response) => response.end("{}"));
  for (const kind of ["h2", "h1"] as const) {
    for (const status of [301, 302, 303, 307, 308]) {
      const { url } = await serve(t, kind, (_, response) => {
        response.writeHead(status, { location: `${target.url}/api` });
        response.end();
      });
      const transport = open(t, url, { obtain: async () => ({ headers: { authorization: "Bearer SECRET" } }) });
      const message = await messageOf(apiOf(transport).get(secrets, "n", "x"));
      assert.match(message, new RegExp(`cannot get secret/x .*response is not JSON.* \\(${status}\\)$`));
    }
  }
  assert.equal(target.connections(), 0);
});

test("a context without verification of the certificate causes a warning", () => {
  const warnings: string[] = [];
  const options = { clientName: "me", env: {}, warn: (line: string) => void warnings.push(line) };
  for (const insecure of [false, true]) {
    openContext(contextOf("https://127.0.0.1:1", { tls: { insecure } }), options).close();
  }
  assert.deepEqual(warnings, ["certificate of https://127.0.0.1:1 is not verified (insecure-skip-tls-verify)"]);
});

test("NODE_TLS_REJECT_UNAUTHORIZED does not turn off the verification of an API server", async (t) => {
  turnOffVerification(t);
  const { url, requests } = await serve(t, "h2", (_, response) => response.end("{}"));
  const tls = { ca: other.cert, insecure: false };
  const transport = open(t, url, { context: { tls } });
  await assertConnectionError(
    transport.request({ method: "GET", path: "/" }),
    /certificate signed by unknown authority/,
  );
  assert.deepEqual(requests, []);
});

test("NODE_TLS_REJECT_UNAUTHORIZED does not turn off the verification of an OIDC issuer", async (t) => {
  turnOffVerification(t);
  const requests: string[] = [];
  const server = createServer(issue(ca, { cn: "idp", usage: "server", ips: ["127.0.0.1"] }), (request, response) => {
    requests.push(request.url ?? "");
    response.end("{}");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  const data = Buffer.from(other.cert).toString("base64");
  const config = {
    ...{ "idp-issuer-url": `https://127.0.0.1:${(server.address() as AddressInfo).port}`, "client-id": "c" },
    ...{ "idp-certificate-authority-data": data, "refresh-token": "SECRET" },
  };
  const user = { authProvider: { name: "oidc", config, file: "kubeconfig", user: "u" } };
  const message = await messageOf(obtainCredentials(contextOf("https://h", { user }), {}));
  assert.match(message, /certificate signed by unknown authority$/);
  assert.deepEqual(requests, []);
});

test("a list without end is refused", async () => {
  const { api, requests } = apiWith(200, { items: [], metadata: { continue: "next" } });
  const readAll = async () => {
    for await (const _ of api.list(nodes));
  };
  assert.equal(await messageOf(readAll()), 'context "a": list of nodes has no end');
  assert.equal(requests.length, 1_000);
});

test("names in messages cannot add a line, and are quoted in commands", async () => {
  const name = "x\nerror: forged; touch pwned";
  const denied = apiWith(403, { kind: "Status", message: `User "me\nerror: forged" cannot get it` }).api;
  for (const promise of [denied.get(secrets, name, "x"), denied.get(secrets, "n", name)]) {
    const [head = "", command = "", ...others] = (await messageOf(promise)).split("\n");
    assert.match(head, /^context "a": not allowed to get secret\/\S+.* as me\\nerror: forged$/);
    assert.match(
      command,
      /^ {2}check with: kubectl auth can-i get .*\$'(?:secrets\/)?x\\012error: forged; touch pwned' /,
    );
    assert.deepEqual(others, []);
  }
  const failed = apiWith(500, { kind: "Status", message: `x\nerror: forged` }).api;
  assert.equal((await messageOf(failed.get(secrets, "n", name))).split("\n").length, 1);
});
