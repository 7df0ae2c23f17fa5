/** Nodes, reduced to what an endpoint needs of them. */
import type { V1Node } from "@kubernetes/client-node";
import { type KubernetesApi, nodes } from "../kube/api.ts";

/** What is asked of a node. */
export interface NodeInfo {
  name: string;
  /** When it was created, RFC 3339. */
  created: string;
  ready: boolean;
  /** Ready, not cordoned, and not excluded from load balancing. */
  eligible: boolean;
  addresses: { type: string; address: string }[];
  podCidrs: string[];
}

/** Of each node only what is asked for is kept, page by page: there may be thousands. */
export async function readNodes(api: KubernetesApi): Promise<NodeInfo[]> {
  const found: NodeInfo[] = [];
  for await (const page of api.list(nodes)) found.push(...page.map(toNodeInfo));
  return found;
}

/** What is asked of a node. Which ones load balancers leave out is as Kubernetes' service controller has it. */
export function toNodeInfo({ metadata, spec, status }: V1Node): NodeInfo {
  const ready = status?.conditions?.some((one) => one.type === "Ready" && one.status === "True") === true;
  const excluded = metadata?.labels?.["node.kubernetes.io/exclude-from-external-load-balancers"] !== undefined;
  const leaving =
    metadata?.deletionTimestamp !== undefined ||
    spec?.unschedulable === true ||
    spec?.taints?.some(({ key }) => LEAVING.has(key)) === true;
  return {
    name: metadata?.name ?? "",
    // It comes as text, whatever the type says.
    created: String(metadata?.creationTimestamp ?? ""),
    ready,
    eligible: ready && !excluded && !leaving,
    addresses: (status?.addresses ?? []).map(({ type, address }) => ({ type, address })),
    podCidrs: spec?.podCIDRs ?? (spec?.podCIDR ? [spec.podCIDR] : []),
  };
}

/** Taints of a cordoned node, and of one that the cluster autoscaler is about to delete. */
const LEAVING = new Set(["node.kubernetes.io/unschedulable", "ToBeDeletedByClusterAutoscaler"]);
