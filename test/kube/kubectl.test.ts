/**
 * Passes the same kubeconfig and environment to kubectl and to this client, and compares the requests that an API server
 * receives with one expectation. Without kubectl only this client is tested.
 */
import assert from "node:assert/strict";
import { execFile, spawnSync } from "node:child_process";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer as createHttpServer } from "node:http";
import { createServer } from "node:https";
import { type AddressInfo, connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { TLSSocket } from "node:tls";
import { stringify } from "yaml";
import { secrets } from "../../lib/kube/api.ts";
import type { Impersonation } from "../../lib/kube/kubeconfig/kubeconfig.ts";
import { openCluster } from "../../lib/kube/open.ts";
import { issue, makeCa } from "../../lib/sandbox/pki.ts";

const kubectl = spawnSync("kubectl", ["version", "--client"]).status === 0;
const ca = makeCa({ cn: "API CA" });
const otherCa = makeCa({ cn: "another CA" });
const serverCertificate = issue(ca, {
  cn: "api",
  usage: "server",
  ips: ["127.0.0.1"],
  dns: ["api.test", "api.example"],
});
const namedCertificate = issue(ca, { cn: "api", usage: "server", dns: ["only.test"] });
const commonCertificate = issue(ca, { cn: "api", usage: "server" });
const base64 = (text: string) => Buffer.from(text).toString("base64");
const certified = (cn: string, issuer = ca) => issue(issuer, { cn, usage: "client" });
const dataOf = ({ cert, key }: { cert: string; key: string }) => ({
  "client-certificate-data": base64(cert),
  "client-key-data": base64(key),
});

/** The user of a request, and its route. */
interface Seen {
  path: string;
  authorization?: string;
  user?: string;
  groups?: string;
  uid?: string;
  extra?: string;
  certificate?: string;
  serverName?: string;
  /** The target of the CONNECT request to a proxy. */
  via?: string;
}

/** One call: its files, `KUBECONFIG` and flags. Paths are relative to its own directory. */
interface Call {
  files: Record<string, string | Buffer | object>;
  /** Default: `config`. */
  KUBECONFIG?: string[];
  context?: string;
  impersonate?: Impersonation;
  /** `DIR` in a value is replaced by the directory. */
  env?: NodeJS.ProcessEnv;
  /** Names of executable files. */
  programs?: string[];
  /** Undefined if no request may reach the server. */
  expected: Partial<Seen> | undefined;
  /** Why kubectl sends no request although this client does. */
  kubectlDoesNot?: string;
}

describe("requests equal those of kubectl", () => {
  let dir: string;
  const sockets = new Set<Socket>();
  const stops: (() => void)[] = [];
  /** Requests for the Secret, by its name. */
  const seen = new Map<string, Seen>();
  const tunnels = new Map<number, string>();
  let url: string;
  let port: number;
  let named: string;
  let commonly: string;
  let plain: string;
  let proxy: string;
  let issuer: string;

  function answer(request: IncomingMessage, response: ServerResponse): unknown {
    const { pathname } = new URL(request.url ?? "/", "http://x");
    const within = pathname.replace(/^\/k8s\/clusters\/c-1/, "");
    const send = (body: object) => {
      response.setHeader("content-type", "application/json");
      return response.end(JSON.stringify(body));
    };
    if (within === "/api") return send({ kind: "APIVersions", versions: ["v1"] });
    if (within === "/apis") return send({ kind: "APIGroupList", apiVersion: "v1", groups: [] });
    if (within === "/api/v1") {
      const secret = { name: "secrets", singularName: "secret", namespaced: true, kind: "Secret", verbs: ["get"] };
      return send({ kind: "APIResourceList", groupVersion: "v1", resources: [secret] });
    }
    const text = (name: string) => {
      const values = request.rawHeaders.filter((_, i, all) => i % 2 === 1 && all[i - 1]?.toLowerCase() === name);
      return values.length > 0 ? values.join("; ") : undefined;
    };
    const socket = request.socket as TLSSocket;
    const name = within.slice(within.lastIndexOf("/") + 1);
    const all = {
      path: pathname.replace(name, "NAME"),
      authorization: text("authorization"),
      user: text("impersonate-user"),
      groups: text("impersonate-group"),
      uid: text("impersonate-uid"),
      extra: text("impersonate-extra-reason"),
      certificate: socket.getPeerCertificate?.()?.subject?.CN,
      serverName: (socket as { servername?: string | false }).servername || undefined,
      via: tunnels.get(request.socket.remotePort ?? 0),
    };
    seen.set(
      name,
      Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as unknown as Seen,
    );
    return send({ apiVersion: "v1", kind: "Secret", metadata: { name, namespace: "ns" } });
  }

  async function listen(server: ReturnType<typeof createHttpServer>): Promise<number> {
    server.on("connection", (socket) => {
      sockets.add(socket.on("error", () => {}));
      socket.once("close", () => sockets.delete(socket));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    stops.push(() => server.close());
    return (server.address() as AddressInfo).port;
  }

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "kubectl-"));
    const tls = { requestCert: true, rejectUnauthorized: false, ca: ca.cert };
    port = await listen(createServer({ ...serverCertificate, ...tls }, answer));
    url = `https://127.0.0.1:${port}`;
    commonly = `https://127.0.0.1:${await listen(createServer({ ...commonCertificate, ...tls }, answer))}`;
    named = `https://127.0.0.1:${await listen(createServer({ ...namedCertificate, ...tls }, answer))}`;
    plain = `http://127.0.0.1:${await listen(createHttpServer(answer))}`;
    const relay = createHttpServer().on("connect", (request, client: Socket) => {
      const upstream = connect(Number(request.url?.split(":")[1]), "127.0.0.1", () => {
        tunnels.set(upstream.localPort ?? 0, request.url ?? "");
        client.write("HTTP/1.1 200 OK\r\n\r\n");
        upstream.pipe(client).pipe(upstream);
      });
      for (const socket of [upstream, client]) socket.on("error", () => {});
      sockets.add(upstream);
    });
    proxy = `http://127.0.0.1:${await listen(relay)}`;
    const tokens = createServer(serverCertificate, (request, response) => {
      response.setHeader("content-type", "application/json");
      const refreshed = { access_token: "a", token_type: "bearer", id_token: jwt(3600), refresh_token: "r2" };
      const discovery = { issuer, token_endpoint: `${issuer}/token`, authorization_endpoint: `${issuer}/auth` };
      response.end(JSON.stringify(request.url === "/token" ? refreshed : { ...discovery, jwks_uri: `${issuer}/keys` }));
    });
    issuer = `https://127.0.0.1:${await listen(tokens)}`;
  });
  after(async () => {
    for (const stop of stops) stop();
    for (const socket of sockets) socket.destroy();
    await rm(dir, { recursive: true, force: true });
  });

  const jwt = (seconds: number) => {
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const exp = seconds > 0 ? 4_000_000_000 : 1_000_000_000;
    return `${part({ alg: "none" })}.${part({ iss: issuer, sub: "me", aud: "c", exp })}.${base64("x")}`;
  };
  const cluster = (more: object = {}) => ({ server: url, "certificate-authority-data": base64(ca.cert), ...more });
  const config = (user: object, more: { cluster?: object; current?: string } = {}) => ({
    apiVersion: "v1",
    kind: "Config",
    "current-context": more.current ?? "a",
    clusters: [{ name: "a", cluster: more.cluster ?? cluster() }],
    users: [{ name: "a", user }],
    contexts: [{ name: "a", context: { cluster: "a", user: "a" } }],
  });
  const named2 = (name: string, token: string) => ({
    "current-context": name,
    clusters: [{ name, cluster: cluster() }],
    users: [{ name, user: { token } }],
    contexts: [{ name, context: { cluster: name, user: name } }],
  });
  /** A plugin whose token encodes its input. */
  const plugin = [
    `#!${process.execPath}`,
    "const { spec, apiVersion } = JSON.parse(process.env.KUBERNETES_EXEC_INFO);",
    "const sorted = (v) => v && typeof v === 'object' ? Object.fromEntries(Object.keys(v).sort().map((k) => [k, sorted(v[k])])) : v;",
    "const input = JSON.stringify({ spec: sorted(spec), mine: process.env.MINE, args: process.argv.slice(2) });",
    "process.stderr.write('log in\\n');",
    "const status = { token: Buffer.from(input).toString('base64url') };",
    "console.log(JSON.stringify({ apiVersion, kind: 'ExecCredential', status }));",
  ].join("\n");
  const pluginToken = (value: object) => `Bearer ${Buffer.from(JSON.stringify(value)).toString("base64url")}`;
  const exec = (more: object = {}) => ({
    exec: {
      apiVersion: "client.authentication.k8s.io/v1",
      command: "./plugin",
      interactiveMode: "IfAvailable",
      ...more,
    },
  });
  const viaExample = () => cluster({ server: `https://api.example:${port}` });

  const me = certified("me");
  const table: Record<string, () => Call> = {
    "a token": () => ({ files: { config: config({ token: "t" }) }, expected: { authorization: "Bearer t" } }),
    "a user and a password": () => ({
      files: { config: config({ username: "u", password: "p" }) },
      expected: { authorization: `Basic ${base64("u:p")}` },
    }),
    "no credentials": () => ({
      files: { config: config({}) },
      expected: {},
      kubectlDoesNot: "it prompts for a user name",
    }),
    "a token file precedes a token, and is relative to its kubeconfig": () => ({
      files: { config: config({ token: "t", tokenFile: "token" }), token: "from-file\n" },
      expected: { authorization: "Bearer from-file" },
    }),
    "several files: the first current context wins": () => ({
      files: { one: named2("one", "1"), two: named2("two", "2") },
      KUBECONFIG: ["one", "two"],
      expected: { authorization: "Bearer 1" },
    }),
    "several files: a context of the second": () => ({
      files: { one: named2("one", "1"), two: named2("two", "2") },
      KUBECONFIG: ["one", "two"],
      context: "two",
      expected: { authorization: "Bearer 2" },
    }),
    "several files: the first entry of a name wins": () => ({
      files: { one: { users: [{ name: "two", user: { token: "first" } }] }, two: named2("two", "2") },
      KUBECONFIG: ["one", "two"],
      expected: { authorization: "Bearer first" },
    }),
    "missing and empty files are skipped": () => ({
      files: { empty: "", two: named2("two", "2") },
      KUBECONFIG: ["nowhere", "empty", "two"],
      expected: { authorization: "Bearer 2" },
    }),
    "a client certificate, as data": () => ({
      files: { config: config(dataOf(me)) },
      expected: { certificate: "me" },
    }),
    "a client certificate, as files relative to the kubeconfig": () => ({
      files: {
        config: config({ "client-certificate": "me.crt", "client-key": "./me.key" }),
        "me.crt": me.cert,
        "me.key": me.key,
      },
      expected: { certificate: "me" },
    }),
    "the CA as a file": () => ({
      files: {
        config: config({ token: "t" }, { cluster: { server: url, "certificate-authority": "ca.crt" } }),
        "ca.crt": ca.cert,
      },
      expected: { authorization: "Bearer t" },
    }),
    "the CA as data and as a file: the data is taken": () => ({
      files: {
        config: config({ token: "t" }, { cluster: cluster({ "certificate-authority": "ca.crt" }) }),
        "ca.crt": otherCa.cert,
      },
      expected: { authorization: "Bearer t" },
      kubectlDoesNot: "it rejects a CA given as both data and file",
    }),
    "a certificate and a token": () => ({
      files: { config: config({ ...dataOf(me), token: "t" }) },
      expected: { certificate: "me", authorization: "Bearer t" },
    }),
    "a CA that did not sign the server certificate": () => ({
      files: {
        config: config({ token: "t" }, { cluster: cluster({ "certificate-authority-data": base64(otherCa.cert) }) }),
      },
      expected: undefined,
    }),
    insecure: () => ({
      files: { config: config({ token: "t" }, { cluster: { server: named, "insecure-skip-tls-verify": true } }) },
      expected: { authorization: "Bearer t" },
    }),
    "insecure, with a CA": () => ({
      files: {
        config: config({ token: "t" }, { cluster: cluster({ server: named, "insecure-skip-tls-verify": true }) }),
      },
      expected: undefined,
    }),
    "a certificate for another name": () => ({
      files: { config: config({ token: "t" }, { cluster: cluster({ server: named }) }) },
      expected: undefined,
    }),
    "a certificate with a common name only": () => ({
      files: { config: config({ token: "t" }, { cluster: cluster({ server: commonly, "tls-server-name": "api" }) }) },
      expected: undefined,
    }),
    "a CA file with an invalid certificate": () => ({
      files: {
        config: config({ token: "t" }, { cluster: { server: url, "certificate-authority": "ca.crt" } }),
        "ca.crt": `-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n${ca.cert}`,
      },
      expected: { authorization: "Bearer t" },
    }),
    "no CA: system roots from a file": () => ({
      files: { config: config({ token: "t" }, { cluster: { server: url } }), roots: otherCa.cert + ca.cert },
      env: { SSL_CERT_FILE: "DIR/roots" },
      expected: { authorization: "Bearer t" },
    }),
    "no CA: system roots from a directory": () => ({
      files: { config: config({ token: "t" }, { cluster: { server: url } }), "ca.pem": ca.cert },
      env: { SSL_CERT_FILE: "/dev/null", SSL_CERT_DIR: "/nowhere:DIR" },
      expected: { authorization: "Bearer t" },
    }),
    "no CA: system roots with an invalid certificate": () => ({
      files: {
        config: config({ token: "t" }, { cluster: { server: url } }),
        roots: `-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n${ca.cert}`,
      },
      env: { SSL_CERT_FILE: "DIR/roots" },
      expected: { authorization: "Bearer t" },
    }),
    "no CA: system roots from a directory, without the file": () => ({
      files: { config: config({ token: "t" }, { cluster: { server: url } }), "ca.pem": ca.cert },
      env: { SSL_CERT_FILE: "DIR/nowhere", SSL_CERT_DIR: "DIR" },
      expected: { authorization: "Bearer t" },
    }),
    "no CA: system roots of other CAs": () => ({
      files: { config: config({ token: "t" }, { cluster: { server: url } }), roots: otherCa.cert },
      env: { SSL_CERT_FILE: "DIR/roots" },
      expected: undefined,
    }),
    "tls-server-name": () => ({
      files: {
        config: config({ token: "t" }, { cluster: cluster({ server: named, "tls-server-name": "only.test" }) }),
      },
      expected: { authorization: "Bearer t", serverName: "only.test" },
    }),
    "a server with a path, as Rancher uses": () => ({
      files: { config: config({ token: "t" }, { cluster: cluster({ server: `${url}/k8s/clusters/c-1` }) }) },
      expected: { authorization: "Bearer t", path: "/k8s/clusters/c-1/api/v1/namespaces/ns/secrets/NAME" },
    }),
    "a server with a trailing slash": () => ({
      files: { config: config({ token: "t" }, { cluster: cluster({ server: `${url}/k8s/clusters/c-1/` }) }) },
      expected: { authorization: "Bearer t", path: "/k8s/clusters/c-1/api/v1/namespaces/ns/secrets/NAME" },
    }),
    "a server with double slashes": () => ({
      files: { config: config({ token: "t" }, { cluster: cluster({ server: `${url}//k8s/clusters//c-1` }) }) },
      expected: { authorization: "Bearer t", path: "/k8s/clusters/c-1/api/v1/namespaces/ns/secrets/NAME" },
    }),
    "a kubeconfig in UTF-16, as PowerShell writes": () => ({
      files: { config: Buffer.from(`\uFEFF${stringify(config({ token: "t" }))}`, "utf16le") },
      expected: { authorization: "Bearer t" },
    }),
    "plain http": () => ({
      files: { config: config({}, { cluster: { server: plain } }) },
      expected: {},
    }),
    "plain http: the token is not sent": () => ({
      files: { config: config({ token: "t" }, { cluster: { server: plain } }) },
      expected: {},
    }),
    "impersonation in the kubeconfig": () => ({
      files: {
        config: config({
          token: "t",
          as: "jane",
          "as-uid": "7",
          "as-groups": ["g", "h"],
          "as-user-extra": { reason: ["x"] },
        }),
      },
      expected: { authorization: "Bearer t", user: "jane", groups: "g; h", uid: "7", extra: "x" },
    }),
    "impersonation by flags": () => ({
      files: { config: config({ token: "t" }) },
      impersonate: { user: "jane", groups: ["g", "h"], uid: "7" },
      expected: { authorization: "Bearer t", user: "jane", groups: "g; h", uid: "7" },
    }),
    "impersonation flags override the kubeconfig": () => ({
      files: { config: config({ token: "t", as: "jane", "as-groups": ["g"] }) },
      impersonate: { user: "joe", groups: [], uid: undefined },
      expected: { authorization: "Bearer t", user: "joe", groups: "g" },
    }),
    "impersonation of groups without a user": () => ({
      files: { config: config({ token: "t" }) },
      impersonate: { user: undefined, groups: ["g"], uid: undefined },
      expected: undefined,
    }),
    "an exec plugin, relative to its kubeconfig, receives the version and interactive: false": () => ({
      files: { config: config(exec({ args: ["x"], env: [{ name: "MINE", value: "1" }] })), plugin },
      programs: ["plugin"],
      expected: { authorization: pluginToken({ spec: { interactive: false }, mine: "1", args: ["x"] }) },
    }),
    "an exec plugin with provideClusterInfo": () => ({
      files: { config: config(exec({ provideClusterInfo: true })), plugin },
      programs: ["plugin"],
      expected: {
        authorization: pluginToken({
          spec: {
            cluster: { "certificate-authority-data": base64(ca.cert), config: null, server: url },
            interactive: false,
          },
          args: [],
        }),
      },
    }),
    "an exec plugin receives the server as written": () => {
      const server = `https://api.example:${port}/k8s/clusters//c-1/`;
      const info = { "certificate-authority-data": base64(ca.cert), config: null, "disable-compression": true };
      const more = { "proxy-url": proxy, "disable-compression": true };
      return {
        files: {
          config: config(exec({ provideClusterInfo: true }), { cluster: cluster({ server, ...more }) }),
          plugin,
        },
        programs: ["plugin"],
        expected: {
          authorization: pluginToken({
            spec: { cluster: { ...info, "proxy-url": proxy, server }, interactive: false },
            args: [],
          }),
          path: "/k8s/clusters/c-1/api/v1/namespaces/ns/secrets/NAME",
          via: `api.example:${port}`,
        },
      };
    },
    "an exec plugin on our PATH, with another PATH in its env": () => ({
      files: { config: config(exec({ command: "plugin", env: [{ name: "PATH", value: "/usr/bin" }] })), plugin },
      programs: ["plugin"],
      env: { PATH: `DIR:${process.env.PATH}` },
      expected: { authorization: pluginToken({ spec: { interactive: false }, args: [] }) },
    }),
    "an exec plugin on the PATH of its env only": () => ({
      files: { config: config(exec({ command: "plugin", env: [{ name: "PATH", value: dir }] })), plugin },
      programs: ["plugin"],
      expected: undefined,
    }),
    "an exec plugin of a removed version": () => ({
      files: { config: config(exec({ apiVersion: "client.authentication.k8s.io/v1alpha1" })), plugin },
      programs: ["plugin"],
      expected: undefined,
    }),
    "an exec plugin and a password without a user": () => ({
      files: { config: config({ ...exec(), password: "p" }), plugin },
      programs: ["plugin"],
      expected: { authorization: pluginToken({ spec: { interactive: false }, args: [] }) },
    }),
    "an exec plugin that returns a certificate": () => ({
      files: {
        config: config(exec()),
        plugin: `#!/bin/sh\ncat "$(dirname "$0")/answer"\n`,
        answer: {
          apiVersion: "client.authentication.k8s.io/v1",
          kind: "ExecCredential",
          status: { clientCertificateData: me.cert, clientKeyData: me.key },
        },
      },
      programs: ["plugin"],
      expected: { certificate: "me" },
    }),
    "an exec plugin that fails": () => ({
      files: { config: config(exec()), plugin: "#!/bin/sh\nexit 3\n" },
      programs: ["plugin"],
      expected: undefined,
    }),
    "a missing exec plugin": () => ({ files: { config: config(exec()) }, expected: undefined }),
    "an exec plugin that requires a terminal": () => ({
      files: { config: config(exec({ interactiveMode: "Always" })), plugin },
      programs: ["plugin"],
      expected: undefined,
    }),
    "an exec plugin and a token": () => ({
      files: { config: config({ ...exec(), token: "t" }), plugin },
      programs: ["plugin"],
      expected: { authorization: "Bearer t" },
    }),
    "OIDC: an expired id token is renewed": () => ({
      files: {
        config: config({
          "auth-provider": {
            name: "oidc",
            config: {
              "idp-issuer-url": issuer,
              "idp-certificate-authority-data": base64(ca.cert),
              "client-id": "c",
              "client-secret": "s",
              "id-token": jwt(-1),
              "refresh-token": "r",
            },
          },
        }),
      },
      expected: { authorization: `Bearer ${jwt(3600)}` },
    }),
    "proxy-url": () => ({
      files: { config: config({ token: "t" }, { cluster: { ...viaExample(), "proxy-url": proxy } }) },
      expected: { authorization: "Bearer t", via: `api.example:${port}`, serverName: "api.example" },
    }),
    "proxy-url with a malformed percent-encoding": () => ({
      files: {
        config: config(
          { token: "t" },
          { cluster: { ...viaExample(), "proxy-url": proxy.replace("//", "//me:p%zz@") } },
        ),
      },
      expected: undefined,
    }),
    HTTPS_PROXY: () => ({
      files: { config: config({ token: "t" }, { cluster: viaExample() }) },
      env: { HTTPS_PROXY: proxy },
      expected: { authorization: "Bearer t", via: `api.example:${port}` },
    }),
    "https_proxy in lower case": () => ({
      files: { config: config({ token: "t" }, { cluster: viaExample() }) },
      env: { https_proxy: proxy },
      expected: { authorization: "Bearer t", via: `api.example:${port}` },
    }),
    "HTTPS_PROXY does not apply to loopback": () => ({
      files: { config: config({ token: "t" }) },
      env: { HTTPS_PROXY: "http://127.0.0.1:1" },
      expected: { authorization: "Bearer t" },
    }),
    NO_PROXY: () => ({
      files: { config: config({ token: "t" }, { cluster: cluster({ server: `https://api.invalid:${port}` }) }) },
      env: { HTTPS_PROXY: proxy, NO_PROXY: ".invalid" },
      expected: undefined,
    }),
    "NO_PROXY for other hosts": () => ({
      files: { config: config({ token: "t" }, { cluster: viaExample() }) },
      env: { HTTPS_PROXY: proxy, NO_PROXY: "other.example,10.0.0.0/8" },
      expected: { authorization: "Bearer t", via: `api.example:${port}` },
    }),
    "HTTP_PROXY does not apply to https": () => ({
      files: { config: config({ token: "t" }, { cluster: cluster({ server: `https://api.invalid:${port}` }) }) },
      env: { HTTP_PROXY: proxy },
      expected: undefined,
    }),
    "a missing context": () => ({
      files: { config: config({ token: "t" }) },
      context: "nowhere",
      expected: undefined,
    }),
    "an invalid kubeconfig": () => ({ files: { config: "just text" }, expected: undefined }),
    "a kubeconfig with 3,000 contexts": () => {
      const many = Array.from({ length: 3_000 }, (_, i) => `c${i}`);
      return {
        files: {
          config: {
            ...config({ token: "t" }),
            clusters: [...many, "a"].map((name) => ({ name, cluster: cluster() })),
            contexts: [...many, "a"].map((name) => ({ name, context: { cluster: name, user: "a" } })),
          },
        },
        expected: { authorization: "Bearer t" },
      };
    },
  };

  /** Writes the files of a call, and returns its environment. */
  async function writeFiles(call: Call, name: string): Promise<NodeJS.ProcessEnv> {
    const folder = await mkdtemp(join(dir, `${name}-`));
    for (const [path, content] of Object.entries(call.files)) {
      const text =
        typeof content === "string" || Buffer.isBuffer(content)
          ? content
          : path === "answer"
            ? JSON.stringify(content)
            : stringify(content);
      await writeFile(join(folder, path), text);
    }
    for (const program of call.programs ?? []) await chmod(join(folder, program), 0o755);
    const KUBECONFIG = (call.KUBECONFIG ?? ["config"]).map((path) => join(folder, path)).join(":");
    const env = Object.entries(call.env ?? {}).map(([key, value]) => [key, value?.replaceAll("DIR", folder)]);
    return { PATH: process.env.PATH, HOME: folder, KUBECONFIG, ...Object.fromEntries(env) };
  }

  async function requestOfClient(call: Call, name: string): Promise<Seen | undefined> {
    const env = await writeFiles(call, name);
    try {
      const { api } = await openCluster({
        clientName: "test",
        env,
        context: call.context,
        ...(call.impersonate && { impersonate: call.impersonate }),
        requestTimeout: 5_000,
      });
      try {
        await api.get(secrets, "ns", name);
      } finally {
        api.close();
      }
    } catch (error) {
      assert.equal((error as Error).name.endsWith("Error"), true);
    }
    return seen.get(name);
  }

  async function requestOfKubectl(call: Call, name: string): Promise<Seen | undefined> {
    const env = await writeFiles(call, name);
    const { user, groups = [], uid } = call.impersonate ?? {};
    const args = [
      ...(call.context ? ["--context", call.context] : []),
      ...(user === undefined ? [] : ["--as", user]),
      ...groups.flatMap((group) => ["--as-group", group]),
      ...(uid === undefined ? [] : ["--as-uid", uid]),
    ];
    const rest = ["-n", "ns", "get", "secret", name, "-o", "name", "--request-timeout", "5s"];
    await new Promise<void>((resolve) => {
      const child = execFile("kubectl", [...args, ...rest], { env, timeout: 20_000 }, () => resolve());
      child.stdin?.end();
    });
    return seen.get(name);
  }

  for (const [title, make] of Object.entries(table)) {
    test(title, async () => {
      const call = make();
      const id = Object.keys(table).indexOf(title);
      const expected = call.expected && { path: "/api/v1/namespaces/ns/secrets/NAME", ...call.expected };
      const [clientRequest, kubectlRequest] = await Promise.all([
        requestOfClient(call, `client-${id}`),
        kubectl ? requestOfKubectl(call, `kubectl-${id}`) : undefined,
      ]);
      const comparable = <T extends Seen | undefined>(one: T) =>
        one && { ...one, ...(expected && !("serverName" in expected) && { serverName: undefined }) };
      const withoutUndefined = (one: object | undefined) => one && JSON.parse(JSON.stringify(one));
      assert.deepEqual(withoutUndefined(comparable(clientRequest)), withoutUndefined(expected), "this client");
      const theirs = call.kubectlDoesNot === undefined ? expected : undefined;
      if (kubectl) assert.deepEqual(withoutUndefined(comparable(kubectlRequest)), withoutUndefined(theirs), "kubectl");
    });
  }
});
