/** Cases of the contract for the Events of `events.k8s.io`. */
import assert from "node:assert/strict";
import type { KubernetesObject } from "../../lib/sandbox/object.ts";
import { assertRefused, type Case, createObject, MERGE, NAMESPACE, readAll, withoutManagedFields } from "./contract.ts";

const CORE_EVENTS = `/api/v1/namespaces/${NAMESPACE}/events`;
const EVENTS = `/apis/events.k8s.io/v1/namespaces/${NAMESPACE}/events`;

function regarding(name: string, fields: object = {}) {
  const about = { kind: "Secret", namespace: NAMESPACE, name: "x" };
  return { apiVersion: "events.k8s.io/v1", kind: "Event", metadata: { name }, regarding: about, ...fields };
}

/** The fields that the API requires. */
const COMPLETE = {
  eventTime: "2026-01-01T01:00:00.123456+01:00",
  ...{ reportingController: "example.com/sync", reportingInstance: "i", action: "Write", reason: "Synced" },
  ...{ type: "Normal", note: "hello" },
};

function fieldsOf(object: KubernetesObject): Record<string, unknown> {
  const { metadata: _, ...fields } = withoutManagedFields(object);
  return fields;
}

export const NEW_EVENT_CASES: Case[] = [
  {
    name: "events.k8s.io: its Events are those of the core group, with other names of their fields",
    async run(server) {
      const { request } = server;
      const related = { kind: "Pod", name: "p" };
      await createObject(server, CORE_EVENTS, {
        ...{ apiVersion: "v1", kind: "Event", metadata: { name: "old" }, reason: "R", message: "m", type: "Normal" },
        ...{ involvedObject: { kind: "Secret", namespace: NAMESPACE, name: "x" }, related, action: "A", count: 3 },
        ...{ source: { component: "c", host: "h" }, reportingComponent: "rc", reportingInstance: "ri" },
        ...{ firstTimestamp: "2026-01-01T00:00:00Z", lastTimestamp: "2026-01-01T00:00:01Z" },
      });
      assert.deepEqual(fieldsOf((await request("GET", `${EVENTS}/old`)).body), {
        ...{ apiVersion: "events.k8s.io/v1", kind: "Event", reason: "R", note: "m", type: "Normal", action: "A" },
        ...{ regarding: { kind: "Secret", namespace: NAMESPACE, name: "x" }, related, eventTime: null },
        ...{ reportingController: "rc", reportingInstance: "ri", deprecatedSource: { component: "c", host: "h" } },
        deprecatedFirstTimestamp: "2026-01-01T00:00:00Z",
        ...{ deprecatedLastTimestamp: "2026-01-01T00:00:01Z", deprecatedCount: 3 },
      });
      const involvedObject = { kind: "Secret", namespace: NAMESPACE, name: "x" };
      await createObject(server, CORE_EVENTS, {
        apiVersion: "v1",
        kind: "Event",
        metadata: { name: "new-bare" },
        involvedObject,
      });
      const unset = { deprecatedSource: {}, deprecatedFirstTimestamp: null, deprecatedLastTimestamp: null };
      assert.deepEqual(fieldsOf((await request("GET", `${EVENTS}/new-bare`)).body), {
        ...{ apiVersion: "events.k8s.io/v1", kind: "Event", regarding: involvedObject, eventTime: null, ...unset },
      });
      const created = await createObject(server, EVENTS, regarding("new", COMPLETE));
      const eventTime = "2026-01-01T00:00:00.123456Z";
      assert.deepEqual(fieldsOf(created), {
        ...{
          apiVersion: "events.k8s.io/v1",
          kind: "Event",
          regarding: involvedObject,
          ...COMPLETE,
          eventTime,
          ...unset,
        },
      });
      const { body: core } = await request("GET", `${CORE_EVENTS}/new`);
      assert.deepEqual(fieldsOf(core), {
        ...{ apiVersion: "v1", kind: "Event", involvedObject, eventTime, action: "Write", reason: "Synced" },
        ...{ reportingComponent: "example.com/sync", reportingInstance: "i", type: "Normal", message: "hello" },
        ...{ source: {}, firstTimestamp: null, lastTimestamp: null },
      });
      assert.equal(core.metadata.uid, created.metadata.uid);
    },
  },
  {
    name: "events.k8s.io: a new Event must be complete, and have no fields of the old API",
    async run({ request }) {
      const refuse = async (fields: object, causes: [field: string, message: string][]) => {
        const answer = await request("POST", EVENTS, regarding("refused", fields));
        assertRefused(answer, 422, "Invalid", /^Event "refused" is invalid: /);
        const { details } = answer.body;
        const found = details.causes.map((cause: { field: string; message: string }) => [cause.field, cause.message]);
        assert.deepEqual([details.name, details.kind, details.group, found], ["refused", "Event", undefined, causes]);
      };
      const invalid = 'Invalid value: "": ';
      await refuse({}, [
        ["eventTime", "Required value"],
        ["type", `${invalid}has invalid value: `],
      ]);
      await refuse({ ...COMPLETE, type: "Foo" }, [["type", `${invalid}has invalid value: Foo`]]);
      const deprecated = {
        ...{ deprecatedCount: 2, deprecatedSource: { component: "x" } },
        ...{ deprecatedFirstTimestamp: "2026-01-01T00:00:00Z", deprecatedLastTimestamp: "2026-01-01T00:00:00Z" },
      };
      await refuse(
        { ...COMPLETE, ...deprecated },
        ["firstTimestamp", "lastTimestamp", "count", "source"].map((field) => [field, `${invalid}needs to be unset`]),
      );
      const rule =
        "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric " +
        "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is " +
        "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
      const long = "x".repeat(129);
      await refuse(
        {
          ...COMPLETE,
          reportingController: "c c",
          reportingInstance: long,
          action: long,
          reason: long,
          note: "x".repeat(1_025),
        },
        [
          ["reportingController", `Invalid value: "c c": ${rule}`],
          ...["reportingInstance", "action", "reason"].map((field): [string, string] => [
            field,
            `${invalid}can have at most 128 characters`,
          ]),
          ["message", `${invalid}can have at most 1024 characters`],
        ],
      );
      await refuse({ ...COMPLETE, reportingController: "", reportingInstance: "", action: "", reason: "" }, [
        ["reportingController", "Required value"],
        ["reportingController", `${invalid}name part must be non-empty`],
        ["reportingController", `${invalid}${rule}`],
        ...["reportingInstance", "action", "reason"].map((field): [string, string] => [field, "Required value"]),
      ]);
      const nameless = { ...COMPLETE, regarding: { kind: "Node", name: "n" } };
      await refuse(nameless, [["involvedObject.namespace", `${invalid}does not match event.namespace`]]);
      const elsewhere = regarding("elsewhere", { ...COMPLETE, regarding: { namespace: "kube-system", name: "x" } });
      assert.equal((await request("POST", EVENTS, elsewhere)).status, 201);
      const strict = await request("POST", `${EVENTS}?fieldValidation=Strict`, regarding("refused", { message: "m" }));
      assertRefused(strict, 400, "BadRequest", /strict decoding error: unknown field "message"$/);
      const wrong = await request("POST", EVENTS, regarding("refused", { deprecatedCount: "x" }));
      assertRefused(
        wrong,
        400,
        "BadRequest",
        /cannot unmarshal string into Go struct field Event\.deprecatedCount of type int32$/,
      );
      const core = await request("POST", EVENTS, { ...regarding("refused"), apiVersion: "v1" });
      assert.deepEqual([core.status, core.body.reason], [400, "BadRequest"]);
      const missing = { name: "missing", group: "events.k8s.io", kind: "events" };
      assertRefused(
        await request("GET", `${EVENTS}/missing`),
        ...([404, "NotFound", 'events.events.k8s.io "missing" not found', missing] as const),
      );
    },
  },
  {
    name: "events.k8s.io: only the series of an Event can be changed",
    async run(server) {
      const { request } = server;
      await createObject(server, EVENTS, regarding("series", COMPLETE));
      const patch = (fields: object) => request("PATCH", `${EVENTS}/series`, fields, MERGE);
      const lastObservedTime = "2026-01-01T00:00:10.000000Z";
      const counted = await patch({ series: { count: 2, lastObservedTime } });
      assert.deepEqual([counted.status, counted.body.series], [200, { count: 2, lastObservedTime }]);
      const causesOf = async (fields: object) => {
        const answer = await patch(fields);
        assertRefused(answer, 422, "Invalid", /^Event "series" is invalid: /);
        return answer.body.details.causes.map((cause: { field: string; message: string }) => [
          cause.field,
          cause.message,
        ]);
      };
      assert.deepEqual(await causesOf({ series: { count: 1 } }), [
        ["series.count", 'Invalid value: "": should be at least 2'],
      ]);
      assert.deepEqual(await causesOf({ series: { count: 3, lastObservedTime: null } }), [
        ["series.lastObservedTime", "Required value"],
      ]);
      const changes = {
        ...{ note: "other", type: "Warning", reason: "b", action: "c", eventTime: "2026-01-01T00:00:01.000000Z" },
        ...{ reportingController: "o", reportingInstance: "p", regarding: { name: "y" } },
      };
      const object = `{"Kind":"Secret","Namespace":"${NAMESPACE}","Name":"y","UID":"","APIVersion":"","ResourceVersion":"","FieldPath":""}`;
      assert.deepEqual(
        await causesOf(changes),
        [
          ["involvedObject", object],
          ...[
            ["reason", '"b"'],
            ["message", '"other"'],
            ["reason", '"b"'],
            ["type", '"Warning"'],
          ],
          ...[
            ["eventTime", '"2026-01-01T00:00:01.000000Z"'],
            ["action", '"c"'],
          ],
          ...[
            ["reportingController", '"o"'],
            ["reportingInstance", '"p"'],
          ],
        ].map(([field, value]) => [field, `Invalid value: ${value}: field is immutable`]),
      );
      const core = await request("PATCH", `${CORE_EVENTS}/series`, { message: "other", count: 4 }, MERGE);
      assert.deepEqual([core.status, core.body.message, core.body.count], [200, "other", 4]);
      const { body } = await request("GET", `${EVENTS}/series`);
      assert.deepEqual([body.note, body.deprecatedCount], ["other", 4]);
      assert.equal((await request("PUT", `${EVENTS}/new-put`, regarding("new-put", COMPLETE))).status, 201);
      assert.equal((await request("PUT", `${EVENTS}/new-put`, regarding("new-put", COMPLETE))).status, 200);
      const deleted = (await request("DELETE", `${EVENTS}/new-put`)).body;
      assert.deepEqual([deleted.status, deleted.details.group], ["Success", "events.k8s.io"]);
      assert.equal((await request("GET", `${CORE_EVENTS}/new-put`)).status, 404);
    },
  },
  {
    name: "events.k8s.io: lists, selectors and watches have the fields of the API",
    async run(server) {
      const { request } = server;
      await createObject(
        server,
        EVENTS,
        regarding("chosen", { ...COMPLETE, reportingController: "chooser", reason: "Elected" }),
      );
      const names = async (selector: string, path = EVENTS) => {
        const { body } = await request("GET", `${path}?fieldSelector=${encodeURIComponent(selector)}`);
        return body.items?.map((item: KubernetesObject) => item.metadata.name) ?? body.message;
      };
      for (const selector of [
        "reportingController=chooser",
        "reason=Elected,regarding.name=x",
        "metadata.name=chosen",
      ]) {
        assert.deepEqual(await names(selector), ["chosen"], selector);
      }
      assert.deepEqual(await names("reason=Elected,type=Warning"), []);
      for (const selector of ["involvedObject.name=x", "reportingComponent=chooser", "source=chooser"]) {
        assert.equal(await names(selector), `field label not supported: ${selector.replace(/=.*/, "")}`);
      }
      assert.match(await names("regarding.name=x", CORE_EVENTS), /field label not supported/);
      const query = "fieldSelector=reason%3DElected";
      const { body } = await request("GET", `${EVENTS}?${query}`);
      assert.deepEqual([body.kind, body.apiVersion, body.items[0].note], ["EventList", "events.k8s.io/v1", "hello"]);
      const watch = await server.watch(`${EVENTS}?watch=1&${query}&timeoutSeconds=1&allowWatchBookmarks=true`);
      const [added, bookmark] = await readAll(watch);
      assert.deepEqual([added?.object.apiVersion, added?.object.note], ["events.k8s.io/v1", "hello"]);
      const { metadata, ...fields } = bookmark?.object ?? assert.fail();
      assert.deepEqual(metadata.annotations, { "k8s.io/initial-events-end": "true" });
      assert.deepEqual(fields, {
        ...{ kind: "Event", apiVersion: "events.k8s.io/v1", eventTime: null, regarding: {}, deprecatedSource: {} },
        ...{ deprecatedFirstTimestamp: null, deprecatedLastTimestamp: null },
      });
      const core = await server.watch(`${CORE_EVENTS}?watch=1&${query}&timeoutSeconds=1&allowWatchBookmarks=true`);
      const [coreAdded, coreBookmark] = await readAll(core);
      assert.deepEqual([coreAdded?.object.apiVersion, coreAdded?.object.message], ["v1", "hello"]);
      const { metadata: _, ...coreFields } = coreBookmark?.object ?? assert.fail();
      assert.deepEqual(coreFields, {
        ...{ kind: "Event", apiVersion: "v1", involvedObject: {}, source: {}, eventTime: null },
        ...{ firstTimestamp: null, lastTimestamp: null, reportingComponent: "", reportingInstance: "" },
      });
      const leases = `/apis/coordination.k8s.io/v1/namespaces/${NAMESPACE}/leases`;
      const options = "labelSelector=none&timeoutSeconds=1&allowWatchBookmarks=true";
      const [leaseBookmark] = await readAll(await server.watch(`${leases}?watch=1&${options}`));
      assert.deepEqual(leaseBookmark?.object.spec, {});
    },
  },
  {
    name: "events.k8s.io: discovery and denied requests name the group",
    async run({ request }) {
      assert.equal(
        (await request("GET", "/apis/events.k8s.io")).body.preferredVersion.groupVersion,
        "events.k8s.io/v1",
      );
      const { resources } = (await request("GET", "/apis/events.k8s.io/v1")).body;
      const { name, kind, namespaced, shortNames, verbs } = resources[0];
      assert.deepEqual([name, kind, namespaced, shortNames], ["events", "Event", true, ["ev"]]);
      for (const verb of ["create", "delete", "get", "list", "patch", "update", "watch"])
        assert.ok(verbs.includes(verb));
      const headers = { "impersonate-user": "nobody" };
      const denied = await request("POST", EVENTS, regarding("denied", COMPLETE), undefined, headers);
      const what = `cannot create resource "events" in API group "events.k8s.io" in the namespace "${NAMESPACE}"`;
      assertRefused(denied, 403, "Forbidden", `events.events.k8s.io is forbidden: User "nobody" ${what}`);
    },
  },
];
