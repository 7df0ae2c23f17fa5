/** Detects from the metadata of a Secret how its certificate is renewed. Pure. */
import type { V1ObjectMeta } from "@kubernetes/client-node";
import type { RenewalMethod } from "../peer/renewal.ts";

/** The CronJob of Cilium's chart. Its program, certgen, writes Secrets without labels or annotations. */
const CRON_JOB = "clustermesh-apiserver-generate-certs";
const CERTGEN = /^(?:cilium-)?certgen$/;

/**
 * Detects how the certificate of a Secret is renewed, by annotations (cert-manager, Helm) and field managers (certgen).
 *
 * @returns undefined if the metadata shows no method, for example because the Secret is applied from Git or by hand.
 */
export function detectRenewalMethod(metadata: V1ObjectMeta | undefined): RenewalMethod | undefined {
  if (!metadata) return undefined;
  const { annotations = {}, labels = {}, managedFields = [] } = metadata;
  const namespace = metadata.namespace ?? "";
  const certificate = annotations["cert-manager.io/certificate-name"];
  if (certificate) return { kind: "cert-manager", certificate, namespace };
  if (managedFields.some(({ manager = "", fieldsV1 = {} }) => CERTGEN.test(manager) && "f:data" in fieldsV1)) {
    return { kind: "cronJob", name: CRON_JOB, namespace };
  }
  const release = annotations["meta.helm.sh/release-name"];
  // A release managed by Flux is upgraded through Git, not by running helm.
  if (!release || labels["helm.toolkit.fluxcd.io/name"] !== undefined) return undefined;
  return { kind: "helm", release, namespace: annotations["meta.helm.sh/release-namespace"] ?? namespace };
}
