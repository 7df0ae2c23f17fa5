/** Kubernetes Events on the Secret of a target. test/e2e/target-events.test.ts holds them to the real API server. */
import assert from "node:assert/strict";
import { describe, type TestContext, test } from "node:test";
import type { CoreV1Event } from "@kubernetes/client-node";
import { type ApiError, events, secrets } from "../../lib/kube/api.ts";
import { ConnectionError } from "../../lib/kube/transport/connection-error.ts";
import type { HeldRecord } from "../../lib/sync/state.ts";
import { TargetEvents, type TargetNews } from "../../lib/sync/target-events.ts";
import { caOf, clientOf } from "../support/material.ts";
import { type Connection, startStateServer } from "../support/sync-store.ts";

const NAMESPACE = "default";
const SECRET = { metadata: { name: "cilium-clustermesh", namespace: NAMESPACE }, data: {} };
const MINUTE = 60_000;

const held = (peer: string, message = "the CA is stale", more: Partial<HeldRecord> = {}): HeldRecord => ({
  ...{ target: "c1", peer, reason: "check", since: "2030-01-01T00:00:00Z", message },
  ...more,
});
const news = (more: Partial<TargetNews>): TargetNews => ({ objects: [], peers: [], held: [], ...more });

interface Setup extends Connection {
  report(more: Partial<TargetNews>): Promise<void>;
  /** The Events in the order of their first times. */
  list(): Promise<CoreV1Event[]>;
  /** Advances the clock by milliseconds. */
  advance(milliseconds: number): void;
  /** Replaces the recorder, as by another process. */
  restart(): void;
  recorder(): TargetEvents;
  /** The numbers of requests by method since the last call. */
  countRequests(): Record<string, number>;
  denied: [cluster: string, error: ApiError][];
}

async function setUp(t: TestContext): Promise<Setup> {
  const { connect } = await startStateServer(t);
  const connection = connect();
  const target = { cluster: "c1", api: connection.api, namespace: NAMESPACE };
  let now = new Date("2030-01-01T00:00:00Z");
  let requests: Record<string, number> = {};
  const denied: Setup["denied"] = [];
  connection.intercept = (request, send) => {
    requests[request.method] = (requests[request.method] ?? 0) + 1;
    return send();
  };
  const create = () =>
    new TargetEvents({ instance: "pod-1", now: () => now, onDenied: (...args) => denied.push(args) });
  let recorder = create();
  return Object.assign(connection, {
    denied,
    report: (more: Partial<TargetNews>) => recorder.report(target, news(more)),
    list: async () => {
      const found: CoreV1Event[] = [];
      for await (const page of connect().api.list(events, { namespace: NAMESPACE })) found.push(...page);
      const keyOf = ({ firstTimestamp, message }: CoreV1Event) => `${firstTimestamp} ${message}`;
      return found.sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
    },
    advance: (milliseconds: number) => {
      now = new Date(now.getTime() + milliseconds);
    },
    restart: () => {
      recorder = create();
    },
    recorder: () => recorder,
    countRequests: () => {
      const counted = requests;
      requests = {};
      return counted;
    },
  });
}

async function setUpWithSecret(t: TestContext): Promise<Setup> {
  const setup = await setUp(t);
  await setup.api.create(secrets, NAMESPACE, SECRET);
  setup.countRequests();
  return setup;
}

