/**
 * The Kubernetes objects of a cluster with Cilium, as rendered by the Helm charts 1.10 to 1.20. Objects and fields unrelated
 * to Cluster Mesh are omitted.
 */
import {
  type ClusterDescription,
  DOMAIN,
  type NodeDescription,
  type PeerDescription,
  type ServiceDescription,
  type Values,
  values,
} from "./description.ts";
import { encode, type KubernetesObject, timestamp } from "./object.ts";
import { type Issuer, issue, type KeyType, makeCa } from "./pki.ts";
import { missingMounts, podStatus } from "./pods.ts";
import { agents, apiserver, apiserverPod, operator } from "./workloads.ts";

/** The certificates of a cluster: PEM pairs by use. */
export interface ClusterPki {
  ca: Issuer;
  /** Server certificate of etcd. */
  server: { cert: string; key: string };
  /** Client certificate for remote clusters: CN `remote` or, in authMode cluster, `remote-<name>`. */
  remote: { cert: string; key: string };
  admin: { cert: string; key: string };
  /** Client certificate of the agents for KVStoreMesh's cache (1.16+). */
  local: { cert: string; key: string };
}

export interface PkiOptions {
  /** CA shared with other clusters. Default: a new one. */
  ca?: Issuer;
  /** Default: RSA, as in the charts. */
  key?: KeyType;
  notBefore?: Date;
  notAfter?: Date;
}

/** Generates the certificates that the chart generates for a cluster. */
export function clusterPki(description: ClusterDescription, options: PkiOptions = {}): ClusterPki {
  const { name, namespace, authMode, since } = values(description);
  const { ca: shared, key = "rsa", ...dates } = options;
  const common = { key, keyFormat: "traditional", ...dates } as const;
  const ca = shared ?? makeCa({ cn: "Cilium CA", key, keyFormat: "traditional" });
  const client = (cn: string) => issue(ca, { cn, usage: "client", ...common });
  const service = `clustermesh-apiserver.${namespace}.svc`;
  const legacyName = "clustermesh-apiserver.cilium.io";
  const dns = ["*.mesh.cilium.io", ...(since("1.20") ? [] : [legacyName]), ...(since("1.14") ? [service] : [])];
  return {
    ca,
    server: issue(ca, {
      cn: since("1.20") ? service : legacyName,
      dns,
      ips: ["127.0.0.1", ...(since("1.11") ? ["::1"] : [])],
      usage: "server",
      ...common,
    }),
    remote: client(authMode === "cluster" ? `remote-${name}` : "remote"),
    admin: client(`admin-${name}`),
    local: client(`local-${name}`),
  };
}

/**
 * Returns the objects of a cluster: nodes, the objects of the chart, and the clustermesh-apiserver pods. The pods wait in
 * `ContainerCreating` while a mounted object is missing: since 1.19, a default installation lacks the ConfigMap
 * `clustermesh-remote-users`.
 */
export function clusterObjects(description: ClusterDescription, pki: ClusterPki): KubernetesObject[] {
  const v = values(description);
  const namespaced = [
    config(v),
    ...certificates(v, pki),
    ...(v.configEnabled ? peerSecrets(v) : []),
    ...(rendersUsers(v) ? [users(v)] : []),
    ...(v.service === false || v.kvstoreMode === "external" ? [] : [service(v.service ?? {})]),
    agents(v),
    operator(v),
    apiserver(v),
  ].map((object) => labelObject(v, object));
  const exists = (kind: string, name: string) => namespaced.some((o) => o.kind === kind && o.metadata.name === name);
  const pods = Array.from({ length: v.replicas ?? 1 }, (_, index) => {
    const pod = apiserverPod(v, index);
    const running = (v.podReady ?? true) && missingMounts(pod, exists).length === 0;
    return { ...pod, status: podStatus(pod, running, timestamp(CREATED)) };
  });
  return [...v.nodes.map(node), ...namespaced, ...pods];
}

const CREATED = new Date("2026-01-01T00:00:00Z");

function labelObject(v: Values, object: KubernetesObject): KubernetesObject {
  const labels = {
    "app.kubernetes.io/part-of": "cilium",
    ...object.metadata.labels,
    ...(v.since("1.20") && { "helm.sh/chart": `cilium-${v.release}` }),
    ...(v.helm && { "app.kubernetes.io/managed-by": "Helm" }),
  };
  const annotations = {
    ...object.metadata.annotations,
    ...(v.helm && { "meta.helm.sh/release-name": "cilium", "meta.helm.sh/release-namespace": v.namespace }),
  };
  const { name, namespace = v.namespace } = object.metadata;
  return {
    ...object,
    metadata: { name, namespace, labels, ...(Object.keys(annotations).length > 0 && { annotations }) },
  };
}

