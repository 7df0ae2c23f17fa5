/** Nodes, reduced to the fields that endpoints and facts depend on. */
import type { V1Node } from "@kubernetes/client-node";
import { type KubernetesApi, nodes } from "../kube/api.ts";

export interface NodeInfo {
  name: string;
  /** Creation time, RFC 3339. */
  created: string;
  ready: boolean;
  /** Ready, not cordoned, and not excluded from load balancing. */
  eligible: boolean;
  addresses: { type: string; address: string }[];
  podCidrs: string[];
}

/** Reads all nodes page by page, and keeps only the fields of {@link NodeInfo}: a cluster can have thousands. */
export async function readNodes(api: KubernetesApi): Promise<NodeInfo[]> {
  const found: NodeInfo[] = [];
  for await (const page of api.list(nodes)) found.push(...page.map(toNodeInfo));
  return found;
}

/** Converts a node to its info. `eligible` follows the node predicates of Kubernetes' service controller. */
export function toNodeInfo({ metadata, spec, status }: V1Node): NodeInfo {
  const isReady = status?.conditions?.some((one) => one.type === "Ready" && one.status === "True") === true;
  const isExcluded = metadata?.labels?.["node.kubernetes.io/exclude-from-external-load-balancers"] !== undefined;
  const isCordonedOrDeleted =
    metadata?.deletionTimestamp !== undefined ||
    spec?.unschedulable === true ||
    spec?.taints?.some(({ key }) => CORDON_OR_DELETION_TAINTS.has(key)) === true;
  return {
    name: metadata?.name ?? "",
    // A string at runtime: nothing converts it to the declared Date.
    created: String(metadata?.creationTimestamp ?? ""),
    ready: isReady,
    eligible: isReady && !isExcluded && !isCordonedOrDeleted,
    addresses: (status?.addresses ?? []).map(({ type, address }) => ({ type, address })),
    podCidrs: spec?.podCIDRs ?? (spec?.podCIDR ? [spec.podCIDR] : []),
  };
}

/** The taints of nodes that are cordoned, or that the cluster autoscaler is about to delete. */
const CORDON_OR_DELETION_TAINTS = new Set(["node.kubernetes.io/unschedulable", "ToBeDeletedByClusterAutoscaler"]);
