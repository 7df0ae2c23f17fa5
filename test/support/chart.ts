/** A cluster with Cilium as its real Helm chart makes it: objects rendered by helm, with the certificates in them. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import { type ClusterPki, clusterObjects, clusterPki } from "../../lib/sandbox/chart.ts";
import { agentFiles, csiMounts, csiVolume, csiVolumes } from "../../lib/sandbox/csi.ts";
import { type ClusterDescription, values } from "../../lib/sandbox/description.ts";
import { type KubernetesObject, timestamp } from "../../lib/sandbox/object.ts";
import { type Issuer, issue, type KeyType } from "../../lib/sandbox/pki.ts";
import { podStatus } from "../../lib/sandbox/pods.ts";
import { type ChartVersion, realAssets } from "./real-assets.ts";
import { removeFolder, run, temporaryFolder } from "./real-process.ts";

const NAMESPACE = "kube-system";
const APISERVER = "clustermesh-apiserver";

/** What can be asked of a real chart; the Service is a NodePort. */
export type ChartDescription = Pick<
  ClusterDescription,
  "name" | "id" | "kvstoremesh" | "authMode" | "nodes" | "csiDriver"
> & { version: ChartVersion; nodePort: number };

export interface ChartCluster {
  /** The chart's objects, and what the cluster itself adds: its nodes, and a pod of the clustermesh-apiserver. */
  objects: KubernetesObject[];
  /** The certificates in the chart's Secrets; those that the CSI driver brings if it does. */
  pki: ClusterPki;
}

/**
 * Renders Cilium's chart for a cluster.
 *
 * @param kubeVersion version of Kubernetes, as the API server says it (`v1.36.3`).
 * @param options the CA that the clusters share; by default the chart makes one. `key` is the type of the CSI driver's keys,
 * since the chart's own are RSA.
 * @throws if helm refuses the values.
 */
export async function chartCluster(
  description: ChartDescription,
  kubeVersion: string,
  options: { ca?: Issuer; key?: KeyType } = {},
): Promise<ChartCluster> {
  const rendered = await renderChart(description.version, chartValues(description, options.ca), kubeVersion);
  if (description.csiDriver !== undefined) replaceOwnCertificates(rendered, description, description.csiDriver);
  const pki = description.csiDriver === undefined ? pkiIn(rendered, description) : clusterPki(description, options);
  const nodes = clusterObjects(description, pki).filter(({ kind }) => kind === "Node");
  const pod = apiserverPod(find(rendered, "Deployment", APISERVER), description.nodes[0]?.name ?? "");
  return { objects: [...nodes, ...rendered, pod], pki };
}

/**
 * Runs `helm template` on one of Cilium's charts.
 *
 * @returns the objects, in helm's order.
 * @throws with helm's own words if it fails.
 */
async function renderChart(
  version: ChartVersion,
  chartValues: object,
  kubeVersion: string,
): Promise<KubernetesObject[]> {
  const { helm, charts } = realAssets();
  const folder = temporaryFolder("helm");
  try {
    const file = join(folder, "values.yaml");
    writeFileSync(file, JSON.stringify(chartValues), { mode: 0o600 });
    const options = ["--namespace", NAMESPACE, "--kube-version", kubeVersion, "--values", file];
    const { code, stdout, stderr } = await run(helm, ["template", "cilium", charts[version], ...options], { folder });
    if (code !== 0) throw new Error(`helm template of ${version}: ${stderr.trim()}`);
    return parseAllDocuments(stdout).flatMap((document) => document.toJS() ?? []);
  } finally {
    removeFolder(folder);
  }
}

