/** deploy/sync on a real API server: kustomizations build, the manifests are valid, and the roles permit what they are for. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { KubernetesObject } from "../../lib/sandbox/object.ts";
import { podOf } from "../support/job-manifests.ts";
import { type ApiServer, type ApiServers, startApiServers, withoutRealServers } from "../support/real.ts";
import { removeFolder, temporaryFolder } from "../support/real-process.ts";
import { requestToken, waitForRoles } from "../support/service-accounts.ts";
import { buildSyncOverlay, SYNC_COMPONENTS } from "../support/sync-manifests.ts";

/** ServiceMonitors as their documentation describes them, with the fields that are used. */
const SERVICE_MONITORS: KubernetesObject = {
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: {
    name: "servicemonitors.monitoring.coreos.com",
    annotations: { "api-approved.kubernetes.io": "unapproved, for a test" },
  },
  spec: {
    group: "monitoring.coreos.com",
    scope: "Namespaced",
    names: { kind: "ServiceMonitor", plural: "servicemonitors" },
    versions: [{ name: "v1", served: true, storage: true, schema: { openAPIV3Schema: serviceMonitorSchema() } }],
  },
};

function serviceMonitorSchema(): object {
  const string = { type: "string" };
  const endpoint = { port: string, interval: { type: "string", pattern: "^([0-9]+(ms|[smhd]))+$" } };
  const selector = { matchLabels: { type: "object", additionalProperties: string } };
  return {
    type: "object",
    properties: {
      spec: {
        type: "object",
        required: ["endpoints", "selector"],
        properties: {
          endpoints: { type: "array", items: { type: "object", properties: endpoint } },
          selector: { type: "object", properties: selector },
        },
      },
    },
  };
}

