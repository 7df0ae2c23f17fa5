import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { after, test } from "node:test";
import fc from "fast-check";
import {
  apiServerKey,
  KubeconfigError,
  loadKubeconfig,
  loadServiceAccount,
  readPemSource,
  selectContext,
} from "../../lib/kube/kubeconfig/kubeconfig.ts";
import { makeCa } from "../../lib/sandbox/pki.ts";

const folder = mkdtempSync(join(tmpdir(), "kubeconfig-"));
after(() => rmSync(folder, { recursive: true }));
const CA = makeCa({ cn: "test" }).cert;
const base64 = (text: string) => Buffer.from(text).toString("base64");

let files = 0;
/** Writes a kubeconfig into a separate folder. */
function write(content: unknown): string {
  const own = join(folder, String(files++));
  mkdirSync(own);
  const file = join(own, "config");
  const raw = typeof content === "string" || Buffer.isBuffer(content);
  writeFileSync(file, raw ? content : JSON.stringify(content));
  return file;
}

/** A kubeconfig with one context, and overrides. */
function config(overrides: { cluster?: object; user?: object; context?: object; name?: string } = {}): object {
  const { name = "a" } = overrides;
  return {
    apiVersion: "v1",
    kind: "Config",
    "current-context": name,
    contexts: [{ name, context: { cluster: "c", user: "u", ...overrides.context } }],
    clusters: [{ name: "c", cluster: { server: "https://127.0.0.1:6443", ...overrides.cluster } }],
    users: [{ name: "u", user: overrides.user ?? { token: "t" } }],
  };
}

const load = (path: string) => loadKubeconfig({ env: {}, path });
const select = async (content: unknown, name?: string) => selectContext(await load(write(content)), name);
const refuses = (result: Promise<unknown>, message: RegExp) =>
  assert.rejects(result, (error: unknown) => {
    assert.ok(error instanceof KubeconfigError, String(error));
    assert.equal(error.exitCode, 2);
    assert.match(error.message, message);
    assert.equal(error.message.split("\n").length, 1);
    return true;
  });

test("a context is resolved with its cluster and user, from YAML and JSON", async () => {
  const content = config({ cluster: { "certificate-authority-data": base64(CA) }, context: { namespace: "n" } });
  const yaml = `# mine\ncurrent-context: a\ncontexts:\n- name: a\n  context: {cluster: c, user: u, namespace: n}\nclusters:
- name: c\n  cluster:\n    server: https://127.0.0.1:6443\n    certificate-authority-data: ${base64(CA)}\nusers:
- name: u\n  user:\n    token: t\n`;
  for (const one of [content, yaml]) {
    const context = await select(one);
    assert.equal(context.name, "a");
    assert.equal(context.server, "https://127.0.0.1:6443");
    assert.deepEqual(context.tls, { ca: CA, insecure: false, serverName: undefined });
    assert.equal(context.user.token, "t");
    assert.equal(context.namespace, "n");
    assert.equal(context.presentsCertificate, false);
  }
});

test("KUBECONFIG: the first file that defines an entry wins; missing and empty files are skipped", async () => {
  const first = write({
    contexts: [{ name: "a", context: { cluster: "c", user: "u" } }],
    users: [{ name: "u", user: { token: "first" } }],
  });
  const second = write({ ...config({ user: { token: "second", as: "someone" } }), "current-context": "b" });
  const third = write(config({ name: "third" }));
  const env = { KUBECONFIG: ["", join(folder, "missing"), first, write(""), second, third, first].join(delimiter) };
  const kubeconfig = await loadKubeconfig({ env });
  assert.equal(kubeconfig.currentContext, "b");
  assert.deepEqual([...kubeconfig.contexts.keys()], ["a", "third"]);
  assert.equal(kubeconfig.users.get("u")?.token, "first");
  assert.equal(kubeconfig.users.get("u")?.impersonate?.user, undefined);
});

