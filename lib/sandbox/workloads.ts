/** Cilium's workloads, with the containers, mounts and volumes of Cluster Mesh. */
import { agentFiles, csiMounts, csiVolume, csiVolumes } from "./csi.ts";
import { DOMAIN, type Values } from "./description.ts";
import type { KubernetesObject } from "./object.ts";

type Fields = Record<string, unknown>;

const MOUNT = { mountPath: "/var/lib/cilium/clustermesh", readOnly: true };
const MODE = { defaultMode: 0o400 };
const ENVIRONMENT = Object.entries({ CLUSTER_NAME: "cluster-name", CLUSTER_ID: "cluster-id" }).map(([name, key]) => ({
  name,
  valueFrom: { configMapKeyRef: { name: "cilium-config", key } },
}));

/** Returns the DaemonSet `cilium`. */
export function agents(v: Values): KubernetesObject {
  const { volumeMounts, volumes } = remoteConfigs(v, "agents");
  const container = { name: "cilium-agent", image: image(v, "cilium"), command: ["cilium-agent"], volumeMounts };
  const spec = { hostNetwork: true, containers: [container], volumes, ...hostAliases(v, !v.kvstoremesh) };
  return workload("DaemonSet", "cilium", spec);
}

/** Returns the Deployment `cilium-operator`. */
export function operator(v: Values): KubernetesObject {
  const mounts = v.operatorMountsSecret === true && v.since("1.16");
  const { volumeMounts, volumes } = mounts ? remoteConfigs(v, "operator") : { volumeMounts: [], volumes: [] };
  const container = {
    name: "cilium-operator",
    image: image(v, "operator-generic"),
    command: ["cilium-operator-generic"],
  };
  const spec = {
    hostNetwork: true,
    containers: [{ ...container, volumeMounts }],
    volumes,
    ...hostAliases(v, mounts && !v.kvstoremesh),
  };
  return workload("Deployment", "cilium-operator", spec, { "io.cilium/app": "operator" });
}

/** Returns the Deployment `clustermesh-apiserver`. */
export function apiserver(v: Values): KubernetesObject {
  const deployment = workload("Deployment", "clustermesh-apiserver", apiserverSpec(v));
  return { ...deployment, spec: { replicas: v.replicas ?? 1, ...deployment.spec } };
}

/** Returns the pod of a replica of `clustermesh-apiserver`, without status; replicas are assigned to the nodes in turn. */
export function apiserverPod(v: Values, index: number): KubernetesObject {
  const suffix = Buffer.from(`${v.name}/${index}`).toString("hex").slice(-5);
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name: `clustermesh-apiserver-6d5bb8f9c7-${suffix}`,
      namespace: v.namespace,
      labels: { ...podLabels("clustermesh-apiserver"), "pod-template-hash": "6d5bb8f9c7" },
    },
    spec: {
      ...apiserverSpec(v),
      ...(v.nodes.length > 0 && { nodeName: v.nodes[index % v.nodes.length]?.name }),
    },
  };
}

