/** Locates the namespace of Cilium, and explains why Cilium or its clustermesh-apiserver is missing. */
import type { KubernetesObject, V1Deployment, V1Pod } from "@kubernetes/client-node";
import { deployments, type KubernetesApi, pods } from "../kube/api.ts";
import { attempt, unwrapUnlessForbidden } from "../kube/attempt.ts";
import { APISERVER } from "../peer/peer.ts";
import { EXIT, UserError } from "../util/errors.ts";

/** The usual namespace of Cilium. */
export const DEFAULT_NAMESPACE = "kube-system";

/** The names of namespaces (RFC 1123 labels). */
/** A name of a namespace or a Service: a label of RFC 1123. */
export const LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

/** Lists the pods of the clustermesh-apiserver, in one namespace or in all. */
export async function readPods(api: KubernetesApi, namespace?: string): Promise<V1Pod[]> {
  const found: V1Pod[] = [];
  for await (const page of api.list(pods, { namespace, labelSelector: `k8s-app=${APISERVER}` })) found.push(...page);
  return found;
}

async function readDeployments(api: KubernetesApi): Promise<V1Deployment[]> {
  const found: V1Deployment[] = [];
  for await (const page of api.list(deployments, { fieldSelector: `metadata.name=${APISERVER}` })) found.push(...page);
  return found;
}

/**
 * Locates the namespace of the clustermesh-apiserver by its Deployment, or, if Deployments cannot be listed or none is
 * found, by its pods. Falls back to {@link DEFAULT_NAMESPACE}.
 *
 * @returns the namespace; `isAssumed` if neither Deployments nor pods can be listed.
 * @throws UserError (exit code 2 if several namespaces have one, 1 if a namespace has an invalid name).
 */
export async function locateNamespace(api: KubernetesApi): Promise<{ namespace: string; isAssumed: boolean }> {
  const results = await Promise.all([attempt(readDeployments(api)), attempt(readPods(api))]);
  const [byName, byLabel] = [unwrapUnlessForbidden(results[0]), unwrapUnlessForbidden(results[1])];
  if (!byName && !byLabel) return { namespace: DEFAULT_NAMESPACE, isAssumed: true };
  const found: KubernetesObject[] = byName?.length ? byName : (byLabel ?? []);
  const namespaces = [...new Set(found.map(({ metadata }) => metadata?.namespace ?? ""))].sort();
  // Messages, printed commands and requests contain it.
  const invalid = namespaces.find((namespace) => !LABEL.test(namespace));
  if (invalid !== undefined) {
    throw new UserError(`the API server returned the invalid namespace ${JSON.stringify(invalid)}`, EXIT.failed);
  }
  if (namespaces.length > 1) {
    throw new UserError(
      `multiple Cilium installations found, in namespaces ${namespaces.join(" and ")}\n  select one with --namespace`,
      EXIT.refused,
    );
  }
  return { namespace: namespaces[0] ?? DEFAULT_NAMESPACE, isAssumed: false };
}

/**
 * Creates the error for a namespace without Deployment clustermesh-apiserver.
 *
 * @param config - data of its ConfigMap `cilium-config`; undefined if it does not exist.
 */
export function createNotInstalledError(
  namespace: string,
  config: Readonly<Record<string, string>> | undefined,
): UserError {
  if (config?.["identity-allocation-mode"] === "kvstore") return createExternalKvstoreError(namespace);
  return new UserError(
    config
      ? `deployment/${APISERVER} not found in namespace ${namespace}\n  enable it with the Helm value clustermesh.useAPIServer=true`
      : `no Cilium installation found in namespace ${namespace}: no configmap/cilium-config and no deployment/${APISERVER}\n` +
          "  pass the namespace of Cilium with --namespace",
    EXIT.failed,
  );
}

/** Creates the error for an external kvstore (`kvstoreMode: external`, 1.18+): peers have no etcd to connect to. */
export function createExternalKvstoreError(namespace: string): UserError {
  return new UserError(
    `Cilium in namespace ${namespace} uses an external kvstore, so the cluster has no etcd or certificates to exchange\n` +
      "  configure peers with the endpoints and certificates of that kvstore",
    EXIT.failed,
  );
}