function config(v: Values): KubernetesObject {
  const tunnel = v.tunnelProtocol ?? "vxlan";
  const replacement = v.kubeProxyReplacement ?? false;
  const { ipam = "cluster-pool", clusterPoolCidrs: cidrs = [`10.${v.id % 256}.0.0/16`] } = v;
  const [v4, v6] = [cidrs.filter((cidr) => !cidr.includes(":")), cidrs.filter((cidr) => cidr.includes(":"))];
  const pools = {
    ...(v4.length > 0 && { "cluster-pool-ipv4-cidr": v4.join(" ") }),
    ...(v6.length > 0 && { "cluster-pool-ipv6-cidr": v6.join(" ") }),
  };
  return configMap("cilium-config", {
    "cluster-name": v.name,
    "cluster-id": String(v.id),
    "identity-allocation-mode": v.identityAllocationMode ?? "crd",
    "enable-ipv4": "true",
    "enable-ipv6": String(v.ipv6 ?? false),
    ipam,
    ...(ipam === "cluster-pool" && pools),
    ...(v.since("1.14")
      ? {
          "routing-mode": tunnel === "disabled" ? "native" : "tunnel",
          // The charts set a protocol even with native routing.
          "tunnel-protocol": tunnel === "disabled" ? "vxlan" : tunnel,
          "kube-proxy-replacement": String(replacement),
        }
      : { tunnel, "kube-proxy-replacement": replacement ? "strict" : "disabled" }),
    ...(v.encryption === "wireguard" && { "enable-wireguard": "true" }),
    ...(v.encryption === "ipsec" && { "enable-ipsec": "true" }),
    ...(v.since("1.15") && { "max-connected-clusters": String(v.maxConnectedClusters ?? 255) }),
  });
}

function configMap(name: string, data: Record<string, string>): KubernetesObject {
  return { apiVersion: "v1", kind: "ConfigMap", metadata: { name }, data };
}

function secret(name: string, values: Record<string, string>, type = "Opaque"): KubernetesObject {
  return { apiVersion: "v1", kind: "Secret", metadata: { name }, type, data: encode(values) };
}

function certificates(v: Values, pki: ClusterPki): KubernetesObject[] {
  const ca = pki.ca.cert;
  const tls = (name: string, pair: { cert: string; key: string }) =>
    secret(name, { "ca.crt": ca, "tls.crt": pair.cert, "tls.key": pair.key }, "kubernetes.io/tls");
  const authority = v.certManager
    ? secret("cilium-ca", { "ca.crt": ca, "tls.crt": ca, "tls.key": pki.ca.key }, "kubernetes.io/tls")
    : secret("cilium-ca", { "ca.crt": ca, "ca.key": pki.ca.key });
  const bundle = ({ kind, name, key }: NonNullable<ClusterDescription["caBundle"]>) =>
    kind === "Secret" ? secret(name, { [key]: ca }) : configMap(name, { [key]: ca });
  const bundles = v.caBundle && v.since("1.14") ? [bundle(v.caBundle)] : [];
  if (v.csiDriver !== undefined) return bundles;
  return [
    ...(v.since("1.12") ? [authority] : []),
    ...bundles,
    ...(v.since("1.15") ? [] : [secret("clustermesh-apiserver-ca-cert", { "ca.crt": ca, "ca.key": pki.ca.key })]),
    ...(v.kvstoreMode === "external"
      ? []
      : [
          tls("clustermesh-apiserver-server-cert", pki.server),
          tls("clustermesh-apiserver-remote-cert", pki.remote),
          tls("clustermesh-apiserver-admin-cert", pki.admin),
          ...(v.since("1.16") && v.kvstoremesh ? [tls("clustermesh-apiserver-local-cert", pki.local)] : []),
        ]),
  ];
}

