/** Cases of the contract for PartialObjectMetadata. */
import assert from "node:assert/strict";
import type { KubernetesObject } from "../../lib/sandbox/object.ts";
import { assertRefused, type Case, createObject, MERGE, NAMESPACE, readAll, type Server } from "./contract.ts";

const CONFIG_MAPS = `/api/v1/namespaces/${NAMESPACE}/configmaps`;
const METADATA = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
const METADATA_LIST = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";

function configMap(name: string, set: string): KubernetesObject {
  return { apiVersion: "v1", kind: "ConfigMap", metadata: { name, labels: { set } }, data: { a: "1" } };
}

function accepting({ request }: Server, accept: string) {
  return (path: string) => request("GET", path, undefined, undefined, { accept });
}

/** Returns type, kind, version and fields of an event's object, and its name or resourceVersion. */
function describe({ type, object }: { type: string; object: KubernetesObject }): string[] {
  return [type, object.apiVersion, object.kind, Object.keys(object).sort().join(), object.metadata.name ?? ""];
}

const PARTIAL = ["meta.k8s.io/v1", "PartialObjectMetadata", "apiVersion,kind,metadata"];

export const METADATA_CASES: Case[] = [
  {
    name: "metadata: lists of it are served if the Accept header prefers them, also in pages",
    async run(server) {
      for (const name of ["partial-b", "partial-a"])
        await createObject(server, CONFIG_MAPS, configMap(name, "partial"));
      const path = `${CONFIG_MAPS}?labelSelector=set%3Dpartial`;
      for (const accept of [METADATA_LIST, `${METADATA_LIST},application/json`]) {
        const { status, body } = await accepting(server, accept)(path);
        assert.deepEqual([status, body.kind, body.apiVersion], [200, "PartialObjectMetadataList", "meta.k8s.io/v1"]);
        assert.match(body.metadata.resourceVersion, /^\d+$/);
        const listed = body.items.map((object: KubernetesObject) => describe({ type: "", object }));
        assert.deepEqual(listed, [
          ["", ...PARTIAL, "partial-a"],
          ["", ...PARTIAL, "partial-b"],
        ]);
        assert.deepEqual(body.items[0].metadata.labels, { set: "partial" });
      }
      const whole = await accepting(server, `application/json,${METADATA_LIST}`)(path);
      assert.deepEqual([whole.body.kind, whole.body.items[0].data], ["ConfigMapList", { a: "1" }]);
      const page = (await accepting(server, METADATA_LIST)(`${CONFIG_MAPS}?limit=1`)).body;
      assert.deepEqual([page.items.length, typeof page.metadata.continue], [1, "string"]);
      const none = await accepting(server, METADATA_LIST)(`${CONFIG_MAPS}?labelSelector=none`);
      assert.equal(none.body.items, null);
    },
  },
  {
    name: "metadata: a list is refused as an object, and an object as a list",
    async run(server) {
      await createObject(server, CONFIG_MAPS, configMap("partial-one", "one"));
      const one = (await accepting(server, METADATA)(`${CONFIG_MAPS}/partial-one`)).body;
      assert.deepEqual(describe({ type: "", object: one }), ["", ...PARTIAL, "partial-one"]);
      for (const suffix of ["", ",application/json"]) {
        const list = await accepting(server, METADATA + suffix)(CONFIG_MAPS);
        const isList = "you requested PartialObjectMetadata, but the requested object is a list (*core.ConfigMapList)";
        assertRefused(list, 406, "NotAcceptable", isList);
        const object = await accepting(server, METADATA_LIST + suffix)(`${CONFIG_MAPS}/partial-one`);
        const isObject =
          "you requested PartialObjectMetadataList, but the requested object is not a list (*core.ConfigMap)";
        assertRefused(object, 406, "NotAcceptable", isObject);
      }
      const missing = await accepting(server, METADATA)(`${CONFIG_MAPS}/partial-missing`);
      assertRefused(missing, 404, "NotFound", 'configmaps "partial-missing" not found');
    },
  },
  {
    name: "metadata: watches of it are served if the Accept header prefers it, with bookmarks and errors",
    async run(server) {
      await createObject(server, CONFIG_MAPS, configMap("watched", "watched"));
      const query = "watch=1&labelSelector=set%3Dwatched&timeoutSeconds=4&allowWatchBookmarks=true";
      const watches = await Promise.all(
        [METADATA, `${METADATA},application/json`].map((accept) => server.watch(`${CONFIG_MAPS}?${query}`, { accept })),
      );
      await server.request("PATCH", `${CONFIG_MAPS}/watched`, { data: { a: "2" } }, MERGE);
      await server.request("DELETE", `${CONFIG_MAPS}/watched`);
      await createObject(server, CONFIG_MAPS, configMap("not-watched", "other"));
      for (const watch of watches) {
        assert.deepEqual([watch.status, watch.contentType], [200, "application/json"]);
        const found = await readAll(watch);
        assert.deepEqual(found.slice(0, 5).map(describe), [
          ["ADDED", ...PARTIAL, "watched"],
          ["BOOKMARK", ...PARTIAL, ""],
          ["MODIFIED", ...PARTIAL, "watched"],
          ["DELETED", ...PARTIAL, "watched"],
          ["BOOKMARK", ...PARTIAL, ""],
        ]);
        assert.deepEqual(found[0]?.object.metadata.labels, { set: "watched" });
        const { resourceVersion } = found[4]?.object.metadata ?? {};
        assert.deepEqual(found[4]?.object.metadata, { resourceVersion });
      }
      const whole = await server.watch(`${CONFIG_MAPS}?watch=1&labelSelector=set%3Dother&timeoutSeconds=1`, {
        accept: `application/json,${METADATA}`,
      });
      assert.equal((await readAll(whole))[0]?.object.kind, "ConfigMap");
      const initial = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&timeoutSeconds=1";
      const future = await server.watch(`${CONFIG_MAPS}?watch=1&${initial}&resourceVersion=999999999`, {
        accept: METADATA,
      });
      const [error] = await readAll(future);
      assert.deepEqual([error?.type, error?.object.kind, error?.object.code], ["ERROR", "Status", 504]);
    },
  },
];