test("--kubeconfig precedes KUBECONFIG, which precedes ~/.kube/config; the file of --kubeconfig must exist", async () => {
  const home = join(folder, "home");
  mkdirSync(join(home, ".kube"), { recursive: true });
  writeFileSync(join(home, ".kube", "config"), JSON.stringify(config({ name: "home" })));
  const other = write(config({ name: "other" }));
  assert.equal((await loadKubeconfig({ env: { HOME: home } })).currentContext, "home");
  assert.equal((await loadKubeconfig({ env: { HOME: home, KUBECONFIG: "" } })).currentContext, "home");
  assert.equal((await loadKubeconfig({ env: { HOME: home, KUBECONFIG: other } })).currentContext, "other");
  assert.equal((await loadKubeconfig({ env: { HOME: home, KUBECONFIG: delimiter } })).currentContext, undefined);
  const path = write(config({ name: "flag" }));
  assert.equal((await loadKubeconfig({ env: { HOME: home, KUBECONFIG: other }, path })).currentContext, "flag");
  const missing = join(folder, "missing");
  await refuses(
    loadKubeconfig({ env: { HOME: home }, path: missing }),
    /cannot read kubeconfig .*missing: no such file or directory/,
  );
});

test("paths are relative to their kubeconfig, a bare command to PATH; data precedes files", async () => {
  const file = write(
    config({
      cluster: { "certificate-authority": "ca.crt" },
      user: {
        "client-certificate": "certs/me.crt",
        "client-key": "/keys/me.key",
        tokenFile: "../token",
        exec: { apiVersion: "client.authentication.k8s.io/v1", command: "./login", interactiveMode: "Never" },
      },
    }),
  );
  const own = join(file, "..");
  const user = (await load(file)).users.get("u");
  assert.deepEqual(user?.cert, { file: join(own, "certs/me.crt") });
  assert.deepEqual(user?.key, { file: "/keys/me.key" });
  assert.equal(user?.tokenFile, join(folder, "token"));
  assert.equal(user?.exec?.command, join(own, "login"));
  writeFileSync(join(own, "ca.crt"), CA);
  assert.equal((await selectContext(await load(file), undefined)).tls.ca, CA);

  const bare = await load(write(config({ user: { exec: { command: "aws" } } })));
  assert.equal(bare.users.get("u")?.exec?.command, "aws");
  const both = { "certificate-authority": "/none", "certificate-authority-data": base64(CA) };
  assert.equal((await select(config({ cluster: both }))).tls.ca, CA);
});

test("an invalid kubeconfig is refused in one line", async () => {
  const cases: [unknown, RegExp][] = [
    ["{", /config: invalid YAML at line 1, column 2: flow map must end with a \}$/],
    ["foo: [", /at line 1, column 7: flow sequence in block collection must be .* and end with a \]$/],
    ["a: b: c", /at line 1, column 4: nested mappings are not allowed in compact mappings$/],
    ["a: 'b", /at line 1, column 6: missing closing 'quote$/],
    ["a:\n\tb: 1", /at line 2, column 1: tabs are not allowed as indentation$/],
    ["a: @b", /at line 1, column 4: an unquoted value starts with a reserved character$/],
    ["just a text", /not a mapping/],
    ["- a", /not a mapping/],
    ["contexts: []\ncontexts: []", /at line 2, column 1: duplicate key$/],
    ["contexts: {}", /contexts is not a list/],
    ["contexts: [a]", /contexts\[0\]: not a mapping/],
    ["users: [{name: u, user: {token: 12345}}]", /user u: token is not a string/],
    ["clusters: [{name: c, cluster: {insecure-skip-tls-verify: 'true'}}]", /must be true or false/],
    ["users: [{name: u, user: {as-groups: [1]}}]", /as-groups is not a list of strings/],
    ["users: [{name: u, user: {client-key-data: '***'}}]", /client-key-data is not base64/],
    [{ apiVersion: "v1", kind: "Secret", data: {} }, /kind is "Secret", expected "Config"/],
    [Buffer.from([0x61, 0xff]), /not UTF-8/],
    [Buffer.alloc(17 * 1_048_576, 0x20), /cannot read kubeconfig .*: file exceeds 16 MiB/],
    [`a: &a [x]\nb: [${"*a, ".repeat(200)}]`, /aliases/],
  ];
  for (const [content, message] of cases) await refuses(load(write(content)), message);
  await refuses(load(folder), /is a directory/);
  await refuses(loadKubeconfig({ env: { KUBECONFIG: `${write(config())}${delimiter}${write("{")}` } }), /invalid YAML/);
});

