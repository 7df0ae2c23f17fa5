import assert from "node:assert/strict";
import { test } from "node:test";
import type { V1ConfigMap, V1HostAlias, V1Secret } from "@kubernetes/client-node";
import fc from "fast-check";
import { plan } from "../../lib/import/plan/plan.ts";
import type { Target } from "../../lib/import/plan/target.ts";
import {
  containsPrivateKey,
  type HostAliasPatch,
  hasPrivateContent,
  type Manifests,
  toManifests,
} from "../../lib/manifests/manifest.ts";
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

test("fields of the API server, and annotations about writes, are left out; others are sorted", () => {
  const agentsSecret = secretOf({ b: "2", a: "1" }, { z: "1", "a.example/b": "2", "clustermesh-secrets/context": "c" });
  Object.assign(agentsSecret.metadata ?? {}, {
    uid: "u",
    creationTimestamp: new Date(0),
    managedFields: [],
    ownerReferences: [],
    labels: { l: "1" },
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
          labels: { l: "1" },
          annotations: { "a.example/b": "2", z: "1" },
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

test("private keys in Secrets are found", () => {
  const { cert, key } = clientOf(caOf("a"));
  assert.equal(containsPrivateKey(secretOf({ a: cert, b: caOf("a").cert })), false);
  assert.equal(containsPrivateKey(secretOf({ a: cert, b: key })), true);
  assert.equal(containsPrivateKey({ stringData: { b: key } }), true);
});

test("a private key is found in labels, annotations and ConfigMaps too, in plain text and in base64", () => {
  const { cert, key } = clientOf(caOf("a"));
  const inAnnotation = (text: string) =>
    toManifests(
      targetOf("1.20", { agentsSecret: secretOf({}, { "a.example/b": text }) }),
      plan(targetOf("1.20"), [], OPTIONS),
    ).objects.map(hasPrivateContent);
  const users = (text: string) =>
    hasPrivateContent({ kind: "ConfigMap", metadata: { name: "clustermesh-remote-users" }, data: { other: text } });
  for (const shift of [0, 1, 2]) {
    const encoded = Buffer.from(" ".repeat(shift) + key).toString("base64");
    assert.deepEqual([inAnnotation(encoded), users(encoded)], [[true], true], String(shift));
  }
  assert.deepEqual([inAnnotation(key), users(key)], [[true], true]);
  assert.deepEqual([inAnnotation(cert), users(cert)], [[false], false]);
  assert.deepEqual([inAnnotation(Buffer.from(cert).toString("base64")), users("users: []")], [[false], false]);
});
