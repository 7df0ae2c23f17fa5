/** A sandbox cluster for one test, accessed through a kubeconfig as the programs do. */
import type { TestContext } from "node:test";
import type { KubernetesApi } from "../../lib/kube/api.ts";
import { openCluster } from "../../lib/kube/open.ts";
import { FIELD_MANAGER } from "../../lib/peer/annotations.ts";
import type { ClusterPki, PkiOptions } from "../../lib/sandbox/chart.ts";
import type { ClusterDescription } from "../../lib/sandbox/description.ts";
import type { KubernetesObject } from "../../lib/sandbox/object.ts";
import { startSandbox } from "../../lib/sandbox/sandbox.ts";
import type { Api, Rule } from "../../lib/sandbox/server.ts";

export interface TestCluster {
  api: KubernetesApi;
  kubeconfig: string;
  /** The server, with its stored objects and the log of requests. */
  server: Api;
  pki: ClusterPki;
  /** Modifies a stored object, bypassing the API. */
  change(kind: string, name: string, mutate: (object: KubernetesObject) => void): void;
  remove(kind: string, name: string): void;
}

/** Returns a description with defaults. */
export function describeCluster(overrides: Partial<ClusterDescription> = {}): ClusterDescription {
  const node = (i: number) => ({
    name: `node${i}`,
    internalIPs: [`172.18.2.${i}`],
    podCIDRs: [`10.2.${i}.0/24`],
    created: new Date(Date.UTC(2026, 0, i)),
  });
  return { name: "cluster2", id: 2, version: "1.18", nodes: [1, 2].map(node), ...overrides };
}

/** Starts a cluster that is stopped after the test. `allow` and `forbid` are the permissions of the kubeconfig's user. */
export async function startCluster(
  t: TestContext,
  description: ClusterDescription,
  { pki, ...rights }: { pki?: PkiOptions; allow?: Rule[]; forbid?: Rule[] } = {},
): Promise<TestCluster> {
  const users = [{ name: "tester", token: "tester-token", ...rights }];
  const sandbox = await startSandbox({ clusters: [{ description, users, ...(pki && { pki }) }] });
  t.after(() => sandbox.stop());
  const [cluster] = sandbox.clusters;
  if (!cluster) throw new Error("no cluster");
  const { api } = await openCluster({ clientName: FIELD_MANAGER, kubeconfig: sandbox.kubeconfig });
  t.after(() => api.close());
  const namespace = description.namespace ?? "kube-system";
  const scope = (kind: string) => (kind === "Node" ? undefined : namespace);
  const { api: server } = cluster;
  return {
    api,
    kubeconfig: sandbox.kubeconfig,
    server,
    pki: cluster.pki,
    change: (kind, name, mutate) => {
      const object = server.store.read(kind, scope(kind), name);
      if (!object) throw new Error(`${kind}/${name} not found`);
      mutate(object);
      server.store.put(object);
    },
    remove: (kind, name) => void server.store.remove(kind, scope(kind), name),
  };
}

/**
 * Counts round trips: concurrent requests are held and answered together after 60 ms without a new request. Returns a
 * function that returns the count.
 */
export function countRoundTrips(server: Api): () => number {
  let rounds = 0;
  let held: (() => void)[] = [];
  let timer: NodeJS.Timeout | undefined;
  server.onRequest = () =>
    new Promise<undefined>((resolve) => {
      held.push(() => resolve(undefined));
      clearTimeout(timer);
      timer = setTimeout(() => {
        rounds++;
        const release = held;
        held = [];
        for (const one of release) one();
      }, 60);
    });
  return () => rounds;
}
