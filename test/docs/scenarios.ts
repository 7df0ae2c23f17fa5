/** The embedded clusters that pages start with, and what happens to them while a page is run. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type ClusterPki, clusterObjects, clusterPki } from "../../lib/sandbox/chart.ts";
import type { ClusterDescription } from "../../lib/sandbox/description.ts";
import { encode } from "../../lib/sandbox/object.ts";
import { issue, makeCa } from "../../lib/sandbox/pki.ts";
import { defaultClusters, type Sandbox, type SandboxCluster, servingClusters } from "../../lib/sandbox/sandbox.ts";

import { accessOf, argoSecret } from "../support/cluster-secrets.ts";

const NAMESPACE = "kube-system";
const DAY = 86_400_000;

/** A cluster of Cilium 1.20 with two nodes, as the chart installs it. */
function cluster(id: number, other: Partial<ClusterDescription> = {}): ClusterDescription {
  const name = `cluster${id}`;
  const nodes = [2, 3].map((host) => ({
    name: `${name}-node${host - 1}`,
    internalIPs: [`172.18.${id}.${host}`],
    podCIDRs: [`10.${id}.${host - 2}.0/24`],
  }));
  return { name, id, version: "1.20.2", nodes, service: { nodePort: 32_378 + id }, ...other };
}

/** Clusters of Cilium 1.20, each with its own CA unless they share one. */
function modern(count: number, other: Partial<ClusterDescription> = {}, sharedCa = false): SandboxCluster[] {
  const ca = sharedCa ? makeCa({ cn: "Cilium CA", key: "ec" }) : undefined;
  return Array.from({ length: count }, (_, i) => ({
    description: cluster(i + 1, other),
    pki: { key: "ec", ...(ca && { ca }) },
  }));
}

/** The end of the day a number of days from today, so that its date and the days until then do not depend on the time of day. */
function endOfDay(days: number): Date {
  return new Date((Math.floor(Date.now() / DAY) + days + 1) * DAY - 1000);
}

/** Named in `<!-- docs: sandbox NAME -->`. */
export const SCENARIOS: Readonly<Record<string, () => SandboxCluster[] | Promise<SandboxCluster[]>>> = {
  /** Four clusters of Cilium 1.20. */
  modern: () => modern(4),
  /** Three clusters of Cilium 1.20 with one CA. */
  "shared-ca": () => modern(3, {}, true),
  /** Thirty clusters of Cilium 1.20. */
  large: () => modern(30),
  /** Cilium 1.14 without KVStoreMesh, 1.18 and 1.20 with it. */
  "three-versions": () => defaultClusters("ec"),
  /** The same with etcds that listen on loopback addresses. */
  serving: () => servingClusters({ key: "ec" }),
  /** Certificates of cluster2 expire in 20 days. */
  expiring: () => modern(3).map((one, i) => (i === 1 ? { ...one, pki: { key: "ec", notAfter: endOfDay(20) } } : one)),
  /** cluster2 is installed by Helm, which owns its configuration of cluster1. */
  helm: () => {
    const peers = [{ name: "cluster1", ips: ["172.18.1.2", "172.18.1.3"], port: 32_379 }];
    const ca = makeCa({ cn: "Cilium CA", key: "ec" });
    const descriptions = [cluster(1), cluster(2, { helm: true, configEnabled: true, peers }), cluster(3)];
    return descriptions.map((description) => ({ description, pki: { key: "ec", ca } }));
  },
  /** cluster2 is exposed by a load balancer. */
  "load-balancer": () =>
    modern(3).map((one) => {
      if (one.description.id !== 2) return one;
      const service = { type: "LoadBalancer" as const, ingress: [{ ip: "203.0.113.10" }] };
      return { ...one, description: { ...one.description, service } };
    }),
  /** cluster1 runs Cilium 1.15 without KVStoreMesh. */
  "before-upgrade": () =>
    modern(3).map((one) =>
      one.description.id === 1 ? { ...one, description: { ...one.description, version: "1.15.19" } } : one,
    ),
  /** Cilium 1.17, the last version with external workloads. */
  "external-workloads": () => [{ description: cluster(1, { version: "1.17.9" }), pki: { key: "ec" } }],
};

type Event = (sandbox: Sandbox, folder: string) => void;

