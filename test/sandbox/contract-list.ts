/** Cases of the contract for lists of a resourceVersion. */
import assert from "node:assert/strict";
import type { KubernetesObject } from "../../lib/sandbox/object.ts";
import { assertRefused, type Case, createObject, MERGE, type Server } from "./contract.ts";

const CORE = "/api/v1/namespaces";

/** Returns the path of the ConfigMaps or Events in a new namespace. */
async function collectionIn(server: Server, namespace: string, plural: "configmaps" | "events"): Promise<string> {
  await createObject(server, CORE, { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } });
  return `${CORE}/${namespace}/${plural}`;
}

function configMap(name: string): KubernetesObject {
  return { apiVersion: "v1", kind: "ConfigMap", metadata: { name }, data: { a: "1" } };
}

function event(namespace: string, name: string): KubernetesObject {
  return { apiVersion: "v1", kind: "Event", metadata: { name }, involvedObject: { namespace }, count: 1 };
}

/** Lists objects; returns the metadata of the list and a text for each object. */
async function list({ request }: Server, path: string) {
  const { status, body } = await request("GET", path);
  assert.equal(status, 200, JSON.stringify(body));
  const texts = body.items.map(({ metadata, data, count }: KubernetesObject) => `${metadata.name} ${data?.a ?? count}`);
  return { ...body.metadata, texts } as {
    resourceVersion: string;
    continue?: string;
    remainingItemCount?: number;
    texts: string[];
  };
}

