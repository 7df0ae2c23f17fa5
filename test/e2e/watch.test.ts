/** Watches of the client on a real kube-apiserver: permissions, metadata, compaction, and connections that are cut. */
import assert from "node:assert/strict";
import { connect, createServer, type Socket } from "node:net";
import { after, before, describe, type TestContext, test } from "node:test";
import { setImmediate as nextTurn, setTimeout as sleep } from "node:timers/promises";
import type { KubernetesObject } from "@kubernetes/client-node";
import {
  type ApiError,
  configMaps,
  events,
  KubernetesApi,
  leases,
  type Resource,
  secrets,
} from "../../lib/kube/api.ts";
import { type ObserveOptions, observeObjects } from "../../lib/kube/observe.ts";
import { listen, open } from "../support/api-server.ts";
import { type ApiServer, type ApiServers, startApiServers, waitFor, withoutRealServers } from "../support/real.ts";

const NAMESPACE = "default";
const PATH = `/api/v1/namespaces/${NAMESPACE}`;

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await nextTurn();
}

/** Returns a client that is closed after the test. */
function clientFor(t: TestContext, server: ApiServer, user: string, url = server.url): KubernetesApi {
  const transport = open(t, url, {
    context: { tls: { ca: server.ca.cert, insecure: false } },
    obtain: async () => ({ headers: { authorization: `Bearer ${user}-token` } }),
  });
  return new KubernetesApi(transport, { context: "real", flags: "--context real", fieldManager: "test" });
}

/** Observes objects until the end of the test; `state` has the versions of the objects by name. */
function observe<T extends KubernetesObject>(
  t: TestContext,
  api: KubernetesApi,
  resource: Resource<T>,
  options: Partial<ObserveOptions<T>> = {},
) {
  const abort = new AbortController();
  const log: string[] = [];
  const objects: T[] = [];
  const errors: unknown[] = [];
  const state = new Map<string, string>();
  const set = (object: T) => state.set(object.metadata?.name ?? "", object.metadata?.resourceVersion ?? "");
  const done = observeObjects(api, resource, {
    namespace: NAMESPACE,
    signal: abort.signal,
    onChange: (change) => {
      if (change.kind === "listed") {
        log.push("listed");
        objects.push(...change.objects);
        state.clear();
        for (const object of change.objects) set(object);
        return;
      }
      const { type, object } = change.event;
      log.push(`${type} ${object.metadata?.name}`);
      objects.push(object);
      if (type === "DELETED") state.delete(object.metadata?.name ?? "");
      else set(object);
    },
    onRestart: (reason, error) => {
      log.push(reason);
      if (error) errors.push(error);
    },
    ...options,
  });
  t.after(async () => {
    abort.abort();
    await done;
  });
  return { log, objects, errors, state };
}

