/** A cluster of the sandbox for one test, reached as the programs reach one. */
import type { TestContext } from "node:test";
import type { KubernetesApi } from "../../lib/kube/api.ts";
import { openCluster } from "../../lib/kube/open.ts";
import type { ClusterPki, PkiOptions } from "../../lib/sandbox/chart.ts";
import type { ClusterDescription } from "../../lib/sandbox/description.ts";
import type { KubernetesObject } from "../../lib/sandbox/object.ts";
import { startSandbox } from "../../lib/sandbox/sandbox.ts";
import type { Api, Rule } from "../../lib/sandbox/server.ts";

export interface TestCluster {
  api: KubernetesApi;
  kubeconfig: string;
  /** The server's side: what is stored, and what was asked. */
  server: Api;
  pki: ClusterPki;
  /** Changes a stored object behind everybody's back. */
  change(kind: string, name: string, by: (object: KubernetesObject) => void): void;
  remove(kind: string, name: string): void;
}

/** A description with what tests do not care for filled in. */
export function describeCluster(overrides: Partial<ClusterDescription> = {}): ClusterDescription {
  const node = (i: number) => ({
    name: `node${i}`,
    internalIPs: [`172.18.2.${i}`],
    podCIDRs: [`10.2.${i}.0/24`],
    created: new Date(Date.UTC(2026, 0, i)),
  });
  return { name: "cluster2", id: 2, version: "1.18", nodes: [1, 2].map(node), ...overrides };
}

/** Starts a cluster that is stopped after the test. */
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
  const { api } = await openCluster({ kubeconfig: sandbox.kubeconfig });
  t.after(() => api.close());
  const namespace = description.namespace ?? "kube-system";
  const scope = (kind: string) => (kind === "Node" ? undefined : namespace);
  const { api: server } = cluster;
  return {
    api,
    kubeconfig: sandbox.kubeconfig,
    server,
    pki: cluster.pki,
    change: (kind, name, by) => {
      const object = server.store.read(kind, scope(kind), name);
      if (!object) throw new Error(`no ${kind} ${name}`);
      by(object);
      server.store.put(object);
    },
    remove: (kind, name) => void server.store.remove(kind, scope(kind), name),
  };
}

/**
 * Counts the rounds of requests that depend on each other: what is asked for at once is answered at once, when nothing
 * new has come for a while.
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
