/** Facts about a cluster, derived from its ConfigMap, workloads and client certificate. Pure. */
import type { V1DaemonSet, V1Deployment, V1Service, V1ServicePort } from "@kubernetes/client-node";
import { type ClusterFacts, versionAtLeast } from "../peer/peer.ts";
import { coveringPrefixes } from "../util/address.ts";
import { certificateUser } from "../x509/names.ts";
import type { NodeInfo } from "./nodes.ts";
import { isUsersConfigMap, listVolumeObjects } from "./volumes.ts";

/** Finds the port of a Service that maps to etcd; an externally created Service (1.19+) can have further ports. */
export function findEtcdPort({ spec }: V1Service): V1ServicePort | undefined {
  const ports = spec?.ports ?? [];
  const isEtcd = ({ port, targetPort, name }: V1ServicePort) =>
    port === 2379 || Number(targetPort) === 2379 || targetPort === "etcd" || name === "etcd";
  return ports.find(isEtcd) ?? ports[0];
}

export interface FactSources {
  namespace: string;
  /** Data of ConfigMap `cilium-config`. */
  config: Readonly<Record<string, string>>;
  deployment: V1Deployment;
  agents: V1DaemonSet | undefined;
  service: V1Service | undefined;
  /** The client certificate (PEM) that the cluster presents to peers. */
  clientCertificate: string | undefined;
  nodes: readonly NodeInfo[] | undefined;
}

/** Derives all facts from their sources; an unknown fact is absent. */
export function deriveFacts(sources: FactSources): ClusterFacts {
  const { namespace, config, deployment, agents, service, clientCertificate, nodes } = sources;
  const version = detectVersion(deployment, agents);
  const id = config["cluster-id"];
  const facts: { [K in keyof ClusterFacts]: ClusterFacts[K] | undefined } = {
    namespace,
    version,
    name: config["cluster-name"] || undefined,
    id: id !== undefined && /^\d+$/.test(id) ? Number(id) : undefined,
    // The option exists since 1.15; before, the limit is 255.
    maxConnectedClusters: Number(config["max-connected-clusters"] ?? 255) || 255,
    kvstoreMesh: containersOf(deployment).some(({ name }) => name === "kvstoremesh"),
    authMode: detectAuthMode(config["cluster-name"] ?? "", version, deployment, clientCertificate),
    ...detectRouting(config),
    encryption: detectEncryption(config),
    kubeProxyReplacement: detectKubeProxyReplacement(config),
    ipFamilies: detectIpFamilies(config),
    podCidrs: collectPodCidrs(config, nodes),
    nodePort: (service && findEtcdPort(service)?.nodePort) || undefined,
  };
  return Object.fromEntries(Object.entries(facts).filter(([, value]) => value !== undefined)) as ClusterFacts;
}

function containersOf(workload: V1Deployment | V1DaemonSet | undefined) {
  return workload?.spec?.template.spec?.containers ?? [];
}

/** Detects the version by the image tags of agent and apiserver (a digest may follow the tag), else by labels. */
function detectVersion(deployment: V1Deployment, agents: V1DaemonSet | undefined): string | undefined {
  const images = [
    containersOf(agents).find(({ name }) => name === "cilium-agent")?.image,
    containersOf(deployment).find(({ name }) => name === "apiserver")?.image,
  ];
  const labels = [agents, deployment].map((workload) => workload?.metadata?.labels ?? {});
  const texts = [
    ...images.map((image) => /:v?([^:/@]+)(?:@.*)?$/.exec(image ?? "")?.[1]),
    ...labels.map((label) => label["app.kubernetes.io/version"]),
    ...labels.map((label) => label["helm.sh/chart"]?.replace(/^cilium-/, "")),
  ];
  return texts.map((text) => /^v?(\d+\.\d+(?:\.\d+)?)/.exec(text ?? "")?.[1]).find((found) => found !== undefined);
}

/** Detects the authMode: `cluster` by the certificate's CN, `migration` by the mounted users ConfigMap. */
function detectAuthMode(
  name: string,
  version: string | undefined,
  deployment: V1Deployment,
  clientCertificate: string | undefined,
): ClusterFacts["authMode"] {
  const user = clientCertificate === undefined ? undefined : certificateUser(clientCertificate);
  if (user === `remote-${name}`) return "cluster";
  if (versionAtLeast(version, "1.14") === false || !mountsUsersConfigMap(deployment)) return "legacy";
  return user === "remote" ? "migration" : undefined;
}

/** Whether a volume of the Deployment mounts the users ConfigMap. */
export function mountsUsersConfigMap(deployment: V1Deployment): boolean {
  return listVolumeObjects(deployment.spec?.template.spec).some(isUsersConfigMap);
}

/** Detects the routing mode. Before 1.14, the option is `tunnel`. */
function detectRouting(config: Readonly<Record<string, string>>): Pick<ClusterFacts, "routingMode" | "tunnelProtocol"> {
  const { tunnel } = config;
  const mode =
    config["routing-mode"] ?? (tunnel === undefined ? undefined : tunnel === "disabled" ? "native" : "tunnel");
  if (mode !== "tunnel") return mode === undefined ? {} : { routingMode: mode };
  return { routingMode: mode, tunnelProtocol: config["tunnel-protocol"] ?? tunnel ?? "vxlan" };
}

function detectEncryption(config: Readonly<Record<string, string>>): ClusterFacts["encryption"] {
  if (config["enable-wireguard"] === "true") return "wireguard";
  return config["enable-ipsec"] === "true" ? "ipsec" : "none";
}

/**
 * Detects whether Cilium handles NodePorts. `strict` and `disabled` are values before 1.14; `partial` and `probe` are
 * ambiguous.
 */
function detectKubeProxyReplacement(config: Readonly<Record<string, string>>): boolean | undefined {
  const value = config["kube-proxy-replacement"];
  if (value === "true" || value === "strict" || config["enable-node-port"] === "true") return true;
  return value === "false" || value === "disabled" ? false : undefined;
}

function detectIpFamilies(config: Readonly<Record<string, string>>): ClusterFacts["ipFamilies"] {
  const all = (["IPv4", "IPv6"] as const).filter((family) => config[`enable-${family.toLowerCase()}`] === "true");
  return all.length > 0 ? all : undefined;
}

function collectPodCidrs(
  config: Readonly<Record<string, string>>,
  nodes: readonly NodeInfo[] | undefined,
): string[] | undefined {
  const pools = ["cluster-pool-ipv4-cidr", "cluster-pool-ipv6-cidr"].flatMap((key) =>
    (config[key] ?? "").split(/[\s,]+/).filter((cidr) => cidr !== ""),
  );
  const cidrs = hasNodePodCidrs(config)
    ? coveringPrefixes((nodes ?? []).flatMap((node) => node.podCidrs))
    : config.ipam?.startsWith("cluster-pool")
      ? [...new Set(pools)].sort()
      : [];
  return cidrs.length > 0 ? cidrs : undefined;
}

/** Whether pod addresses are allocated from `spec.podCIDRs` of the nodes, which other IPAM modes ignore. */
export function hasNodePodCidrs({ ipam = "kubernetes" }: Readonly<Record<string, string>>): boolean {
  return ipam === "kubernetes";
}