function apiserverSpec(v: Values): Fields {
  const internal = v.kvstoreMode === "internal";
  const users = internal && v.authMode !== "legacy";
  // Up to 1.15, etcd has a separate image; in 1.14, kvstoremesh too.
  const etcdImage = v.since("1.16") ? image(v, "clustermesh-apiserver") : "quay.io/coreos/etcd:v3.5.4";
  const isSeparate = !v.since("1.15");
  const remote = remoteConfigs(v, "kvstoremesh");
  const adminClient = { name: "etcd-admin-client", mountPath: "/var/lib/cilium/etcd-secrets", readOnly: true };
  const etcdConfigMount = { name: "etcd-config", mountPath: "/var/lib/cilium", readOnly: true };
  const etcd = {
    name: "etcd",
    image: etcdImage,
    command: [v.since("1.16") ? "/usr/bin/etcd" : "/usr/local/bin/etcd"],
    args: ["--client-cert-auth", "--trusted-ca-file=/var/lib/etcd-secrets/ca.crt"],
    ports: [{ name: "etcd", containerPort: 2379, protocol: "TCP" }],
    volumeMounts: [
      { name: "etcd-server-secrets", mountPath: "/var/lib/etcd-secrets", readOnly: true },
      { name: "etcd-data-dir", mountPath: "/var/run/etcd" },
    ],
  };
  const api = {
    name: "apiserver",
    image: image(v, "clustermesh-apiserver"),
    command: ["/usr/bin/clustermesh-apiserver"],
    args: [
      ...(isSeparate ? [] : ["clustermesh"]),
      "--cluster-name=$(CLUSTER_NAME)",
      "--cluster-id=$(CLUSTER_ID)",
      ...(users
        ? ["--cluster-users-enabled", "--cluster-users-config-path=/var/lib/cilium/etcd-config/users.yaml"]
        : []),
    ],
    env: ENVIRONMENT,
    volumeMounts: [
      adminClient,
      ...(users ? [{ name: "etcd-users-config", mountPath: "/var/lib/cilium/etcd-config", readOnly: true }] : []),
    ],
  };
  const kvstoremesh = {
    name: "kvstoremesh",
    image: image(v, isSeparate ? "kvstoremesh" : "clustermesh-apiserver"),
    command: [isSeparate ? "/usr/bin/kvstoremesh" : "/usr/bin/clustermesh-apiserver"],
    args: [...(isSeparate ? [] : ["kvstoremesh"]), "--clustermesh-config=/var/lib/cilium/clustermesh"],
    env: ENVIRONMENT,
    volumeMounts: [internal ? adminClient : etcdConfigMount, ...remote.volumeMounts],
  };
  const usersVolume = { name: "etcd-users-config", configMap: { name: "clustermesh-remote-users", ...MODE } };
  const items = [{ key: "etcd-config", path: "etcd-config.yaml" }];
  const etcdConfigVolume = {
    name: "etcd-config",
    configMap: { name: "cilium-config", items, ...MODE, optional: true },
  };
  return {
    containers: [...(internal ? [etcd, api] : []), ...(v.kvstoremesh ? [kvstoremesh] : [])],
    volumes: [
      ...(internal
        ? [
            { name: "etcd-server-secrets", ...etcdCertificate(v, "server") },
            { name: "etcd-admin-client", ...etcdCertificate(v, "admin") },
            ...(users ? [usersVolume] : []),
            { name: "etcd-data-dir", emptyDir: {} },
          ]
        : [etcdConfigVolume]),
      ...(v.kvstoremesh ? remote.volumes : []),
    ],
    ...hostAliases(v, v.kvstoremesh),
  };
}

/** A workload that reads the configs of remote clusters. */
type Reader = "agents" | "operator" | "kvstoremesh";

/** Returns the mounts and volumes of a reader: configs of remote clusters, and certificates. */
function remoteConfigs(v: Values, reader: Reader): { volumeMounts: Fields[]; volumes: Fields[] } {
  const name = reader === "kvstoremesh" ? "kvstoremesh-secrets" : "clustermesh-secrets";
  const files = reader === "kvstoremesh" ? (["common"] as const) : agentFiles(v);
  return {
    volumeMounts: [{ name, ...MOUNT }, ...csiMounts(v, files, bundleOf(v, reader))],
    volumes: [{ name, ...configVolume(v, reader) }, ...csiVolumes(v, files)],
  };
}

/** Returns the bundle with the CA of a reader (kvstoremesh: since 1.18); undefined if the certificate's Secret holds it. */
function bundleOf(v: Values, reader: Reader): Values["caBundle"] {
  return reader !== "kvstoremesh" || v.since("1.18") ? v.caBundle : undefined;
}

