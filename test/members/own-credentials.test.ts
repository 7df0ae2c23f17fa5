/** The credentials of the management cluster stay there, also those of a pod's service account. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { configMaps } from "../../lib/kube/api.ts";
import { loadKubeconfig, selectContext } from "../../lib/kube/kubeconfig/kubeconfig.ts";
import { openContext } from "../../lib/kube/open.ts";
import { listClusterSecrets } from "../../lib/members/cluster-secrets.ts";
import { startSandbox } from "../../lib/sandbox/sandbox.ts";
import { ca, serve } from "../support/api-server.ts";
import { describeCluster } from "../support/cluster.ts";
import { accessOf, kubeconfigOf, kubeconfigSecret } from "../support/cluster-secrets.ts";

test("in a pod, a member does not receive the token of the service account", async (t) => {
  const description = describeCluster();
  const users = [{ name: "system:serviceaccount:members:sync", token: "pod-token" }];
  const sandbox = await startSandbox({ clusters: [{ description, users }] });
  t.after(() => sandbox.stop());
  const received: (string | undefined)[] = [];
  const member = await serve(t, "h2", ({ headers }, response) => {
    received.push(headers.authorization);
    response.end("{}");
  });
  const access = { server: member.url, ca: Buffer.from(ca.cert).toString("base64"), token: "member-token" };
  sandbox.clusters[0]?.api.store.put(kubeconfigSecret("one", kubeconfigOf(access)));

  const serviceAccount = mkdtempSync(join(tmpdir(), "service-account-"));
  t.after(() => rmSync(serviceAccount, { recursive: true, force: true }));
  const management = accessOf(sandbox, description.name);
  writeFileSync(join(serviceAccount, "token"), "pod-token");
  writeFileSync(join(serviceAccount, "ca.crt"), Buffer.from(management.ca, "base64"));
  writeFileSync(join(serviceAccount, "namespace"), "members");
  const { hostname, port } = new URL(management.server);
  const env = { HOME: serviceAccount, KUBERNETES_SERVICE_HOST: hostname, KUBERNETES_SERVICE_PORT: port };
  const own = await selectContext(await loadKubeconfig({ env, serviceAccount }), undefined);
  assert.equal(own.namespace, "members");

  const api = openContext(own, { clientName: "test", env });
  t.after(() => api.close());
  const permissions = { commands: new Set<string>(), insecure: false };
  const [cluster] = await listClusterSecrets(api, { format: "secrets", namespace: "members", permissions });
  assert.ok(cluster && "context" in cluster);
  const memberApi = openContext(cluster.context, { clientName: "test", env });
  t.after(() => memberApi.close());
  await memberApi.get(configMaps, "kube-system", "cilium-config");
  assert.deepEqual(received, ["Bearer member-token"]);
  assert.ok(!JSON.stringify(cluster).includes("pod-token"));
});
