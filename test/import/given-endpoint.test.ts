/** An endpoint set at the extraction of a peer: the endpoint by which a target reaches it, now and after the next import. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { EndpointOverride } from "../../lib/import/plan/endpoint-override.ts";
import { type Plan, type PlanOptions, plan } from "../../lib/import/plan/plan.ts";
import type { Target } from "../../lib/import/plan/target.ts";
import type { SourcedPeer } from "../../lib/peer/peer.ts";
import { readPeerFile } from "../../lib/peer/secret.ts";
import { applyPlan } from "../support/apply-plan.ts";
import { entriesOf, recordsOf } from "../support/plans.ts";
import { OPTIONS, peerOf, targetOf } from "../support/targets.ts";

/** c2 with the endpoint of the cluster itself. */
const c2 = peerOf("c2", 2);
const PROXY = "https://c2.mesh.cilium.io:2379";

function behind(ip: string): SourcedPeer {
  const { peer, source } = c2;
  const hostAliases = [{ hostname: "c2.mesh.cilium.io", ips: [ip] }];
  return { source, peer: { ...peer, endpoints: [PROXY], hostAliases, facts: { ...peer.facts, endpointGiven: true } } };
}

const OVERRIDE: EndpointOverride = {
  text: "10.9.9.9:2379",
  endpoints: [PROXY],
  hostAliases: [{ hostname: "c2.mesh.cilium.io", ips: ["10.9.9.9"] }],
};

const run = (
  target: Target,
  peers: SourcedPeer[],
  given?: EndpointOverride | null,
  options: Partial<PlanOptions> = {},
): Plan =>
  plan(target, peers, {
    ...OPTIONS,
    ...(given !== undefined && { endpoints: new Map([["c2", given]]) }),
    ...options,
  });

const write = (target: Target, ...rest: [SourcedPeer[], (EndpointOverride | null)?, Partial<PlanOptions>?]) =>
  applyPlan(target, run(target, ...rest));

const reached = ({ agentsSecret }: Target) => {
  const config = entriesOf(agentsSecret).find(({ name }) => name === "c2")?.config;
  return [config?.endpoints[0], config?.hostAliases[0]?.ips];
};

const EMPTY = targetOf("1.20");
const ITS_OWN = ["https://c2.mesh.cilium.io:32379", ["10.0.0.2"]];
const RECORD = '{"c2":{"id":2,"max":255,"given":true}}';

test("a given endpoint is recorded, and the cluster's own endpoint does not replace it", () => {
  const target = write(EMPTY, [behind("10.1.2.3")]);
  assert.deepEqual([reached(target), recordsOf(target.agentsSecret)], [[PROXY, ["10.1.2.3"]], RECORD]);
  const again = run(target, [c2]);
  assert.deepEqual([again.changes, [...again.outcomes]], [[], [["c2", "unchanged"]]]);
  assert.deepEqual([...again.keptEndpoints], [["c2", `${PROXY} at 10.1.2.3`]]);
  assert.deepEqual([...again.endpointChanges], []);
  assert.deepEqual(
    [...run(target, [behind("10.1.2.3")]).keptEndpoints],
    [],
    "the file with the given endpoint is unchanged",
  );
});

test("another given endpoint replaces it, and the plan has both", () => {
  const target = write(EMPTY, [behind("10.1.2.3")]);
  const planned = run(target, [behind("10.1.2.4")]);
  const change = { before: `${PROXY} at 10.1.2.3`, after: `${PROXY} at 10.1.2.4` };
  assert.deepEqual([...planned.endpointChanges], [["c2", change]]);
  const changed = applyPlan(target, planned);
  assert.deepEqual([reached(changed), recordsOf(changed.agentsSecret)], [[PROXY, ["10.1.2.4"]], RECORD]);
});

test("an empty --endpoint resets it, with the peer's file", () => {
  const target = write(EMPTY, [behind("10.1.2.3")]);
  const back = write(target, [c2], null);
  assert.deepEqual([reached(back), recordsOf(back.agentsSecret)], [ITS_OWN, '{"c2":{"id":2,"max":255}}']);
  const without = run(target, [], null);
  assert.deepEqual(
    without.findings.map(({ code }) => code),
    ["endpoint-needs-file"],
  );
});

test("--endpoint of an import takes precedence, and a reset restores the endpoint of the file", () => {
  const target = write(EMPTY, [behind("10.1.2.3")], OVERRIDE);
  assert.deepEqual(reached(target), [PROXY, ["10.9.9.9"]]);
  const kept = run(target, [behind("10.1.2.4")]);
  assert.deepEqual([kept.changes, [...kept.keptOverrides]], [[], [["c2", "10.9.9.9:2379"]]]);
  const back = write(target, [behind("10.1.2.4")], null);
  assert.deepEqual([reached(back), recordsOf(back.agentsSecret)], [[PROXY, ["10.1.2.4"]], RECORD]);
});

test("a given endpoint survives renewed certificates, a prune and a move between the Secrets, and is removed with the peer", () => {
  const target = write(EMPTY, [behind("10.1.2.3")]);
  const renewed = { ...c2, peer: { ...c2.peer, client: peerOf("c2", 2, { ca: c2.peer.ca }).peer.client } };
  for (const prune of [false, true]) {
    const after = write(target, [renewed], undefined, { prune });
    assert.deepEqual([reached(after), recordsOf(after.agentsSecret)], [[PROXY, ["10.1.2.3"]], RECORD]);
  }
  const old = targetOf("1.15");
  const before = applyPlan(old, run(old, [behind("10.1.2.3")], undefined, { restarts: "all" }));
  const cached = targetOf("1.20", { kvstoreMesh: true, agentsSecret: before.agentsSecret, users: before.users });
  const moved = applyPlan(cached, run(cached, [], undefined, { migrate: true }));
  assert.equal(recordsOf(moved.kvstoremeshSecret), RECORD);
  assert.deepEqual(run(moved, [c2]).changes, []);
  const gone = write(target, [], undefined, { remove: new Set(["c2"]) });
  assert.deepEqual(reached(write(gone, [c2])), ITS_OWN);
});

test("a target's Secret that is imported elsewhere keeps the given endpoint", () => {
  const { agentsSecret } = write(EMPTY, [behind("10.1.2.3")]);
  assert.ok(agentsSecret);
  const [peer] = readPeerFile(agentsSecret, "file").peers;
  assert.equal(peer?.facts.endpointGiven, true);
  const [own] = readPeerFile(write(EMPTY, [c2]).agentsSecret ?? {}, "file").peers;
  assert.equal(own?.facts.endpointGiven, undefined);
});

test("a plan has the old and new endpoint of every peer whose endpoint changes, and of no other", () => {
  const target = write(EMPTY, [c2, peerOf("c3", 3)]);
  const hostAliases = [{ hostname: "c2.mesh.cilium.io", ips: ["10.0.0.7"] }];
  const moved = { ...c2, peer: { ...c2.peer, hostAliases } };
  const { endpointChanges } = run(target, [moved, peerOf("c3", 3), peerOf("c4", 4)]);
  const own = "https://c2.mesh.cilium.io:32379 at";
  assert.deepEqual([...endpointChanges], [["c2", { before: `${own} 10.0.0.2`, after: `${own} 10.0.0.7` }]]);
});