/** Named in `<!-- docs: event NAME -->`. */
export const EVENTS: Readonly<Record<string, Event>> = {
  /** The certificates of cluster2 are renewed by its CA. */
  renewal: (sandbox) => {
    const one = find(sandbox, "cluster2");
    putCertificates(sandbox, "cluster2", clusterPki(one.description, { key: "ec", ca: one.pki.ca }));
  },
  /** cluster2 gets a new CA, whose certificate is in new-ca.crt, and certificates of it. */
  "new-ca": (sandbox, folder) => {
    const ca = makeCa({ cn: "Cilium CA", key: "ec" });
    writeFileSync(join(folder, "new-ca.crt"), ca.cert);
    putCertificates(sandbox, "cluster2", clusterPki(find(sandbox, "cluster2").description, { key: "ec", ca }));
  },
  /** A CA for cluster2 is made, whose certificate is in new-ca.crt. */
  "ca-made": (_, folder) => writeFileSync(join(folder, "new-ca.crt"), makeCa({ cn: "Cilium CA 2027", key: "ec" }).cert),
  /** cluster1 is upgraded to Cilium 1.20. */
  upgrade: (sandbox) => {
    const { description, pki, api } = find(sandbox, "cluster1");
    for (const object of clusterObjects({ ...description, version: "1.20.2" }, pki)) api.store.put(object);
  },
  /** The certificate of cluster2 that other clusters hold has expired. cluster2 has renewed it since. */
  expiry: (sandbox) => {
    const { ca } = find(sandbox, "cluster2").pki;
    const [notBefore, notAfter] = [new Date(Date.now() - 100 * DAY), endOfDay(-11)];
    const { cert, key } = issue(ca, { cn: "remote", usage: "client", key: "ec", notBefore, notAfter });
    for (const { api } of sandbox.clusters) {
      for (const name of ["cilium-clustermesh", "cilium-kvstoremesh"]) {
        const secret = api.store.read("Secret", NAMESPACE, name);
        const data = secret?.data as Record<string, string> | undefined;
        if (!secret || data?.["cluster2.etcd-client.crt"] === undefined) continue;
        api.store.put({
          ...secret,
          data: { ...data, ...encode({ "cluster2.etcd-client.crt": cert, "cluster2.etcd-client.key": key }) },
        });
      }
    }
  },
  /** Of cluster3-secret.json, a copy with a truncated certificate, and a copy with the private key of cluster2. */
  damage: (sandbox, folder) => {
    const secret = JSON.parse(readFileSync(join(folder, "cluster3-secret.json"), "utf8"));
    const write = (name: string, data: Record<string, string>) =>
      writeFileSync(join(folder, name), JSON.stringify({ ...secret, data: { ...secret.data, ...data } }), {
        mode: 0o600,
      });
    write("truncated.json", { "cluster3.crt": secret.data["cluster3.crt"].slice(0, 201) });
    write("mixed-up.json", encode({ "cluster3.key": find(sandbox, "cluster2").pki.remote.key }));
  },
  /** A file of cluster2 as the old scripts wrote it. */
  "old-file": (sandbox, folder) => {
    writeFileSync(join(folder, "old-cluster2.json"), JSON.stringify(oldSecret(sandbox)), { mode: 0o600 });
  },
  /** That file was imported into cluster1 by the old scripts, which is by kubectl apply. */
  "old-import": (sandbox) => {
    const secret = oldSecret(sandbox);
    const annotations = { "kubectl.kubernetes.io/last-applied-configuration": JSON.stringify(secret) };
    const metadata = { ...secret.metadata, namespace: NAMESPACE, annotations };
    find(sandbox, "cluster1").api.store.put({ ...secret, metadata });
  },
  /** Argo CD in cluster1 knows all clusters, and a cluster that it logs in to by a program. */
  "argo-cd": (sandbox) => {
    const { api } = find(sandbox, "cluster1");
    const secrets = sandbox.clusters.map(({ description: { name } }) =>
      argoSecret(`cluster-${name}`, name, accessOf(sandbox, name)),
    );
    const execProviderConfig = { command: "aws", apiVersion: "client.authentication.k8s.io/v1beta1" };
    const access = { ...accessOf(sandbox, "cluster1"), server: "https://eks.example.com" };
    secrets.push(argoSecret("cluster-eks", "eks", access, { bearerToken: undefined, execProviderConfig }));
    for (const secret of secrets) api.store.put({ ...secret, metadata: { ...secret.metadata, namespace: "argocd" } });
  },
  /** The certificate of external workloads is made in cluster1. */
  "external-workload-certificate": (sandbox) => {
    const { pki, api } = find(sandbox, "cluster1");
    const { cert, key } = pki.remote;
    api.store.put({
      apiVersion: "v1",
      kind: "Secret",
      metadata: { name: "clustermesh-apiserver-client-cert", namespace: NAMESPACE },
      data: encode({ "ca.crt": pki.ca.cert, "tls.crt": cert, "tls.key": key }),
    });
  },
};

/** The Secret for cluster2 as the old scripts made it, with the address of a node in the URL. */
function oldSecret(sandbox: Sandbox) {
  const { pki } = find(sandbox, "cluster2");
  const path = "/var/lib/cilium/clustermesh/cluster2";
  const config = `endpoints:
- https://172.18.2.2:32380
trusted-ca-file: ${path}-ca.crt
cert-file: ${path}.crt
key-file: ${path}.key
`;
  const files = { "cluster2-ca.crt": pki.ca.cert, "cluster2.crt": pki.remote.cert, "cluster2.key": pki.remote.key };
  const metadata = { name: "cilium-clustermesh" };
  return { apiVersion: "v1", kind: "Secret", type: "Opaque", metadata, data: encode({ cluster2: config, ...files }) };
}

function find({ clusters }: Sandbox, name: string): Sandbox["clusters"][number] {
  const one = clusters.find(({ description }) => description.name === name);
  if (!one) throw new Error(`the sandbox has no ${name}`);
  return one;
}

function putCertificates(sandbox: Sandbox, name: string, pki: ClusterPki): void {
  const { description, api } = find(sandbox, name);
  for (const object of clusterObjects(description, pki)) {
    if (object.kind === "Secret" && object.metadata.name.endsWith("-cert")) api.store.put(object);
  }
}
