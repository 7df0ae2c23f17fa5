import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parse } from "yaml";
import type { Target } from "../../lib/import/plan/target.ts";
import { type Form, renderTarget } from "../../lib/manifests/render.ts";
import type { SourcedPeer } from "../../lib/peer/peer.ts";
import { caOf, clientOf } from "../support/material.ts";
import { anyForm, anyPeers, anyTarget, usersConfigMap, usersOf } from "../support/plans.ts";
import { COMMON, configText, OPTIONS, peerOf, secretOf, targetOf } from "../support/targets.ts";

const { tls, users, now } = OPTIONS;
const shared = { ca: { pem: caOf("own").cert }, client: clientOf(caOf("own")) };
const render = (target: Target, peers: SourcedPeer[], form: Form = "manifests", whole = false) =>
  renderTarget(target, peers, { tls, users, now, form, whole });
const codes = ({ findings }: ReturnType<typeof render>) => findings.map(({ code }) => code);
const c2 = peerOf("c2", 2, shared);

/** An existing Secret with peer c9. */
const withC9 = () =>
  secretOf(
    { c9: configText("https://c9.example:2379", COMMON) },
    { "clustermesh-secrets/peers": '{"c9":{"id":9,"max":255}}' },
  );

test("one file for each object and patch; private ones are marked", () => {
  const { files } = render(targetOf("1.18", { kvstoreMesh: true }), [c2, peerOf("c3", 3)]);
  assert.deepEqual(
    files.map(({ path, isPrivate }) => [path, isPrivate]),
    [
      ["cilium-kvstoremesh.yaml", true],
      ["cilium-clustermesh.yaml", false],
      ["clustermesh-remote-users.yaml", false],
      ["host-aliases-deployment-clustermesh-apiserver.yaml", false],
    ],
  );
  const keyless = render(targetOf("1.18", { kvstoreMesh: true }), [c2]);
  assert.ok(keyless.files.every(({ isPrivate }) => !isPrivate));
});

test("a kustomization has the objects; its component has the patches, as the workloads are elsewhere", () => {
  const { files } = render(targetOf("1.18"), [c2], "kustomize");
  const texts = new Map(files.map(({ path, text }) => [path, parse(text)]));
  assert.deepEqual(
    [...texts.keys()],
    [
      "kustomization.yaml",
      "cilium-clustermesh.yaml",
      "clustermesh-remote-users.yaml",
      "host-aliases/kustomization.yaml",
      "host-aliases/host-aliases-daemonset-cilium.yaml",
    ],
  );
  assert.deepEqual(texts.get("kustomization.yaml"), {
    apiVersion: "kustomize.config.k8s.io/v1beta1",
    kind: "Kustomization",
    resources: ["cilium-clustermesh.yaml", "clustermesh-remote-users.yaml"],
  });
  assert.deepEqual(texts.get("host-aliases/kustomization.yaml"), {
    apiVersion: "kustomize.config.k8s.io/v1alpha1",
    kind: "Component",
    patches: [{ path: "host-aliases-daemonset-cilium.yaml" }],
  });
  const since120 = render(targetOf("1.20"), [c2], "kustomize").files.map(({ path }) => path);
  assert.ok(!since120.some((path) => path.startsWith("host-aliases")));
});

test("whole objects contain nothing that exists, and warn; with remote-<own> of 1.14 to 1.16 and KVStoreMesh", () => {
  const existing = {
    agentsSecret: withC9(),
    users: usersConfigMap("users:\n- name: remote-c9\n  role: remote\n"),
  };
  for (const [version, kvstoreMesh, own] of [
    ["1.14", true, true],
    ["1.16", true, true],
    ["1.16", false, false],
    ["1.17", true, false],
    ["1.20", true, false],
  ] as const) {
    const target = targetOf(version, { kvstoreMesh, ...existing });
    const rendered = render(target, [c2], "manifests", true);
    assert.deepEqual(codes(rendered), ["whole-objects"]);
    assert.doesNotMatch(rendered.files.map(({ text }) => text).join(""), /c9/);
    const map = rendered.files.find(({ path }) => path === "clustermesh-remote-users.yaml");
    const names = usersOf({ ...target, users: parse(map?.text ?? "") });
    assert.deepEqual(names, ["remote-c2: remote", ...(own ? ["remote-own: remote"] : [])], version);
    const nothing = { ...target, agentsSecret: undefined, users: undefined };
    assert.deepEqual(rendered.files, render(nothing, [c2]).files, "as if nothing existed");
    const kept = render(target, [c2]);
    assert.deepEqual(codes(kept), []);
    assert.match(kept.files.map(({ text }) => text).join(""), /c9/);
  }
});