describe("watches of a real API server", { skip: withoutRealServers() }, () => {
  let servers: ApiServers;
  let server: ApiServer;
  before(async () => {
    servers = await startApiServers(["real"], { users: [{ name: "narrow" }] });
    server = servers.get("real");
    const rule = { apiGroups: [""], resources: ["secrets"], verbs: ["get", "list", "watch"], resourceNames: ["named"] };
    await server.allow("narrow", [rule], NAMESPACE);
  });
  after(() => servers?.stop());

  const create = (name: string, labels = {}) => server.ask("POST", `${PATH}/secrets`, secret(name, labels));
  const secret = (name: string, labels: object) => ({
    ...{ apiVersion: "v1", kind: "Secret", metadata: { name, labels } },
    stringData: { key: "private" },
  });

  test("a role that is limited to a name permits to observe it, also before the object exists, and by its metadata", async (t) => {
    const api = clientFor(t, server, "narrow");
    const subject = { verb: "watch", resource: secrets, namespace: NAMESPACE, name: "named" } as const;
    await waitFor("the permission", async () => (await api.findMissingPermission(subject)) === undefined);
    const whole = observe(t, api, secrets, { name: "named" });
    const metadata = observe(t, api, secrets, { name: "named", metadataOnly: true });
    await until(() => whole.log.length === 1 && metadata.log.length === 1);
    await create("named");
    await create("other");
    await server.ask("PATCH", `${PATH}/secrets/named`, { metadata: { labels: { a: "b" } } });
    await server.ask("DELETE", `${PATH}/secrets/named`);
    await until(() => whole.log.length === 4 && metadata.log.length === 4);
    const expected = ["listed", "ADDED named", "MODIFIED named", "DELETED named"];
    assert.deepEqual([whole.log, metadata.log], [expected, expected]);
    const data = Buffer.from("private").toString("base64");
    assert.deepEqual(new Set(whole.objects.map((object) => object.data?.key)), new Set([data]));
    for (const object of metadata.objects)
      assert.deepEqual(Object.keys(object).sort(), ["apiVersion", "kind", "metadata"]);
  });

  test("a watch that is denied names the permission, and is retried", async (t) => {
    const api = clientFor(t, server, "narrow");
    const { errors, log } = observe(t, api, secrets, { name: "x", timing: { minDelay: 10 } });
    await until(() => errors.length === 2);
    assert.deepEqual(log, ["error", "error"]);
    assert.equal((errors[0] as ApiError).status, 403);
    const watch = { resourceVersion: "1", timeoutSeconds: 5, signal: new AbortController().signal };
    const denied = api.watch(secrets, { ...watch, namespace: NAMESPACE, name: "x" }).next();
    await assert.rejects(
      denied,
      /not allowed to watch secret\/x in namespace default as narrow\n.* can-i watch secrets\/x -n default /,
    );
    const subject = { verb: "watch", resource: leases, namespace: NAMESPACE } as const;
    const command = "kubectl auth can-i watch leases.coordination.k8s.io -n default --context real";
    assert.equal(await api.findMissingPermission(subject), command);
  });

  test("a watch that ends after its time is resumed from the version of the last bookmark", async (t) => {
    const api = clientFor(t, server, "admin");
    // The server sends a bookmark 2 s before the end.
    const { log, state } = observe(t, api, configMaps, { timing: { duration: 3_000, steady: 1_000 } });
    await until(() => log.filter((entry) => entry === "ended").length === 2);
    await server.ask("POST", `${PATH}/configmaps`, { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "late" } });
    await until(() => state.has("late"));
    assert.deepEqual(
      log.filter((entry) => entry !== "ended"),
      ["listed", "ADDED late"],
    );
  });

  test("a watch of a compacted version is an error with status 410", async (t) => {
    const api = clientFor(t, server, "admin");
    const involvedObject = { kind: "Secret", namespace: NAMESPACE, name: "x" };
    const event = { apiVersion: "v1", kind: "Event", metadata: { name: "e" }, involvedObject };
    await server.ask("POST", `${PATH}/events`, event);
    const { resourceVersion } = await api.listAt(events, { namespace: NAMESPACE });
    for (const count of [1, 2]) await server.ask("PATCH", `${PATH}/events/e`, { count });
    const { resourceVersion: current } = await api.listAt(events, { namespace: NAMESPACE });
    await servers.compact(current);
    const signal = new AbortController().signal;
    const watch = api.watch(events, { namespace: NAMESPACE, resourceVersion, timeoutSeconds: 5, signal }).next();
    await assert.rejects(watch, ({ status, reason }: ApiError) => status === 410 && reason === "Expired");
    const future = api.listAt(events, { namespace: NAMESPACE });
    assert.equal((await future).items.length, 1);
  });

  test("whatever is cut, all changes arrive", async (t) => {
    const pairs = new Set<Socket>();
    const { port } = new URL(server.url);
    const relay = await listen(
      t,
      createServer((near) => {
        const far = connect(Number(port), "127.0.0.1").on("error", () => {});
        near.on("close", () => far.destroy());
        far.on("close", () => near.destroy());
        near.pipe(far).pipe(near);
        pairs.add(near.on("close", () => pairs.delete(near)));
      }),
    );
    const api = clientFor(t, server, "admin", relay.url);
    const timing = { minDelay: 10, maxDelay: 100, steady: 50 };
    const { log, state } = observe(t, api, secrets, { labelSelector: "set=cut", timing });
    await until(() => log.length > 0);
    for (let round = 0; round < 40; round++) {
      const name = `cut-${round % 10}`;
      if (round < 10) await create(name, { set: "cut" });
      else if (round % 7 === 0)
        await server.ask("PATCH", `${PATH}/secrets/${name}`, { metadata: { labels: { set: null } } });
      else
        await server.ask("PATCH", `${PATH}/secrets/${name}`, {
          metadata: { labels: { set: "cut", round: `${round}` } },
        });
      await sleep(Math.random() * 40);
      if (round % 3 === 0) for (const socket of pairs) socket.destroy();
    }
    const list = await server.ask("GET", `${PATH}/secrets?labelSelector=set%3Dcut`);
    const expected = new Map<string, string>(
      list.items.map(({ metadata }: { metadata: { name: string; resourceVersion: string } }) => [
        metadata.name,
        metadata.resourceVersion,
      ]),
    );
    const isCurrent = () => [...expected].every(([name, version]) => state.get(name) === version);
    await until(() => isCurrent() && state.size === expected.size);
    assert.ok(log.includes("error"), "connections were cut");
  });
});
