import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { selectExisting } from "../../lib/manifests/existing-objects.ts";
import { secretOf, textsOf } from "../support/targets.ts";

const select = (objects: unknown[], namespace = "kube-system") => selectExisting(objects, namespace, "existing.yaml");

const workload = (kind: string, name: string, hostAliases?: unknown) => ({
  kind,
  metadata: { name },
  spec: { template: { spec: { hostAliases } } },
});

test("the objects of a target are selected by kind and name", () => {
  const agents = secretOf({ a: "1" });
  const kvstoremesh = secretOf({ b: "1" }, {}, "cilium-kvstoremesh");
  const users = {
    kind: "ConfigMap",
    metadata: { name: "clustermesh-remote-users" },
    data: { "users.yaml": "users: []" },
  };
  const { existing, findings } = select([
    { kind: "Secret", metadata: { name: "other" } },
    { kind: "ConfigMap", metadata: { name: "cilium-clustermesh" } },
    { kind: "Kustomization", resources: [] },
    ...[agents, kvstoremesh, users],
    workload("DaemonSet", "cilium", [
      { ip: "10.0.0.1", hostnames: ["a.b"] },
      { ip: "10.0.0.2", $patch: "delete" },
    ]),
    workload("Deployment", "cilium-operator"),
    null,
    "text",
  ]);
  assert.deepEqual(findings, []);
  assert.deepEqual([existing.agentsSecret, existing.kvstoremeshSecret, existing.users], [agents, kvstoremesh, users]);
  assert.deepEqual(
    existing.workloads.map(({ kind, name, hostAliases }) => [kind, name, hostAliases]),
    [
      ["DaemonSet", "cilium", [{ ip: "10.0.0.1", hostnames: ["a.b"] }]],
      ["Deployment", "cilium-operator", undefined],
    ],
  );
});

test("objects of other namespaces are ignored; those without one are the target's", () => {
  const secret = secretOf({ a: "1" });
  assert.equal(select([secret], "cilium").existing.agentsSecret, undefined);
  assert.ok(select([{ ...secret, metadata: { name: "cilium-clustermesh" } }], "cilium").existing.agentsSecret);
});

test("stringData is data", () => {
  const { existing } = select([{ ...secretOf({ a: "1", b: "2" }), stringData: { b: "3" } }]);
  assert.deepEqual(textsOf(existing.agentsSecret), { a: "1", b: "3" });
  assert.ok(!existing.agentsSecret?.stringData);
});

test("invalid objects are reported, and not used", () => {
  for (const object of [
    { kind: "Secret", metadata: { name: "cilium-clustermesh" }, data: ["a"] },
    { kind: "Secret", metadata: { name: "cilium-kvstoremesh", annotations: { a: 1 } } },
    { kind: "ConfigMap", metadata: { name: "clustermesh-remote-users" }, data: { "users.yaml": 1 } },
    workload("DaemonSet", "cilium", "10.0.0.1"),
    workload("DaemonSet", "cilium", [{ ip: 1 }]),
    workload("DaemonSet", "cilium", [{ ip: "10.0.0.1", hostnames: "a" }]),
    workload("DaemonSet", "cilium", [null]),
  ]) {
    const { existing, findings } = select([object]);
    assert.deepEqual(
      findings.map(({ code, severity }) => [code, severity]),
      [["unreadable", "error"]],
      JSON.stringify(object),
    );
    assert.deepEqual(existing, { workloads: [] });
  }
});

test("no object crashes the selection", () => {
  const kind = fc.constantFrom("Secret", "ConfigMap", "DaemonSet", "Deployment", undefined);
  const name = fc.constantFrom("cilium-clustermesh", "cilium-kvstoremesh", "clustermesh-remote-users", "cilium");
  const object = fc.record({
    kind,
    metadata: fc.oneof(fc.record({ name, annotations: fc.anything() }), fc.anything()),
    data: fc.anything(),
    stringData: fc.anything(),
    spec: fc.oneof(
      fc.record({ template: fc.record({ spec: fc.record({ hostAliases: fc.anything() }) }) }),
      fc.anything(),
    ),
  });
  fc.assert(fc.property(fc.array(object), (objects) => void select(objects)));
});
