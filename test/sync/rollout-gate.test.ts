import assert from "node:assert/strict";
import { test } from "node:test";
import type { V1Deployment } from "@kubernetes/client-node";
import type { Change } from "../../lib/import/plan/change.ts";
import type { PlannedHold } from "../../lib/sync/plan-target.ts";
import { explainWait, RolloutGate } from "../../lib/sync/rollout-gate.ts";

const at = (minutes: number) => new Date(Date.UTC(2026, 5, 1, 12, minutes));
const name = "clustermesh-apiserver";
const restart: Change = { verb: "json-patch", kind: "Deployment", name, patch: [], hostnames: [] };
const deployment = (availableReplicas: number): V1Deployment => ({
  metadata: { name },
  status: { updatedReplicas: 1, availableReplicas },
});

const [c1, c2] = [
  { target: "c1", uid: "1" },
  { target: "c2", uid: "2" },
];

/** A gate with a rollout that was written at 10. */
function startRollout(): RolloutGate {
  const gate = new RolloutGate();
  assert.ok(gate.begin(c1, [restart], at(0)));
  gate.end(c1, [restart], 10);
  return gate;
}

test("a rollout that is not available blocks others, which name it, and is reported once after 10 minutes", () => {
  const gate = startRollout();
  assert.ok(!gate.begin(c2, [restart], at(60)));
  assert.deepEqual(gate.current(), { target: "c1", workloads: [`deployment/${name}`], since: at(0) });
  gate.noteReading(c1, [deployment(0)], 20);
  assert.ok(gate.isUnderWay(c1));
  assert.equal(gate.takeStalled(at(10)), undefined);
  assert.deepEqual(gate.takeStalled(at(11)), gate.current());
  assert.equal(gate.takeStalled(at(12)), undefined);
  gate.noteReading(c1, [deployment(1)], 20);
  assert.equal(gate.current(), undefined);
  assert.equal(gate.takeStalled(at(13)), undefined);
  assert.ok(gate.begin(c2, [restart], at(61)));
});

test("a rollout ends if its workload is deleted, and not by an older reading or one of another cluster", () => {
  const gate = startRollout();
  gate.noteReading(c1, [deployment(1)], 9);
  gate.noteReading({ target: "c1", uid: "another" }, [deployment(1)], 20);
  assert.ok(gate.isUnderWay(c1));
  gate.noteReading(c1, [undefined], 20);
  assert.equal(gate.current(), undefined);
});

test("a rollout does not end while it is written, by a reading of another way to the cluster", () => {
  const gate = new RolloutGate();
  gate.begin(c1, [restart], at(0));
  gate.noteReading(c1, [deployment(1)], 20);
  assert.ok(gate.isUnderWay(c1));
  gate.end(c1, [], 30);
  assert.equal(gate.current(), undefined);
});

test("holds that end with a rollout name it without a command, others stay as they are", () => {
  const hold = (peer: string, reason: PlannedHold["reason"]): PlannedHold => ({
    ...{ target: "c2", peer, reason, message: "must be restarted", remedy: "a command" },
  });
  const [waiting, agents, check] = [hold("c1", "restart"), hold("c3", "restart"), hold("c4", "check")];
  const explain = explainWait({ target: "c9", workloads: ["deployment/x"], since: at(0) }, [agents, check]);
  assert.deepEqual(explain(waiting), {
    ...{ target: "c2", peer: "c1", reason: "restart" },
    message:
      "must be restarted; waits until the rollout of deployment/x in c9 (started 2026-06-01T12:00:00.000Z) completes",
  });
  assert.deepEqual([explain(agents), explain(check)], [agents, check]);
});
