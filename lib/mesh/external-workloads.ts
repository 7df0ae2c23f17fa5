/** Checks of external workloads (Cilium before 1.18). */

import { canHaveExternalWorkloads, readWorkloadCertificate } from "../extract/external-workload.ts";
import { unwrapUnlessForbidden } from "../kube/attempt.ts";
import { checkValidity } from "../peer/checks/validity.ts";
import { type Finding, finding } from "../peer/findings.ts";
import { shellQuote } from "../util/shell.ts";
import { PemError, readCertificates } from "../x509/pem.ts";
import type { Member } from "./member.ts";
import type { JudgeOptions } from "./own-certificates.ts";

/**
 * Checks the client certificate of external workloads, if there is one.
 *
 * @throws ApiError and ConnectionError if its Secret cannot be read.
 */
export async function externalWorkloads(member: Member, { now, expiresWithin }: JudgeOptions): Promise<Finding[]> {
  const { facts, namespace } = member.installation;
  if (!canHaveExternalWorkloads(facts)) return [];
  const found = unwrapUnlessForbidden(await readWorkloadCertificate(member.api, namespace));
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
    return [finding("certificate-invalid", place, { problem: error.message, isExternalWorkloads: true })];
  }
}