test("errors about an invalid kubeconfig contain no secret", async () => {
  for (const content of [
    "users: [{name: u, user: {token: SECRET: SECRET}}]",
    "users: [{name: u, user: {token: [SECRET]}}]",
    "users: [{name: u, user: {token: a, token: SECRET}}]",
    "users: [{name: u, user: {client-key-data: 'SECRET*'}}]",
    "users:\n- name: u\n  user:\n  token: SECRET\n token: |\nSECRET",
  ]) {
    await assert.rejects(load(write(content)), (error: Error) => !error.message.includes("SECRET"));
  }
});

test("__proto__ is an ordinary name", async () => {
  const text = `{"__proto__": {"kind": "x"}, "current-context": "__proto__",
    "contexts": [{"name": "__proto__", "context": {"cluster": "constructor", "user": "u"}}],
    "clusters": [{"name": "constructor", "cluster": {"server": "https://h", "__proto__": {"server": "https://x"}}}],
    "users": [{"name": "u", "user": {"__proto__": {"token": "x"}}}]}`;
  const context = await select(text);
  assert.equal(context.name, "__proto__");
  assert.equal(context.server, "https://h");
  assert.equal(context.user.token, undefined);
  await refuses(select(config(), "__proto__"), /context "__proto__" does not exist/);
});

