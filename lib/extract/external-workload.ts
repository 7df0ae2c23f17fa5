/** External workloads: virtual machines that join a cluster with a separate client certificate, up to Cilium 1.17. */
import { OLD_WORKLOAD_CERT, WORKLOAD_CERT } from "../cilium/object-names.ts";
import { type KubernetesApi, secrets } from "../kube/api.ts";
import { type Attempt, attempt, isForbidden, unwrap } from "../kube/attempt.ts";
import { type ClientCertificate, type ClusterFacts, versionAtLeast } from "../peer/peer.ts";

/** Whether this version of Cilium can have external workloads (up to 1.17); true if the version is unknown. */
export function canHaveExternalWorkloads({ version }: ClusterFacts): boolean {
  return versionAtLeast(version, "1.18") !== true;
}

/**
 * Reads the client certificate of external workloads.
 *
 * @returns undefined as value if it does not exist; the error of a forbidden Secret if no other one has it.
 * @throws ApiError and ConnectionError if a Secret cannot be read for another reason.
 */
export async function readWorkloadCertificate(
  api: KubernetesApi,
  namespace: string,
): Promise<Attempt<(ClientCertificate & { secret: string }) | undefined>> {
  let missing: Attempt<undefined> = { value: undefined };
  for (const secret of [WORKLOAD_CERT, OLD_WORKLOAD_CERT]) {
    const result = await attempt(api.get(secrets, namespace, secret));
    if (isForbidden(result) && "error" in result) {
      if ("value" in missing) missing = result;
      continue;
    }
    const { data = {} } = unwrap(result) ?? {};
    const [cert, key] = [data["tls.crt"], data["tls.key"]].map(
      (text) => text && Buffer.from(text, "base64").toString(),
    );
    if (cert && key) return { value: { cert, key, secret } };
  }
  return missing;
}
