/** What status tells of external workloads. */
import type { KubernetesApi } from "../cluster/api.ts";
import { hasExternalWorkloads, workloadCertificate } from "../exchange/external-workload.ts";
import { PemError, readCertificates } from "../peer/certificate.ts";
import { type Finding, finding } from "../peer/findings.ts";
import { checkValidity } from "../peer/rules.ts";
import type { Member } from "./member.ts";

/** What is wrong with the certificate that external workloads come with, where there is one. */
export async function externalWorkloads(api: KubernetesApi, member: Member, now: Date): Promise<Finding[]> {
  const { facts, namespace } = member.installation;
  if (!hasExternalWorkloads(facts)) return [];
  const found = await workloadCertificate(api, namespace);
  if (!found) return [];
  const place = { source: member.source, key: found.secret };
  try {
    const [leaf] = readCertificates(found.cert);
    return leaf ? checkValidity(leaf, place, now) : [];
  } catch (error) {
    if (!(error instanceof PemError)) throw error;
    return [finding("certificate-invalid", place, `the certificate of external workloads ${error.message}`)];
  }
}
