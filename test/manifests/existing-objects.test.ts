import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { selectExisting } from "../../lib/manifests/existing-objects.ts";
import { parseObjects } from "../../lib/peer/documents.ts";
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

test("items of a list of one kind have that kind", () => {
  const item = (name: string, more: object) => ({ metadata: { name }, ...more });
  const lists = [
    { kind: "SecretList", apiVersion: "v1", items: [item("cilium-clustermesh", { data: { a: "" } })] },
    { kind: "ConfigMapList", apiVersion: "v1", items: [item("clustermesh-remote-users", { data: {} })] },
    { kind: "DeploymentList", apiVersion: "apps/v1", items: [item("cilium-operator", {})] },
    { kind: "DaemonSetList", apiVersion: "apps/v1", items: [item("cilium", {})] },
    { kind: "EmptyList" },
  ];
  const { objects } = parseObjects(lists.map((list) => JSON.stringify(list)).join("\n"), "f");
  const { existing, findings } = select(objects);
  assert.deepEqual(findings, []);
  assert.deepEqual([existing.agentsSecret?.kind, existing.users?.kind], ["Secret", "ConfigMap"]);
  assert.deepEqual(
    existing.workloads.map(({ object }) => [object.apiVersion, object.kind]),
    [
      ["apps/v1", "Deployment"],
      ["apps/v1", "DaemonSet"],
    ],
  );
});

test("only the workloads that an import reads are taken", () => {
  const all = ["clustermesh-apiserver", "cilium", "cilium-operator", "hubble-relay"];
  const { existing } = select(["Deployment", "DaemonSet"].flatMap((kind) => all.map((name) => workload(kind, name))));
  assert.deepEqual(
    existing.workloads.map(({ kind, name }) => `${kind} ${name}`),
    ["Deployment clustermesh-apiserver", "Deployment cilium-operator", "DaemonSet cilium"],
  );
});

test("an object that is given twice is an error", () => {
  const secret = secretOf({ a: "1" });
  const daemonSet = workload("DaemonSet", "cilium");
  const unplaced = { ...secret, metadata: { name: "cilium-clustermesh" } };
  const { findings } = select([secret, unplaced, daemonSet, daemonSet]);
  assert.deepEqual(
    findings.map(({ code, message }) => [code, message]),
    [
      ["unreadable", "contains two of secret/cilium-clustermesh"],
      ["unreadable", "contains two of daemonset/cilium"],
    ],
  );
});

test("encrypted and generated forms of the target's objects are errors, those of others are ignored", () => {
  const sealed = (name: string, namespace = "kube-system") => ({
    apiVersion: "bitnami.com/v1alpha1",
    kind: "SealedSecret",
    metadata: { name, namespace },
  });
  const external = {
    apiVersion: "external-secrets.io/v1",
    kind: "ExternalSecret",
    metadata: { name: "mesh" },
    spec: { target: { name: "cilium-clustermesh" } },
  };
  const encrypted = { ...secretOf({}), data: { c2: "ENC[AES256_GCM,data:x]" } };
  const origin = { path: "a b.yaml", call: { rerun: "render --existing=- c2.json", extract: "extract-secret" } };
  for (const [object, code, remedy] of [
    [
      sealed("cilium-kvstoremesh"),
      "foreign-file",
      /^kubectl --context CONTEXT get secret\/.* \| render --existing=- c2/,
    ],
    [external, "foreign-file", /^kubectl --context CONTEXT get secret\/.* --namespace kube-system /],
    [encrypted, "encrypted-file", /^pass the complete file/],
  ] as const) {
    const { existing, findings } = selectExisting([object], "kube-system", "existing.yaml", origin);
    assert.deepEqual([findings.map((one) => one.code), existing], [[code], { workloads: [] }]);
    assert.match(findings[0]?.remedy ?? "", remedy);
  }
  assert.deepEqual(select([sealed("other"), sealed("cilium-clustermesh", "other")]).findings, []);
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
