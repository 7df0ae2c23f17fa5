/** What status tells of external workloads. */
import type { KubernetesApi } from "../cluster/api.ts";
import { hasExternalWorkloads, workloadCertificate } from "../exchange/external-workload.ts";
import { PemError, readCertificates } from "../peer/certificate.ts";
import { checkValidity } from "../peer/check-expiry.ts";
import { type Finding, finding } from "../peer/findings.ts";
import { shellQuote } from "../peer/shell.ts";
import type { JudgeOptions } from "./certificates.ts";
import type { Member } from "./member.ts";

/** What is wrong with the certificate that external workloads come with, where there is one. */
export async function externalWorkloads(
  api: KubernetesApi,
  member: Member,
  { now, expiresWithin }: JudgeOptions,
): Promise<Finding[]> {
  const { facts, namespace } = member.installation;
  if (!hasExternalWorkloads(facts)) return [];
  const found = await workloadCertificate(api, namespace);
  if (!found) return [];
  const place = { source: member.source, key: found.secret };
  try {
    const [leaf] = readCertificates(found.cert);
    const remedyFor = () => ({
      template: "renew secret/{secret} in {source}, then run: extract-secret {context} --external-workload",
      values: { secret: found.secret, source: member.source, context: shellQuote(member.source) },
    });
    return leaf ? checkValidity(leaf, "client", place, now, { expiresWithin, remedyFor }) : [];
  } catch (error) {
    if (!(error instanceof PemError)) throw error;
    return [finding("certificate-invalid", place, `the certificate of external workloads ${error.message}`)];
  }
}
