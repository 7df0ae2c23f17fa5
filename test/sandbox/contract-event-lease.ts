/** Cases of the contract for Events and Leases. */
import assert from "node:assert/strict";
import { assertRefused, type Case, createObject, MERGE, NAMESPACE, withoutManagedFields } from "./contract.ts";

const EVENTS = `/api/v1/namespaces/${NAMESPACE}/events`;
const LEASES = `/apis/coordination.k8s.io/v1/namespaces/${NAMESPACE}/leases`;
const LAYOUT = "2006-01-02T15:04:05.000000Z07:00";

function event(name: string, fields: object = {}) {
  const involvedObject = { kind: "Secret", namespace: NAMESPACE, name: "x" };
  return { apiVersion: "v1", kind: "Event", metadata: { name }, involvedObject, ...fields };
}

function lease(name: string, spec?: unknown) {
  return { apiVersion: "coordination.k8s.io/v1", kind: "Lease", metadata: { name }, spec };
}

export const EVENT_AND_LEASE_CASES: Case[] = [
  {
    name: "discovery lists Events and Leases",
    async run({ request }) {
      for (const [path, name, kind] of [
        ["/api/v1", "events", "Event"],
        ["/apis/coordination.k8s.io/v1", "leases", "Lease"],
      ]) {
        const { resources } = (await request("GET", path ?? "")).body;
        const entry = resources.find((resource: { name: string }) => resource.name === name);
        assert.deepEqual([entry.kind, entry.namespaced], [kind, true]);
        for (const verb of ["create", "delete", "get", "list", "patch", "update"])
          assert.ok(entry.verbs.includes(verb));
      }
      assert.equal((await request("GET", "/apis/coordination.k8s.io")).body.preferredVersion.version, "v1");
      assertRefused(await request("GET", "/apis/coordination.k8s.io/v1/foos"), 404, "NotFound", /could not find/);
    },
  },
  {
    name: "Events have empty fields for what is not given, and times in UTC",
    async run(server) {
      const { request } = server;
      const bare = withoutManagedFields(await createObject(server, EVENTS, event("bare")));
      const { metadata: _, ...fields } = bare;
      assert.deepEqual(fields, {
        apiVersion: "v1",
        kind: "Event",
        involvedObject: { kind: "Secret", namespace: NAMESPACE, name: "x" },
        source: {},
        firstTimestamp: null,
        lastTimestamp: null,
        eventTime: null,
        reportingComponent: "",
        reportingInstance: "",
      });
      const given = {
        ...{ reason: "Synced", message: "", type: "Normal", count: 1, source: { component: "sync", host: "" } },
        ...{ firstTimestamp: "2026-01-01T01:00:00.5+01:00", lastTimestamp: "2026-01-01T00:00:00Z", unknown: 1 },
      };
      const full = await createObject(server, EVENTS, event("full", given));
      assert.deepEqual(
        [full.reason, full.message, full.type, full.count, full.source, full.unknown],
        ["Synced", undefined, "Normal", 1, { component: "sync" }, undefined],
      );
      assert.deepEqual([full.firstTimestamp, full.lastTimestamp], ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"]);
      const again = { count: 2, lastTimestamp: "2026-01-01T00:01:00Z" };
      const { status, body } = await request("PATCH", `${EVENTS}/full`, again, MERGE);
      assert.deepEqual([status, body.count, body.lastTimestamp], [200, 2, "2026-01-01T00:01:00Z"]);
      assert.equal((await request("GET", `${EVENTS}/full`)).body.count, 2);
      assert.equal((await request("DELETE", `${EVENTS}/full`)).body.status, "Success");
    },
  },
  {
    name: "an Event is in the namespace of its object, or in default, and is complete if it has an eventTime",
    async run({ request }) {
      const field = "involvedObject.namespace";
      for (const namespace of ["kube-system", ""]) {
        const answer = await request("POST", EVENTS, event("elsewhere", { involvedObject: { namespace } }));
        const message = `Invalid value: "${namespace}": does not match event.namespace`;
        assertRefused(answer, 422, "Invalid", `Event "elsewhere" is invalid: ${field}: ${message}`, {
          ...{ name: "elsewhere", kind: "Event" },
          causes: [{ reason: "FieldValueInvalid", message, field }],
        });
      }
      const node = event("node", { involvedObject: { kind: "Node", name: "n" } });
      assert.equal((await request("POST", "/api/v1/namespaces/default/events", node)).status, 201);
      const timed = { eventTime: "2026-01-01T01:00:00.123456+01:00" };
      const incomplete = await request("POST", EVENTS, event("timed", timed));
      assertRefused(incomplete, 422, "Invalid", /^Event "timed" is invalid: /);
      const required = incomplete.body.details.causes.filter(
        ({ reason }: { reason: string }) => reason === "FieldValueRequired",
      );
      assert.deepEqual(
        required.map((cause: { field: string }) => cause.field),
        ["reportingComponent", "reportingInstance", "action", "reason"],
      );
      const reporter = { reportingComponent: "sync", reportingInstance: "i", action: "Write", reason: "Synced" };
      const complete = await request("POST", EVENTS, event("timed", { ...timed, ...reporter, type: "Normal" }));
      assert.deepEqual([complete.status, complete.body.eventTime], [201, "2026-01-01T00:00:00.123456Z"]);
    },
  },
  {
    name: "Events are selected by their object, reason, type and source",
    async run(server) {
      const about = { kind: "Secret", namespace: NAMESPACE, name: "selected" };
      const fields = { involvedObject: about, reason: "Chosen", type: "Warning", source: { component: "selector" } };
      await createObject(server, EVENTS, event("selected", fields));
      const names = async (selector: string) => {
        const { body } = await server.request("GET", `${EVENTS}?fieldSelector=${encodeURIComponent(selector)}`);
        return body.items?.map((item: { metadata: { name: string } }) => item.metadata.name);
      };
      for (const selector of [
        "involvedObject.name=selected,involvedObject.kind=Secret",
        ...["reason=Chosen", "type=Warning", "source=selector"],
      ]) {
        assert.deepEqual(await names(selector), ["selected"], selector);
      }
      assert.deepEqual(await names("involvedObject.name=selected,reason!=Chosen"), []);
      assert.equal(await names("involvedObject.foo=x"), undefined);
    },
  },
  {
    name: "Leases keep empty values, and their times have six digits of a second",
    async run(server) {
      const { request } = server;
      const empty = await createObject(server, LEASES, lease("empty"));
      assert.deepEqual(empty.spec, {});
      const spec = { holderIdentity: "", leaseDurationSeconds: 15, leaseTransitions: 0, unknown: 1 };
      const times = { acquireTime: "2026-01-01T00:00:00.000000Z", renewTime: "2026-01-01T01:00:00.500000+01:00" };
      const full = await createObject(server, LEASES, lease("full", { ...spec, ...times }));
      assert.deepEqual(full.spec, {
        ...{ holderIdentity: "", leaseDurationSeconds: 15, leaseTransitions: 0 },
        ...{ acquireTime: "2026-01-01T00:00:00.000000Z", renewTime: "2026-01-01T00:00:00.500000Z" },
      });
      for (const renewTime of ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00.500Z", "2026-01-01T00:00:00.123456789Z"]) {
        const answer = await request("POST", LEASES, lease("times", { renewTime }));
        const cause = `parsing time "${renewTime}" as "${LAYOUT}": cannot parse`;
        assertRefused(answer, 400, "BadRequest", new RegExp(`cannot be handled as a Lease: ${escapePattern(cause)}`));
        const patch = await request("PATCH", `${LEASES}/full`, { spec: { renewTime } }, MERGE);
        assertRefused(patch, 422, "Invalid", new RegExp(`${escapePattern(cause)}`));
      }
      const renewed = { holderIdentity: "b", renewTime: "2026-01-01T00:00:10.000000Z", leaseTransitions: 1 };
      const stale = { metadata: { resourceVersion: empty.metadata.resourceVersion }, spec: renewed };
      assert.equal((await request("PATCH", `${LEASES}/full`, stale, MERGE)).status, 409);
      const { body } = await request("PATCH", `${LEASES}/full`, { spec: renewed }, MERGE);
      assert.deepEqual([body.spec.holderIdentity, body.spec.leaseTransitions], ["b", 1]);
      assert.deepEqual((await request("PATCH", `${LEASES}/full`, { spec: null }, MERGE)).body.spec, {});
    },
  },
  {
    name: "values of Leases are validated",
    async run({ request }) {
      const wrong = await request("POST", LEASES, lease("wrong", { leaseDurationSeconds: 0, leaseTransitions: -1 }));
      const causes = [
        { field: "spec.leaseDurationSeconds", message: "Invalid value: 0: must be greater than 0" },
        { field: "spec.leaseTransitions", message: "Invalid value: -1: must be greater than or equal to 0" },
      ];
      const all = causes.map(({ field, message }) => `${field}: ${message}`).join(", ");
      assertRefused(wrong, 422, "Invalid", `Lease.coordination.k8s.io "wrong" is invalid: [${all}]`, {
        ...{ name: "wrong", group: "coordination.k8s.io", kind: "Lease" },
        causes: causes.map((cause) => ({ reason: "FieldValueInvalid", ...cause })),
      });
      for (const [value, type] of [
        ["x", "string"],
        [1.5, "number 1.5"],
        [99_999_999_999, "number 99999999999"],
      ] as const) {
        const answer = await request("POST", LEASES, lease("wrong", { leaseDurationSeconds: value }));
        const cause = `json: cannot unmarshal ${type} into Go struct field .*leaseDurationSeconds of type int32$`;
        assertRefused(answer, 400, "BadRequest", new RegExp(cause));
      }
      assertRefused(await request("POST", LEASES, lease("wrong", [])), 400, "BadRequest", /cannot unmarshal array/);
      const strict = { ...lease("strict", { foo: 1 }), bar: 1 };
      const refused = await request("POST", `${LEASES}?fieldValidation=Strict`, strict);
      assertRefused(refused, 400, "BadRequest", /: unknown field "spec\.foo", unknown field "bar"$/);
    },
  },
  {
    name: "an update of a missing Event or Lease creates it",
    async run({ request }) {
      for (const [path, object] of [
        [EVENTS, event("put")],
        [LEASES, lease("put", { holderIdentity: "a" })],
      ] as const) {
        const metadata = { name: "put", resourceVersion: "5" };
        assert.equal((await request("PUT", `${path}/put?dryRun=All`, { ...object, metadata })).status, 201);
        assert.equal((await request("GET", `${path}/put`)).status, 404);
        const wrong = await request("PUT", `${path}/other`, object);
        assertRefused(
          wrong,
          400,
          "BadRequest",
          /name of the object \(put\) does not match the name on the URL \(other\)/,
        );
        assert.equal((await request("PUT", `${path}/put`, { ...object, metadata })).status, 201);
        assert.equal((await request("PUT", `${path}/put`, { ...object, metadata })).status, 409);
        const unversioned = await request("PUT", `${path}/put`, object);
        if (path === EVENTS) assert.equal(unversioned.status, 200);
        else {
          const field = "metadata.resourceVersion: Invalid value: 0: must be specified for an update";
          assertRefused(unversioned, 422, "Invalid", `leases.coordination.k8s.io "put" is invalid: ${field}`);
        }
        const headers = { "impersonate-user": "nobody" };
        const refused = await request("PUT", `${path}/missing`, object, undefined, headers);
        assertRefused(refused, 403, "Forbidden", /User "nobody" cannot update resource/);
      }
    },
  },
];

function escapePattern(text: string): string {
  return text.replace(/[.[\]()+*]/g, "\\$&");
}
