/** Clusters that `sync` as built connects, for tests of its behaviour as a process. */
import type { TestContext } from "node:test";
import { type FaultyMesh, startFaultyMesh } from "./faulty-mesh.ts";
import { removeFolder, temporaryFolder } from "./real-process.ts";
import { type SyncProcess, startSyncProcess } from "./sync-process.ts";

export interface SyncPair {
  mesh: FaultyMesh;
  /** For files of the test. */
  folder: string;
  /** The kubeconfig of the account `sync`, through the relays. */
  kubeconfig: string;
  /** The writes of Secrets and ConfigMaps so far, by other processes too. */
  writes(): string[];
  /** Starts a sync with `--yes` that is ended after the test. */
  start(...args: string[]): Promise<SyncProcess>;
}

/** Starts clusters that are not connected yet, by default `c1` and `c2`. All is stopped after the test. */
export async function startPair(t: TestContext, clusters = 2): Promise<SyncPair> {
  const mesh = await startFaultyMesh({ clusters, users: ["sync"] });
  t.after(() => mesh.stop());
  const folder = temporaryFolder("sync-pair");
  t.after(() => removeFolder(folder));
  const kubeconfig = mesh.kubeconfigOf("sync");
  return {
    ...{ mesh, folder, kubeconfig },
    writes: () =>
      mesh.clusters.flatMap(({ name, api }) =>
        api.requests.filter(isWrite).map(({ method, path }) => `${name} ${method} ${path}`),
      ),
    start: async (...args) => {
      const sync = await startSyncProcess(["--yes", "--settle=100ms", ...args], { kubeconfig });
      t.after(() => sync.close());
      return sync;
    },
  };
}

/** Whether a request writes a Secret or a ConfigMap. */
export function isWrite({ method, path }: { method: string; path: string }): boolean {
  return method !== "GET" && /\/(secrets|configmaps)([/?]|$)/.test(path);
}
