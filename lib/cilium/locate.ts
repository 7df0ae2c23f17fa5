/** In which namespace Cilium is, and what to say where it is in none. */
import type { KubernetesObject, V1Deployment, V1Pod } from "@kubernetes/client-node";
import { deployments, type KubernetesApi, pods } from "../kube/api.ts";
import { attempt, unwrapUnlessForbidden } from "../kube/attempt.ts";
import { APISERVER } from "../peer/peer.ts";
import { EXIT, UserError } from "../util/errors.ts";

/** Where Cilium is unless something else is known. */
export const DEFAULT_NAMESPACE = "kube-system";

/** The clustermesh-apiserver's pods, in one namespace or in all. */
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
 * The namespace of the one clustermesh-apiserver there is: by its Deployment, or by its pods where Deployments may not
 * be listed or there is none. Where neither may be listed, or nothing is found, it is the usual one.
 *
 * @returns besides, whether neither may be listed.
 * @throws UserError (exit code 2) where there are several.
 */
export async function locateNamespace(api: KubernetesApi): Promise<{ namespace: string; isAssumed: boolean }> {
  const results = await Promise.all([attempt(readDeployments(api)), attempt(readPods(api))]);
  const [byName, byLabel] = [unwrapUnlessForbidden(results[0]), unwrapUnlessForbidden(results[1])];
  if (!byName && !byLabel) return { namespace: DEFAULT_NAMESPACE, isAssumed: true };
  const found: KubernetesObject[] = byName?.length ? byName : (byLabel ?? []);
  const namespaces = [...new Set(found.map(({ metadata }) => metadata?.namespace ?? ""))].sort();
  if (namespaces.length > 1) {
    throw new UserError(
      `there are several installations of Cilium, in namespaces ${namespaces.join(" and ")}; say which with -n`,
      EXIT.refused,
    );
  }
  return { namespace: namespaces[0] ?? DEFAULT_NAMESPACE, isAssumed: false };
}

/**
 * Why a namespace has no Deployment clustermesh-apiserver.
 *
 * @param config data of its ConfigMap `cilium-config`; undefined where there is none.
 */
export function createNotInstalledError(
  namespace: string,
  config: Readonly<Record<string, string>> | undefined,
): UserError {
  if (config?.["identity-allocation-mode"] === "kvstore") return createExternalKvstoreError(namespace);
  return new UserError(
    config
      ? `Cilium in namespace ${namespace} has no ${APISERVER}; enable it by clustermesh.useAPIServer=true of its Helm chart`
      : `no Cilium was found: there is neither cilium-config nor ${APISERVER} in namespace ${namespace}; -n says another`,
    EXIT.failed,
  );
}

/** There is nothing of the cluster's own that others could reach (`kvstoreMode: external`). */
export function createExternalKvstoreError(namespace: string): UserError {
  return new UserError(
    `Cilium in namespace ${namespace} keeps its state in an external kvstore, so it has no etcd and no certificates of ` +
      "its own\n  this program cannot exchange those; write configs for that etcd by hand",
    EXIT.failed,
  );
}