describe("deploy/sync", { skip: withoutRealServers() }, () => {
  let servers: ApiServers;
  let server: ApiServer;
  let folder: string;
  let built: KubernetesObject[];

  before(async () => {
    folder = temporaryFolder("deploy-sync");
    servers = await startApiServers(["cluster1"]);
    server = servers.get("cluster1");
    await server.create([SERVICE_MONITORS]);
    built = await buildSyncOverlay(folder, "", {
      namespace: "mesh",
      components: SYNC_COMPONENTS,
      images: [
        { name: "clustermesh-secrets", newName: "registry.example.com/mesh/clustermesh-secrets", newTag: "1.2.3" },
      ],
    });
  });
  after(async () => {
    await servers?.stop();
    if (folder) removeFolder(folder);
  });

  const named = (kind: string) => built.filter((object) => object.kind === kind);

  test("a kustomization sets the image and the namespace, and adds components", () => {
    const images = built.flatMap((object) => podOf(object)?.containers?.map(({ image }) => image) ?? []);
    assert.deepEqual(images, ["registry.example.com/mesh/clustermesh-secrets:1.2.3"]);
    assert.deepEqual(
      [...new Set(built.map(({ kind, metadata }) => (kind === "Namespace" ? metadata.name : metadata.namespace)))],
      ["mesh"],
    );
    assert.deepEqual(named("RoleBinding")[0]?.subjects, [
      { kind: "ServiceAccount", name: "clustermesh-sync", namespace: "mesh" },
    ]);
    const kinds = ["NetworkPolicy", "PodDisruptionBudget", "ServiceMonitor", "Service", "Deployment", "Role"];
    assert.deepEqual(
      kinds.map((kind) => named(kind).length),
      kinds.map(() => 1),
    );
  });

  test("without a kustomization of the user, the image is a placeholder that no registry has", async () => {
    const base = await buildSyncOverlay(folder, "");
    const images = base.flatMap((object) => podOf(object)?.containers?.map(({ image }) => image) ?? []);
    assert.deepEqual(images, ["clustermesh-secrets:set-your-image"]);
  });

  test("labels of the pods are those that the other objects select", () => {
    const [deployment] = named("Deployment");
    const labels = deployment?.spec.template.metadata.labels;
    const selectors = [
      deployment?.spec.selector.matchLabels,
      podOf(deployment as KubernetesObject)?.topologySpreadConstraints?.[0]?.labelSelector?.matchLabels,
      named("Service")[0]?.spec.selector,
      named("PodDisruptionBudget")[0]?.spec.selector.matchLabels,
      named("NetworkPolicy")[0]?.spec.podSelector.matchLabels,
    ];
    assert.deepEqual(
      selectors,
      selectors.map(() => labels),
    );
    assert.deepEqual(named("ServiceMonitor")[0]?.spec.selector.matchLabels, named("Service")[0]?.metadata.labels);
  });

  test("the API server accepts everything, in a dry run and applied, and applied again nothing changes", async () => {
    const [namespaces, others] = [named("Namespace"), built.filter(({ kind }) => kind !== "Namespace")];
    await server.apply(namespaces, { dryRun: true });
    await server.apply(namespaces);
    await server.apply(others, { dryRun: true });
    assert.equal((await server.ask("GET", "/apis/apps/v1/namespaces/mesh/deployments")).items.length, 0);
    await server.apply(others);
    const path = "/apis/apps/v1/namespaces/mesh/deployments/clustermesh-sync";
    const { metadata, spec } = await server.ask("GET", path);
    await server.apply(others);
    const again = await server.ask("GET", path);
    assert.deepEqual([again.metadata.generation, again.spec], [metadata.generation, spec]);
    const member = await buildSyncOverlay(folder, "member");
    await server.apply(member, { dryRun: true });
    await server.apply(member);
  });

  test("the account lists and watches the Secrets of the clusters, and has its own Lease and state only", async () => {
    await waitForRoles(servers.all);
    const ask = await asAccount(server, "clustermesh-sync", "mesh");
    const [core, leases] = ["/api/v1/namespaces/mesh", "/apis/coordination.k8s.io/v1/namespaces/mesh/leases"];
    const own = { apiVersion: "coordination.k8s.io/v1", kind: "Lease", metadata: { name: "clustermesh-secrets-sync" } };
    const state = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "clustermesh-secrets-sync" } };
    for (const [method, path, body, status] of [
      ["GET", `${core}/secrets?labelSelector=clustermesh-secrets/cluster=true`, undefined, 200],
      ["GET", `${core}/secrets?watch=1&timeoutSeconds=1`, undefined, 200],
      ["GET", `${core}/secrets/any`, undefined, 403],
      ["POST", leases, own, 201],
      ["PATCH", `${leases}/clustermesh-secrets-sync`, {}, 200],
      ["GET", `${leases}/other`, undefined, 403],
      ["POST", `${core}/configmaps`, state, 201],
      ["PATCH", `${core}/configmaps/clustermesh-secrets-sync`, {}, 200],
      ["PATCH", `${core}/configmaps/other`, {}, 403],
      ["GET", "/api/v1/namespaces/kube-system/secrets", undefined, 403],
    ] as const) {
      const answer = await ask(method, path, body);
      assert.equal(answer.status, status, `${method} ${path}: ${answer.body?.message}`);
    }
  });

  test("the account in a cluster of the mesh lists and watches objects by name, and no others", async () => {
    const ask = await asAccount(server, "clustermesh-sync-member", "kube-system");
    const core = "/api/v1/namespaces/kube-system";
    const apps = "/apis/apps/v1/namespaces/kube-system";
    const byName = (name: string) => `fieldSelector=metadata.name%3D${name}`;
    for (const [path, status] of [
      ...["cilium-clustermesh", "cilium-kvstoremesh", "clustermesh-apiserver-remote-cert"].map(
        (name) => [`${core}/secrets?${byName(name)}`, 200] as const,
      ),
      [`${core}/configmaps?${byName("cilium-config")}`, 200],
      [`${core}/services?${byName("clustermesh-apiserver")}`, 200],
      [`${apps}/deployments?${byName("cilium-operator")}`, 200],
      [`${apps}/daemonsets?${byName("cilium")}`, 200],
      ["/api/v1/nodes?x=y", 200],
      [`${core}/secrets?${byName("other")}`, 403],
      [`${core}/secrets?x=y`, 403],
      [`${core}/secrets?labelSelector=a%3Db`, 403],
      [`${core}/configmaps?x=y`, 403],
    ] as const) {
      for (const watch of ["", "&watch=1&timeoutSeconds=1&resourceVersion=0"]) {
        const answer = await ask("GET", `${path}${watch}`);
        assert.equal(answer.status, status, `${path}${watch}: ${answer.body?.message}`);
      }
    }
  });
});

/** Returns a function that sends requests as a ServiceAccount. */
async function asAccount(server: ApiServer, account: string, namespace: string) {
  const token = await requestToken(server, account, namespace);
  return (method: string, path: string, body?: unknown) => server.request(method, path, body, { token });
}
