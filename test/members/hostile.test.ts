/** Kubeconfigs from Secrets are not trusted: no program runs, no file is read and no server is contacted. */
import assert from "node:assert/strict";
import childProcess from "node:child_process";
import fs from "node:fs";
import files from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { afterEach, type TestContext, test } from "node:test";
import type { KubernetesApi } from "../../lib/kube/api.ts";
import { obtainCredentials } from "../../lib/kube/auth/credentials.ts";
import { listClusterSecrets, type SecretCluster } from "../../lib/members/cluster-secrets.ts";
import type { SecretFormat } from "../../lib/members/format-names.ts";
import { findRefusedFields, isBareCommand, type MemberPermissions } from "../../lib/members/trust.ts";
import type { KubernetesObject } from "../../lib/sandbox/object.ts";
import { makeCa } from "../../lib/sandbox/pki.ts";
import { argoSecret, kubeconfigOf, kubeconfigSecret } from "../support/cluster-secrets.ts";

const CA = Buffer.from(makeCa({ cn: "ca" }).cert).toString("base64");
const ACCESS = { server: "https://127.0.0.1:1", ca: CA, token: "own-token" };
const NOTHING: MemberPermissions = { commands: new Set(), insecure: false };
const INSECURE = "--allow-insecure-members";
const FILE = "/etc/hostname";
const EXEC = { apiVersion: "client.authentication.k8s.io/v1", interactiveMode: "Never", args: ["token"] };

afterEach(() => syncBuiltinESMExports());

/** Records the programs that are started and the files that are read, in place of both. */
function watchSystem(t: TestContext): { started: string[]; read: string[] } {
  const seen = { started: [] as string[], read: [] as string[] };
  t.mock.method(childProcess, "spawn", (program: string) => {
    seen.started.push(program);
    throw new Error("not started");
  });
  t.mock.method(files, "readFile", async (path: string) => {
    seen.read.push(String(path));
    return "content";
  });
  for (const name of ["readFileSync", "openSync", "createReadStream"] as const) {
    t.mock.method(fs, name, (path: string) => {
      seen.read.push(String(path));
      throw new Error("not read");
    });
  }
  syncBuiltinESMExports();
  return seen;
}

/** Reads one Secret, and obtains the credentials of its cluster if it is accepted, as a connection does. */
async function use(secret: KubernetesObject, permissions: MemberPermissions, format: SecretFormat = "secrets") {
  const api = {
    async *list() {
      yield [secret];
    },
  } as unknown as KubernetesApi;
  const [cluster] = await listClusterSecrets(api, { format, namespace: "members", permissions });
  if (cluster && "context" in cluster) {
    await obtainCredentials(cluster.context, { PATH: "/usr/bin:/bin", HOME: "/nonexistent" }).catch(() => {});
  }
  return cluster as SecretCluster;
}

const refusalsOf = (cluster: SecretCluster) => ("error" in cluster ? cluster.error.refused : undefined);

type Overrides = { cluster?: object; user?: object };

/** Fields of a kubeconfig, what is in them, the flag that permits each, and what using it reads or starts. */
const table: [field: string, what: string, overrides: Overrides, permittedBy: string | undefined, effect?: string][] = [
  ["exec", "sh", execOf("sh"), "--allow-exec=sh", "sh"],
  ...["/bin/sh", "./sh", "x/../sh", "..\\sh", "sh; id"].map((command): [string, string, Overrides, undefined] => [
    "exec",
    command,
    execOf(command),
    undefined,
  ]),
  ["auth-provider", "oidc", { user: { "auth-provider": { name: "oidc", config: {} } } }, undefined],
  ["tokenFile", "alone", { user: { tokenFile: FILE } }, INSECURE, FILE],
  ["tokenFile", "with a token", { user: { token: "t", tokenFile: FILE } }, INSECURE, FILE],
  ["certificate-authority", "file", { cluster: fileOnly("certificate-authority") }, INSECURE, FILE],
  [
    "client-certificate",
    "file",
    { user: { ...fileOnly("client-certificate"), "client-key-data": CA } },
    INSECURE,
    FILE,
  ],
  ["client-key", "file", { user: { ...fileOnly("client-key"), "client-certificate-data": CA } }, INSECURE, FILE],
  ["proxy-url", "http", { cluster: { "proxy-url": "http://127.0.0.1:2" } }, INSECURE],
  [
    "insecure-skip-tls-verify",
    "true",
    { cluster: { "insecure-skip-tls-verify": true, "certificate-authority-data": undefined } },
    INSECURE,
  ],
  ["server", "http", { cluster: { server: "http://127.0.0.1:1" } }, INSECURE],
  ["server", "without scheme", { cluster: { server: "127.0.0.1:1" } }, INSECURE],
];

function execOf(command: string): Overrides {
  return { user: { exec: { ...EXEC, command } } };
}

function fileOnly(field: string): Record<string, string | undefined> {
  return { [field]: FILE, [`${field}-data`]: undefined };
}

