import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer, type IncomingMessage } from "node:http";
import { createServer as createSecureServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { after, type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { type Credentials, obtainCredentials } from "../../lib/kube/auth/credentials.ts";
import { CredentialsError } from "../../lib/kube/auth/credentials-error.ts";
import {
  type Context,
  type ExecConfig,
  KubeconfigError,
  loadKubeconfig,
  selectContext,
} from "../../lib/kube/kubeconfig/kubeconfig.ts";
import { type Issuer, issue, makeCa } from "../../lib/sandbox/pki.ts";

const folder = mkdtempSync(join(tmpdir(), "credentials-"));
after(() => rmSync(folder, { recursive: true }));
const ca = makeCa({ cn: "ca" });
const me = issue(ca, { cn: "me", usage: "client" });
const you = issue(ca, { cn: "you", usage: "client" });

let files = 0;
function write(content: string): string {
  const file = join(folder, String(files++));
  writeFileSync(file, content);
  return file;
}

function context(user: Context["user"], others: Partial<Context> = {}): Context {
  return { name: "a", server: "https://h", tls: { insecure: false }, presentsCertificate: false, ...others, user };
}

function script(content: string): string {
  const file = write(content);
  chmodSync(file, 0o755);
  return file;
}

/** A plugin that runs JavaScript, in which `info` is the parsed KUBERNETES_EXEC_INFO. */
function plugin(code: string, others: Partial<ExecConfig> = {}): ExecConfig {
  const file = write(`const info = JSON.parse(process.env.KUBERNETES_EXEC_INFO); const fs = require("node:fs");
    const give = (status, over = {}) => console.log(JSON.stringify({ apiVersion: info.apiVersion, kind: "ExecCredential", status, ...over }));
    ${code}`);
  return {
    apiVersion: "client.authentication.k8s.io/v1",
    command: process.execPath,
    args: [file],
    env: [],
    provideClusterInfo: false,
    interactiveMode: "Never",
    ...others,
  };
}

const fails = (result: Promise<unknown>, message: RegExp, exitCode: 1 | 2 = 1) =>
  assert.rejects(result, (error: unknown) => {
    assert.ok(error instanceof CredentialsError || error instanceof KubeconfigError, String(error));
    assert.equal(error.exitCode, exitCode);
    assert.match(error.message, message);
    assert.ok(!error.message.includes("SECRET"), error.message);
    return true;
  });

test("a token, a password and an anonymous user", async () => {
  assert.deepEqual((await obtainCredentials(context({ token: "t" }))).headers, { authorization: "Bearer t" });
  const basic = { authorization: `Basic ${Buffer.from("ü:p:w").toString("base64")}` };
  assert.deepEqual((await obtainCredentials(context({ username: "ü", password: "p:w" }))).headers, basic);
  assert.deepEqual(await obtainCredentials(context({ password: "p" })), { headers: {} }, "as kubectl");
  assert.deepEqual(await obtainCredentials(context({})), { headers: {} });
});

test("a token file is read by each call and precedes a token, which replaces it if empty or missing", async () => {
  const tokenFile = write("one\n");
  const authorization = async (user: Context["user"]) => (await obtainCredentials(context(user))).headers.authorization;
  assert.equal(await authorization({ tokenFile, token: "t" }), "Bearer one");
  writeFileSync(tokenFile, "two");
  assert.equal(await authorization({ tokenFile }), "Bearer two");
  writeFileSync(tokenFile, " \n");
  assert.equal(await authorization({ tokenFile, token: "t" }), "Bearer t");
  await fails(obtainCredentials(context({ tokenFile })), /cannot read tokenFile .*: file is empty/);
  const gone = join(folder, "gone");
  assert.equal(await authorization({ tokenFile: gone, token: "t" }), "Bearer t");
  await fails(
    obtainCredentials(context({ tokenFile: gone })),
    /cannot read tokenFile .*gone: no such file or directory/,
  );
});

test("a client certificate and its key are read, and must match", async () => {
  const cert = { file: write(me.cert) };
  const both = await obtainCredentials(context({ cert, key: { pem: me.key }, token: "t" }));
  assert.deepEqual(both, { headers: { authorization: "Bearer t" }, cert: me.cert, key: me.key });
  const pair = (cert: string, key: string) => obtainCredentials(context({ cert: { pem: cert }, key: { pem: key } }));
  await fails(pair(me.cert, you.key), /client-key does not match client-certificate/, 2);
  await fails(pair("SECRET", me.key), /client-certificate is not a PEM certificate/, 2);
  await fails(pair(me.cert, "SECRET"), /client-key is not a PEM private key/, 2);
  const missing = { file: join(folder, "none") };
  await fails(
    obtainCredentials(context({ cert, key: missing })),
    /cannot read client-key .*none: no such file or directory/,
    2,
  );
});

test("impersonation headers are sent, to a plain http server nothing else", async () => {
  const impersonate = { user: "jürgen", groups: ["a,b", "c"], uid: "7", extra: { "Example.com/(x)": ["1", "2"] } };
  const headers = {
    "impersonate-user": Buffer.from("jürgen").toString("latin1"),
    "impersonate-group": ["a,b", "c"],
    "impersonate-uid": "7",
    "impersonate-extra-example.com%2f%28x%29": ["1", "2"],
  };
  const user = { token: "t", impersonate };
  assert.deepEqual((await obtainCredentials(context(user))).headers, { authorization: "Bearer t", ...headers });
  assert.deepEqual(await obtainCredentials(context(user, { server: "http://h" })), { headers });
  await fails(obtainCredentials(context({ token: "SECRET\nx" })), /token contains a line break/);
  await fails(
    obtainCredentials(context({ impersonate: { user: "a\r\nb" } })),
    /impersonate-user contains a line break/,
  );
});

test("an exec plugin receives its arguments, environment and cluster, and returns a token", async () => {
  const seen = join(folder, "seen");
  const code = `fs.writeFileSync(${JSON.stringify(seen)}, JSON.stringify({ info, x: process.env.X, y: process.env.Y,
      args: process.argv.slice(2), stdin: fs.readFileSync(0, "utf8") })); give({ token: "T" });`;
  const exec = plugin(code, { env: [{ name: "X", value: "1" }] });
  const target = context(
    { exec: { ...exec, args: [...exec.args, "--one", "two words"] } },
    { execCluster: { server: "https://h", config: { audience: "x" } } },
  );
  const env = { ...process.env, X: "0", Y: "2" };
  assert.deepEqual(await obtainCredentials(target, env), { headers: { authorization: "Bearer T" } });
  const input = { kind: "ExecCredential", apiVersion: exec.apiVersion, spec: { interactive: false } };
  const read = () => JSON.parse(readFileSync(seen, "utf8"));
  assert.deepEqual(read(), { info: input, x: "1", y: "2", args: ["--one", "two words"], stdin: "" });

  target.user.exec = { ...exec, provideClusterInfo: true, apiVersion: "client.authentication.k8s.io/v1beta1" };
  await obtainCredentials(target, env);
  assert.equal(read().info.apiVersion, "client.authentication.k8s.io/v1beta1");
  assert.deepEqual(read().info.spec.cluster, { server: "https://h", config: { audience: "x" } });
});

test("an exec plugin may return a client certificate", async () => {
  const status = { clientCertificateData: me.cert, clientKeyData: me.key };
  const user = { exec: plugin(`give(${JSON.stringify(status)});`) };
  assert.deepEqual(await obtainCredentials(context(user)), { headers: {}, cert: me.cert, key: me.key });
  const wrong = { exec: plugin(`give(${JSON.stringify({ ...status, clientKeyData: you.key })});`) };
  await fails(obtainCredentials(context(wrong)), /exec plugin: client-key does not match client-certificate/);
});

test("an exec plugin does not run if the kubeconfig has a token, a password or a certificate", async () => {
  const ran = join(folder, "ran");
  const exec = plugin(`fs.writeFileSync(${JSON.stringify(ran)}, ""); give({ token: "T" });`);
  for (const user of [{ token: "t" }, { username: "u" }, { cert: { pem: me.cert }, key: { pem: me.key } }]) {
    const { headers } = await obtainCredentials(context({ ...user, exec }));
    assert.notEqual(headers.authorization, "Bearer T");
  }
  await obtainCredentials(context({ exec }, { server: "http://h" }));
  assert.ok(!existsSync(ran));
  assert.equal((await obtainCredentials(context({ exec }))).headers.authorization, "Bearer T");
});

test("a plugin runs once for all contexts of a user, until its credentials expire or are rejected", async () => {
  const log = write("");
  const until = write("");
  const exec = plugin(`fs.appendFileSync(${JSON.stringify(log)}, "x");
    const expirationTimestamp = fs.readFileSync(${JSON.stringify(until)}, "utf8") || undefined;
    setTimeout(() => give({ token: fs.readFileSync(${JSON.stringify(log)}, "utf8"), expirationTimestamp }), 100);`);
  const three = async (refused?: Credentials) => {
    const all = ["a", "b", "c"].map((name) => obtainCredentials(context({ exec }, { name }), process.env, refused));
    return (await Promise.all(all)).map(({ headers }) => headers.authorization);
  };
  assert.deepEqual(await three(), ["Bearer x", "Bearer x", "Bearer x"]);
  assert.deepEqual(await three(), ["Bearer x", "Bearer x", "Bearer x"], "later");
  assert.deepEqual(await three({ headers: { authorization: "Bearer another" } }), ["Bearer x", "Bearer x", "Bearer x"]);
  writeFileSync(until, "2001-01-01T00:00:00Z");
  const refused = { headers: { authorization: "Bearer x" } };
  assert.deepEqual(await three(refused), ["Bearer xx", "Bearer xx", "Bearer xx"]);
  writeFileSync(until, "2999-01-01T00:00:00+02:00");
  assert.deepEqual(await three(), ["Bearer xxx", "Bearer xxx", "Bearer xxx"], "after it has expired");
  assert.deepEqual(await three(), ["Bearer xxx", "Bearer xxx", "Bearer xxx"]);
});

test("a plugin is looked up on our PATH, never in the current directory", async () => {
  const bin = mkdtempSync(join(folder, "bin-"));
  writeFileSync(
    join(bin, "there"),
    `#!${process.execPath}\n${readFileSync(plugin("give({ token: 'T' });").args[0] ?? "")}`,
  );
  chmodSync(join(bin, "there"), 0o755);
  const { PATH } = process.env;
  const found = async (path: string, others: Partial<ExecConfig> = {}) => {
    const exec = plugin("", { command: "there", args: [path], ...others });
    return (await obtainCredentials(context({ exec }), { ...process.env, PATH: path })).headers.authorization;
  };
  const elsewhere = { env: [{ name: "PATH", value: "/nowhere" }] };
  assert.equal(await found(`${bin}:${PATH}`, elsewhere), "Bearer T");
  await fails(found(String(PATH), { env: [{ name: "PATH", value: bin }] }), /there: executable not found/);
  const before = process.cwd();
  process.chdir(bin);
  try {
    await fails(found(`.:${PATH}`), /there: executable not found/);
    await fails(found(`:${PATH}`), /there: executable not found/);
  } finally {
    process.chdir(before);
  }
});

test("failures of an exec plugin are described", async () => {
  const cases: [ExecConfig, RegExp][] = [
    [plugin("process.exit(3)"), /failed with exit code 3/],
    [plugin("process.kill(process.pid, 'SIGTERM'); setTimeout(() => {}, 5000)"), /killed by SIGTERM/],
    [plugin(""), /not an ExecCredential/],
    [plugin("console.log('{SECRET')"), /not JSON/],
    [plugin("give({ token: 'SECRET' }, { kind: 'Secret' })"), /not an ExecCredential/],
    [plugin("give({ token: 'SECRET' }, { apiVersion: 'x/v2' })"), /expected .*\/v1, got "x\/v2"/],
    [plugin("give()"), /neither a token nor a certificate/],
    [plugin("give({ token: '' })"), /neither a token nor a certificate/],
    [plugin("give({ token: 7 })"), /token is not a string/],
    [plugin("give({ clientCertificateData: 'SECRET' })"), /only one of clientCertificateData and clientKeyData/],
    [plugin("give({ token: 'SECRET\\nx' })"), /token contains a line break/],
    [plugin("process.stdout.write('SECRET'.repeat(1e6)); setTimeout(() => {}, 5000)"), /output exceeds 1 MiB/],
    [plugin("", { apiVersion: "client.authentication.k8s.io/v1alpha1" }), /unsupported apiVersion .*v1alpha1"/],
    [plugin("give({ token: 't', expirationTimestamp: 'tomorrow' })"), /expirationTimestamp is not a valid time/],
    [plugin("", { command: folder }), /cannot start: permission denied/],
    [plugin("", { env: [{ name: "A", value: "SECRET\0" }] }), /cannot start: invalid argument$/],
    [
      plugin("", { command: script("#!/nowhere/at/all\n") }),
      /cannot start: no such file or directory; check the interpreter/,
    ],
  ];
  for (const [exec, message] of cases) {
    await fails(obtainCredentials(context({ exec })), message);
  }
  const missing = plugin("", { command: "no-such-plugin", installHint: "Get it at \u001b[1mhttps://x\n" });
  await fails(
    obtainCredentials(context({ exec: missing })),
    /no-such-plugin: executable not found\nGet it at \[1mhttps:\/\/x$/,
  );
});

test("a plugin that requires a terminal fails without one", { skip: process.stdin.isTTY }, async () => {
  const exec = plugin("give({ token: 'T' })", { interactiveMode: "Always" });
  await fails(obtainCredentials(context({ exec })), /requires a terminal .*stdin is not a terminal/);
  const may = plugin("give({ token: String(info.spec.interactive) })", { interactiveMode: "IfAvailable" });
  assert.equal((await obtainCredentials(context({ exec: may }))).headers.authorization, "Bearer false");
});

const jwt = (exp: number) => `h.${Buffer.from(JSON.stringify({ exp })).toString("base64url")}.SECRET`;
const old = jwt(Date.now() / 1000 - 60);
const fresh = jwt(Date.now() / 1000 + 600);

/** A kubeconfig with comments, whose user logs in by OIDC. */
async function oidcContext(config: Record<string, string>, kubeconfig = write("")): Promise<Context> {
  const lines = Object.entries(config).map(([key, value]) => `        ${key}: ${JSON.stringify(value)} # kept`);
  writeFileSync(
    kubeconfig,
    `# mine
current-context: a
contexts: [{name: a, context: {cluster: c, user: u}}]
clusters: [{name: c, cluster: {server: "https://h"}}]
users:
- name: other
  user: {token: t}
- name: u
  user:
    auth-provider:
      name: oidc
      config:
${lines.join("\n")}
`,
  );
  chmodSync(kubeconfig, 0o600);
  return selectContext(await loadKubeconfig({ env: {}, path: kubeconfig }), undefined);
}

interface Asked {
  path: string;
  authorization: string | undefined;
  form: Record<string, string>;
}

/** An issuer of id tokens, over https if given a CA; `answer` responds to a refresh. */
async function issuer(t: TestContext, answer: (asked: Asked) => [number, unknown], by?: Issuer) {
  const asked: Asked[] = [];
  const handle = async (
    request: IncomingMessage,
    response: { writeHead(n: number): void; end(text: string): void },
  ) => {
    let body = "";
    for await (const chunk of request) body += chunk;
    const one = {
      path: request.url ?? "",
      authorization: request.headers.authorization,
      form: Object.fromEntries(new URLSearchParams(body)),
    };
    asked.push(one);
    const discovery: [number, unknown] = [200, { token_endpoint: `${url}/token` }];
    const [status, value] = request.method === "GET" ? discovery : answer(one);
    response.writeHead(status);
    response.end(typeof value === "string" ? value : JSON.stringify(value));
  };
  const server = by
    ? createSecureServer(issue(by, { cn: "idp", usage: "server", ips: ["127.0.0.1"] }), handle)
    : createServer(handle);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  const url = `http${by ? "s" : ""}://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { url, asked };
}

test("OIDC: a valid id token is used", async () => {
  const { headers } = await obtainCredentials(await oidcContext({ "id-token": fresh }));
  assert.equal(headers.authorization, `Bearer ${fresh}`);
  const soon = await oidcContext({ "id-token": jwt(Date.now() / 1000 + 5) });
  await fails(obtainCredentials(soon), /has expired and there is no refresh-token/);
  await fails(obtainCredentials(await oidcContext({})), /no refresh-token/);
});

test("OIDC: an expired id token is renewed once and written to the kubeconfig", async (t) => {
  const { url, asked } = await issuer(t, () => [200, { id_token: fresh, refresh_token: "next" }], ca);
  const real = write("");
  const link = join(folder, "link");
  symlinkSync(real, link);
  const config = {
    "id-token": old,
    "refresh-token": "first",
    "idp-issuer-url": `${url}/`,
    "client-id": "me&co",
    "client-secret": "p w",
    "idp-certificate-authority-data": Buffer.from(ca.cert).toString("base64"),
  };
  const one = await oidcContext(config, link);
  const got = await Promise.all([obtainCredentials(one, {}), obtainCredentials({ ...one, name: "b" }, {})]);
  for (const { headers } of got) assert.equal(headers.authorization, `Bearer ${fresh}`);
  const basic = `Basic ${Buffer.from("me%26co:p%20w").toString("base64")}`;
  assert.deepEqual(asked, [
    { path: "/.well-known/openid-configuration", authorization: undefined, form: {} },
    { path: "/token", authorization: basic, form: { grant_type: "refresh_token", refresh_token: "first" } },
  ]);
  await obtainCredentials(one, {});
  assert.equal(asked.length, 2);

  const text = readFileSync(link, "utf8");
  assert.ok(text.startsWith("# mine\n"));
  assert.equal(text.match(/# kept/g)?.length, 6);
  assert.ok(!text.includes("first"));
  assert.equal(statSync(real).mode & 0o777, 0o600);
  assert.equal(readFileSync(real, "utf8"), text);
  const users = (await loadKubeconfig({ env: {}, path: link })).users;
  assert.equal(users.get("u")?.authProvider?.config["refresh-token"], "next");
  assert.equal(users.get("u")?.authProvider?.config["client-secret"], "p w");
  assert.equal(users.get("other")?.token, "t");
});

test("OIDC: the client secret is sent in the form if the issuer rejects the header", async (t) => {
  const { url, asked } = await issuer(t, ({ form }) => (form.client_id ? [200, { id_token: fresh }] : [401, "no"]));
  const config = { "id-token": old, "refresh-token": "r", "idp-issuer-url": url, "client-id": "c" };
  assert.equal((await obtainCredentials(await oidcContext(config), {})).headers.authorization, `Bearer ${fresh}`);
  assert.equal((await obtainCredentials(await oidcContext({ ...config, "client-secret": "s" }), {})).cert, undefined);
  const grant = { grant_type: "refresh_token", refresh_token: "r" };
  assert.deepEqual(
    asked.filter(({ path }) => path === "/token").map(({ form }) => form),
    [{ ...grant, client_id: "c" }, grant, { ...grant, client_id: "c", client_secret: "s" }],
  );
});

test("OIDC: failures are described without secrets", async (t) => {
  let answer: [number, unknown] = [400, { error: "SECRET" }];
  const { url } = await issuer(t, () => answer);
  const config = { "id-token": old, "refresh-token": "SECRET", "idp-issuer-url": url, "client-id": "c" };
  const obtain = async (over: Record<string, string> = {}) =>
    obtainCredentials(await oidcContext({ ...config, ...over }), {});
  await fails(obtain(), /cannot renew OIDC id-token: http:.*\/token: unexpected status 400/);
  answer = [200, "<SECRET>"];
  await fails(obtain(), /response is not JSON/);
  answer = [200, { refresh_token: "SECRET" }];
  await fails(obtain(), /no id_token in the response of http/);
  await fails(obtain({ "idp-issuer-url": "http://127.0.0.1:1" }), /127\.0\.0\.1:1\/.*: connection refused$/);
  await fails(obtain({ "idp-issuer-url": "nothing" }), /is not an http or https URL/);
  await fails(
    obtain({ "idp-certificate-authority": join(folder, "none") }),
    /cannot renew OIDC id-token: cannot read idp-certificate-authority .*none: no such file or directory$/,
  );

  const lost = await oidcContext(config);
  rmSync(lost.user.authProvider?.file ?? "");
  answer = [200, { id_token: fresh }];
  assert.equal((await obtainCredentials(lost, {})).headers.authorization, `Bearer ${fresh}`);
  const rotated = await oidcContext(config);
  rmSync(rotated.user.authProvider?.file ?? "");
  answer = [200, { id_token: fresh, refresh_token: "SECRET2" }];
  await fails(obtainCredentials(rotated, {}), /cannot write the new refresh-token to .*: no such file or directory$/);
});

test("OIDC: without a configured CA the issuer is verified by the system roots", async (t) => {
  const { url } = await issuer(t, () => [200, { id_token: fresh }], ca);
  const config = { "id-token": old, "refresh-token": "r", "idp-issuer-url": url, "client-id": "c" };
  const obtain = async (env: NodeJS.ProcessEnv) =>
    (await obtainCredentials(await oidcContext(config), env)).headers.authorization;
  assert.equal(await obtain({ SSL_CERT_FILE: write(ca.cert) }), `Bearer ${fresh}`);
  const another = write(makeCa({ cn: "another" }).cert);
  await fails(obtain({ SSL_CERT_FILE: another }), /: certificate signed by unknown authority$/);
});

test("OIDC: an intermediate CA is a sufficient trust anchor", async (t) => {
  const intermediate = makeCa({ cn: "intermediate", issuer: ca });
  const { url } = await issuer(t, () => [200, { id_token: fresh }], intermediate);
  const config = { "id-token": old, "refresh-token": "r", "idp-issuer-url": url, "client-id": "c" };
  const obtain = async (trusted: Issuer) => {
    const user = await oidcContext({ ...config, "idp-certificate-authority": write(trusted.cert) });
    return (await obtainCredentials(user, {})).headers.authorization;
  };
  assert.equal(await obtain(intermediate), `Bearer ${fresh}`);
  assert.equal(await obtain(ca), `Bearer ${fresh}`);
  await fails(obtain(makeCa({ cn: "another", issuer: ca })), /: certificate signed by unknown authority$/);
});

/** A kubeconfig with an expired id token and an issuer that rotates refresh tokens. */
async function rotating(t: TestContext) {
  const { url } = await issuer(t, () => [200, { id_token: fresh, refresh_token: "next" }]);
  const kubeconfig = write("");
  const config = { "id-token": old, "refresh-token": "first", "idp-issuer-url": url, "client-id": "c" };
  const user = await oidcContext(config, kubeconfig);
  const kept = async () =>
    (await loadKubeconfig({ env: {}, path: kubeconfig })).users.get("u")?.authProvider?.config["refresh-token"];
  return { kubeconfig, lock: `${kubeconfig}.lock`, user, kept };
}

test("OIDC: a locked kubeconfig is written when the lock is released", async (t) => {
  const { lock, user, kept } = await rotating(t);
  writeFileSync(lock, "");
  const renewed = obtainCredentials(user, {});
  await sleep(300);
  assert.equal(await kept(), "first");
  rmSync(lock);
  await renewed;
  assert.equal(await kept(), "next");
  assert.ok(!existsSync(lock), "the lock is released");
});

test("OIDC: a stale lock stays, and the tokens are written regardless", async (t) => {
  const { lock, user, kept } = await rotating(t);
  writeFileSync(lock, "theirs");
  const renewed = obtainCredentials(user, {});
  await sleep(300);
  assert.equal(await kept(), "first");
  const { now } = Date;
  t.mock.method(Date, "now", () => now() + 6_000);
  assert.equal((await renewed).headers.authorization, `Bearer ${fresh}`);
  assert.equal(await kept(), "next");
  assert.equal(readFileSync(lock, "utf8"), "theirs");
});

test("OIDC: the mode of the kubeconfig is preserved despite the umask", async (t) => {
  const { kubeconfig, user, kept } = await rotating(t);
  chmodSync(kubeconfig, 0o660);
  const before = process.umask(0o077);
  t.after(() => process.umask(before));
  await obtainCredentials(user, {});
  assert.equal(await kept(), "next");
  assert.equal(statSync(kubeconfig).mode & 0o7777, 0o660);
});

const notRoot = process.getuid?.() !== 0 && "requires root";
test("OIDC: the owner of the kubeconfig is preserved", { skip: notRoot }, async (t) => {
  const { kubeconfig, user, kept } = await rotating(t);
  chownSync(kubeconfig, 1000, 1001);
  await obtainCredentials(user, {});
  assert.equal(await kept(), "next");
  const { uid, gid, mode } = statSync(kubeconfig);
  assert.deepEqual([uid, gid, mode & 0o777], [1000, 1001, 0o600]);
});

test("OIDC: a bind-mounted kubeconfig is written", async (t) => {
  const { kubeconfig, kept } = await rotating(t);
  const mounting = ["sh", "-ec", 'mount --bind "$0" "$0"; exec "$@"', kubeconfig];
  const args = ["-m", ...(notRoot ? ["-r"] : []), ...mounting];
  if (spawnSync("unshare", [...args, "true"]).status !== 0) return t.skip("mounts are not permitted");
  const { ino } = statSync(kubeconfig);
  const module = (name: string) => JSON.stringify(fileURLToPath(new URL(`../../lib/kube/${name}.ts`, import.meta.url)));
  const code = `
    import { obtainCredentials } from ${module("auth/credentials")};
    import { loadKubeconfig, selectContext } from ${module("kubeconfig/kubeconfig")};
    const kubeconfig = await loadKubeconfig({ env: {}, path: ${JSON.stringify(kubeconfig)} });
    await obtainCredentials(await selectContext(kubeconfig, undefined), {});`;
  const child = spawn("unshare", [...args, process.execPath, "--import", "tsx", "--input-type=module", "-e", code]);
  child.stderr.pipe(process.stderr);
  assert.equal((await once(child, "close"))[0], 0);
  assert.equal(await kept(), "next");
  assert.equal(statSync(kubeconfig).ino, ino);
  assert.deepEqual(
    readdirSync(folder).filter((name) => name.startsWith(`${basename(kubeconfig)}.`)),
    [],
  );
});

test("a removed auth-provider is refused with its replacement", async () => {
  const provider = (name: string) => context({ authProvider: { name, config: {}, file: "", user: "u" } });
  await fails(
    obtainCredentials(provider("gcp")),
    /unsupported auth-provider "gcp"; use the exec plugin gke-gcloud-auth-plugin/,
  );
  await fails(obtainCredentials(provider("azure")), /kubelogin/);
  await fails(obtainCredentials(provider("x")), /unsupported auth-provider "x"$/);
});
