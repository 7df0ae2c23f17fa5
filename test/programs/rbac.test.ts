/** `clustermesh-secrets rbac`: its manifests, and its table against the requests that the commands send. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, describe, test } from "node:test";
import type { V1PolicyRule } from "@kubernetes/client-node";
import { parseAllDocuments } from "yaml";
import { CLUSTER_COMMANDS, type ClusterCommand } from "../../lib/cilium/permission.ts";
import { findPermission } from "../../lib/cilium/select-permissions.ts";
import type { Subject } from "../../lib/kube/api.ts";
import type { KubernetesObject } from "../../lib/sandbox/object.ts";
import { type Sandbox, startSandbox } from "../../lib/sandbox/sandbox.ts";
import { callsOf } from "../support/permission-calls.ts";
import { permissionClusters } from "../support/permission-mesh.ts";
import { run } from "../support/programs.ts";

const rbac = (...args: string[]) => run("clustermesh-secrets", ["rbac", ...args]);

async function rulesOf(...args: string[]): Promise<V1PolicyRule[]> {
  const { code, stdout, stderr } = await rbac(...args, "-o", "json");
  assert.deepEqual([code, stderr], [0, ""]);
  const items: { rules?: V1PolicyRule[] }[] = JSON.parse(stdout).items;
  return items.flatMap(({ rules = [] }) => rules);
}

/** Whether rules grant a verb for an object of a resource. */
function grants(rules: readonly V1PolicyRule[], verb: string, resource: string, name?: string): boolean {
  return rules.some(
    ({ verbs, resources = [], resourceNames }) =>
      verbs.includes(verb) && resources.includes(resource) && (!resourceNames || resourceNames.includes(name ?? "")),
  );
}

test("YAML and JSON contain the same objects, in the same order", async () => {
  const args = CLUSTER_COMMANDS.flatMap((command) => ["--for", command]);
  const [yaml, json] = await Promise.all([rbac(...args), rbac(...args, "-o", "json")]);
  const documents = parseAllDocuments(yaml.stdout).map((document) => document.toJS());
  assert.deepEqual(documents, JSON.parse(json.stdout).items);
  assert.deepEqual(
    documents.map(({ kind }) => kind),
    ["ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"],
  );
  assert.equal(
    (
      await rbac(
        ...args
          .reverse()
          .filter((arg) => arg !== "--for")
          .flatMap((one) => ["--for", one]),
      )
    ).stdout,
    yaml.stdout,
  );
});