describe("an Event", () => {
  test("of a write names objects and peers, and belongs to the Secret", async (t) => {
    const { report, list, api } = await setUpWithSecret(t);
    const objects = ["secret/cilium-clustermesh", "configmap/clustermesh-remote-users"];
    await report({ objects, peers: ["c3", "c2"] });
    const [event, ...others] = await list();
    assert.equal(others.length, 0);
    const secret = await api.get(secrets, NAMESPACE, "cilium-clustermesh");
    assert.deepEqual(event?.involvedObject, {
      ...{ apiVersion: "v1", kind: "Secret", name: "cilium-clustermesh", namespace: NAMESPACE },
      uid: secret?.metadata?.uid,
    });
    assert.deepEqual(
      [event?.type, event?.reason, event?.count, event?.message],
      [
        ...["Normal", "PeersUpdated", 1],
        "wrote secret/cilium-clustermesh and configmap/clustermesh-remote-users for peers c2 and c3",
      ],
    );
    assert.equal(event?.reportingComponent, "clustermesh-secrets");
    assert.equal(event?.reportingInstance, "pod-1");
    assert.equal(event?.source?.component, "clustermesh-secrets");
    assert.match(event?.metadata.name ?? "", /^cilium-clustermesh\.[0-9a-f]{16}$/);
    assert.equal(String(event?.firstTimestamp), "2030-01-01T00:00:00Z");
  });

  test("of held peers has the cause and the remedy; those with one cause are one Event", async (t) => {
    const { report, list } = await setUpWithSecret(t);
    await report({
      held: [
        held("c2"),
        held("c3"),
        held("c4", "waiting for the server", { reason: "ca-order", remedy: "kubectl get pods\nkubectl get secrets" }),
        { target: "c1", reason: "duplicate", since: "2030-01-01T00:00:00Z", message: "id 1 is used twice" },
      ],
    });
    assert.deepEqual(
      (await list()).map(({ type, reason, message }) => [type, reason, message]),
      [
        ["Warning", "PeerHeld", "holding all peers: id 1 is used twice [duplicate]"],
        [
          "Normal",
          "PeerHeld",
          "holding peer c4: waiting for the server [ca-order]; kubectl get pods; kubectl get secrets",
        ],
        ["Warning", "PeerHeld", "holding peers c2 and c3: the CA is stale [check]"],
      ],
    );
  });

  test("is one line without control characters and keys, and not too long", async (t) => {
    const { report, list } = await setUpWithSecret(t);
    const { key } = clientOf(caOf("a"));
    await report({ held: [held("c2", `\u001b[2J\u202e\r\nforged\n  ${key} ${"long ".repeat(500)}`)] });
    const [event] = await list();
    assert.match(event?.message ?? "", /^holding peer c2: \?\[2J\?\?; forged; \(\d+ characters\); long long/);
    assert.equal(event?.message?.length, 1024);
    assert.doesNotMatch(event?.message ?? "", /\p{C}|PRIVATE/u);
  });

  test("needs a Secret", async (t) => {
    const { report, list, api } = await setUp(t);
    await report({ held: [held("c2")] });
    assert.deepEqual(await list(), []);
    await api.create(secrets, NAMESPACE, SECRET);
    await report({ held: [held("c3")] });
    assert.equal((await list()).length, 1);
  });

  test("is not attempted without news", async (t) => {
    const { report, countRequests } = await setUpWithSecret(t);
    await report({});
    assert.deepEqual(countRequests(), {});
  });
});

describe("a repetition", () => {
  test("raises the count of the Event, at most once a minute", async (t) => {
    const { report, list, advance, countRequests } = await setUpWithSecret(t);
    await report({ held: [held("c2")] });
    countRequests();
    advance(MINUTE - 1);
    await report({ held: [held("c2")] });
    assert.deepEqual(countRequests(), {});
    advance(1);
    await report({ held: [held("c2")] });
    assert.deepEqual(countRequests(), { GET: 1, PATCH: 1 });
    const [event, ...others] = await list();
    assert.equal(others.length, 0);
    assert.deepEqual([event?.count, String(event?.lastTimestamp)], [2, "2030-01-01T00:01:00Z"]);
    assert.equal(String(event?.firstTimestamp), "2030-01-01T00:00:00Z");
  });

  test("within a minute with another message is not written either", async (t) => {
    const { report, list, advance } = await setUpWithSecret(t);
    await report({ held: [held("c2", "a")] });
    await report({ held: [held("c2", "b")] });
    await report({ held: [held("c3", "b")] });
    assert.equal((await list()).length, 2);
    advance(MINUTE);
    await report({ held: [held("c2", "b")] });
    assert.equal((await list()).length, 3);
  });

  test("by another process continues the count, and reads no Events", async (t) => {
    const { report, list, advance, restart, countRequests } = await setUpWithSecret(t);
    await report({ objects: ["secret/x"], peers: ["c2"] });
    advance(MINUTE);
    await report({ objects: ["secret/x"], peers: ["c2"] });
    advance(MINUTE);
    restart();
    countRequests();
    await report({ objects: ["secret/x"], peers: ["c2"] });
    assert.deepEqual(countRequests(), { GET: 1, POST: 1, PATCH: 2 });
    advance(MINUTE);
    await report({ objects: ["secret/x"], peers: ["c2"] });
    const [event, ...others] = await list();
    assert.deepEqual([others.length, event?.count], [0, 4]);
  });

  test("of an Event that has expired creates it again", async (t) => {
    const setup = await setUpWithSecret(t);
    const { report, list, advance } = setup;
    await report({ held: [held("c2")] });
    const forward = setup.intercept;
    let isGone = true;
    setup.intercept = async (request, send) => {
      if (request.method !== "PATCH" || !isGone) return forward?.(request, send) ?? send();
      isGone = false;
      const body = JSON.stringify({
        kind: "Status",
        status: "Failure",
        reason: "NotFound",
        code: 404,
        message: "not found",
      });
      return { status: 404, headers: {}, body };
    };
    advance(MINUTE);
    await report({ held: [held("c2")] });
    // It exists after all, as if another process had created it meanwhile.
    assert.equal((await list())[0]?.count, 2);
  });

  test("is limited for one Secret to 25 at once, and then one a minute", async (t) => {
    const { report, list, advance } = await setUpWithSecret(t);
    const all = Array.from({ length: 253 }, (_, i) => held(`c${i}`, `cause ${i}`));
    await report({ held: all });
    assert.equal((await list()).length, 25);
    advance(3 * MINUTE);
    await report({ held: all.slice(100) });
    assert.equal((await list()).length, 28);
  });
});

describe("errors", () => {
  test("a missing permission is reported once, and nothing more is tried for that cluster", async (t) => {
    const setup = await setUpWithSecret(t);
    const { report, advance, countRequests, denied, recorder } = setup;
    const forward = setup.intercept;
    setup.intercept = async (request, send) => {
      const answer = await (forward?.(request, send) ?? send());
      if (request.method !== "POST") return answer;
      const body = JSON.stringify({ kind: "Status", status: "Failure", reason: "Forbidden", code: 403, message: "no" });
      return { ...answer, status: 403, body };
    };
    await Promise.all([report({ held: [held("c2")] }), report({ held: [held("c3")] })]);
    assert.deepEqual(
      denied.map(([cluster, { status }]) => [cluster, status]),
      [["c1", 403]],
    );
    countRequests();
    advance(10 * MINUTE);
    await report({ held: [held("c2")] });
    assert.deepEqual(countRequests(), {});
    recorder().remove("c1");
    await report({ held: [held("c2")] });
    assert.equal(denied.length, 2);
  });

  test("a cluster that is away loses the Event, and nothing fails", async (t) => {
    const setup = await setUpWithSecret(t);
    const forward = setup.intercept;
    setup.intercept = async () => {
      throw new ConnectionError("connection refused");
    };
    await setup.report({ held: [held("c2")] });
    setup.intercept = forward;
    setup.advance(MINUTE);
    await setup.report({ held: [held("c2")] });
    assert.equal((await setup.list())[0]?.count, 1);
    assert.deepEqual(setup.denied, []);
  });

  test("a bug is not hidden", async (t) => {
    const setup = await setUpWithSecret(t);
    setup.intercept = async () => {
      throw new TypeError("bug");
    };
    await assert.rejects(setup.report({ held: [held("c2")] }), TypeError);
  });
});