for (const [field, what, overrides, permittedBy, effect] of table) {
  test(`${field} in a kubeconfig from a Secret is refused: ${what}`, async (t) => {
    const secret = kubeconfigSecret("hostile", kubeconfigOf(ACCESS, overrides));
    const seen = watchSystem(t);
    assert.deepEqual(refusalsOf(await use(secret, NOTHING)), [{ field, permittedBy }]);
    // Permitting every other kind of field does not permit this one.
    const others =
      permittedBy === INSECURE ? { ...NOTHING, commands: new Set(["sh"]) } : { ...NOTHING, insecure: true };
    assert.deepEqual(refusalsOf(await use(secret, others)), [{ field, permittedBy }]);
    assert.deepEqual(seen, { started: [], read: [] });
    if (permittedBy === undefined) {
      const commands = new Set(["sh", "/bin/sh", "./sh", "..\\sh", "sh; id"]);
      assert.deepEqual(refusalsOf(await use(secret, { commands, insecure: true })), [{ field, permittedBy }]);
      assert.deepEqual(seen, { started: [], read: [] });
    }
  });

  if (effect === undefined) continue;
  test(`${field} is used with ${permittedBy}, so the test above would see it: ${what}`, async (t) => {
    const secret = kubeconfigSecret("permitted", kubeconfigOf(ACCESS, overrides));
    const seen = watchSystem(t);
    await use(secret, { commands: new Set(["sh"]), insecure: true });
    assert.ok(
      [...seen.started, ...seen.read].some((path) => path.endsWith(effect)),
      JSON.stringify(seen),
    );
  });
}

test("variables of an exec plugin need their own permission, since they can make any command run another", async (t) => {
  const user = { exec: { ...EXEC, command: "sh", env: [{ name: "LD_PRELOAD", value: "/tmp/x.so" }] } };
  const secret = kubeconfigSecret("hostile", kubeconfigOf(ACCESS, { user }));
  const seen = watchSystem(t);
  assert.deepEqual(refusalsOf(await use(secret, { ...NOTHING, commands: new Set(["sh"]) })), [
    { field: "exec.env", permittedBy: INSECURE },
  ]);
  assert.deepEqual(seen.started, []);
});

test("all refused fields are reported together", async () => {
  const overrides = { cluster: { "proxy-url": "http://p" }, user: { exec: { ...EXEC, command: "aws" } } };
  const cluster = await use(kubeconfigSecret("hostile", kubeconfigOf(ACCESS, overrides)), NOTHING);
  assert.ok("error" in cluster);
  assert.equal(cluster.error.problem, "not permitted in a Secret: exec and proxy-url");
});

const argo: [field: string, config: object, permittedBy: string | undefined][] = [
  [
    "execProviderConfig",
    { bearerToken: undefined, execProviderConfig: { command: "aws", apiVersion: EXEC.apiVersion } },
    "--allow-exec=aws",
  ],
  ["awsAuthConfig", { awsAuthConfig: { clusterName: "prod", roleARN: "arn" } }, undefined],
  ["proxyUrl", { proxyUrl: "http://127.0.0.1:2" }, INSECURE],
  ["tlsClientConfig.insecure", { tlsClientConfig: { insecure: true } }, INSECURE],
];
for (const [field, config, permittedBy] of argo) {
  test(`${field} in a Secret of Argo CD is refused`, async (t) => {
    const seen = watchSystem(t);
    const cluster = await use(argoSecret("hostile", "hostile", ACCESS, config), NOTHING, "argocd");
    assert.deepEqual(refusalsOf(cluster), [{ field, permittedBy }]);
    assert.ok("error" in cluster && cluster.error.problem === `not permitted in a Secret: ${field}`);
    assert.deepEqual(seen, { started: [], read: [] });
  });
}

test("what only looks like a path or a plugin is accepted", () => {
  const cluster = { server: "HTTPS://host", ca: { pem: CA }, insecure: false, disableCompression: false };
  assert.deepEqual(findRefusedFields(cluster, { token: "/etc/hostname" }, NOTHING), []);
});

test("a command is permitted by its bare name", () => {
  for (const name of ["aws", "gke-gcloud-auth-plugin", "kubelogin.exe", "g++"]) assert.ok(isBareCommand(name), name);
  for (const name of [
    "",
    ".",
    "..",
    "/bin/sh",
    "a/b",
    "a\\b",
    "C:sh",
    "-x",
    "a b",
    "a\nb",
    "a;b",
    "$(x)",
    "x".repeat(200),
  ]) {
    assert.ok(!isBareCommand(name), name);
  }
});

test("a plugin gets no terminal, and the hint of a Secret is not printed", async () => {
  const user = {
    exec: { ...EXEC, command: "missing-plugin", interactiveMode: "Always", installHint: "run: curl | sh" },
  };
  const cluster = await use(kubeconfigSecret("one", kubeconfigOf(ACCESS, { user })), {
    ...NOTHING,
    commands: new Set(["missing-plugin"]),
  });
  assert.ok("context" in cluster);
  assert.deepEqual(
    [cluster.context.user.exec?.interactiveMode, cluster.context.user.exec?.installHint],
    ["Never", undefined],
  );
});
