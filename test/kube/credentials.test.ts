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

/** A plugin that runs a piece of JavaScript, in which `info` is what it was told. */
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

test("a token, a password, and nothing at all", async () => {
  assert.deepEqual((await obtainCredentials(context({ token: "t" }))).headers, { authorization: "Bearer t" });
  const basic = { authorization: `Basic ${Buffer.from("ü:p:w").toString("base64")}` };
  assert.deepEqual((await obtainCredentials(context({ username: "ü", password: "p:w" }))).headers, basic);
  assert.deepEqual(await obtainCredentials(context({ password: "p" })), { headers: {} }, "as kubectl");
  assert.deepEqual(await obtainCredentials(context({})), { headers: {} });
});

test("a token file is read each time, goes before a token, and has to say something where it is all there is", async () => {
  const tokenFile = write("one\n");
  const authorization = async (user: Context["user"]) => (await obtainCredentials(context(user))).headers.authorization;
  assert.equal(await authorization({ tokenFile, token: "t" }), "Bearer one");
  writeFileSync(tokenFile, "two");
  assert.equal(await authorization({ tokenFile }), "Bearer two");
  writeFileSync(tokenFile, " \n");
  assert.equal(await authorization({ tokenFile, token: "t" }), "Bearer t");
  await fails(obtainCredentials(context({ tokenFile })), /tokenFile .* is empty/);
  const gone = join(folder, "gone");
  assert.equal(await authorization({ tokenFile: gone, token: "t" }), "Bearer t");
  await fails(
    obtainCredentials(context({ tokenFile: gone })),
    /tokenFile .*gone cannot be read: no such file or directory/,
  );
});

test("a client certificate is read with its key, and they have to belong together", async () => {
  const cert = { file: write(me.cert) };
  const both = await obtainCredentials(context({ cert, key: { pem: me.key }, token: "t" }));
  assert.deepEqual(both, { headers: { authorization: "Bearer t" }, cert: me.cert, key: me.key });
  const pair = (cert: string, key: string) => obtainCredentials(context({ cert: { pem: cert }, key: { pem: key } }));
  await fails(pair(me.cert, you.key), /do not belong together/, 2);
  await fails(pair("SECRET", me.key), /the client-certificate is no PEM certificate/, 2);
  await fails(pair(me.cert, "SECRET"), /the client-key is no PEM private key/, 2);
  const missing = { file: join(folder, "none") };
  await fails(
    obtainCredentials(context({ cert, key: missing })),
    /client-key: .*none cannot be read: no such file or directory/,
    2,
  );
});

test("impersonation, also over plain http, where nothing else is sent", async () => {
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
  await fails(obtainCredentials(context({ token: "SECRET\nx" })), /the token holds a line break/);
  await fails(obtainCredentials(context({ impersonate: { user: "a\r\nb" } })), /impersonate-user holds a line break/);
});

test("an exec plugin is told what it asked for, and gives a token", async () => {
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
  const told = { kind: "ExecCredential", apiVersion: exec.apiVersion, spec: { interactive: false } };
  const read = () => JSON.parse(readFileSync(seen, "utf8"));
  assert.deepEqual(read(), { info: told, x: "1", y: "2", args: ["--one", "two words"], stdin: "" });

  target.user.exec = { ...exec, provideClusterInfo: true, apiVersion: "client.authentication.k8s.io/v1beta1" };
  await obtainCredentials(target, env);
  assert.equal(read().info.apiVersion, "client.authentication.k8s.io/v1beta1");
  assert.deepEqual(read().info.spec.cluster, { server: "https://h", config: { audience: "x" } });
});

test("an exec plugin may give a client certificate", async () => {
  const status = { clientCertificateData: me.cert, clientKeyData: me.key };
  const user = { exec: plugin(`give(${JSON.stringify(status)});`) };
  assert.deepEqual(await obtainCredentials(context(user)), { headers: {}, cert: me.cert, key: me.key });
  const wrong = { exec: plugin(`give(${JSON.stringify({ ...status, clientKeyData: you.key })});`) };
  await fails(obtainCredentials(context(wrong)), /exec plugin: .*do not belong together/);
});

