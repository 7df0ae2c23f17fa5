/** --endpoint: the endpoint by which a target reaches a peer, now and after the next import. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type EndpointOverride, resolveOverride } from "../../lib/import/plan/endpoint-override.ts";
import { type Plan, type PlanOptions, plan } from "../../lib/import/plan/plan.ts";
import type { Target } from "../../lib/import/plan/target.ts";
import type { FindingCode } from "../../lib/peer/finding-codes.ts";
import type { Peer } from "../../lib/peer/peer.ts";
import { UserError } from "../../lib/util/errors.ts";
import { applyPlan } from "../support/apply-plan.ts";
import { entriesOf, recordsOf } from "../support/plans.ts";
import { COMMON, configText, OPTIONS, peerOf, secretOf, targetOf } from "../support/targets.ts";

const c2 = peerOf("c2", 2);
const GIVEN: EndpointOverride = {
  text: "10.9.9.9:2379",
  endpoints: ["https://c2.mesh.cilium.io:2379"],
  hostAliases: [{ hostname: "c2.mesh.cilium.io", ips: ["10.9.9.9"] }],
};
const run = (
  target: Target,
  peers: (typeof c2)[],
  given?: EndpointOverride | null,
  options: Partial<PlanOptions> = {},
) =>
  plan(target, peers, {
    ...OPTIONS,
    ...(given !== undefined && { endpoints: new Map([["c2", given]]) }),
    ...options,
  });
const reached = (target: Target) => {
  const config = entriesOf(target.agentsSecret).find(({ name }) => name === "c2")?.config;
  return [config?.endpoints[0], config?.hostAliases[0]?.ips];
};
const codes = ({ findings }: Plan) => findings.map(({ code }) => code);
const out = (peer: Peer, given: string[], names: Record<string, string[]> = {}) => {
  return resolveOverride(peer, given, async (name) => names[name] ?? []);
};

test("an endpoint override applies until it is changed or reset", () => {
  const overridden = applyPlan(targetOf("1.20"), run(targetOf("1.20"), [c2], GIVEN));
  assert.deepEqual(reached(overridden), ["https://c2.mesh.cilium.io:2379", ["10.9.9.9"]]);
  assert.equal(recordsOf(overridden.agentsSecret), '{"c2":{"id":2,"max":255,"endpoint":"10.9.9.9:2379"}}');

  const again = run(overridden, [c2]);
  assert.deepEqual(again.changes, []);
  assert.deepEqual([...again.keptOverrides], [["c2", "10.9.9.9:2379"]]);

  const other = {
    ...GIVEN,
    text: "10.8.8.8:2379",
    hostAliases: [{ hostname: "c2.mesh.cilium.io", ips: ["10.8.8.8"] }],
  };
  const changed = applyPlan(overridden, run(overridden, [c2], other));
  assert.deepEqual(reached(changed), ["https://c2.mesh.cilium.io:2379", ["10.8.8.8"]]);

  const back = applyPlan(changed, run(changed, [c2], null));
  assert.deepEqual(reached(back), ["https://c2.mesh.cilium.io:32379", ["10.0.0.2"]]);
  assert.equal(recordsOf(back.agentsSecret), '{"c2":{"id":2,"max":255}}');
  assert.deepEqual([...run(back, [c2]).keptOverrides], []);
});

test("a peer is checked with its overridden endpoint, which may fix or cause findings", () => {
  const target = targetOf("1.18", { facts: { nodePort: 32_380, kubeProxyReplacement: true } });
  const facts = { ...c2.peer.facts, serverNames: ["*.mesh.cilium.io", "127.0.0.1"] };
  const cases: [FindingCode, Partial<Peer>][] = [
    ["endpoint-invalid", { endpoints: ["c2.mesh.cilium.io"] }],
    ["endpoint-address", { endpoints: ["https://10.0.0.2:32379"], hostAliases: [], facts: c2.peer.facts }],
    ["endpoint-not-covered", { endpoints: ["https://c2.example.com:32379"] }],
    ["endpoint-node-local", { endpoints: ["https://127.0.0.1:32379"] }],
    ["alias-invalid", { hostAliases: [{ hostname: "c2.mesh.cilium.io", ips: ["nowhere"] }] }],
    ["same-node-port", { endpoints: ["https://c2.mesh.cilium.io:32380"] }],
  ];
  for (const [code, flawed] of cases) {
    const peer = peerOf("c2", 2, { facts, ...flawed });
    assert.ok(codes(run(target, [peer])).includes(code), code);
    assert.deepEqual(codes(run(target, [peer], GIVEN)), [], `${code}, disproved`);
    const { endpoints, hostAliases } = peer.peer;
    const worse = codes(
      run(target, [peerOf("c2", 2, { facts: peer.peer.facts })], { text: "", endpoints, hostAliases }),
    );
    // Only --endpoint may set a tunnel on each node.
    assert.equal(worse.includes(code), code !== "endpoint-node-local", `${code}, given`);
  }
});

test("the endpoint of an existing peer can be overridden without its file, but not reset", () => {
  const target = applyPlan(targetOf("1.20"), run(targetOf("1.20"), [c2]));
  const planned = run(target, [], GIVEN);
  assert.deepEqual([...planned.outcomes], [["c2", "changed"]]);
  assert.deepEqual(reached(applyPlan(target, planned)), ["https://c2.mesh.cilium.io:2379", ["10.9.9.9"]]);
  assert.deepEqual(codes(run(target, [], null)), ["endpoint-needs-file"]);
  assert.deepEqual(codes(run(targetOf("1.20"), [peerOf("c3", 3)], GIVEN)), ["endpoint-unknown-peer"]);
  assert.deepEqual(codes(run({ ...target, facts: { ...target.facts, name: "c2" } }, [], GIVEN)), [], "itself");
});

test("before 1.20 an override replaces the host aliases of a workload", () => {
  const empty = targetOf("1.18", { takesUsers: false });
  const target = applyPlan(empty, run(empty, [c2], undefined, { restarts: "all" }));
  const overridden = applyPlan(target, run(target, [], GIVEN, { restarts: "all" }));
  assert.deepEqual(overridden.resolvers[0]?.hostAliases, [{ ip: "10.9.9.9", hostnames: ["c2.mesh.cilium.io"] }]);
  assert.deepEqual(run(overridden, [c2]).changes, []);
  assert.equal(run(overridden, [c2]).missing.length, 0);
});

test("an override survives a move between the Secrets and a prune", () => {
  const overridden = applyPlan(targetOf("1.15"), run(targetOf("1.15"), [c2], GIVEN, { restarts: "all" }));
  const target = targetOf("1.20", {
    kvstoreMesh: true,
    agentsSecret: overridden.agentsSecret,
    users: overridden.users,
  });
  const moved = applyPlan(target, run(target, [], undefined, { migrate: true }));
  assert.match(recordsOf(moved.kvstoremeshSecret) ?? "", /"endpoint":"10\.9\.9\.9:2379"/);
  const pruned = applyPlan(moved, run(moved, [c2], undefined, { prune: true }));
  assert.equal(recordsOf(pruned.kvstoremeshSecret), recordsOf(moved.kvstoremeshSecret));
});

test("an override supplies addresses that a file lacks", () => {
  const bare = peerOf("c2", 2, { hostAliases: [], facts: {} });
  assert.deepEqual(codes(run(targetOf("1.20"), [bare])), ["id-unknown", "no-addresses"]);
  assert.deepEqual(codes(run(targetOf("1.20"), [bare], GIVEN)), ["id-unknown"]);
});

test("names and addresses are resolved as in an extraction", async () => {
  const covered = {
    ...c2.peer,
    facts: { ...c2.peer.facts, serverNames: ["*.mesh.cilium.io", "lb.example", "10.1.1.1"] },
  };
  assert.deepEqual(await out(covered, ["lb.example:2379"]), {
    text: "lb.example:2379",
    endpoints: ["https://lb.example:2379"],
    hostAliases: [],
    warnings: [],
  });
  assert.deepEqual((await out(covered, ["10.1.1.1:1"])).endpoints, ["https://10.1.1.1:1"]);
  const two = await out(covered, ["10.2.2.3:1", "10.2.2.2:1"]);
  assert.deepEqual(two.endpoints, ["https://c2.mesh.cilium.io:1"]);
  assert.deepEqual(two.hostAliases, [{ hostname: "c2.mesh.cilium.io", ips: ["10.2.2.2", "10.2.2.3"] }]);
  assert.equal(two.text, "10.2.2.3:1,10.2.2.2:1");
  const resolved = await out(covered, ["nat.example:1"], { "nat.example": ["10.3.3.3"] });
  assert.deepEqual(resolved.hostAliases[0]?.ips, ["10.3.3.3"]);
  assert.match(resolved.warnings.join(), /current addresses of nat\.example, which can change/);
  await assert.rejects(out(covered, ["nat.example:1"]), { name: UserError.name, exitCode: 1 });
  await assert.rejects(out(covered, ["nonsense"]), { name: UserError.name, exitCode: 2 });
  // If a file lacks the names of the certificate, the names of its endpoints and of the chart are used.
  const unknown = { ...c2.peer, endpoints: ["https://etcd.c2.example:2379"], facts: {} };
  assert.deepEqual((await out(unknown, ["etcd.c2.example:9"])).endpoints, ["https://etcd.c2.example:9"]);
  assert.deepEqual((await out(unknown, ["10.4.4.4:9"])).endpoints, ["https://c2.mesh.cilium.io:9"]);
});

test("before 1.20 a new host name is held back until agents resolve it, because the peer would disconnect", () => {
  const existing = secretOf({ c2: configText("https://old.example:2379", COMMON) });
  const target = targetOf("1.18", { agentsSecret: existing, takesUsers: false });
  const planned = run(target, [c2]);
  assert.deepEqual([...planned.outcomes], [["c2", "held"]]);
  assert.deepEqual(planned.changes, []);
  assert.equal(planned.missing.length, 1);
  const allowed = run(target, [c2], undefined, { restarts: "all" });
  assert.deepEqual(
    allowed.changes.map(({ kind }) => kind),
    ["DaemonSet", "Secret"],
  );
  // A new peer has no connection to lose.
  assert.deepEqual([...run(targetOf("1.18", { takesUsers: false }), [c2]).outcomes], [["c2", "added"]]);
});
