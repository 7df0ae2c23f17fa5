/** Commands that renew the certificates of a cluster and import them elsewhere. Pure. */

import { shellQuote } from "../util/shell.ts";
import type { CertificateUse } from "../x509/expiry.ts";
import type { RemedyTemplate } from "./codes/code.ts";
import { versionAtLeast } from "./peer.ts";

/**
 * How a certificate is renewed (`clustermesh.apiserver.tls.auto.method` of Cilium's chart): by an upgrade of the Helm
 * release, which renders a new certificate; by the chart's CronJob; or by cert-manager, from a Certificate.
 */
export type RenewalMethod =
  | { kind: "helm"; release: string; namespace: string }
  | { kind: "cronJob"; name: string; namespace: string }
  | { kind: "cert-manager"; certificate: string; namespace: string };

/** The maximum number of importers in a command; for more, it has `--all-contexts`. */
const MAX_IMPORTERS = 5;

/** What is known about the renewal of a cluster's certificate. */
export interface Renewal {
  /** The cluster's name, or its context. */
  cluster: string;
  /** Its context, if known. */
  context?: string | undefined;
  method?: RenewalMethod | undefined;
  /** The installed version of Cilium, which an upgrade of its Helm release must keep. */
  version?: string | undefined;
  /** The expiry date of the certificate, `YYYY-MM-DD`. */
  expires: string;
  /** Contexts of the importers that have the certificate; undefined for all contexts. */
  importers?: readonly string[] | undefined;
  /** Set if the certificate has been renewed already, and only needs to be imported. */
  renewed?: boolean;
}

/**
 * Returns the remedy for an expiring certificate: a command that renews it in its cluster, followed by one that imports
 * it elsewhere. Importers must trust a new CA before it is used.
 */
export function renewalRemedy(use: CertificateUse, renewal: Renewal): RemedyTemplate {
  const { context, importers = [], method, renewed } = renewal;
  const values = {
    cluster: renewal.cluster,
    context: shellQuote(context ?? renewal.cluster),
    importers:
      importers.length === 0 || importers.length > MAX_IMPORTERS
        ? "--all-contexts"
        : importers.map((importer) => `--context ${shellQuote(importer)}`).join(" "),
  };
  const rotate = "clustermesh-secrets rotate {context} {importers}";
  if (renewed) return { template: rotate, values };
  if (use === "ca") {
    return {
      template: `${rotate} --trust NEW-CA.crt; then install the new CA in {cluster}, reissue its certificates, and run: ${rotate}`,
      values,
    };
  }
  if (!method || context === undefined) {
    return {
      template: `renew it in {cluster}, as clustermesh.apiserver.tls.auto.method specifies (helm, cronJob or certmanager), then run: ${rotate}`,
      values,
    };
  }
  const { command, values: commandValues } = renewalCommand(method, renewal);
  return { template: `${command} && ${rotate}`, values: { ...values, ...commandValues } };
}

/** Returns the command that renews a certificate and waits until that is done. */
function renewalCommand(
  method: RenewalMethod,
  { version, expires }: Renewal,
): { command: string; values: Record<string, string> } {
  const values = { namespace: shellQuote(method.namespace) };
  switch (method.kind) {
    case "helm":
      return {
        command:
          "helm upgrade {release} cilium/cilium --version {version} --reuse-values --namespace {namespace} " +
          "--kube-context {context}",
        values: {
          ...values,
          release: shellQuote(method.release),
          ...(version !== undefined && { version: shellQuote(version) }),
        },
      };
    case "cronJob": {
      const kubectl = "kubectl --context {context} --namespace {namespace}";
      return {
        command:
          // The chart renders the CronJob only if a schedule is set; since 1.20 it has a default schedule.
          (versionAtLeast(version, "1.20") ? "" : "if clustermesh.apiserver.tls.auto.schedule is set, run: ") +
          `${kubectl} create job {job} --from=cronjob/{cronJob} && ` +
          `${kubectl} wait --for=condition=complete --timeout=5m job/{job}`,
        // A completed Job is kept, so the next renewal needs another name.
        values: { ...values, cronJob: shellQuote(method.name), job: `renew-certificates-${expires}` },
      };
    }
    case "cert-manager":
      return {
        command:
          // The first command adds the condition Issuing, which is removed once the certificate is issued. kubectl wait
          // cannot wait for the removal of a condition.
          "cmctl renew {certificate} --context {context} --namespace {namespace} && " +
          "while kubectl --context {context} --namespace {namespace} get certificate {certificate} " +
          "-o 'jsonpath={.status.conditions[*].type}' | grep -q Issuing; do sleep 2; done",
        values: { ...values, certificate: shellQuote(method.certificate) },
      };
  }
}