test("tools that apply the output own the objects as intended; others are warned of", () => {
  const owned = (labels: Record<string, string>) => {
    const agentsSecret = withC9();
    Object.assign(agentsSecret.metadata ?? {}, { labels });
    return targetOf("1.20", { agentsSecret });
  };
  const argo = owned({ "argocd.argoproj.io/instance": "mesh" });
  const flux = owned({ "kustomize.toolkit.fluxcd.io/name": "mesh" });
  const helm = owned({ "app.kubernetes.io/managed-by": "Helm" });
  for (const target of [argo, flux]) {
    const rendered = render(target, [c2]);
    assert.deepEqual(codes(rendered), []);
    assert.doesNotMatch(rendered.files[0]?.text ?? "", /argocd|fluxcd/);
  }
  assert.deepEqual(codes(render(helm, [c2])), ["owner-resets"]);
  assert.deepEqual(codes(render(helm, [c2], "helm-values")), [], "Helm applies the values");
});

test("the order of the peers does not matter", () => {
  fc.assert(
    fc.property(anyTarget, anyPeers, anyForm, (target, peers, form) => {
      assert.deepEqual(render(target, [...peers].reverse(), form).files, render(target, peers, form).files);
    }),
  );
  const at = (name: string, id: number) => {
    const hostname = `${name}.mesh.cilium.io`;
    return peerOf(name, id, { ...shared, hostAliases: [{ hostname, ips: ["10.0.0.9"] }] });
  };
  const [one, other] = [at("c2", 2), at("c3", 3)];
  const { files } = render(targetOf("1.18"), [one, other]);
  assert.deepEqual(render(targetOf("1.18"), [other, one]).files, files);
  assert.match(files.at(-1)?.text ?? "", /- c2\.mesh\.cilium\.io\n +- c3\.mesh\.cilium\.io\n/);
});

test("without peers nothing is rendered, in any form", () => {
  const users = usersConfigMap("users: []\n");
  for (const form of ["manifests", "kustomize", "helm-values"] as const) {
    for (const target of [
      targetOf("1.20"),
      targetOf("1.16", { kvstoreMesh: true }),
      targetOf("1.20", { users, agentsSecret: secretOf({ "ca.crt": "a" }) }),
    ]) {
      for (const whole of [false, true]) assert.deepEqual(render(target, [], form, whole).files, [], form);
    }
    const { files } = render(targetOf("1.20", { agentsSecret: withC9() }), [], form);
    assert.match(files.map(({ text }) => text).join(""), /c9/, "existing peers are rendered");
  }
});

test("objects that a file of existing objects lacks are warned of by name", () => {
  const lacking = (target: Target) => {
    const { findings } = renderTarget(target, [c2], {
      tls,
      users,
      now,
      form: "manifests",
      whole: false,
      mayLackObjects: true,
    });
    return findings
      .filter(({ code }) => code === "whole-objects")
      .map(({ message }) => /replaced by (.*?), peers/.exec(message)?.[1]);
  };
  const map = usersConfigMap("users: []\n");
  const kvstoremeshSecret = secretOf({}, {}, "cilium-kvstoremesh");
  assert.deepEqual(lacking(targetOf("1.20", { agentsSecret: withC9(), users: map })), []);
  assert.deepEqual(lacking(targetOf("1.20", { agentsSecret: withC9() })), ["configmap/clustermesh-remote-users"]);
  assert.deepEqual(lacking(targetOf("1.20", { agentsSecret: withC9(), takesUsers: false })), []);
  assert.deepEqual(lacking(targetOf("1.20", { users: map })), ["secret/cilium-clustermesh"]);
  const mesh = { kvstoreMesh: true, users: map };
  assert.deepEqual(lacking(targetOf("1.20", { ...mesh, kvstoremeshSecret })), ["secret/cilium-clustermesh"]);
  assert.deepEqual(lacking(targetOf("1.20", mesh)), ["secret/cilium-kvstoremesh and secret/cilium-clustermesh"]);
  const [workload] = targetOf("1.18").resolvers;
  assert.ok(workload);
  const given = (object: object) =>
    lacking(targetOf("1.18", { agentsSecret: withC9(), users: map, resolvers: [{ ...workload, object }] }));
  assert.deepEqual(given({}), ["the host aliases of daemonset/cilium"]);
  assert.deepEqual(given({ metadata: { name: "cilium" } }), []);
});

test("errors render nothing", () => {
  const { files, findings } = render(targetOf("1.20", { facts: { id: 0 } }), [c2]);
  assert.deepEqual(files, []);
  assert.ok(findings.some(({ severity }) => severity === "error"));
  assert.deepEqual(render(targetOf("1.20"), []).files, []);
});
