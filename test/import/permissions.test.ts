/** Access reviews: the requests of a plan, by the table from which `rbac` grants them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { ClusterCommand } from "../../lib/cilium/permission.ts";
import { selectPermissions } from "../../lib/cilium/select-permissions.ts";
import { toReview } from "../../lib/import/permissions.ts";
import type { Change } from "../../lib/import/plan/change.ts";

const CHANGES: Change[] = [
  ...["cilium-clustermesh", "cilium-kvstoremesh"].flatMap((name): Change[] => [
    { verb: "create", kind: "Secret", name, object: {} },
    { verb: "merge-patch", kind: "Secret", name, patch: { metadata: {} } },
  ]),
  { verb: "create", kind: "ConfigMap", name: "clustermesh-remote-users", object: {} },
  { verb: "merge-patch", kind: "ConfigMap", name: "clustermesh-remote-users", patch: { metadata: {} } },
  { verb: "json-patch", kind: "Deployment", name: "clustermesh-apiserver", patch: [], hostnames: [] },
  { verb: "json-patch", kind: "Deployment", name: "cilium-operator", patch: [], hostnames: [] },
  { verb: "json-patch", kind: "DaemonSet", name: "cilium", patch: [], hostnames: [] },
];

for (const command of ["import", "connect", "rotate"] satisfies ClusterCommand[]) {
  test(`rbac --for ${command} grants every write that is reviewed`, () => {
    const features = new Set(["users", "creation", "restarts", "agentRestarts"] as const);
    const granted = selectPermissions({
      ...{ commands: [command], features, includesOptional: false },
      ...{ secrets: [], configMaps: [] },
    });
    for (const change of CHANGES) {
      const { verb, resource, namespace, name = "" } = toReview(change, "cilium");
      assert.deepEqual([namespace, name], ["cilium", change.name]);
      const isGranted = granted.some(
        (one) =>
          one.verbs.includes(verb) &&
          one.resource === resource &&
          (one.names.length === 0 || one.names.includes(change.name)),
      );
      assert.ok(isGranted, `${verb} ${resource.plural}/${name}`);
    }
  });
}

test("a write that the table lacks is a bug, not a review", () => {
  const change: Change = { verb: "create", kind: "ConfigMap", name: "other", object: {} };
  assert.doesNotThrow(() => toReview(change, "cilium"), "create has no names");
  const patch: Change = { verb: "merge-patch", kind: "ConfigMap", name: "other", patch: { metadata: {} } };
  assert.throws(() => toReview(patch, "cilium"), /no permission to patch configmap\/other in the table/);
});
