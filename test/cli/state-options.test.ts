import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { delimiter, join, resolve } from "node:path";
import { type TestContext, test } from "node:test";
import type { Api } from "../../lib/sandbox/server.ts";
import { emptyState } from "../../lib/sync/state.ts";
import { UserError } from "../../lib/util/errors.ts";
import { openStateStore, type StateArguments } from "../../scripts/cli/state-options.ts";
import { startStateServer, temporaryFolder } from "../support/sync-store.ts";

type Flags = Partial<StateArguments>;

/** A home, and a function that opens the store of some flags. */
function prepare(t: TestContext, variables: NodeJS.ProcessEnv = {}) {
  const home = temporaryFolder(t);
  const serviceAccount = join(home, "account");
  const env = { HOME: home, ...variables };
  const open = async (flags: Flags = {}, isReader = false) => {
    const args = { "as-group": [], "request-timeout": "30s", debug: false, ...flags } as unknown as StateArguments;
    const opened = await openStateStore(args, { isReader }, { env, serviceAccount });
    t.after(() => opened.close());
    return opened;
  };
  return { home, serviceAccount, env, open };
}

/** Makes a service account for the pod that the environment describes. */
function mountAccount(folder: string, { ca, token }: Api, namespace?: string): void {
  mkdirSync(folder);
  writeFileSync(join(folder, "token"), token);
  writeFileSync(join(folder, "ca.crt"), ca.cert);
  if (namespace !== undefined) writeFileSync(join(folder, "namespace"), `${namespace}\n`);
}

const podOf = ({ url }: Api) => {
  const { hostname, port } = new URL(url);
  return { KUBERNETES_SERVICE_HOST: hostname, KUBERNETES_SERVICE_PORT: port };
};

const refuses = (promise: Promise<unknown>, message: RegExp, exitCode = 2) =>
  assert.rejects(promise, (error) => {
    assert.ok(error instanceof UserError, String(error));
    assert.match(error.message, message);
    assert.equal(error.exitCode, exitCode);
    return true;
  });

test("by default the state is a file under the XDG state folder", async (t) => {
  const { home, open } = prepare(t);
  const { store, cluster } = await open();
  assert.equal(store.describe(), `file ${home}/.local/state/clustermesh-secrets/sync.json`);
  assert.equal(cluster, undefined);
  await store.save(emptyState("x"));
  const xdg = prepare(t, { XDG_STATE_HOME: join(home, "xdg") });
  assert.equal((await xdg.open()).store.describe(), `file ${home}/xdg/clustermesh-secrets/sync.json`);
  const relative = prepare(t, { XDG_STATE_HOME: "xdg" });
  assert.equal(
    (await relative.open({}, true)).store.describe(),
    `file ${relative.home}/.local/state/clustermesh-secrets/sync.json`,
  );
});

test("each kubeconfig has its own file, however it is named", async (t) => {
  const { home, env, open } = prepare(t);
  const describe = async (flags: Flags = {}) => (await open(flags, true)).store.describe();
  const standard = await describe();
  assert.equal(await describe({ kubeconfig: join(home, ".kube", "config") }), standard);
  const given = await describe({ kubeconfig: "mesh.yaml" });
  assert.match(given, /\/clustermesh-secrets\/sync-[0-9a-f]{12}\.json$/);
  assert.equal(await describe({ kubeconfig: resolve("mesh.yaml") }), given);
  assert.notEqual(await describe({ kubeconfig: "other.yaml" }), given);
  Object.assign(env, { KUBECONFIG: resolve("mesh.yaml") });
  assert.equal(await describe(), given);
  Object.assign(env, { KUBECONFIG: [resolve("mesh.yaml"), "other.yaml"].join(delimiter) });
  assert.notEqual(await describe(), given);
});