test("a missing context is refused with the nearest name and the available ones", async () => {
  const names = ["cluster1", "cluster2", "production"];
  const contexts = names.map((name) => ({ name, context: { cluster: "c", user: "u" } }));
  await refuses(
    select({ ...config(), contexts }, "clutser1"),
    /context "clutser1" does not exist; did you mean "cluster1"\?/,
  );
  await refuses(
    select({ ...config(), contexts }, "prodution"),
    /mean "production"\? \(available: cluster1, cluster2 and production\)/,
  );
  // cluster1 and cluster2 are equally near.
  await refuses(select({ ...config(), contexts }, "cluster"), /context "cluster" does not exist \(available: cluster1/);
  await refuses(select({ ...config(), contexts }, "x"), /context "x" does not exist \(available: cluster1/);
  await refuses(
    select({ ...config(), contexts, "current-context": "" }),
    /current-context is not set; pass --context with one of: cluster1/,
  );
  const many = Array.from({ length: 30 }, (_, index) => ({ name: `c${index}`, context: {} }));
  await refuses(select({ ...config(), contexts: many }, "zzzzz"), /c10 and 19 more/);
});

test("commas do not separate contexts: a name can contain them, and a list of names is refused as such", async () => {
  const contexts = ["a", "b", "c,d"].map((name) => ({ name, context: { cluster: "c", user: "u" } }));
  assert.equal((await select({ ...config(), contexts }, "c,d")).name, "c,d");
  for (const list of ["a,b", "a, b"]) {
    await refuses(
      select({ ...config(), contexts }, list),
      /^context ".*" does not exist; specify each context separately, not as a comma-separated list \(available: a, b/,
    );
  }
  await refuses(select({ ...config(), contexts }, "a,x"), /^context "a,x" does not exist \(available/);
});

test("a kubeconfig without contexts is refused with its files; missing files are named only if none exists", async () => {
  const selectFrom = async (env: NodeJS.ProcessEnv) => selectContext(await loadKubeconfig({ env }), undefined);
  const [missing, other] = [join(folder, "missing"), join(folder, "other")];
  const empty = write("");
  const refusesWith = (env: NodeJS.ProcessEnv, cause: string) =>
    assert.rejects(selectFrom(env), {
      message: `no kubeconfig: ${cause}; pass --kubeconfig FILE or set KUBECONFIG`,
    });
  await refusesWith({ KUBECONFIG: empty }, `no contexts in ${empty}`);
  await refusesWith({ KUBECONFIG: [missing, empty].join(delimiter) }, `no contexts in ${empty}`);
  await refusesWith({ KUBECONFIG: missing }, `${missing}: no such file or directory`);
  await refusesWith(
    { KUBECONFIG: [missing, other].join(delimiter) },
    `${missing}, ${other}: no such file or directory`,
  );
  await refusesWith({ HOME: missing }, `${join(missing, ".kube", "config")}: no such file or directory`);
  await refusesWith({ KUBECONFIG: delimiter }, "KUBECONFIG contains no file");
});

test("an invalid context is refused by name; other contexts remain usable", async () => {
  const exec = { apiVersion: "client.authentication.k8s.io/v1", command: "x", interactiveMode: "Never" };
  const cases: [object, RegExp][] = [
    [config({ context: { user: "gone" } }), /context "a": user "gone" does not exist in the kubeconfig/],
    [config({ context: { cluster: "gone" } }), /cluster "gone" has no server/],
    [config({ cluster: { server: "" } }), /cluster "c" has no server/],
    [config({ cluster: { server: "ftp://h" } }), /must be an http or https URL/],
    [config({ cluster: { server: "https://me:pw@h" } }), /without user information/],
    [
      config({ cluster: { "certificate-authority": "none" } }),
      /cannot read certificate-authority .*none: no such file or directory/,
    ],
    [config({ cluster: { "certificate-authority-data": base64("x") } }), /contains no certificate/],
    [
      config({ cluster: { "certificate-authority-data": base64(CA), "insecure-skip-tls-verify": true } }),
      /certificate-authority and insecure-skip-tls-verify are mutually exclusive/,
    ],
    [config({ user: { token: "t", username: "u", password: "p" } }), /token and username are mutually exclusive/],
    [config({ user: { "client-certificate-data": base64(CA) } }), /without client-key/],
    [config({ user: { exec, "auth-provider": { name: "oidc" } } }), /exec and auth-provider are mutually exclusive/],
    [config({ user: { exec: { ...exec, command: "" } } }), /exec: command is missing/],
    [config({ user: { exec: { ...exec, apiVersion: "" } } }), /exec: apiVersion is missing/],
    [config({ user: { exec: { ...exec, interactiveMode: "" } } }), /exec: interactiveMode is missing/],
    [config({ user: { exec: { ...exec, interactiveMode: "Sometimes" } } }), /invalid interactiveMode "Sometimes"/],
    [config({ user: { exec: { ...exec, env: [{ value: "v" }] } } }), /env entry without name/],
    [config({ user: { token: "t", "as-groups": ["g"] } }), /requires a user/],
  ];
  for (const [content, message] of cases) {
    await refuses(select(content), message);
    await refuses(select(content), /^context "a": /);
    const good = { name: "good", context: { cluster: "good", user: "" } };
    const kubeconfig = content as { contexts: object[]; clusters: object[] };
    kubeconfig.contexts.push(good);
    kubeconfig.clusters.push({ name: "good", cluster: { server: "h:8080/path/" } });
    assert.equal((await select(content, "good")).server, "http://h:8080/path");
  }
});

test("impersonation flags override the kubeconfig", async () => {
  const user = { token: "t", as: "me", "as-groups": ["g"], "as-uid": "1", "as-user-extra": { k: ["v"] } };
  const kubeconfig = await load(write(config({ user })));
  const impersonate = async (given: object) => (await selectContext(kubeconfig, "a", given)).user.impersonate;
  const entry = { user: "me", groups: ["g"], uid: "1", extra: { k: ["v"] } };
  assert.deepEqual(await impersonate({}), entry);
  assert.deepEqual(await impersonate({ user: "you" }), { ...entry, user: "you" });
  assert.deepEqual(await impersonate({ user: "", groups: ["x", "y"], uid: "2" }), {
    ...entry,
    groups: ["x", "y"],
    uid: "2",
  });
  const plain = await load(write(config()));
  assert.equal((await selectContext(plain, "a")).user.impersonate, undefined);
  await refuses(selectContext(plain, "a", { groups: ["g"] }), /requires a user \(--as\)/);
});

test("an exec plugin receives its cluster as written; the connection waits for a possible certificate", async () => {
  const extensions = [
    { name: "other", extension: { no: 1 } },
    { name: "client.authentication.k8s.io/exec", extension: { audience: "x" } },
  ];
  const exec = { apiVersion: "client.authentication.k8s.io/v1beta1", command: "x" };
  const execClusterOf = async (more: object) => {
    const context = await select(config({ cluster: more, user: { exec } }));
    assert.equal(context.presentsCertificate, true);
    return context.execCluster;
  };
  assert.deepEqual(
    await execClusterOf({
      extensions,
      server: "https://API.example:443//p/?q#f",
      "certificate-authority-data": Buffer.from(CA).toString("base64"),
      "tls-server-name": "s",
      "proxy-url": "http://p",
      "disable-compression": true,
    }),
    {
      server: "https://API.example:443//p/",
      "tls-server-name": "s",
      "certificate-authority-data": Buffer.from(CA).toString("base64"),
      "proxy-url": "http://p",
      "disable-compression": true,
      config: { audience: "x" },
    },
  );
  assert.deepEqual((await execClusterOf({ server: "https://API.example:443" }))?.server, "https://API.example:443");
  assert.equal((await select(config({ user: { exec, token: "t" } }))).presentsCertificate, false);
});

test("in a pod without kubeconfig the service account is used", async () => {
  const serviceAccount = join(folder, "account");
  mkdirSync(serviceAccount);
  const env = { HOME: join(folder, "nowhere"), KUBERNETES_SERVICE_HOST: "fd00::1", KUBERNETES_SERVICE_PORT: "443" };
  const none = await loadKubeconfig({ env, serviceAccount });
  await refuses(selectContext(none, undefined), /no kubeconfig: .*nowhere.*: no such file or directory/);
  writeFileSync(join(serviceAccount, "token"), "sa");
  writeFileSync(join(serviceAccount, "ca.crt"), CA);
  writeFileSync(join(serviceAccount, "namespace"), "mine");
  const context = await selectContext(await loadKubeconfig({ env, serviceAccount }), undefined);
  assert.equal(context.name, "in-cluster");
  assert.equal(context.server, "https://[fd00::1]");
  assert.equal(context.tls.ca, CA);
  assert.equal(context.user.tokenFile, join(serviceAccount, "token"));
  assert.equal(context.namespace, "mine");
  const kubeconfig = await loadKubeconfig({ env, path: write(config()), serviceAccount });
  assert.equal((await selectContext(kubeconfig, undefined)).name, "a");
  const pod = await loadServiceAccount({ env: { ...env, KUBECONFIG: write(config()) }, serviceAccount });
  assert.ok(pod);
  assert.deepEqual(await selectContext(pod, undefined), context);
  assert.equal(await loadServiceAccount({ env: {}, serviceAccount }), undefined);
  assert.equal(await loadServiceAccount({ env, serviceAccount: join(folder, "nowhere") }), undefined);
});

test("apiServerKey is equal for the same server, name, CA and proxy in any notation", async () => {
  const key = async (cluster: object) => apiServerKey(await select(config({ cluster })));
  const server = "https://Host.example:443/p";
  const plain = await key({ server, "certificate-authority-data": base64(CA) });
  const windows = base64(`# comment\r\n${CA.replaceAll("\n", "\r\n")}`);
  assert.equal(await key({ server: "https://host.example/p/", "certificate-authority-data": windows }), plain);
  const others = [
    { server },
    { server: "https://host.example/q", "certificate-authority-data": base64(CA) },
    { server, "certificate-authority-data": base64(makeCa({ cn: "test" }).cert) },
    { server, "certificate-authority-data": base64(CA), "proxy-url": "http://127.0.0.1:1" },
    { server, "certificate-authority-data": base64(CA), "tls-server-name": "x" },
  ];
  const keys = await Promise.all(others.map(key));
  assert.equal(new Set([plain, ...keys]).size, others.length + 1);
});

test("arbitrary text is loaded or refused, without a crash", async () => {
  const file = write("");
  const piece = fc.constantFrom(
    "contexts:",
    "\n",
    "- ",
    "name: a",
    "{",
    "}",
    "[",
    "]",
    ": ",
    "&a ",
    "*a",
    "<<: ",
    "!!binary ",
    '"',
    "'",
    "|",
    "  ",
    "---\n",
    "%",
    "\0",
    "null",
    "user:",
    "token",
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.oneof({ weight: 4, arbitrary: piece }, fc.string()), { maxLength: 30 }),
      async (pieces) => {
        writeFileSync(file, pieces.join(""));
        const error = await load(file).then(
          () => undefined,
          (thrown: unknown) => thrown,
        );
        assert.ok(error === undefined || error instanceof KubeconfigError, String(error));
      },
    ),
    { numRuns: 300 },
  );
});

const kubectl = spawnSync("kubectl", ["version", "--client"]).status === 0;

test("kubeconfigs are merged as by kubectl", { skip: kubectl ? false : "kubectl not found" }, async () => {
  const entry = (name: string, of: number) => ({
    contexts: { name, context: { cluster: `c${of}`, user: `u${of}`, ...(of % 2 && { namespace: "n" }) } },
    clusters: { name, cluster: { server: `https://h${of}`, ...(of % 2 && { "certificate-authority": "/ca.crt" }) } },
    users: { name, user: of % 2 ? { token: `t${of}` } : { "client-certificate": "/c", "client-key": "/k" } },
  });
  const numbers = [
    [
      ["a", "b"],
      ["b", "c"],
      ["a", "d"],
    ],
    [[], ["x"], ["x", "y"]],
    [["q"], [], ["r", "q"]],
  ];
  for (const [round, lists] of numbers.entries()) {
    const written = lists.map((names, index) => {
      const entries = names.map((name, place) => entry(name, round + index * 3 + place));
      return write({
        ...(index !== 0 && { "current-context": names[0] ?? "" }),
        contexts: entries.map(({ contexts }) => contexts),
        clusters: entries.map(({ clusters }) => clusters),
        users: entries.map(({ users }) => users),
      });
    });
    const env = { ...process.env, KUBECONFIG: ["", join(folder, "missing"), ...written, written[0]].join(delimiter) };
    const shown = execFileSync("kubectl", ["config", "view", "--raw", "-o", "json"], { env, encoding: "utf8" });
    const theirs = JSON.parse(shown) as Record<string, { name: string; [field: string]: unknown }[] | null | string>;
    const ours = await loadKubeconfig({ env });
    const path = (source: unknown) => (source as { file?: string } | undefined)?.file;
    const sorted = <T>(map: Map<string, T>, field: string, show: (value: T) => object) =>
      [...map.entries()]
        .sort(([one], [other]) => (one < other ? -1 : 1))
        .map(([name, value]) => ({ name, [field]: show(value) }));
    assert.equal(ours.currentContext ?? "", theirs["current-context"]);
    const plain = (value: unknown) => JSON.parse(JSON.stringify(value));
    assert.deepEqual(plain(sorted(ours.contexts, "context", (value) => value)), theirs.contexts);
    assert.deepEqual(
      plain(sorted(ours.clusters, "cluster", ({ server, ca }) => ({ server, "certificate-authority": path(ca) }))),
      theirs.clusters,
    );
    assert.deepEqual(
      plain(
        sorted(ours.users, "user", ({ token, cert, key }) => ({
          token,
          "client-certificate": path(cert),
          "client-key": path(key),
        })),
      ),
      theirs.users,
    );
  }
  for (const bad of [
    {
      contexts: [
        { name: "a", context: {} },
        { name: "a", context: {} },
      ],
    },
    { kind: "Secret" },
    { users: [{ name: "u", user: { token: 1 } }] },
  ]) {
    const path = write(bad);
    assert.notEqual(spawnSync("kubectl", ["--kubeconfig", path, "config", "view"]).status, 0);
    await assert.rejects(load(path), KubeconfigError);
  }
});

test("relative paths are resolved as by kubectl", { skip: kubectl ? false : "kubectl not found" }, async () => {
  const path = write(
    config({
      cluster: { "certificate-authority": "ca.crt" },
      user: { "client-certificate": "./certs/me.crt", "client-key": "../me.key" },
    }),
  );
  mkdirSync(join(path, "..", "certs"));
  writeFileSync(join(path, "..", "ca.crt"), CA);
  writeFileSync(join(path, "..", "certs", "me.crt"), "cert");
  writeFileSync(join(folder, "me.key"), "key");
  const args = ["--kubeconfig", path, "config", "view", "--flatten", "--raw", "-o", "json"];
  const theirs = JSON.parse(execFileSync("kubectl", args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }));
  const { tls, user } = await selectContext(await load(path), "a");
  assert.equal(base64(tls.ca ?? ""), theirs.clusters[0].cluster["certificate-authority-data"]);
  for (const [source, field] of [
    [user.cert, "client-certificate-data"],
    [user.key, "client-key-data"],
  ] as const) {
    assert.ok(source);
    assert.equal(
      base64(await readPemSource(source, field, (message) => new KubeconfigError(message))),
      theirs.users[0].user[field],
    );
  }
});
