/** The table of permissions: lookups, and the combination of several commands. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { MANAGEMENT_PERMISSIONS } from "../../lib/cilium/management-permissions.ts";
import { CLUSTER_COMMANDS, type ClusterCommand, type Feature } from "../../lib/cilium/permission.ts";
import { PERMISSIONS } from "../../lib/cilium/permissions-table.ts";
import { findPermission, selectPermissions } from "../../lib/cilium/select-permissions.ts";
import { deployments, nodes, pods, secrets } from "../../lib/kube/api.ts";

const FEATURES: Feature[] = ["detection", "keys", "externalWorkload", "users", "creation", "restarts", "agentRestarts"];

function select(commands: ClusterCommand[], features = FEATURES, includesOptional = true) {
  return selectPermissions({ commands, features: new Set(features), includesOptional, secrets: [], configMaps: [] });
}

test("a request is found by verb, resource, name and scope", () => {
  const namespace = "kube-system";
  assert.equal(findPermission({ verb: "create", resource: secrets, namespace, name: "any" })?.names.length, 0);
  assert.equal(findPermission({ verb: "get", resource: secrets, namespace, name: "any" }), undefined);
  assert.deepEqual(findPermission({ verb: "patch", resource: secrets, namespace, name: "cilium-clustermesh" })?.verbs, [
    "patch",
  ]);
  assert.equal(findPermission({ verb: "list", resource: nodes })?.resource, nodes);
  assert.equal(findPermission({ verb: "list", resource: nodes, namespace }), undefined);
  assert.notEqual(
    findPermission({ verb: "list", resource: pods }),
    findPermission({ verb: "list", resource: pods, namespace }),
  );
  const listed = { verb: "list", resource: deployments, name: "clustermesh-apiserver" } as const;
  assert.equal(findPermission(listed)?.isClusterWide, true);
});

test("no two permissions of the table are for one request", () => {
  const keys = [...PERMISSIONS, ...MANAGEMENT_PERMISSIONS].flatMap(({ verbs, resource, names, isClusterWide, place }) =>
    verbs.flatMap((verb) =>
      (names.length > 0 ? names : [""]).map((name) => `${verb} ${resource.plural} ${name} ${isClusterWide} ${place}`),
    ),
  );
  assert.equal(new Set(keys).size, keys.length);
});

test("the permissions of several commands are those of each, required if one requires them", () => {
  const union = select(["extract", "import"]);
  for (const command of ["extract", "import"] as const) {
    for (const { purpose, need } of select([command])) {
      const found = union.find((one) => one.purpose === purpose);
      assert.ok(found, purpose);
      if (need.level === "required") assert.equal(found.need.level, "required", purpose);
    }
  }
  const agents = union.find(({ resource }) => resource.plural === "daemonsets");
  assert.deepEqual(agents?.need, { level: "required" });
  const certificate = select(["import", "verify"]).find(({ features }) => features?.includes("keys"));
  assert.equal(certificate?.need.level, "optional");
});

test("conditions of several commands are alternatives, and none if one command always needs the permission", () => {
  const needOf = (...commands: ClusterCommand[]) =>
    select(commands).find(
      ({ verbs, resource, isClusterWide }) => verbs.includes("list") && resource === pods && !isClusterWide,
    )?.need;
  assert.deepEqual(needOf("extract"), { level: "required", when: "with externalTrafficPolicy Local" });
  assert.deepEqual(needOf("extract", "status"), { level: "required" });
});

test("a permission without its feature, or that is withheld or unused, is not selected", () => {
  assert.ok(select([...CLUSTER_COMMANDS], []).every(({ features }) => features === undefined));
  assert.ok(
    select([...CLUSTER_COMMANDS]).every(({ withheld, need }) => withheld === undefined && need.level !== "unused"),
  );
  assert.ok(select([...CLUSTER_COMMANDS], FEATURES, false).every(({ need }) => need.level === "required"));
  assert.ok(select(["verify"]).every(({ resource }) => resource.plural !== "nodes" && resource.plural !== "services"));
});
