import assert from "node:assert/strict";
import { test } from "node:test";
import type { Target } from "../../lib/import/plan/target.ts";
import { checkExistingOrigin } from "../../lib/manifests/existing-origin.ts";
import { COMMON, configText, secretOf, targetOf } from "../support/targets.ts";

const CACHE = configText("https://clustermesh-apiserver.kube-system.svc:2379", COMMON);
const OWN = configText("https://own.mesh.cilium.io:32379", COMMON);
const RECORD = { "clustermesh-secrets/peers": '{"own":{"id":1,"max":255}}' };
const check = (more: Partial<Omit<Target, "facts">>) =>
  checkExistingOrigin(targetOf("1.20", { kvstoreMesh: true, ...more }), "existing.yaml").map(
    ({ code, severity, source }) => [code, severity, source],
  );

test("a config for the target itself is a warning, unless it leads to its own cache", () => {
  const suspect = [["existing-suspect", "warning", "existing.yaml"]];
  const kvstoremesh = (config: string) => secretOf({ own: config }, {}, "cilium-kvstoremesh");
  assert.deepEqual(check({}), []);
  assert.deepEqual(check({ agentsSecret: secretOf({ own: CACHE, c2: OWN }) }), []);
  assert.deepEqual(check({ agentsSecret: secretOf({ own: "endpoints: 1" }) }), []);
  assert.deepEqual(check({ agentsSecret: secretOf({ own: OWN }) }), suspect);
  assert.deepEqual(check({ kvstoremeshSecret: kvstoremesh(OWN) }), suspect);
});

test("the target as an imported peer is an error, also if only the cache of it is given", () => {
  const foreign = [["existing-foreign", "error", "existing.yaml"]];
  assert.deepEqual(check({ agentsSecret: secretOf({ own: OWN }, RECORD) }), foreign);
  assert.deepEqual(check({ agentsSecret: secretOf({ own: CACHE }, RECORD) }), foreign);
  assert.deepEqual(check({ agentsSecret: secretOf({ c2: OWN }, RECORD) }), [], "a record without its config");
});

test("the remedy prints the objects of the target", () => {
  const target = targetOf("1.20", { namespace: "cilium", agentsSecret: secretOf({ own: OWN }) });
  const [finding] = checkExistingOrigin(target, "existing.yaml");
  assert.match(
    finding?.remedy ?? "",
    /: kubectl --context CONTEXT get secret\/\S+ .* --namespace cilium .* --output yaml$/,
  );
});
