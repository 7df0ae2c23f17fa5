/** External workloads: virtual machines that join a cluster with a separate client certificate, up to Cilium 1.17. */
import { type KubernetesApi, secrets } from "../kube/api.ts";
import { attempt, unwrapUnlessForbidden } from "../kube/attempt.ts";
import { type ClientCertificate, type ClusterFacts, versionAtLeast } from "../peer/peer.ts";

/** Whether this version of Cilium can have external workloads (up to 1.17); true if the version is unknown. */
export function canHaveExternalWorkloads({ version }: ClusterFacts): boolean {
  return versionAtLeast(version, "1.18") !== true;
}

/** The Secrets of the chart and of older installs through the CLI. */
const SECRET_NAMES = ["clustermesh-apiserver-client-cert", "clustermesh-apiserver-client-certs"];

/** Reads the client certificate of external workloads; undefined if it does not exist or is forbidden. */
export async function readWorkloadCertificate(
  api: KubernetesApi,
  namespace: string,
): Promise<(ClientCertificate & { secret: string }) | undefined> {
  for (const secret of SECRET_NAMES) {
    const { data = {} } = unwrapUnlessForbidden(await attempt(api.get(secrets, namespace, secret))) ?? {};
    const [cert, key] = [data["tls.crt"], data["tls.key"]].map(
      (text) => text && Buffer.from(text, "base64").toString(),
    );
    if (cert && key) return { cert, key, secret };
  }
  return undefined;
}