test("each rule has a comment, and a rule with create states why it has no names", async () => {
  const { stdout } = await rbac("--for", "connect", "--restart-agents");
  const rules = [...stdout.matchAll(/((?: {2}#.*\n)*) {2}- apiGroups:[^#]*?verbs:\n {6}- (\w+)/g)];
  assert.ok(rules.length > 15);
  for (const [, comment = "", verb] of rules) {
    assert.match(comment, /^ {2}# (required|optional)/);
    assert.equal(/create cannot be limited by resourceNames/.test(comment), verb === "create");
  }
});

test("every rule has one resource, verbs that belong together and, unless that is impossible, names", async () => {
  const rules = await rulesOf(...CLUSTER_COMMANDS.flatMap((command) => ["--for", command]), "--restart-agents");
  for (const { verbs, resources, resourceNames } of rules) {
    assert.equal(resources?.length, 1);
    assert.ok(verbs.length === 1 || ["list,watch", "create,patch"].includes(`${verbs}`), `${verbs} ${resources}`);
    const isUnlimited = [
      ...["create secrets", "create configmaps", "create,patch events"],
      ...["list pods", "list nodes", "watch nodes"],
    ].includes(`${verbs} ${resources}`);
    assert.equal(resourceNames === undefined, isUnlimited, `${verbs} ${resources}`);
  }
});

test("commands that read have no permission to write", async () => {
  const rules = await rulesOf("--for", "extract", "--for", "status", "--for", "verify", "--external-workload");
  assert.deepEqual([...new Set(rules.flatMap(({ verbs }) => verbs))].sort(), ["get", "list"]);
});

test("flags select permissions as they select what the commands do", async () => {
  const [standard, least, keyless, restarting] = await Promise.all([
    rulesOf("--for", "import"),
    rulesOf("--for", "import", "--no-users", "--no-create", "--no-restarts", "--no-optional", "-n", "cilium"),
    rulesOf("--for", "extract", "--keyless"),
    rulesOf("--for", "import", "--restart-agents"),
  ]);
  assert.ok(grants(standard, "patch", "deployments", "clustermesh-apiserver"));
  assert.ok(grants(standard, "create", "configmaps"));
  assert.ok(grants(standard, "list", "deployments", "clustermesh-apiserver"));
  assert.ok(!grants(standard, "patch", "daemonsets", "cilium"));
  assert.ok(grants(restarting, "patch", "daemonsets", "cilium"));
  assert.deepEqual(
    least.filter(({ verbs }) => !verbs.includes("get")).map(({ verbs, resources }) => `${verbs} ${resources}`),
    ["patch secrets"],
  );
  assert.ok(!grants(keyless, "get", "secrets", "clustermesh-apiserver-remote-cert"));
});

test("sync watches by names, and patches no workload unless that is asked for", async () => {
  const [standard, restarting, agents, both, frozen] = await Promise.all([
    rulesOf("--for", "sync"),
    rulesOf("--for", "sync", "--restarts"),
    rulesOf("--for", "sync", "--restart-agents"),
    rulesOf("--for", "sync", "--for", "connect"),
    rulesOf("--for", "sync", "--for", "connect", "--no-restarts"),
  ]);
  const patches = (rules: V1PolicyRule[]) => [
    grants(rules, "patch", "deployments", "clustermesh-apiserver"),
    grants(rules, "patch", "daemonsets", "cilium"),
  ];
  assert.deepEqual([standard, restarting, agents, both, frozen].map(patches), [
    [false, false],
    [true, false],
    [true, true],
    [true, false],
    [false, false],
  ]);
  assert.ok(grants(standard, "watch", "secrets", "cilium-clustermesh"));
  assert.ok(!grants(standard, "watch", "secrets", "other"));
  assert.ok(!grants(standard, "create", "leases"));
});

test("--clusters-from and --state-namespace print a role of the management cluster, for its namespaces", async () => {
  const objectsOf = async (...args: string[]) => JSON.parse((await rbac(...args, "-o", "json")).stdout).items;
  const secrets = ["--clusters-from", "argocd", "--clusters-namespace", "argocd"];
  const [account, role, binding, ...others] = await objectsOf("--for", "connect", ...secrets);
  assert.deepEqual([account.metadata.namespace, others], ["argocd", []]);
  assert.deepEqual(role, {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "Role",
    metadata: { name: "clustermesh-secrets-management", namespace: "argocd" },
    rules: [{ apiGroups: [""], resources: ["secrets"], verbs: ["list"] }],
  });
  assert.deepEqual(binding.subjects, [{ kind: "ServiceAccount", name: "clustermesh-secrets", namespace: "argocd" }]);

  const both = await objectsOf("--for", "sync", ...secrets, "--state-namespace", "mesh");
  assert.deepEqual(
    both.map(({ kind, metadata: { namespace } }: KubernetesObject) => `${kind} ${namespace}`),
    ["ServiceAccount mesh", "Role argocd", "RoleBinding argocd", "Role mesh", "RoleBinding mesh"],
  );
  const one = await objectsOf("--for", "sync", "--clusters-from", "secrets", "--state-namespace", "mesh");
  assert.deepEqual(
    one.map(({ kind, metadata: { namespace } }: KubernetesObject) => `${kind} ${namespace}`),
    ["ServiceAccount mesh", "Role mesh", "RoleBinding mesh"],
  );
  const { rules } = one[1];
  assert.ok(grants(rules, "watch", "secrets") && grants(rules, "patch", "leases", "clustermesh-secrets-sync"));
  const read = await rulesOf("--for", "status", "--state-namespace", "mesh");
  assert.deepEqual(
    read.map(({ verbs, resources, resourceNames }) => `${verbs} ${resources}/${resourceNames}`),
    ["get configmaps/clustermesh-secrets-sync"],
  );
});

test("names and namespaces are those of the flags", async () => {
  const names = ["--service-account", "exporter", "--service-account-namespace", "ci", "-n", "cilium"];
  const further = ["--service", "mesh", "--secret-name", "mesh-tls", "--configmap-name", "mesh-ca"];
  const { stdout } = await rbac("--for", "extract", ...names, ...further, "-o", "json");
  const [account, role, binding, clusterRole] = JSON.parse(stdout).items;
  assert.deepEqual(account.metadata, { name: "exporter", namespace: "ci" });
  assert.deepEqual(
    [role.metadata, clusterRole.metadata],
    [{ name: "exporter", namespace: "cilium" }, { name: "exporter" }],
  );
  assert.deepEqual(binding.subjects, [{ kind: "ServiceAccount", name: "exporter", namespace: "ci" }]);
  for (const [resource, name] of [
    ["services", "mesh"],
    ["secrets", "mesh-tls"],
    ["configmaps", "mesh-ca"],
  ] as const) {
    assert.ok(grants(role.rules, "get", resource, name), name);
  }
  assert.ok(!grants(role.rules, "get", "services", "clustermesh-apiserver"));
});

for (const [args, expected] of [
  [[], /^error: --for is required: extract, import, /],
  [["--for", "inspect"], /^error: invalid value "inspect" for --for: must be one of extract, import, /],
  [["--for", "import", "--keyless"], /^error: --keyless is only allowed with --for extract\n$/],
  [
    ["--for", "verify", "--restart-agents"],
    /^error: --restart-agents is only allowed with --for import or connect or rotate or sync\n$/,
  ],
  [
    ["--for", "import", "--restart-agents", "--no-restarts"],
    /^error: --restart-agents and --no-restarts are mutually exclusive\n$/,
  ],
  [["--for", "render", "--clusters-from", "argocd"], /^error: --clusters-from is only allowed with --for extract or /],
  [
    ["--for", "connect", "--state-namespace", "x"],
    /^error: --state-namespace is only allowed with --for status or sync/,
  ],
  [["--for", "sync", "--clusters-from", "argocd"], /^error: --clusters-from requires --clusters-namespace\n$/],
  [["--for", "sync", "--clusters-namespace", "x"], /^error: --clusters-namespace requires --clusters-from\n$/],
  [["--for", "sync", "--state-namespace", "A"], /^error: invalid value "A" for --state-namespace: /],
  [
    ["--for", "extract", "--secret-name", "a: b"],
    /^error: invalid value "a: b" for --secret-name: must be at most 253 of a-z, 0-9, - and \.\n$/,
  ],
  [["--for", "extract", "--service-account", "A"], /^error: invalid value "A" for --service-account: /],
  [["extract"], /^error: unexpected argument "extract"/],
] as const) {
  test(`rbac ${args.join(" ")} is refused`, async () => {
    const { code, stdout, stderr } = await rbac(...args);
    assert.deepEqual([code, stdout], [2, ""]);
    assert.match(stderr, expected);
  });
}

describe("requests of the commands", () => {
  let sandbox: Sandbox;
  let dir: string;
  const names = ["cluster1", "cluster2", "cluster3"];

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "rbac-"));
    sandbox = await startSandbox({ clusters: await permissionClusters() });
    const args = ["extract", "cluster4", "--output-file", join(dir, "cluster4.json")];
    assert.equal((await run("clustermesh-secrets", args, { kubeconfig: sandbox.kubeconfig })).code, 0);
    const connect = ["connect", "cluster1", "cluster2", "--yes", "--restart-agents"];
    assert.equal((await run("clustermesh-secrets", connect, { kubeconfig: sandbox.kubeconfig })).code, 0);
  });
  beforeEach(() => {
    for (const { api } of sandbox.clusters) api.requests.length = 0;
  });
  after(async () => {
    await sandbox?.stop();
    if (dir) await rm(dir, { recursive: true, force: true });
  });

  for (const command of CLUSTER_COMMANDS.filter((one) => one !== "sync")) {
    test(`every request of ${command} is in the table of permissions`, async () => {
      for (const [program, ...args] of callsOf(command, { names, file: join(dir, "cluster4.json") }).calls) {
        await run(
          program,
          args.filter((arg) => arg !== "--dry-run=server"),
          { kubeconfig: sandbox.kubeconfig },
        );
      }
      const subjects = sandbox.clusters.flatMap(({ api }) => api.requests.flatMap(subjectOf));
      assert.ok(subjects.length > 20, `${subjects.length} requests`);
      const unknown = subjects.filter((subject) => !isInTable(subject, command));
      assert.deepEqual(
        unknown.map(({ verb, resource, name }) => `${verb} ${resource.plural} ${name}`),
        [],
      );
    });
  }
});

function isInTable(subject: Subject, command: ClusterCommand): boolean {
  return findPermission(subject)?.needs[command] !== undefined;
}

/** The subject of a request; none for access reviews, which every user may make. */
function subjectOf({ method, path }: { method: string; path: string }): Subject[] {
  const { pathname, searchParams } = new URL(path, "https://localhost");
  const [, group = "", namespace, plural = "", object] =
    /^\/(?:api|apis\/(\w+))\/v1(?:\/namespaces\/([^/]+))?\/([^/]+)(?:\/([^/]+))?$/.exec(pathname) ?? [];
  if (plural === "" || plural === "selfsubjectaccessreviews") return [];
  const verb = { GET: object === undefined ? "list" : "get", POST: "create", PATCH: "patch" }[
    method
  ] as Subject["verb"];
  const name = object ?? searchParams.get("fieldSelector")?.replace(/^metadata\.name=/, "");
  const resource = { group: group as "" | "apps", plural, kind: plural };
  return [{ verb, resource, namespace, name }];
}
