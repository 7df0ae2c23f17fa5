/** Cases of the contract for watches. */
import assert from "node:assert/strict";
import type { KubernetesObject } from "../../lib/sandbox/object.ts";
import {
  assertRefused,
  type Case,
  createObject,
  MERGE,
  NAMESPACE,
  readAll,
  type Server,
  type WatchStream,
} from "./contract.ts";

const CONFIG_MAPS = `/api/v1/namespaces/${NAMESPACE}/configmaps`;
const EVENTS = `/api/v1/namespaces/${NAMESPACE}/events`;
const INITIAL = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan";

/** Returns a ConfigMap with a label that isolates a case from the others. */
function configMap(name: string, set: string, data?: Record<string, string>): KubernetesObject {
  return { apiVersion: "v1", kind: "ConfigMap", metadata: { name, labels: { set } }, ...(data && { data }) };
}

const watchPath = (query: string, path = CONFIG_MAPS) => `${path}?watch=1&${query}`;

async function versionOf({ request }: Server, path = CONFIG_MAPS): Promise<string> {
  return (await request("GET", `${path}?limit=1`)).body.metadata.resourceVersion;
}

/** Reads a number of events; with `end`, also the regular end of the response. */
async function read(watch: WatchStream, count: number, how?: "end") {
  assert.equal(watch.status, 200);
  const events = [];
  for (let i = 0; i < count; i++) {
    const event = await watch.next();
    assert.ok(event, `the response ended after ${i} events`);
    events.push(event);
  }
  if (how === "end") assert.equal(await watch.next(), undefined);
  else watch.close();
  return events;
}

/** Asserts that all events are bookmarks, which do not mark the end of the existing objects. */
function assertBookmarks(events: readonly { type: string; object: KubernetesObject }[]): void {
  for (const { type, object } of events) assert.deepEqual([type, object.metadata.annotations], ["BOOKMARK", undefined]);
}

/** Returns type, name and data of events. */
function summary(events: readonly { type: string; object: KubernetesObject }[]): string[] {
  return events.map(({ type, object }) => [type, object.metadata.name, object.data?.a].filter(Boolean).join(" "));
}

