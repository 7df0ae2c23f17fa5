/** What a cluster's ConfigMap, workloads and certificate say about it. Pure. */
import type { V1DaemonSet, V1Deployment, V1Service, V1ServicePort } from "@kubernetes/client-node";
import { type ClusterFacts, USERS_CONFIG_MAP, versionAtLeast } from "../peer/peer.ts";
import { coveringPrefixes } from "../util/address.ts";
import { certificateUser } from "../x509/names.ts";
import type { NodeInfo } from "./nodes.ts";
import { listVolumeObjects } from "./volumes.ts";

/** The port of a Service that leads to the etcd: a user's own may have others. */
export function findEtcdPort({ spec }: V1Service): V1ServicePort | undefined {
  const ports = spec?.ports ?? [];
  const leads = ({ port, targetPort, name }: V1ServicePort) =>
    port === 2379 || Number(targetPort) === 2379 || targetPort === "etcd" || name === "etcd";
  return ports.find(leads) ?? ports[0];
}

export interface FactSources {
  namespace: string;
  /** Data of ConfigMap `cilium-config`. */
  config: Readonly<Record<string, string>>;
  deployment: V1Deployment;
  agents: V1DaemonSet | undefined;
  service: V1Service | undefined;
  /** The client certificate (PEM) that the cluster shows to others. */
  clientCertificate: string | undefined;
  nodes: readonly NodeInfo[] | undefined;
}

/** All facts that these sources tell; a fact that they do not is absent. */
export function deriveFacts(sources: FactSources): ClusterFacts {
  const { namespace, config, deployment, agents, service, clientCertificate, nodes } = sources;
  const version = detectVersion(deployment, agents);
  const id = config["cluster-id"];
  const facts: { [K in keyof ClusterFacts]: ClusterFacts[K] | undefined } = {
    namespace,
    version,
    name: config["cluster-name"] || undefined,
    id: id !== undefined && /^\d+$/.test(id) ? Number(id) : undefined,
    // Before 1.15 there is no such option, and 255 is what there is.
    maxConnectedClusters: Number(config["max-connected-clusters"] ?? 255) || 255,
    kvstoreMesh: containersOf(deployment).some(({ name }) => name === "kvstoremesh"),
    authMode: authMode(config["cluster-name"] ?? "", version, deployment, clientCertificate),
    ...routing(config),
    encryption: encryption(config),
    kubeProxyReplacement: kubeProxyReplacement(config),
    ipFamilies: detectIpFamilies(config),
    podCidrs: podCidrs(config, nodes),
    nodePort: (service && findEtcdPort(service)?.nodePort) || undefined,
  };
  return Object.fromEntries(Object.entries(facts).filter(([, value]) => value !== undefined)) as ClusterFacts;
}

function containersOf(workload: V1Deployment | V1DaemonSet | undefined) {
  return workload?.spec?.template.spec?.containers ?? [];
}

/** By the images of agent and apiserver (a registry may stand before the tag, a digest behind it), or by labels. */
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

/** Read off what stands: the certificate's CN tells of `cluster`, and a server that manages users mounts their list. */
function authMode(
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

/** Whether a volume of the Deployment takes the users ConfigMap. */
export function mountsUsersConfigMap(deployment: V1Deployment): boolean {
  return listVolumeObjects(deployment.spec?.template.spec).some(
    ({ kind, name }) => kind === "ConfigMap" && name === USERS_CONFIG_MAP,
  );
}

/** `tunnel` is the form before 1.14. */
function routing(config: Readonly<Record<string, string>>): Pick<ClusterFacts, "routingMode" | "tunnelProtocol"> {
  const { tunnel } = config;
  const mode =
    config["routing-mode"] ?? (tunnel === undefined ? undefined : tunnel === "disabled" ? "native" : "tunnel");
  if (mode !== "tunnel") return mode === undefined ? {} : { routingMode: mode };
  return { routingMode: mode, tunnelProtocol: config["tunnel-protocol"] ?? tunnel ?? "vxlan" };
}

function encryption(config: Readonly<Record<string, string>>): ClusterFacts["encryption"] {
  if (config["enable-wireguard"] === "true") return "wireguard";
  return config["enable-ipsec"] === "true" ? "ipsec" : "none";
}

/** Whether Cilium serves node ports. `strict` and `disabled` are the forms before 1.14; `partial` and `probe` say too little. */
function kubeProxyReplacement(config: Readonly<Record<string, string>>): boolean | undefined {
  const value = config["kube-proxy-replacement"];
  if (value === "true" || value === "strict" || config["enable-node-port"] === "true") return true;
  return value === "false" || value === "disabled" ? false : undefined;
}

function detectIpFamilies(config: Readonly<Record<string, string>>): ClusterFacts["ipFamilies"] {
  const all = (["IPv4", "IPv6"] as const).filter((family) => config[`enable-${family.toLowerCase()}`] === "true");
  return all.length > 0 ? all : undefined;
}

function podCidrs(
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

/** Whether pods have their addresses from the CIDRs that stand on the nodes; else these mean nothing. */
export function hasNodePodCidrs({ ipam = "kubernetes" }: Readonly<Record<string, string>>): boolean {
  return ipam === "kubernetes";
}