test("an exec plugin is not asked where the kubeconfig says a token, a password or a certificate", async () => {
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

test("a plugin runs once for all contexts of a user, until what it gave ends or is refused", async () => {
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
  assert.deepEqual(await three(), ["Bearer xxx", "Bearer xxx", "Bearer xxx"], "it had ended");
  assert.deepEqual(await three(), ["Bearer xxx", "Bearer xxx", "Bearer xxx"]);
});

test("a plugin's program is looked for where the caller's PATH says, and never in the current folder", async () => {
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
  await fails(found(String(PATH), { env: [{ name: "PATH", value: bin }] }), /there: there is no such program/);
  const before = process.cwd();
  process.chdir(bin);
  try {
    await fails(found(`.:${PATH}`), /there: there is no such program/);
    await fails(found(`:${PATH}`), /there: there is no such program/);
  } finally {
    process.chdir(before);
  }
});

test("what an exec plugin can do wrong", async () => {
  const cases: [ExecConfig, RegExp][] = [
    [plugin("process.exit(3)"), /ended with exit code 3/],
    [plugin("process.kill(process.pid, 'SIGTERM'); setTimeout(() => {}, 5000)"), /ended by SIGTERM/],
    [plugin(""), /no ExecCredential/],
    [plugin("console.log('{SECRET')"), /not JSON/],
    [plugin("give({ token: 'SECRET' }, { kind: 'Secret' })"), /no ExecCredential/],
    [plugin("give({ token: 'SECRET' }, { apiVersion: 'x/v2' })"), /asked for .*\/v1 and gave "x\/v2"/],
    [plugin("give()"), /neither a token nor a certificate/],
    [plugin("give({ token: '' })"), /neither a token nor a certificate/],
    [plugin("give({ token: 7 })"), /its token is not a text/],
    [plugin("give({ clientCertificateData: 'SECRET' })"), /a certificate without key/],
    [plugin("give({ token: 'SECRET\\nx' })"), /the token holds a line break/],
    [plugin("process.stdout.write('SECRET'.repeat(1e6)); setTimeout(() => {}, 5000)"), /more than 1 MiB/],
    [plugin("", { apiVersion: "client.authentication.k8s.io/v1alpha1" }), /v1alpha1" is not known/],
    [plugin("give({ token: 't', expirationTimestamp: 'tomorrow' })"), /its expirationTimestamp is no time/],
    [plugin("", { command: folder }), /cannot be run: permission denied/],
    [plugin("", { env: [{ name: "A", value: "SECRET\0" }] }), /cannot be run: invalid argument$/],
    [
      plugin("", { command: script("#!/nowhere/at/all\n") }),
      /cannot be run: no such file or directory; is what its first line names/,
    ],
  ];
  for (const [exec, message] of cases) {
    await fails(obtainCredentials(context({ exec })), message);
  }
  const missing = plugin("", { command: "no-such-plugin", installHint: "Get it at \u001b[1mhttps://x\n" });
  await fails(
    obtainCredentials(context({ exec: missing })),
    /no-such-plugin: there is no such program\nGet it at \[1mhttps:\/\/x$/,
  );
});

test("a plugin that wants a terminal is refused where there is none", { skip: process.stdin.isTTY }, async () => {
  const exec = plugin("give({ token: 'T' })", { interactiveMode: "Always" });
  await fails(obtainCredentials(context({ exec })), /it wants a terminal, and stdin is none/);
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

/** An issuer of id tokens, over https where a CA vouches for it; `answer` says what a refresh gets. */
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

test("OIDC: an id token that has not ended is taken as it is", async () => {
  const { headers } = await obtainCredentials(await oidcContext({ "id-token": fresh }));
  assert.equal(headers.authorization, `Bearer ${fresh}`);
  const soon = await oidcContext({ "id-token": jwt(Date.now() / 1000 + 5) });
  await fails(obtainCredentials(soon), /has expired, and there is no refresh-token/);
  await fails(obtainCredentials(await oidcContext({})), /no refresh-token/);
});

test("OIDC: one that has ended is renewed once, and kept in the kubeconfig as kubectl does", async (t) => {
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

test("OIDC: an issuer that wants the client in the form gets it there", async (t) => {
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

test("OIDC: what can go wrong, without a secret in the message", async (t) => {
  let answer: [number, unknown] = [400, { error: "SECRET" }];
  const { url } = await issuer(t, () => answer);
  const config = { "id-token": old, "refresh-token": "SECRET", "idp-issuer-url": url, "client-id": "c" };
  const obtain = async (over: Record<string, string> = {}) =>
    obtainCredentials(await oidcContext({ ...config, ...over }), {});
  await fails(obtain(), /the OIDC id-token cannot be renewed: http:.*\/token answers 400/);
  answer = [200, "<SECRET>"];
  await fails(obtain(), /does not answer JSON/);
  answer = [200, { refresh_token: "SECRET" }];
  await fails(obtain(), /gave no id_token/);
  await fails(obtain({ "idp-issuer-url": "http://127.0.0.1:1" }), /cannot be reached: connection refused$/);
  await fails(obtain({ "idp-issuer-url": "nothing" }), /is no http or https URL/);
  await fails(
    obtain({ "idp-certificate-authority": join(folder, "none") }),
    /cannot be renewed: idp-certificate-authority .*none cannot be read: no such file or directory$/,
  );

  const lost = await oidcContext(config);
  rmSync(lost.user.authProvider?.file ?? "");
  answer = [200, { id_token: fresh }];
  assert.equal((await obtainCredentials(lost, {})).headers.authorization, `Bearer ${fresh}`);
  const rotated = await oidcContext(config);
  rmSync(rotated.user.authProvider?.file ?? "");
  answer = [200, { id_token: fresh, refresh_token: "SECRET2" }];
  await fails(
    obtainCredentials(rotated, {}),
    /the new refresh-token cannot be written to .*: no such file or directory$/,
  );
});

test("OIDC: an issuer without a CA of its own is verified by whom the system trusts", async (t) => {
  const { url } = await issuer(t, () => [200, { id_token: fresh }], ca);
  const config = { "id-token": old, "refresh-token": "r", "idp-issuer-url": url, "client-id": "c" };
  const obtain = async (env: NodeJS.ProcessEnv) =>
    (await obtainCredentials(await oidcContext(config), env)).headers.authorization;
  assert.equal(await obtain({ SSL_CERT_FILE: write(ca.cert) }), `Bearer ${fresh}`);
  const another = write(makeCa({ cn: "another" }).cert);
  await fails(obtain({ SSL_CERT_FILE: another }), /cannot be reached: certificate signed by unknown authority$/);
});

test("OIDC: the intermediate CA that signed the issuer's certificate is enough", async (t) => {
  const intermediate = makeCa({ cn: "intermediate", issuer: ca });
  const { url } = await issuer(t, () => [200, { id_token: fresh }], intermediate);
  const config = { "id-token": old, "refresh-token": "r", "idp-issuer-url": url, "client-id": "c" };
  const obtain = async (trusted: Issuer) => {
    const user = await oidcContext({ ...config, "idp-certificate-authority": write(trusted.cert) });
    return (await obtainCredentials(user, {})).headers.authorization;
  };
  assert.equal(await obtain(intermediate), `Bearer ${fresh}`);
  assert.equal(await obtain(ca), `Bearer ${fresh}`);
  await fails(
    obtain(makeCa({ cn: "another", issuer: ca })),
    /cannot be reached: certificate signed by unknown authority$/,
  );
});

/** A kubeconfig whose token has ended, and whose issuer gives another refresh token each time. */
async function rotating(t: TestContext) {
  const { url } = await issuer(t, () => [200, { id_token: fresh, refresh_token: "next" }]);
  const kubeconfig = write("");
  const config = { "id-token": old, "refresh-token": "first", "idp-issuer-url": url, "client-id": "c" };
  const user = await oidcContext(config, kubeconfig);
  const kept = async () =>
    (await loadKubeconfig({ env: {}, path: kubeconfig })).users.get("u")?.authProvider?.config["refresh-token"];
  return { kubeconfig, lock: `${kubeconfig}.lock`, user, kept };
}

test("OIDC: a kubeconfig that another program holds is written when it lets go", async (t) => {
  const { lock, user, kept } = await rotating(t);
  writeFileSync(lock, "");
  const renewed = obtainCredentials(user, {});
  await sleep(300);
  assert.equal(await kept(), "first");
  rmSync(lock);
  await renewed;
  assert.equal(await kept(), "next");
  assert.ok(!existsSync(lock), "it lets go itself");
});

test("OIDC: a lock that nobody takes away is left where it is, and the token is kept all the same", async (t) => {
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

test("OIDC: the kubeconfig's mode stays, whatever the umask", async (t) => {
  const { kubeconfig, user, kept } = await rotating(t);
  chmodSync(kubeconfig, 0o660);
  const before = process.umask(0o077);
  t.after(() => process.umask(before));
  await obtainCredentials(user, {});
  assert.equal(await kept(), "next");
  assert.equal(statSync(kubeconfig).mode & 0o7777, 0o660);
});

const notRoot = process.getuid?.() !== 0 && "only root may give a file to somebody";
test("OIDC: the kubeconfig's owner stays", { skip: notRoot }, async (t) => {
  const { kubeconfig, user, kept } = await rotating(t);
  chownSync(kubeconfig, 1000, 1001);
  await obtainCredentials(user, {});
  assert.equal(await kept(), "next");
  const { uid, gid, mode } = statSync(kubeconfig);
  assert.deepEqual([uid, gid, mode & 0o777], [1000, 1001, 0o600]);
});

test("OIDC: a kubeconfig that is mounted by itself is written too", async (t) => {
  const { kubeconfig, kept } = await rotating(t);
  const mounting = ["sh", "-ec", 'mount --bind "$0" "$0"; exec "$@"', kubeconfig];
  const args = ["-m", ...(notRoot ? ["-r"] : []), ...mounting];
  if (spawnSync("unshare", [...args, "true"]).status !== 0) return t.skip("nothing can be mounted here");
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

test("providers that Kubernetes no longer has: what takes their place", async () => {
  const provider = (name: string) => context({ authProvider: { name, config: {}, file: "", user: "u" } });
  await fails(
    obtainCredentials(provider("gcp")),
    /no auth-provider "gcp" any more: the exec plugin gke-gcloud-auth-plugin/,
  );
  await fails(obtainCredentials(provider("azure")), /kubelogin/);
  await fails(obtainCredentials(provider("x")), /no auth-provider "x" any more$/);
});
