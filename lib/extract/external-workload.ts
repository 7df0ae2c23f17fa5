/** External workloads: virtual machines that join a cluster by a certificate of their own, up to Cilium 1.17. */
import { type KubernetesApi, secrets } from "../kube/api.ts";
import { attempt, unwrapUnlessForbidden } from "../kube/attempt.ts";
import { type ClientCertificate, type ClusterFacts, versionAtLeast } from "../peer/peer.ts";

/** Whether Cilium of this version still has external workloads; taken for so where it is not known. */
export function canHaveExternalWorkloads({ version }: ClusterFacts): boolean {
  return versionAtLeast(version, "1.18") !== true;
}

/** Where charts keep the certificate, and where older installs by CLI did. */
const SECRET_NAMES = ["clustermesh-apiserver-client-cert", "clustermesh-apiserver-client-certs"];

/** The certificate that external workloads come with; undefined where there is none, or it may not be read. */
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
