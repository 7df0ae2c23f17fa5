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

test("a rollout that is not available blocks others, which name it, and is reported once after 10 minutes", () => {
  const gate = new RolloutGate();
  assert.ok(gate.begin("c1", [deployment(1)], [restart], at(0)));
  gate.end("c1", [restart]);
  assert.ok(!gate.begin("c2", [deployment(1)], [restart], at(60)));
  assert.deepEqual(gate.current(), { target: "c1", workloads: [`deployment/${name}`], since: at(0) });
  assert.ok(!gate.isOver("c1", [deployment(0)]));
  assert.equal(gate.takeStalled("c1", at(10)), undefined);
  assert.equal(gate.takeStalled("c2", at(11)), undefined);
  assert.deepEqual(gate.takeStalled("c1", at(11)), gate.current());
  assert.equal(gate.takeStalled("c1", at(12)), undefined);
  assert.ok(gate.isOver("c1", [deployment(1)]));
  assert.equal(gate.current(), undefined);
  assert.ok(gate.begin("c2", [deployment(1)], [restart], at(61)));
});

test("holds that end with a rollout name it without a command, others stay as they are", () => {
  const hold = (peer: string, reason: PlannedHold["reason"]): PlannedHold => ({
    ...{ target: "c2", peer, reason, message: "must be restarted", remedy: "a command" },
  });
  const [waiting, agents, check] = [hold("c1", "restart"), hold("c3", "restart"), hold("c4", "check")];
  const explain = explainWait({ target: "c9", workloads: ["deployment/x"], since: at(0) }, [agents, check]);
  assert.deepEqual(explain(waiting), {
    ...{ target: "c2", peer: "c1", reason: "restart" },
    message: "must be restarted, after deployment/x of c9, restarted at 2026-06-01T12:00:00.000Z, is available",
  });
  assert.deepEqual([explain(agents), explain(check)], [agents, check]);
});
