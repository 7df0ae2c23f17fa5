/** Subjects of the benchmarks: clusters with and without latency, and files of many peers. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { stringify } from "yaml";
import { writePeerFile } from "../../lib/peer/secret.ts";
import { clusterObjects, clusterPki } from "../../lib/sandbox/chart.ts";
import type { ClusterDescription } from "../../lib/sandbox/description.ts";
import { issue, makeCa } from "../../lib/sandbox/pki.ts";
import { startSandbox } from "../../lib/sandbox/sandbox.ts";
import { findAssets, kubeconfigOf, startApiServers } from "../support/real.ts";
import { type DelayingRelay, startDelayingRelay } from "./delay.ts";

/** The first cluster has id 511, so that ids 1 to 510 are free for the peers of files. */
const describeCluster = (name: string, i: number): ClusterDescription => ({
  name,
  id: i === 0 ? 511 : i + 1,
  version: "1.20.2",
  maxConnectedClusters: 511,
  nodes: [{ name: `${name}-node`, internalIPs: [`172.18.${i}.2`], podCIDRs: [`10.${i}.0.0/24`] }],
});

export interface Clusters {
  names: string[];
  /** Description of the API servers, for the report. */
  servedBy: string;
  /** Path of a YAML kubeconfig with a context per cluster. */
  kubeconfig: string;
  /** The same, through relays that count bytes. */
  counted: string;
  /** The same, with a round-trip time of 50 ms. */
  far: string;
  relays: DelayingRelay[];
  /** Deletes the objects that an import writes. */
  reset(): Promise<void>;
  stop(): Promise<void>;
}

/** Starts clusters: real API servers if the assets exist, else the sandbox. */
export async function startClusters(dir: string, count: number): Promise<Clusters> {
  const names = Array.from({ length: count }, (_, i) => `cluster${i + 1}`);
  const descriptions = names.map(describeCluster);
  const { servers, servedBy, remove, stop } = findAssets()
    ? await real(descriptions)
    : await embedded(descriptions, dir);
  const write = (name: string, ports?: number[]) => {
    const path = join(dir, name);
    const entries = servers.map((server, i) => ({ ...server, ...(ports && { url: `https://127.0.0.1:${ports[i]}` }) }));
    writeFileSync(path, stringify(JSON.parse(kubeconfigOf(entries, "admin"))), { mode: 0o600 });
    return path;
  };
  const through = (roundTrip: number) =>
    Promise.all(servers.map(({ url }) => startDelayingRelay(Number(new URL(url).port), roundTrip)));
  const [relays, far] = [await through(0), await through(50)];
  const ports = (all: DelayingRelay[]) => all.map(({ port }) => port);
  return {
    names,
    servedBy,
    kubeconfig: write("kubeconfig"),
    counted: write("kubeconfig-counted", ports(relays)),
    far: write("kubeconfig-far", ports(far)),
    relays,
    reset: async () => {
      await Promise.all(
        names.flatMap((context) => [
          remove(context, "Secret", "cilium-clustermesh"),
          remove(context, "Secret", "cilium-kvstoremesh"),
          remove(context, "ConfigMap", "clustermesh-remote-users"),
        ]),
      );
    },
    stop: async () => {
      await Promise.all([...relays, ...far].map((relay) => relay.stop()));
      await stop();
    },
  };
}

async function embedded(descriptions: ClusterDescription[], dir: string) {
  const users = [{ name: "admin", token: "admin-token" }];
  const sandbox = await startSandbox({
    dir,
    clusters: descriptions.map((description) => ({ description, users, pki: { key: "rsa" as const } })),
  });
  const servers = sandbox.clusters.map(({ description: { name }, api: { url, ca } }) => ({ name, url, ca }));
  const remove = async (context: string, kind: string, name: string) => {
    sandbox.clusters
      .find(({ description }) => description.name === context)
      ?.api.store.remove(kind, "kube-system", name);
  };
  return { servers, servedBy: "the embedded sandbox", remove, stop: sandbox.stop };
}

async function real(descriptions: ClusterDescription[]) {
  const servers = await startApiServers(descriptions.map(({ name }) => name));
  for (const description of descriptions) {
    await servers.get(description.name).create(clusterObjects(description, clusterPki(description)));
  }
  const { gitVersion } = await servers.get("cluster1").ask("GET", "/version");
  const remove = async (context: string, kind: string, name: string) => {
    await servers.get(context).request("DELETE", `/api/v1/namespaces/kube-system/${kind.toLowerCase()}s/${name}`);
  };
  return { servers: servers.all, servedBy: `a real kube-apiserver ${gitVersion}`, remove, stop: servers.stop };
}

/** Writes files of `count` peers with a shared CA and separate client certificates to a folder. Returns the paths. */
export function manyFiles(folder: string, count: number): string[] {
  mkdirSync(folder);
  const ca = makeCa({ cn: "Cilium CA", key: "ec" });
  return Array.from({ length: count }, (_, i) => {
    const id = i + 1;
    const name = `peer${id}`;
    const peer = {
      name,
      endpoints: [`https://${name}.mesh.cilium.io:32379`],
      hostAliases: [{ hostname: `${name}.mesh.cilium.io`, ips: ["172.18.0.2"] }],
      ca: { pem: ca.cert },
      client: issue(ca, { cn: "remote", usage: "client", key: "ec" }),
      facts: { name, id, maxConnectedClusters: 511, version: "1.20.2", serverNames: ["*.mesh.cilium.io"] },
    };
    const path = join(folder, `${name}.json`);
    writeFileSync(path, JSON.stringify(writePeerFile(peer)), { mode: 0o600 });
    return path;
  });
}