test("a file is claimed, unless it is only read", async (t) => {
  const { home, open } = prepare(t);
  const flags = { "state-file": join(home, "mine.json") };
  const first = await open(flags);
  await first.store.save(emptyState("x"));
  await refuses(open(flags), /^sync is already running as process \d+ \(state file .*mine\.json\)/);
  assert.equal((await (await open(flags, true)).store.load())?.selection, "x");
  await first.close();
  await open(flags);
});

test("flags of both places are refused, and those of one choose it", async (t) => {
  const { open } = prepare(t);
  const file = { "state-file": "x" };
  await refuses(open({ ...file, state: "cluster" }), /^--state-file and --state=cluster are mutually exclusive$/);
  await refuses(
    open({ "state-context": "a", state: "file" }),
    /^--state-context and --state=file are mutually exclusive$/,
  );
  await refuses(open({ "state-namespace": "a", state: "file" }), /^--state-namespace and --state=file are/);
  await refuses(open({ ...file, "state-namespace": "a" }), /^--state-namespace and --state-file are/);
  await refuses(open({ "state-namespace": "n" }), /^no kubeconfig: /);
});

test("the state of a cluster is in the namespace of its context, or the given one", async (t) => {
  const { server, kubeconfig } = await startStateServer(t);
  const { open } = prepare(t, { KUBECONFIG: kubeconfig });
  const { store, cluster } = await open({ state: "cluster" });
  assert.equal(store.describe(), "configmap/clustermesh-secrets-sync in namespace default");
  assert.equal(cluster?.namespace, "default");
  await store.save(emptyState("x"));
  assert.ok(server.store.read("ConfigMap", "default", "clustermesh-secrets-sync"));
  const other = await open({ "state-context": "a", "state-namespace": "kube-system" });
  assert.equal(await other.store.load(), undefined);
  assert.equal(other.cluster?.namespace, "kube-system");
  await refuses(open({ "state-context": "b" }), /context "b" does not exist/);
  const given = prepare(t);
  assert.equal((await (await given.open({ kubeconfig, state: "cluster" })).store.load())?.selection, "x");
});

test("in a pod it is in the pod's cluster and namespace, even if KUBECONFIG is set", async (t) => {
  const [{ server }, elsewhere] = await Promise.all([startStateServer(t), startStateServer(t)]);
  const variables = { ...podOf(server), KUBECONFIG: elsewhere.kubeconfig };
  const { home, open, serviceAccount } = prepare(t, variables);
  assert.match((await open({}, true)).store.describe(), /^file /);
  mountAccount(serviceAccount, server, "kube-system");
  for (const flags of [{}, { as: "jane", kubeconfig: elsewhere.kubeconfig }]) {
    const { store, cluster } = await open(flags);
    assert.equal(cluster?.namespace, "kube-system");
    await store.save(emptyState("pod"));
  }
  assert.ok(server.store.read("ConfigMap", "kube-system", "clustermesh-secrets-sync"));
  assert.deepEqual(elsewhere.server.requests, []);
  assert.equal((await open({ "state-namespace": "default" })).cluster?.namespace, "default");

  // A flag for another place is obeyed.
  const { store } = await open({ "state-context": "a" });
  await store.save(emptyState("context"));
  assert.ok(elsewhere.server.store.read("ConfigMap", "default", "clustermesh-secrets-sync"));
  assert.equal(
    (await open({ state: "file", kubeconfig: join(home, ".kube", "config") }, true)).store.describe(),
    `file ${home}/.local/state/clustermesh-secrets/sync.json`,
  );
  assert.equal((await open({ "state-file": join(home, "x") }, true)).store.describe(), `file ${home}/x`);
});

test("a pod without a namespace, and one whose API server cannot be reached", async (t) => {
  const { server } = await startStateServer(t);
  const { open, serviceAccount } = prepare(t, { ...podOf(server), KUBERNETES_SERVICE_PORT: "1" });
  mountAccount(serviceAccount, server);
  const { store, cluster } = await open();
  assert.equal(cluster?.namespace, "default");
  await refuses(store.load(), /^cannot reach https:\/\/127\.0\.0\.1:1 \(context "in-cluster"\)/, 1);
});
