/** Clusters from Secrets, in the formats of Argo CD, Cluster API and our own. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { openCluster } from "../../lib/kube/open.ts";
import {
  type ClusterSecretOptions,
  listClusterSecrets,
  type SecretCluster,
} from "../../lib/members/cluster-secrets.ts";
import { FIELD_MANAGER } from "../../lib/peer/annotations.ts";
import { encode, type KubernetesObject } from "../../lib/sandbox/object.ts";
import { type Sandbox, startSandbox } from "../../lib/sandbox/sandbox.ts";
import { UserError } from "../../lib/util/errors.ts";
import { describeCluster } from "../support/cluster.ts";
import {
  type Access,
  accessOf,
  argoSecret,
  capiSecrets,
  kubeconfigOf,
  kubeconfigSecret,
} from "../support/cluster-secrets.ts";

const PERMISSIONS = { commands: new Set<string>(), insecure: false };

interface Management {
  access: Access;
  sandbox: Sandbox;
  list(format: ClusterSecretOptions["format"], options?: Partial<ClusterSecretOptions>): Promise<SecretCluster[]>;
}

/** Starts a cluster that has the Secrets that `secretsFor` returns. */
async function startManagement(
  t: TestContext,
  secretsFor: (access: Access) => KubernetesObject[],
): Promise<Management> {
  const description = describeCluster();
  const sandbox = await startSandbox({ clusters: [{ description }] });
  t.after(() => sandbox.stop());
  const access = accessOf(sandbox, description.name);
  for (const secret of secretsFor(access)) sandbox.clusters[0]?.api.store.put(secret);
  const { api } = await openCluster({ clientName: FIELD_MANAGER, kubeconfig: sandbox.kubeconfig });
  t.after(() => api.close());
  const list: Management["list"] = (format, options) =>
    listClusterSecrets(api, { format, namespace: "members", permissions: PERMISSIONS, ...options });
  return { access, sandbox, list };
}

const namesOf = (clusters: readonly SecretCluster[]) => clusters.map(({ name }) => name);
const problemOf = (one: SecretCluster | undefined) => (one && "error" in one ? one.error.problem : undefined);
const contextOf = (one: SecretCluster | undefined) => (one && "context" in one ? one.context : undefined);

test("a Secret of Argo CD: name, server, token, CA, server name, basic authentication and client certificate", async (t) => {
  const { access, list } = await startManagement(t, (access) => [
    argoSecret("s1", "prod-a", access),
    argoSecret("s2", "prod-b", access, {
      bearerToken: undefined,
      ...{ username: "admin", password: "pass" },
      tlsClientConfig: { caData: access.ca, serverName: "api.prod-b" },
    }),
    argoSecret("s3", "", access, {
      bearerToken: undefined,
      tlsClientConfig: { caData: access.ca, certData: access.ca, keyData: access.ca },
    }),
  ]);
  const clusters = await list("argocd");
  assert.deepEqual(namesOf(clusters), [access.server, "prod-a", "prod-b"]);
  const [byCertificate, byToken, byPassword] = clusters.map(contextOf);
  assert.deepEqual([byToken?.name, byToken?.server, byToken?.user.token], ["prod-a", access.server, access.token]);
  assert.match(byToken?.tls.ca ?? "", /BEGIN CERTIFICATE/);
  assert.deepEqual([byPassword?.user.username, byPassword?.user.password], ["admin", "pass"]);
  assert.equal(byPassword?.tls.serverName, "api.prod-b");
  assert.deepEqual(byCertificate?.user.key, { pem: Buffer.from(access.ca, "base64").toString() });
});

test("of the Secrets of Cluster API, only NAME-kubeconfig is used, whatever its type", async (t) => {
  const { access, list } = await startManagement(t, (access) => [
    ...capiSecrets("east", access),
    ...capiSecrets("west", access).map((secret) => ({ ...secret, type: "Opaque" })),
  ]);
  const clusters = await list("cluster-api");
  assert.deepEqual(
    clusters.map(({ name, secret }) => [name, secret]),
    [
      ["east", "east-kubeconfig"],
      ["west", "west-kubeconfig"],
    ],
  );
  assert.deepEqual(
    clusters.map((one) => contextOf(one)?.user.token),
    [access.token, access.token],
  );
});

test("Secrets with our label are named after themselves, and --selector narrows them", async (t) => {
  const { list } = await startManagement(t, (access) => [
    kubeconfigSecret("one", kubeconfigOf(access), { stage: "prod" }),
    kubeconfigSecret("two", kubeconfigOf(access), { stage: "test" }),
  ]);
  assert.deepEqual(namesOf(await list("secrets")), ["one", "two"]);
  assert.deepEqual(namesOf(await list("secrets", { selector: "stage=prod" })), ["one"]);
  assert.deepEqual(await list("secrets", { namespace: "other" }), []);
  assert.deepEqual(await list("argocd"), []);
});

