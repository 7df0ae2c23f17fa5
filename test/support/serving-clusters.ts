/** Sandbox clusters that serve their etcd, and the peers extracted from them. */
import type { TestContext } from "node:test";
import { EXTRACT_DEFAULTS, extract } from "../../lib/extract/extract.ts";
import { openCluster } from "../../lib/kube/open.ts";
import { FIELD_MANAGER } from "../../lib/peer/annotations.ts";
import type { Peer } from "../../lib/peer/peer.ts";
import { type Sandbox, servingClusters, startSandbox } from "../../lib/sandbox/sandbox.ts";

/** Starts clusters that serve their etcd, with an empty list of users, as after a first import. */
export async function startServingClusters(
  t: TestContext,
  options: { count?: number; sharedCa?: boolean } = {},
): Promise<Sandbox> {
  const sandbox = await startSandbox({ clusters: await servingClusters({ key: "ec", ...options }) });
  t.after(() => sandbox.stop());
  for (const { api } of sandbox.clusters) {
    api.store.put({
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: "clustermesh-remote-users", namespace: "kube-system" },
      data: { "users.yaml": "users: []\n" },
    });
  }
  return sandbox;
}

/** Extracts the peer of a context. */
export async function extractPeer(sandbox: Sandbox, context: string): Promise<Peer> {
  const { api } = await openCluster({ clientName: FIELD_MANAGER, kubeconfig: sandbox.kubeconfig, context });
  try {
    return (await extract(api, { ...EXTRACT_DEFAULTS, resolve: async () => [] })).peer;
  } finally {
    api.close();
  }
}
