/** The state and the Lease of sync on a real API server, with the permissions of its role alone. */
import assert from "node:assert/strict";
import { after, before, describe, type TestContext, test } from "node:test";
import { configMaps, type KubernetesApi } from "../../lib/kube/api.ts";
import { openCluster } from "../../lib/kube/open.ts";
import { createConfigMapStore } from "../../lib/sync/config-map-store.ts";
import { holdLease, type LeaseTimes } from "../../lib/sync/lease.ts";
import { emptyState, type HeldRecord } from "../../lib/sync/state.ts";
import { type ApiServer, type ApiServers, startApiServers, waitFor, withoutRealServers } from "../support/real.ts";
import { startProcess, until } from "../support/sync-store.ts";

const NAME = "clustermesh-secrets-sync";
const NAMESPACE = "default";
const PATIENT: LeaseTimes = { duration: 600_000, renewDeadline: 300_000, renewInterval: 200, retryInterval: 200 };
const HASTY: LeaseTimes = { duration: 1_000, renewDeadline: 600, renewInterval: 150, retryInterval: 100 };

describe("the state and the Lease of sync", { skip: withoutRealServers() }, () => {
  let servers: ApiServers;
  let server: ApiServer;

  before(async () => {
    servers = await startApiServers(["cluster1"], { users: [{ name: "sync" }] });
    server = servers.get("cluster1");
    const verbs = ["get", "patch"];
    const objects = [
      { apiGroups: [""], resources: ["configmaps"] },
      { apiGroups: ["coordination.k8s.io"], resources: ["leases"] },
    ];
    await server.allow(
      "sync",
      objects.flatMap((rule) => [
        { ...rule, verbs: ["create"] },
        { ...rule, verbs, resourceNames: [NAME] },
      ]),
      NAMESPACE,
    );
    const api = await open();
    await waitFor("the permissions", async () => (await api.get(configMaps, NAMESPACE, NAME)) === undefined);
    api.close();
  });
  after(() => servers?.stop());

  const open = async (): Promise<KubernetesApi> =>
    (await openCluster({ clientName: "test", kubeconfig: servers.kubeconfigFor("sync") })).api;
  const openFor = async (t: TestContext) => {
    const api = await open();
    t.after(() => api.close());
    return api;
  };

  test("a state of the maximum size is stored and changed, also after somebody else has changed the ConfigMap", async (t) => {
    const store = createConfigMapStore(await openFor(t), NAMESPACE);
    assert.equal(await store.load(), undefined);
    const held = Array.from({ length: 20_000 }, (_, i): HeldRecord => {
      return { target: `cluster${i}`, reason: "check", since: "2026-01-01T00:00:00Z", message: '"é\n'.repeat(20) };
    });
    const state = { ...emptyState("--all-contexts"), held };
    await store.save(state);
    const path = `/api/v1/namespaces/${NAMESPACE}/configmaps/${NAME}`;
    const { data } = await server.ask("GET", path);
    assert.ok(Buffer.byteLength(data["state.json"]) > 899 * 1024);
    assert.equal((await store.load())?.omitted, 20_000 - ((await store.load())?.held.length ?? 0));
    await server.ask("PATCH", path, { metadata: { annotations: { note: "mine" } }, data: { note: "mine" } });
    await store.save({ ...state, held: [] });
    assert.deepEqual(await createConfigMapStore(await openFor(t), NAMESPACE).load(), { ...state, held: [] });
    assert.equal((await server.ask("GET", path)).data.note, "mine");
    await server.ask("DELETE", path);
    await store.save(emptyState("x"));
    assert.deepEqual(await store.load(), emptyState("x"));
  });

  const specOf = async () =>
    (await server.request("GET", `/apis/coordination.k8s.io/v1/namespaces/${NAMESPACE}/leases/${NAME}`)).body.spec ??
    {};

  async function contend(t: TestContext, identity: string, times: LeaseTimes) {
    const ending = new AbortController();
    const contender = { holds: 0, waitedFor: [] as string[], log: [] as string[], stop: async () => {} };
    const held = holdLease(await openFor(t), {
      ...{ namespace: NAMESPACE, identity, signal: ending.signal, times },
      onAcquired: () => contender.holds++,
      onLost: () => contender.holds--,
      onWaiting: (holder) => contender.waitedFor.push(holder),
      log: (message) => contender.log.push(message),
    });
    contender.stop = () => {
      ending.abort();
      return held;
    };
    t.after(contender.stop);
    return contender;
  }

  test("a Lease is held, released, and taken over from a process that was killed", async (t) => {
    const first = await contend(t, "first", PATIENT);
    await until(() => first.holds === 1);
    const { acquireTime } = await specOf();
    assert.match(acquireTime, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
    const second = await contend(t, "second", PATIENT);
    await until(() => second.waitedFor.length > 0);
    const { renewTime } = await specOf();
    await until(async () => (await specOf()).renewTime !== renewTime);
    await first.stop();
    await until(() => second.holds === 1);
    const { holderIdentity, leaseDurationSeconds, leaseTransitions } = await specOf();
    assert.deepEqual([holderIdentity, leaseDurationSeconds, leaseTransitions], ["second", 600, 1]);
    await second.stop();
    const released = await specOf();
    assert.deepEqual([released.holderIdentity, released.leaseDurationSeconds], ["", 1]);

    const code = `
      import { openCluster } from "ROOT/lib/kube/open.ts";
      import { holdLease } from "ROOT/lib/sync/lease.ts";
      const { api } = await openCluster({ clientName: "test", kubeconfig: process.argv.at(-1) });
      await holdLease(api, {
        namespace: "${NAMESPACE}", identity: "process", signal: new AbortController().signal,
        times: ${JSON.stringify(HASTY)}, onAcquired: () => console.log("acquired"), onLost: () => {}, log: () => {},
      });`;
    const other = startProcess(t, code, servers.kubeconfigFor("sync"));
    await until(() => other.lines.includes("acquired"));
    const contenders = await Promise.all(["a", "b", "c", "d", "e"].map((identity) => contend(t, identity, HASTY)));
    await until(() => contenders.every(({ waitedFor }) => waitedFor.includes("process")));
    other.child.kill("SIGKILL");
    await until(() => contenders.some(({ holds }) => holds === 1));
    await until(() => contenders.filter(({ waitedFor }) => waitedFor.length > 1).length >= 4);
    assert.ok(contenders.filter(({ holds }) => holds === 1).length <= 1);
    // Conflicts among them are not errors.
    assert.deepEqual(
      contenders.flatMap(({ log }) => log).filter((line) => line.includes("(409)")),
      [],
    );
  });
});