export const WATCH_CASES: Case[] = [
  {
    name: "watch: without resourceVersion or with 0, the existing objects are ADDED first, by name",
    async run(server) {
      await createObject(server, CONFIG_MAPS, configMap("initial-b", "initial"));
      await createObject(server, CONFIG_MAPS, configMap("initial-a", "initial", { a: "1" }));
      for (const version of ["", "&resourceVersion=0"]) {
        const watch = await server.watch(watchPath(`labelSelector=set%3Dinitial${version}`));
        assert.equal(watch.contentType, "application/json");
        const later = configMap(`initial-c${version.length}`, "initial");
        const events = [await watch.next(), await watch.next()];
        await createObject(server, CONFIG_MAPS, later);
        const [first, second, third] = [...events, ...(await read(watch, 1))];
        assert.deepEqual(summary([first, second, third] as never), [
          ...["ADDED initial-a 1", "ADDED initial-b"],
          `ADDED ${later.metadata.name}`,
        ]);
        assert.deepEqual([first?.object.kind, first?.object.apiVersion], ["ConfigMap", "v1"]);
        await server.request("DELETE", `${CONFIG_MAPS}/${later.metadata.name}`);
      }
    },
  },
  {
    name: "watch: later changes are sent in order, with their resourceVersions and the last state of a deleted object",
    async run(server) {
      const from = await versionOf(server);
      const path = `${CONFIG_MAPS}/ordered`;
      const created = await createObject(server, CONFIG_MAPS, configMap("ordered", "ordered", { a: "1" }));
      const patched = (await server.request("PATCH", path, { data: { a: "2" } }, MERGE)).body;
      await server.request("PATCH", path, { data: { a: "2" } }, MERGE);
      await server.request("PATCH", `${path}?dryRun=All`, { data: { a: "3" } }, MERGE);
      const other = await createObject(server, CONFIG_MAPS, configMap("ordered-2", "ordered"));
      await server.request("DELETE", path);
      const again = await createObject(server, CONFIG_MAPS, configMap("ordered", "ordered", { a: "4" }));
      for (const collection of [CONFIG_MAPS, "/api/v1/configmaps"]) {
        const query = `resourceVersion=${from}&labelSelector=set%3Dordered`;
        const events = await read(await server.watch(watchPath(query, collection)), 5);
        assert.deepEqual(summary(events), [
          ...["ADDED ordered 1", "MODIFIED ordered 2", "ADDED ordered-2", "DELETED ordered 2", "ADDED ordered 4"],
        ]);
        const versions = events.map(({ object }) => object.metadata.resourceVersion);
        const known = [created, patched, other].map(({ metadata }) => metadata.resourceVersion);
        assert.deepEqual([...versions.slice(0, 3), versions[4]], [...known, again.metadata.resourceVersion]);
        assert.ok(Number(versions[2]) < Number(versions[3]) && Number(versions[3]) < Number(versions[4]));
        assert.equal(events[3]?.object.metadata.uid, created.metadata.uid);
        const resumed = await server.watch(watchPath(`resourceVersion=${versions[2]}&labelSelector=set`, collection));
        assert.deepEqual(summary(await read(resumed, 2)), ["DELETED ordered 2", "ADDED ordered 4"]);
      }
    },
  },
  {
    name: "watch: an object that begins to match a selector is ADDED, and one that ceases to is DELETED as it last matched",
    async run(server) {
      const from = await versionOf(server);
      const path = `${CONFIG_MAPS}/selected`;
      await createObject(server, CONFIG_MAPS, configMap("selected", "selected", { a: "1" }));
      const change = async (set: string, a: string) =>
        (await server.request("PATCH", path, { metadata: { labels: { set } }, data: { a } }, MERGE)).body.metadata;
      await change("selected", "2");
      const left = await change("elsewhere", "3");
      await change("elsewhere", "4");
      await change("selected", "5");
      await server.request("DELETE", path);
      const watch = await server.watch(watchPath(`resourceVersion=${from}&labelSelector=set%3Dselected`));
      const events = await read(watch, 5);
      assert.deepEqual(summary(events), [
        ...["ADDED selected 1", "MODIFIED selected 2", "DELETED selected 2", "ADDED selected 5", "DELETED selected 5"],
      ]);
      assert.equal(events[2]?.object.metadata.resourceVersion, left.resourceVersion);
      assert.deepEqual(events[2]?.object.metadata.labels, { set: "selected" });
      const away = await server.watch(watchPath(`resourceVersion=${from}&labelSelector=set%3Delsewhere`));
      assert.deepEqual(summary(await read(away, 3)), [
        ...["ADDED selected 3", "MODIFIED selected 4", "DELETED selected 4"],
      ]);
    },
  },
  {
    name: "watch: fieldSelector metadata.name selects one object; on the path of an object, watch is ignored",
    async run(server) {
      const from = await versionOf(server);
      for (const name of ["single-a", "single-b", "single-c"]) {
        await createObject(server, CONFIG_MAPS, configMap(name, "single"));
      }
      const name = "fieldSelector=metadata.name%3Dsingle-b";
      const watch = await server.watch(watchPath(`resourceVersion=${from}&${name}`));
      await server.request("PATCH", `${CONFIG_MAPS}/single-c`, { data: { a: "1" } }, MERGE);
      await server.request("PATCH", `${CONFIG_MAPS}/single-b`, { data: { a: "2" } }, MERGE);
      assert.deepEqual(summary(await read(watch, 2)), ["ADDED single-b", "MODIFIED single-b 2"]);
      assert.deepEqual(summary(await read(await server.watch(watchPath(name)), 1)), ["ADDED single-b 2"]);
      const { body } = await server.request("GET", watchPath("", `${CONFIG_MAPS}/single-b`));
      assert.deepEqual([body.kind, body.metadata.name], ["ConfigMap", "single-b"]);
    },
  },
  {
    name: "watch: timeoutSeconds ends the response regularly",
    async run(server) {
      await createObject(server, CONFIG_MAPS, configMap("timed", "timed"));
      const from = await versionOf(server);
      const events = async (query: string, count: number) => {
        const watch = await server.watch(watchPath(`labelSelector=set%3Dtimed&timeoutSeconds=1${query}`));
        return summary(await read(watch, count, "end"));
      };
      const all = await Promise.all([
        events("", 1),
        events(`&resourceVersion=${from}`, 0),
        // A version that the server does not have yet is awaited.
        events(`&resourceVersion=${Number(from) + 100_000}`, 0),
      ]);
      assert.deepEqual(all, [["ADDED timed"], [], []]);
    },
  },
  {
    name: "watch: a bookmark before the end has the version of changes that are not selected",
    async run(server) {
      const from = await versionOf(server);
      const query = `resourceVersion=${from}&labelSelector=set%3Dbookmarked&timeoutSeconds=4`;
      const [silent, watch] = await Promise.all([
        server.watch(watchPath(query)),
        server.watch(watchPath(`${query}&allowWatchBookmarks=true`)),
      ]);
      const { metadata } = await createObject(server, CONFIG_MAPS, configMap("not-bookmarked", "other"));
      const [bookmark] = await Promise.all([watch.next(), read(silent, 0, "end")]);
      watch.close();
      const { resourceVersion } = bookmark?.object.metadata ?? {};
      assert.deepEqual(bookmark, {
        type: "BOOKMARK",
        object: { kind: "ConfigMap", apiVersion: "v1", metadata: { resourceVersion } },
      });
      assert.ok(Number(resourceVersion) >= Number(metadata.resourceVersion));
    },
  },
  {
    name: "watch: sendInitialEvents sends the existing objects from any version, and marks their end with a bookmark",
    async run(server) {
      const { metadata } = await createObject(server, CONFIG_MAPS, configMap("streamed", "streamed"));
      const query = "labelSelector=set%3Dstreamed&timeoutSeconds=1";
      const check = async (options: string) => {
        // A real server may send further bookmarks before the watch ends.
        const [added, end, ...further] = await readAll(await server.watch(watchPath(`${query}&${options}`)));
        assertBookmarks(further);
        assert.deepEqual([added?.type, added?.object.metadata.name], ["ADDED", "streamed"]);
        assert.equal(end?.type, "BOOKMARK");
        assert.deepEqual(end?.object.metadata.annotations, { "k8s.io/initial-events-end": "true" });
        assert.ok(Number(end?.object.metadata.resourceVersion) >= Number(metadata.resourceVersion));
      };
      const marked = [
        `${INITIAL}&allowWatchBookmarks=true`,
        `${INITIAL}&allowWatchBookmarks=1&resourceVersion=1`,
        "allowWatchBookmarks=true",
        "allowWatchBookmarks=true&resourceVersion=0",
      ];
      const none = `${query}&allowWatchBookmarks=true&${INITIAL.replace("true", "false")}`;
      const future = `${query}&${INITIAL}&resourceVersion=${Number(metadata.resourceVersion) + 100_000}`;
      const readEnd = async (path: string, count: number) => read(await server.watch(watchPath(path)), count, "end");
      const checkNone = async () => {
        assertBookmarks(await readAll(await server.watch(watchPath(none))));
      };
      const [[error]] = await Promise.all([
        readEnd(future, 1),
        readEnd(`${query}&${INITIAL}`, 1),
        checkNone(),
        ...marked.map(check),
      ]);
      assert.equal(error?.type, "ERROR");
      const { code, reason, message, details } = error?.object ?? {};
      assert.deepEqual([code, reason], [504, "Timeout"]);
      assert.match(message, /^Timeout: Too large resource version: \d+, current: \d+$/);
      assert.deepEqual(details.causes, [{ reason: "ResourceVersionTooLarge", message: "Too large resource version" }]);
    },
  },
  {
    name: "watch: a compacted resourceVersion is an ERROR with 410, and the watch ends",
    async run(server) {
      const involvedObject = { kind: "Secret", namespace: NAMESPACE, name: "x" };
      const event = { apiVersion: "v1", kind: "Event", metadata: { name: "compacted" }, involvedObject };
      const from = await versionOf(server, EVENTS);
      await createObject(server, EVENTS, event);
      for (const count of [1, 2]) await server.request("PATCH", `${EVENTS}/compacted`, { count }, MERGE);
      const current = await versionOf(server, EVENTS);
      const running = await server.watch(watchPath(`resourceVersion=${current}`, EVENTS));
      await server.compact(current);
      const [error] = await read(await server.watch(watchPath(`resourceVersion=${from}`, EVENTS)), 1, "end");
      assert.deepEqual(error, {
        type: "ERROR",
        object: {
          ...{ kind: "Status", apiVersion: "v1", metadata: {}, status: "Failure", code: 410, reason: "Expired" },
          message: "The resourceVersion for the provided watch is too old.",
        },
      });
      const resumed = await server.watch(watchPath(`resourceVersion=${current}`, EVENTS));
      await server.request("DELETE", `${EVENTS}/compacted`);
      for (const watch of [running, resumed]) assert.deepEqual(summary(await read(watch, 1)), ["DELETED compacted"]);
    },
  },
  {
    name: "watch: parameters are validated",
    async run({ request, watch }) {
      const refuse = async (query: string, ...expected: [code: number, reason: string | undefined, message: RegExp]) =>
        assertRefused(await request("GET", watchPath(query)), ...expected);
      const invalid = (why: string) =>
        new RegExp(`^ListOptions\\.meta\\.k8s\\.io "" is invalid: resourceVersionMatch: ${why}`);
      const needsMatch = invalid("Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan$");
      await refuse("sendInitialEvents=true", 422, "Invalid", needsMatch);
      await refuse("sendInitialEvents=false", 422, "Invalid", needsMatch);
      const needsInitial =
        "Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
      await refuse("resourceVersionMatch=NotOlderThan", 422, "Invalid", invalid(`${needsInitial}$`));
      const both = `\\[resourceVersionMatch: ${needsInitial}, resourceVersionMatch: Unsupported value: "Exact": supported values: "NotOlderThan"\\]$`;
      await refuse("resourceVersionMatch=Exact&resourceVersion=1", 422, "Invalid", new RegExp(both));
      await refuse("continue=x", 422, "Invalid", invalid("Forbidden: resourceVersionMatch is forbidden when continue"));
      const syntax = 'parsing "abc": invalid syntax$';
      await refuse("timeoutSeconds=abc", 400, "BadRequest", new RegExp(`^strconv\\.ParseInt: ${syntax}`));
      const version = `^resourceVersion: Invalid value: "abc": strconv\\.ParseUint: ${syntax}`;
      await refuse("resourceVersion=abc", 500, undefined, new RegExp(version));
      await refuse("labelSelector=a%3D%3D%3Db", 400, "BadRequest", /^unable to parse requirement/);
      await refuse("fieldSelector=data.x%3Dy", 400, "BadRequest", /data\.x/);
      for (const value of ["0", "false", "FALSE"]) {
        assert.equal((await request("GET", `${CONFIG_MAPS}?watch=${value}`)).body.kind, "ConfigMapList");
      }
      const values = ["watch=", "watch", "watch=yes", "watch=true"];
      await Promise.all(
        values.map(async (value) =>
          read(await watch(`${CONFIG_MAPS}?${value}&labelSelector=none&timeoutSeconds=1`), 0, "end"),
        ),
      );
    },
  },
  {
    name: "watch: the verb is listed, and access is checked for it, with the name of a field selector",
    async run({ request, watch }) {
      for (const path of ["/api/v1", "/apis/apps/v1", "/apis/coordination.k8s.io/v1"]) {
        const { resources } = (await request("GET", path)).body;
        for (const name of ["configmaps", "events", "secrets", "deployments", "leases", "nodes"]) {
          const entry = resources.find((resource: { name: string }) => resource.name === name);
          assert.ok(!entry || entry.verbs.includes("watch"), name);
        }
      }
      const asNobody = (path: string) => request("GET", path, undefined, undefined, { "impersonate-user": "nobody" });
      const cannot = `is forbidden: User "nobody" cannot watch resource "configmaps" in API group ""`;
      const where = `in the namespace "${NAMESPACE}"`;
      assertRefused(await asNobody(watchPath("")), 403, "Forbidden", `configmaps ${cannot} ${where}`);
      const named = await asNobody(watchPath("fieldSelector=metadata.name%3Dx"));
      assertRefused(named, 403, "Forbidden", `configmaps "x" ${cannot} ${where}`);
      const all = await asNobody(watchPath("", "/api/v1/configmaps"));
      assertRefused(all, 403, "Forbidden", `configmaps ${cannot} at the cluster scope`);
      const nodes = await watch(watchPath("fieldSelector=metadata.name%3Dcontract-node1", "/api/v1/nodes"));
      assert.equal((await read(nodes, 1))[0]?.object.kind, "Node");
    },
  },
];
