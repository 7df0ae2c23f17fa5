import assert from "node:assert/strict";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import type { V1ConfigMap, V1HostAlias, V1Secret } from "@kubernetes/client-node";
import fc from "fast-check";
import { plan } from "../../lib/import/plan/plan.ts";
import type { Target } from "../../lib/import/plan/target.ts";
import type { Stored } from "../../lib/import/preview.ts";
import { containsPrivateKey, type HostAliasPatch, type Manifests, toManifests } from "../../lib/manifests/manifest.ts";
import { aliasesOf, applyPlan } from "../support/apply-plan.ts";
import { caOf, clientOf } from "../support/material.ts";
import { anyOptions, anyPeers, anyTarget, contentOf } from "../support/plans.ts";
import { OPTIONS, peerOf, secretOf, targetOf } from "../support/targets.ts";

/** Replaces the objects of a target by manifests, and applies the patches as an API server does. */
function applyManifests(target: Target, { objects, patches }: Manifests): Target {
  const find = (kind: string, name: string) =>
    objects.find((object) => object.kind === kind && object.metadata.name === name);
  const resolvers = target.resolvers.map((workload) => {
    const patch = patches.find(({ kind, metadata }) => kind === workload.kind && metadata.name === workload.name);
    return patch ? { ...workload, hostAliases: applyPatch(workload.hostAliases, patch) } : workload;
  });
  return {
    ...target,
    agentsSecret: find("Secret", "cilium-clustermesh") as V1Secret | undefined,
    kvstoremeshSecret: find("Secret", "cilium-kvstoremesh") as V1Secret | undefined,
    users: find("ConfigMap", "clustermesh-remote-users") as V1ConfigMap | undefined,
    resolvers,
    aliases: aliasesOf(resolvers),
  };
}

/** A strategic merge patch, with the address as the merge key. */
function applyPatch(before: readonly V1HostAlias[] | undefined, { spec }: HostAliasPatch): V1HostAlias[] {
  const entries = new Map((before ?? []).map((entry) => [entry.ip, entry]));
  for (const entry of spec.template.spec.hostAliases) {
    if ("$patch" in entry) assert.ok(entries.delete(entry.ip), entry.ip);
    else entries.set(entry.ip, entry);
  }
  return [...entries.values()];
}

test("manifests that replace the objects of a target are what an import writes", () => {
  fc.assert(
    fc.property(anyTarget, anyPeers, anyOptions, (target, peers, options) => {
      const planned = plan(target, peers, options);
      const manifests = toManifests(target, planned);
      const applied = applyManifests(target, manifests);
      assert.deepEqual(contentOf(applied), contentOf(applyPlan(target, planned)));
    }),
    { numRuns: 150 },
  );
});

test("once applied, the same objects are rendered, without deletions in patches", () => {
  fc.assert(
    fc.property(anyTarget, anyPeers, anyOptions, (target, peers, options) => {
      const render = (one: Target) => toManifests(one, plan(one, peers, { ...options, migrate: false }));
      const manifests = render(target);
      const applied = applyManifests(target, manifests);
      const again = render(applied);
      assert.deepEqual(again.objects, manifests.objects);
      assert.deepEqual(again.patches.flatMap(deletionsIn), []);
      assert.deepEqual(render(applyManifests(applied, again)), again);
    }),
    { numRuns: 60 },
  );
});

function deletionsIn({ spec }: HostAliasPatch): string[] {
  return spec.template.spec.hostAliases.flatMap((entry) => ("$patch" in entry ? [entry.ip] : []));
}

test("fields of the API server, and annotations about writes, are left out; the rest is sorted", () => {
  const agentsSecret = secretOf(
    { b: "2", a: "1" },
    { "helm.sh/resource-policy": "keep", "clustermesh-secrets/taken-from": "x", "clustermesh-secrets/context": "c" },
  );
  Object.assign(agentsSecret.metadata ?? {}, {
    uid: "u",
    creationTimestamp: new Date(0),
    managedFields: [],
    ownerReferences: [],
    labels: { "app.kubernetes.io/managed-by": "Helm" },
  });
  const target = targetOf("1.20", { agentsSecret });
  const { objects } = toManifests(target, plan(target, [], OPTIONS));
  assert.equal(
    JSON.stringify(objects),
    JSON.stringify([
      {
        apiVersion: "v1",
        kind: "Secret",
        metadata: {
          name: "cilium-clustermesh",
          namespace: "kube-system",
          labels: { "app.kubernetes.io/managed-by": "Helm" },
          annotations: { "clustermesh-secrets/taken-from": "x", "helm.sh/resource-policy": "keep" },
        },
        type: "Opaque",
        data: { a: "MQ==", b: "Mg==" },
      },
    ]),
  );
});

