/** What renews a certificate, told by the marks on the Secret that holds it. Pure. */
import type { V1ObjectMeta } from "@kubernetes/client-node";
import type { RenewalMethod } from "../peer/renewal.ts";

/** The CronJob of Cilium's chart, whose program writes Secrets without a label or an annotation. */
const CRON_JOB = "clustermesh-apiserver-generate-certs";
const CERTGEN = /^(?:cilium-)?certgen$/;

/**
 * The method by which a Secret's certificate is renewed; undefined if its metadata has no mark of one, as when a file of
 * Git or a person brought it.
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
  // What Flux installs from Git, an upgrade by hand is not for.
  if (!release || labels["helm.toolkit.fluxcd.io/name"] !== undefined) return undefined;
  return { kind: "helm", release, namespace: annotations["meta.helm.sh/release-namespace"] ?? namespace };
}
