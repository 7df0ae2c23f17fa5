/** import-secrets in tired hands, on real API servers. */
import { clusterObjects, clusterPki } from "../../lib/sandbox/chart.ts";
import type { KubernetesObject } from "../../lib/sandbox/object.ts";
import { CAREFUL, carefulCluster, carefulTests } from "../support/careful.ts";
import { startApiServers, withoutRealServers } from "../support/real.ts";

const paths = { Secret: "secrets", ConfigMap: "configmaps" };
const pathOf = (kind: keyof typeof paths, name: string) => `/api/v1/namespaces/kube-system/${paths[kind]}/${name}`;

carefulTests(
  "import-secrets, with care, on real API servers",
  async () => {
    const servers = await startApiServers(CAREFUL);
    try {
      for (const name of CAREFUL) {
        const description = carefulCluster(name);
        await servers.get(name).create(clusterObjects(description, clusterPki(description, { key: "ec" })));
      }
    } catch (error) {
      await servers.stop();
      throw error;
    }
    return {
      kubeconfig: servers.kubeconfig,
      read: async (context, kind, name) => {
        const { status, body } = await servers.get(context).request("GET", pathOf(kind, name));
        return status === 200 ? body : undefined;
      },
      create: (context, object) => servers.get(context).create([object as KubernetesObject]),
      remove: async (context, kind, name) => void (await servers.get(context).request("DELETE", pathOf(kind, name))),
      stop: () => servers.stop(),
    };
  },
  { skip: withoutRealServers() },
);