test("patches have all host aliases of the peers, whether or not the workload has them", () => {
  const entry = (ip: string, ...hostnames: string[]) => ({ ip, hostnames });
  const foreign = entry("10.9.9.9", "other.example");
  const patchOf = (hostAliases: V1HostAlias[] | undefined) => {
    const resolver = { kind: "DaemonSet" as const, name: "cilium", hostAliases, object: {} };
    const target = targetOf("1.18", { resolvers: [resolver], aliases: aliasesOf([resolver]) });
    const options = { ...OPTIONS, restarts: "all" as const };
    return toManifests(target, plan(target, [peerOf("c2")], options)).patches[0]?.spec.template.spec.hostAliases;
  };
  const wanted = entry("10.0.0.2", "c2.mesh.cilium.io");
  assert.deepEqual(patchOf(undefined), [wanted]);
  assert.deepEqual(patchOf([foreign, wanted]), [wanted]);
  assert.deepEqual(patchOf([entry("10.0.0.2", "x.example")]), [entry("10.0.0.2", "x.example", "c2.mesh.cilium.io")]);
  assert.deepEqual(patchOf([entry("10.0.0.8", "c2.mesh.cilium.io"), foreign]), [
    wanted,
    { ip: "10.0.0.8", $patch: "delete" },
  ]);
});

test("a private key is found wherever it is in an object", () => {
  const { cert, key } = clientOf(caOf("a"));
  const places = (text: string): Stored[] => [
    secretOf({ a: text }),
    { stringData: { a: text } },
    secretOf({}, { "a.example/b": text }),
    { metadata: { labels: { a: text } } },
    { metadata: {}, data: { "users.yaml": text } },
  ];
  const encode = (text: string) => Buffer.from(text).toString("base64");
  for (const shift of [0, 1, 2]) {
    const encoded = encode(" ".repeat(shift) + key);
    for (const object of [...places(key), ...places(encoded)]) assert.ok(containsPrivateKey(object), String(shift));
  }
  for (const object of [...places(cert), ...places(encode(cert))]) assert.equal(containsPrivateKey(object), false);
});

test("labels and annotations are ours and those of owners: copies of an object by other tools are not rendered", () => {
  const { key } = clientOf(caOf("a"));
  const copy = JSON.stringify({ data: { "tls.key": Buffer.from(key).toString("base64") } });
  const kept = {
    "argocd.argoproj.io/sync-options": "Prune=false",
    "clustermesh-secrets/taken-from": "Helm release cilium",
    "helm.sh/resource-policy": "keep",
    "meta.helm.sh/release-name": "cilium",
  };
  const agentsSecret = secretOf(
    {},
    {
      ...kept,
      "kapp.k14s.io/original": copy,
      "objectset.rio.cattle.io/applied": gzipSync(copy).toString("base64"),
      "kubectl.kubernetes.io/last-applied-configuration": copy,
      "example.com/note": key,
      "clustermesh-secrets/context": "c1",
    },
  );
  Object.assign(agentsSecret.metadata ?? {}, { labels: { "app.kubernetes.io/managed-by": "Helm", note: "k" } });
  const target = targetOf("1.20", { agentsSecret });
  const { objects } = toManifests(target, plan(target, [], OPTIONS));
  assert.deepEqual(
    objects.map(({ metadata }) => metadata),
    [
      {
        name: "cilium-clustermesh",
        namespace: "kube-system",
        labels: { "app.kubernetes.io/managed-by": "Helm" },
        annotations: kept,
      },
    ],
  );
  assert.ok(!objects.some(containsPrivateKey));
});