test("a Secret that describes no cluster is one error, and the others are read", async (t) => {
  const broken: [name: string, kubeconfig: string, problem: RegExp][] = [
    ["b01", "", /^key kubeconfig is missing, empty, not base64 or larger than 256 KiB$/],
    ["b02", "a: [", /^key kubeconfig is not valid YAML: syntax error at line 1/],
    ["b03", "just a text", /^key kubeconfig: not a mapping$/],
    ["b04", "current-context: x", /^kubeconfig has no current-context with a cluster and a user$/],
    ["b05", `{"users": ${"[".repeat(50_000)}`, /nested too deeply/],
    ["b06", `#${"x".repeat(300_000)}`, /larger than 256 KiB/],
    ["b07", "kind: Secret", /^key kubeconfig: kind is "Secret", expected "Config"$/],
    ["b08", "users: [{name: u, user: {token: [SECRET]}}]", /^key kubeconfig: users?.* token is not a string/],
  ];
  const { list } = await startManagement(t, (access) => [
    ...broken.map(([name, kubeconfig]) => kubeconfigSecret(name, kubeconfig)),
    kubeconfigSecret("b09", kubeconfigOf(access, { user: {} })),
    kubeconfigSecret("b10", kubeconfigOf({ ...access, server: "https://user:pass@host" })),
    kubeconfigSecret("good", kubeconfigOf(access)),
  ]);
  const clusters = await list("secrets");
  const find = (name: string) => clusters.find((one) => one.name === name);
  assert.equal(clusters.length, broken.length + 3);
  for (const [name, , problem] of broken) assert.match(problemOf(find(name)) ?? "", problem);
  assert.equal(problemOf(find("b09")), "contains no credentials");
  assert.match(problemOf(find("b10")) ?? "", /invalid server: must be an http or https URL without user information/);
  assert.equal(contextOf(find("good"))?.name, "good");
  assert.ok(!JSON.stringify(clusters.map(problemOf)).includes("SECRET"));
});

test("invalid Secrets of Argo CD are described", async (t) => {
  const { list } = await startManagement(t, (access) => {
    const secret = (name: string, data: Record<string, string>) => {
      const object = argoSecret(name, name, access);
      return { ...object, data: { ...object.data, ...encode(data) } };
    };
    return [
      secret("a1", { config: "{" }),
      secret("a2", { config: "[]" }),
      secret("a3", { config: JSON.stringify({ bearerToken: 5 }) }),
      secret("a4", { config: "{}" }),
      secret("a5", { server: "" }),
    ];
  });
  assert.deepEqual((await list("argocd")).map(problemOf), [
    "key config is not a JSON object",
    "key config is not a JSON object",
    "key config: users[0]: user argocd: token is not a string; quote the value",
    "contains no credentials",
    "key server is missing, empty, not base64 or larger than 256 KiB",
  ]);
});

test("names are printable and unique: no Secret passes for another", async (t) => {
  const { list } = await startManagement(t, (access) => [
    argoSecret("s1", "prod", access),
    argoSecret("s2", "prod", access),
    argoSecret("s3", "prod (secret/s1)", access),
    argoSecret("s4", "a\n\u001b[31mb\u202e", access),
    argoSecret("s5", "x".repeat(300), access),
  ]);
  assert.deepEqual(namesOf(await list("argocd")), [
    "a\uFFFD\uFFFD[31mb\uFFFD",
    "prod (secret/s1)",
    "prod (secret/s1) (secret/s3)",
    "prod (secret/s2)",
    "s5",
  ]);
});

test("a name that could be a flag is replaced by that of its Secret", async (t) => {
  const { list } = await startManagement(t, (access) => [
    argoSecret("s1", " --as=x", access),
    argoSecret("s2", "-", access),
  ]);
  assert.deepEqual(namesOf(await list("argocd")), ["s1", "s2"]);
});

test("more Secrets than a mesh can have are refused", async (t) => {
  const { list } = await startManagement(t, () =>
    Array.from({ length: 1_025 }, (_, i) => kubeconfigSecret(`s${i}`, "{}")),
  );
  await assert.rejects(
    list("secrets"),
    (error) =>
      error instanceof UserError && error.exitCode === 2 && /^more than 1024 Secrets .*--selector$/.test(error.message),
  );
});