/** Returns the volume with the configs of remote clusters: a Secret up to 1.13, then projected with local certificates. */
function configVolume(v: Values, reader: Reader): Fields {
  const name = reader === "kvstoremesh" ? "cilium-kvstoremesh" : "cilium-clustermesh";
  if (!v.since("1.14")) return { secret: { secretName: name, optional: true, ...MODE } };
  const bundle = bundleOf(v, reader);
  const files = (certificate: "remote" | "local", prefix: string) =>
    certificateSources(`clustermesh-apiserver-${certificate}-cert`, bundle, true, (file) => `${prefix}${file}`);
  return {
    projected: {
      sources: [
        { secret: { name, optional: true } },
        ...files("remote", "common-etcd-client"),
        // The charts always mount it; the Secret exists only with KVStoreMesh.
        ...(reader !== "kvstoremesh" && v.since("1.16") ? files("local", "local-etcd-client") : []),
      ],
      ...MODE,
    },
  };
}

/** Returns the volume with the certificate of the local etcd or its admin. */
function etcdCertificate(v: Values, certificate: "server" | "admin"): Fields {
  const name = `clustermesh-apiserver-${certificate}-cert`;
  if (v.csiDriver !== undefined) {
    return csiVolume(
      v.csiDriver,
      certificate === "server" ? `clustermesh-apiserver.${v.namespace}.svc` : `admin-${v.name}`,
    );
  }
  if (v.since("1.14")) {
    const plain = { ".key": "tls.key", ".crt": "tls.crt", "-ca.crt": "ca.crt" };
    return { projected: { sources: certificateSources(name, v.caBundle, false, (file) => plain[file]), ...MODE } };
  }
  const caSource = { name: "clustermesh-apiserver-ca-cert", items: [{ key: "ca.crt", path: "ca.crt" }] };
  return { projected: { sources: [{ secret: caSource }, { secret: { name } }], ...MODE } };
}

/** Returns volume sources for key and certificate from a Secret, and the CA from the bundle or the same Secret. */
function certificateSources(
  name: string,
  bundle: Values["caBundle"],
  optional: boolean,
  path: (file: ".key" | ".crt" | "-ca.crt") => string,
): Fields[] {
  const optionally = optional ? { optional } : {};
  const items = [
    { key: "tls.key", path: path(".key") },
    { key: "tls.crt", path: path(".crt") },
  ];
  if (!bundle)
    return [{ secret: { name, ...optionally, items: [...items, { key: "ca.crt", path: path("-ca.crt") }] } }];
  const source = { name: bundle.name, ...optionally, items: [{ key: bundle.key, path: path("-ca.crt") }] };
  return [
    { secret: { name, ...optionally, items } },
    bundle.kind === "Secret" ? { secret: source } : { configMap: source },
  ];
}

function hostAliases(v: Values, isReader: boolean): Fields {
  if (!isReader || !v.configEnabled || v.disableHostAliases) return {};
  const aliases = v.peers.flatMap(({ name, ips = [] }) => ips.map((ip) => ({ ip, hostnames: [`${name}.${DOMAIN}`] })));
  return aliases.length > 0 ? { hostAliases: aliases } : {};
}

function image(v: Values, name: string): string {
  return `${v.registry ?? "quay.io/cilium"}/${name}:v${v.release}${v.digest ? `@${v.digest}` : ""}`;
}

function podLabels(name: string, selector: Record<string, string> = { "k8s-app": name }): Record<string, string> {
  return { ...selector, "app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "cilium" };
}

function workload(
  kind: "DaemonSet" | "Deployment",
  name: string,
  spec: Fields,
  selector: Record<string, string> = { "k8s-app": name },
): KubernetesObject {
  const labels = podLabels(name, selector);
  return {
    apiVersion: "apps/v1",
    kind,
    metadata: { name, labels },
    spec: { selector: { matchLabels: selector }, template: { metadata: { labels }, spec } },
    status: { observedGeneration: 1, ...AVAILABLE[kind] },
  };
}

/** Counts of available pods. A rollout is over at once: the store only counts generations. */
const AVAILABLE = {
  Deployment: { replicas: 1, updatedReplicas: 1, readyReplicas: 1, availableReplicas: 1 },
  DaemonSet: {
    ...{ desiredNumberScheduled: 1, currentNumberScheduled: 1, numberMisscheduled: 0 },
    ...{ updatedNumberScheduled: 1, numberReady: 1, numberAvailable: 1 },
  },
};