/** Returns the Secrets `cilium-clustermesh` and, with KVStoreMesh, `cilium-kvstoremesh` for `clustermesh.config`. */
function peerSecrets(v: Values): KubernetesObject[] {
  const filesOf = (peer: PeerDescription): Record<string, string> => {
    const own = peer.tls ? `${peer.name}.` : "common-";
    // Up to 1.13, a config always refers to the peer's own files, which are empty if the values do not set them.
    const prefix = v.since("1.14") ? own : `${peer.name}.`;
    const url = `https://${peer.ips ? `${peer.name}.${DOMAIN}` : peer.address}:${peer.port}`;
    const ownCa = !v.since("1.14") || peer.tls?.ca !== undefined;
    const config = etcdConfig(url, prefix, ownCa ? prefix : "common-");
    const aliases =
      v.since("1.20") && peer.ips
        ? `cilium-host-aliases:\n- hostname: ${peer.name}.${DOMAIN}\n  ips:\n${peer.ips.map((ip) => `    - ${ip}\n`).join("")}`
        : "";
    return {
      [peer.name]: config + aliases,
      ...(ownCa && { [`${prefix}etcd-client-ca.crt`]: peer.tls?.ca ?? "" }),
      ...(prefix !== "common-" && {
        [`${prefix}etcd-client.key`]: peer.tls?.key ?? "",
        [`${prefix}etcd-client.crt`]: peer.tls?.cert ?? "",
      }),
    };
  };
  const prefix = v.since("1.17") ? "local-" : "common-";
  const cache =
    v.kvstoreMode === "external"
      ? ownEtcdConfig(v.etcdEndpoints ?? [])
      : etcdConfig(`https://clustermesh-apiserver.${v.namespace}.svc:2379`, prefix, prefix);
  const files: Record<string, string> = Object.assign({}, ...v.peers.map(filesOf));
  if (!v.kvstoremesh) return [secret("cilium-clustermesh", files)];
  const cacheConfigs = Object.fromEntries(v.peers.map((peer) => [peer.name, cache]));
  return [secret("cilium-clustermesh", cacheConfigs), secret("cilium-kvstoremesh", files)];
}

function etcdConfig(url: string, prefix: string, caPrefix: string): string {
  const path = "/var/lib/cilium/clustermesh/";
  return `endpoints:
- ${url}
trusted-ca-file: ${path}${caPrefix}etcd-client-ca.crt
key-file: ${path}${prefix}etcd-client.key
cert-file: ${path}${prefix}etcd-client.crt
`;
}

function ownEtcdConfig(endpoints: string[]): string {
  const path = "/var/lib/etcd-secrets/etcd-client";
  const urls = endpoints.map((url) => `- ${url}\n`).join("");
  return `endpoints:\n${urls}trusted-ca-file: '${path}-ca.crt'\nkey-file: '${path}.key'\ncert-file: '${path}.crt'\n`;
}

/** Whether the chart renders the ConfigMap `clustermesh-remote-users`. The Deployment may mount it even if not. */
function rendersUsers(v: Values): boolean {
  if (v.authMode === "legacy") return false;
  if (v.since("1.18") && (v.kvstoreMode === "external" || (v.identityAllocationMode ?? "crd") !== "crd")) return false;
  return !v.since("1.19") || v.configEnabled === true;
}

function users(v: Values): KubernetesObject {
  const own = v.kvstoremesh && !v.since("1.17") ? [v.name] : [];
  const names = [...own, ...v.peers.map((peer) => peer.name)];
  const text = `users:\n${names.map((name) => `- name: remote-${name}\n  role: remote\n`).join("")}`;
  return configMap("clustermesh-remote-users", { "users.yaml": text });
}

function service(description: ServiceDescription): KubernetesObject {
  const { type = "NodePort", clusterIP, clusterIPs, externalTrafficPolicy, annotations } = description;
  const nodePort = type === "NodePort" ? (description.nodePort ?? 32379) : description.nodePort;
  const ips = clusterIPs ?? (clusterIP ? [clusterIP] : undefined);
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: {
      name: "clustermesh-apiserver",
      labels: { "k8s-app": "clustermesh-apiserver", "app.kubernetes.io/name": "clustermesh-apiserver" },
      ...(annotations && { annotations }),
    },
    spec: {
      type,
      selector: { "k8s-app": "clustermesh-apiserver" },
      ports: [{ port: 2379, protocol: "TCP", targetPort: 2379, ...(nodePort !== undefined && { nodePort }) }],
      ...(ips && { clusterIP: ips[0], clusterIPs: ips }),
      ...(ips && ips.length > 1 && { ipFamilyPolicy: "RequireDualStack" }),
      ...(externalTrafficPolicy && { externalTrafficPolicy }),
    },
    status: { loadBalancer: description.ingress?.length ? { ingress: description.ingress } : {} },
  };
}

function node(description: NodeDescription): KubernetesObject {
  const { name, internalIPs, externalIPs = [], podCIDRs = [], created = CREATED, ready = true } = description;
  return {
    apiVersion: "v1",
    kind: "Node",
    metadata: {
      name,
      labels: { "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", ...description.labels },
      creationTimestamp: timestamp(created),
    },
    spec: {
      ...(podCIDRs.length > 0 && { podCIDR: podCIDRs[0], podCIDRs }),
      ...(description.unschedulable && { unschedulable: true }),
    },
    status: {
      addresses: [
        ...internalIPs.map((address) => ({ type: "InternalIP", address })),
        ...externalIPs.map((address) => ({ type: "ExternalIP", address })),
        { type: "Hostname", address: name },
      ],
      conditions: [
        { type: "Ready", status: ready ? "True" : "False", reason: ready ? "KubeletReady" : "KubeletNotReady" },
      ],
    },
  };
}