/** The chart's values, as a user writes them. */
function chartValues(description: ChartDescription, ca: Issuer | undefined): object {
  const { name, id, kvstoremesh, authMode, nodePort, csiDriver } = description;
  const described = values(description);
  const mounts = (files: ReturnType<typeof agentFiles>) => csiMounts(described, files, undefined);
  const csi = csiDriver !== undefined;
  return {
    cluster: { name, id },
    ipam: { operator: { clusterPoolIPv4PodCIDRList: [`10.${id}.0.0/16`] } },
    ...(csi && {
      // Hubble would have certificates of its own.
      hubble: { enabled: false },
      extraVolumes: csiVolumes(described, agentFiles(described)),
      extraVolumeMounts: mounts(agentFiles(described)),
    }),
    ...(ca && !csi && { tls: { ca: { cert: base64(ca.cert), key: base64(ca.key) } } }),
    clustermesh: {
      useAPIServer: true,
      apiserver: {
        service: { type: "NodePort", nodePort },
        tls: { ...(authMode && { authMode }), auto: csi ? { enabled: false } : { enabled: true, method: "helm" } },
        ...(csi && { extraVolumes: csiVolumes(described, ["common"]) }),
        kvstoremesh: {
          ...(kvstoremesh !== undefined && { enabled: kvstoremesh }),
          ...(csi && { extraVolumeMounts: mounts(["common"]) }),
        },
      },
    },
  };
}

/**
 * Has the CSI driver bring the certificates of the cluster's etcd and of its admin: the charts up to 1.20 take them from
 * Secrets whatever the values say, so people patch these two volumes.
 */
function replaceOwnCertificates(
  rendered: readonly KubernetesObject[],
  { name }: ChartDescription,
  driver: string,
): void {
  const { spec } = find(rendered, "Deployment", APISERVER).spec.template;
  const names = { "etcd-server-secrets": `${APISERVER}.${NAMESPACE}.svc`, "etcd-admin-client": `admin-${name}` };
  for (const [volume, commonName] of Object.entries(names)) {
    const index = spec.volumes.findIndex((one: { name: string }) => one.name === volume);
    if (index < 0) throw new Error(`the chart has no volume ${volume}`);
    spec.volumes[index] = { name: volume, ...csiVolume(driver, commonName) };
  }
}

/** The certificates that the chart made, and the one of `local-<name>`, which it makes only with KVStoreMesh. */
function pkiIn(rendered: readonly KubernetesObject[], { name, kvstoremesh }: ChartDescription): ClusterPki {
  const text = (secret: string, key: string) => {
    const value: string | undefined = find(rendered, "Secret", secret).data?.[key];
    if (value === undefined) throw new Error(`the chart's Secret ${secret} has no ${key}`);
    return Buffer.from(value, "base64").toString();
  };
  const pair = (secret: string) => ({ cert: text(secret, "tls.crt"), key: text(secret, "tls.key") });
  const ca = { cert: text(`${APISERVER}-server-cert`, "ca.crt"), chain: "", key: text("cilium-ca", "ca.key") };
  const hasLocal = kvstoremesh !== false;
  return {
    ca,
    server: pair(`${APISERVER}-server-cert`),
    remote: pair(`${APISERVER}-remote-cert`),
    admin: pair(`${APISERVER}-admin-cert`),
    local: hasLocal ? pair(`${APISERVER}-local-cert`) : issue(ca, { cn: `local-${name}`, usage: "client" }),
  };
}

/** The running pod that the Deployment would have. */
function apiserverPod(deployment: KubernetesObject, nodeName: string): KubernetesObject {
  const { metadata, spec } = deployment.spec.template;
  const pod = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { ...metadata, name: `${APISERVER}-0`, namespace: NAMESPACE },
    spec: { ...spec, nodeName },
  };
  return { ...pod, status: podStatus(pod, true, timestamp(new Date())) };
}

function find(objects: readonly KubernetesObject[], kind: string, name: string): KubernetesObject {
  const found = objects.find((one) => one.kind === kind && one.metadata.name === name);
  if (!found) throw new Error(`the chart renders no ${kind} ${name}`);
  return found;
}

function base64(text: string): string {
  return Buffer.from(text).toString("base64");
}