export const LIST_CASES: Case[] = [
  {
    name: "list: resourceVersion is a minimum, and with Exact or a limit the version that is listed",
    async run(server) {
      const path = await collectionIn(server, "list-exact", "configmaps");
      for (const name of ["a", "b", "c"]) await createObject(server, path, configMap(name));
      const { resourceVersion: old } = await list(server, path);
      await server.request("PATCH", `${path}/a`, { data: { a: "2" } }, MERGE);
      await server.request("DELETE", `${path}/b`);
      await createObject(server, path, configMap("d"));
      const now = ["a 2", "c 1", "d 1"];
      assert.deepEqual((await list(server, path)).texts, now);
      const exact = await list(server, `${path}?resourceVersion=${old}&resourceVersionMatch=Exact`);
      assert.deepEqual([exact.resourceVersion, exact.texts], [old, ["a 1", "b 1", "c 1"]]);
      const page = await list(server, `${path}?resourceVersion=${old}&limit=2`);
      assert.deepEqual([page.resourceVersion, page.texts, page.remainingItemCount], [old, ["a 1", "b 1"], 1]);
      const token = encodeURIComponent(page.continue ?? "");
      assert.deepEqual((await list(server, `${path}?limit=2&continue=${token}`)).texts, ["c 1"]);
      const { resourceVersion: current } = await list(server, path);
      for (const query of ["", "&resourceVersionMatch=NotOlderThan", "&resourceVersionMatch=NotOlderThan&limit=5"]) {
        const listed = await list(server, `${path}?resourceVersion=${current}${query}`);
        assert.deepEqual(listed.texts, now, query);
        assert.ok(Number(listed.resourceVersion) >= Number(current));
      }
      await list(server, `${path}?resourceVersion=0`);
    },
  },
  {
    name: "list: all pages show the version of the first one",
    async run(server) {
      const path = await collectionIn(server, "list-pages", "configmaps");
      for (const name of ["a", "b", "c"]) await createObject(server, path, configMap(name));
      const first = await list(server, `${path}?limit=1`);
      assert.deepEqual([first.texts, first.remainingItemCount], [["a 1"], 2]);
      await createObject(server, path, configMap("aa"));
      await server.request("PATCH", `${path}/b`, { data: { a: "2" } }, MERGE);
      await server.request("DELETE", `${path}/c`);
      const second = await list(server, `${path}?limit=1&continue=${encodeURIComponent(first.continue ?? "")}`);
      assert.deepEqual([second.texts, second.remainingItemCount], [["b 1"], 1]);
      const third = await list(server, `${path}?continue=${encodeURIComponent(second.continue ?? "")}`);
      assert.deepEqual([third.texts, third.continue], [["c 1"], undefined]);
      const versions = [second, third].map(({ resourceVersion }) => resourceVersion);
      assert.deepEqual(versions, [first.resourceVersion, first.resourceVersion]);
    },
  },
  {
    name: "list: a compacted version is refused with 410; an expired page has a token to continue at the current version",
    async run(server) {
      const namespace = "list-compacted";
      const path = await collectionIn(server, namespace, "events");
      for (const name of ["a", "b"]) await createObject(server, path, event(namespace, name));
      const first = await list(server, `${path}?limit=1`);
      await server.request("PATCH", `${path}/b`, { count: 2 }, MERGE);
      await createObject(server, path, event(namespace, "c"));
      const { resourceVersion: current } = await list(server, path);
      await server.compact(current);
      const exact = (version: string) => `${path}?resourceVersionMatch=Exact&resourceVersion=${version}`;
      const old = await server.request("GET", exact(first.resourceVersion));
      assertRefused(old, 410, "Expired", "The resourceVersion for the provided list is too old.");
      assert.deepEqual((await list(server, exact(current))).texts, ["a 1", "b 2", "c 1"]);
      const page = (token = "") => `${path}?limit=1&continue=${encodeURIComponent(token)}`;
      const expired = await server.request("GET", page(first.continue));
      assertRefused(
        expired,
        410,
        "Expired",
        /^The provided continue parameter is too old to display a consistent list/,
      );
      const second = await list(server, page(expired.body.metadata.continue));
      assert.deepEqual(second.texts, ["b 2"]);
      assert.ok(Number(second.resourceVersion) >= Number(current));
      assert.deepEqual((await list(server, page(second.continue))).texts, ["c 1"]);
    },
  },
  {
    name: "list: a version that the server does not have yet is a timeout",
    async run(server) {
      const path = await collectionIn(server, "list-future", "events");
      const { resourceVersion } = await list(server, path);
      const future = Number(resourceVersion) + 100_000;
      for (const query of ["", "&resourceVersionMatch=Exact", "&limit=1"]) {
        const answer = await server.request("GET", `${path}?resourceVersion=${future}${query}`);
        assertRefused(
          answer,
          504,
          "Timeout",
          new RegExp(`^Timeout: Too large resource version: ${future}, current: \\d+$`),
        );
        const [cause] = answer.body.details.causes;
        assert.deepEqual(cause, { reason: "ResourceVersionTooLarge", message: "Too large resource version" });
      }
    },
  },
  {
    name: "list: parameters are validated",
    async run(server) {
      const path = await collectionIn(server, "list-parameters", "configmaps");
      for (const name of ["a", "b"]) await createObject(server, path, configMap(name));
      const refuse = async (query: string, code: number, reason: string, message: string) =>
        assertRefused(await server.request("GET", `${path}?${query}`), code, reason, message);
      const invalid = (why: string, field = "resourceVersionMatch") =>
        `ListOptions.meta.k8s.io "" is invalid: ${field}: ${why}`;
      const forbidden = (why: string) => invalid(`Forbidden: ${why}`);
      await refuse(
        "sendInitialEvents=true",
        422,
        "Invalid",
        invalid("Forbidden: sendInitialEvents is forbidden for list", "sendInitialEvents"),
      );
      const match = "resourceVersionMatch";
      for (const [query, why] of [
        [`${match}=NotOlderThan`, forbidden(`${match} is forbidden unless resourceVersion is provided`)],
        [`${match}=Exact&resourceVersion=0`, forbidden(`${match} "exact" is forbidden for resourceVersion "0"`)],
        [
          `${match}=Foo&resourceVersion=1`,
          invalid('Unsupported value: "Foo": supported values: "Exact", "NotOlderThan", ""'),
        ],
        [
          `${match}=NotOlderThan&resourceVersion=1&continue=x`,
          forbidden(`${match} is forbidden when continue is provided`),
        ],
      ] as const) {
        await refuse(query, 422, "Invalid", why);
      }
      const syntax = 'resourceVersion: Invalid value: "abc": strconv.ParseUint: parsing "abc": invalid syntax';
      await refuse("resourceVersion=abc", 400, "BadRequest", `invalid resource version: ${syntax}`);
      const { continue: token = "" } = await list(server, `${path}?limit=1`);
      const both = "specifying resource version is not allowed when using continue";
      await refuse(`limit=1&resourceVersion=1&continue=${encodeURIComponent(token)}`, 400, "BadRequest", both);
      await list(server, `${path}?limit=1&resourceVersion=0&continue=${encodeURIComponent(token)}`);
      for (const garbage of ["nonsense", Buffer.from("{}").toString("base64url")]) {
        assert.equal((await server.request("GET", `${path}?limit=1&continue=${garbage}`)).status, 400);
      }
    },
  },
];
