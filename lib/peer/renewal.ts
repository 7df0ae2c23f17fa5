/** Commands that renew a cluster's certificates where they are issued, and import them. Pure. */

import { shellQuote } from "../util/shell.ts";
import type { CertificateUse } from "../x509/expiry.ts";
import type { RemedyTemplate } from "./codes/code.ts";
import { versionAtLeast } from "./peer.ts";

/**
 * What renews a certificate (`clustermesh.apiserver.tls.auto.method` of Cilium's chart): an upgrade of the Helm release,
 * which renders a new one; the chart's CronJob; or cert-manager, for a Certificate.
 */
export type RenewalMethod =
  | { kind: "helm"; release: string; namespace: string }
  | { kind: "cronJob"; name: string; namespace: string }
  | { kind: "cert-manager"; certificate: string; namespace: string };

/** How many importers a command names; for more it takes all contexts. */
const MOST_NAMED = 5;

/** How a cluster's certificate is renewed, as far as that is known. */
export interface Renewal {
  /** The cluster's name, or its context. */
  cluster: string;
  /** Its context; undefined if none is known. */
  context?: string | undefined;
  method?: RenewalMethod | undefined;
  /** Cilium's version there, which an upgrade of its Helm release has to keep. */
  version?: string | undefined;
  /** The day on which the certificate expires, `YYYY-MM-DD`. */
  until: string;
  /** Contexts of the importers that have the certificate; undefined for all that there are. */
  importers?: readonly string[] | undefined;
  /** Set if the cluster already has a new certificate, which only has to be imported. */
  renewed?: boolean;
}

/**
 * The remedy for an expiring certificate: the command that renews it where it is issued, then the one that imports it
 * everywhere. Importers must trust a new CA before it is used.
 */
export function renewalRemedy(use: CertificateUse, renewal: Renewal): RemedyTemplate {
  const { context, importers = [], method, renewed } = renewal;
  const values = {
    cluster: renewal.cluster,
    context: shellQuote(context ?? renewal.cluster),
    importers:
      importers.length === 0 || importers.length > MOST_NAMED
        ? "--all-contexts"
        : importers.map((importer) => `--context ${shellQuote(importer)}`).join(" "),
  };
  const rotate = "clustermesh-secrets rotate {context} {importers}";
  if (renewed) return { template: rotate, values };
  if (use === "ca") {
    return {
      template: `${rotate} --trust NEW-CA.crt; then put the new CA and certificates of it into {cluster}, and run: ${rotate}`,
      values,
    };
  }
  if (!method || context === undefined) {
    return {
      template: `renew it in {cluster} (by clustermesh.apiserver.tls.auto.method: helm, cronJob or certmanager), then run: ${rotate}`,
      values,
    };
  }
  const { command, values: own } = renewalCommand(method, renewal);
  return { template: `${command} && ${rotate}`, values: { ...values, ...own } };
}

/** The command that renews, and returns when it has. */
function renewalCommand(
  method: RenewalMethod,
  { version, until }: Renewal,
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
          // Charts make it only if a schedule is set, and set one themselves from 1.20 on.
          (versionAtLeast(version, "1.20") ? "" : "if clustermesh.apiserver.tls.auto.schedule is set, run: ") +
          `${kubectl} create job {job} --from=cronjob/{cronJob} && ` +
          `${kubectl} wait --for=condition=complete --timeout=5m job/{job}`,
        // A Job stays when it is done, and the next renewal needs another name.
        values: { ...values, cronJob: shellQuote(method.name), job: `renew-certificates-${until}` },
      };
    }
    case "cert-manager":
      return {
        command:
          // The condition Issuing is set by the first command, and gone when the certificate is there: kubectl wait cannot
          // wait for that.
          "cmctl renew {certificate} --context {context} --namespace {namespace} && " +
          "while kubectl --context {context} --namespace {namespace} get certificate {certificate} " +
          "-o 'jsonpath={.status.conditions[*].type}' | grep -q Issuing; do sleep 2; done",
        values: { ...values, certificate: shellQuote(method.certificate) },
      };
  }
}
