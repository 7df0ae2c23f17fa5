/** How metrics are defined, and values that several of them count. Pure. */
import { definitionOf, FINDING_CODES, type FindingCode } from "../peer/finding-codes.ts";
import type { Finding } from "../peer/findings.ts";
import type { CertificateUse, Expiry } from "../x509/expiry.ts";

/** A value of a metric; true is 1, false is 0. */
export interface Sample {
  labels: Readonly<Record<string, string>>;
  value: number | boolean;
}

/** What a metric means, wherever it is printed. */
export interface MetricMeaning {
  name: `${"clustermesh" | "process"}_${string}`;
  /** One sentence. */
  help: string;
  labelNames: readonly string[];
}

/** A metric with its values for each subject, such as a cluster. */
export interface Metric<Subject> extends MetricMeaning {
  /** A gauge by default. The name of a counter ends with `_total`. */
  type?: "counter";
  /** Returns the values for a subject. */
  samplesOf(subject: Subject): Sample[];
}

/** Metrics that `status` and `sync` print, so that an alert holds for both. */
export const MESH_METRICS = {
  up: {
    name: "clustermesh_cluster_up",
    help: "Whether the cluster could be read.",
    labelNames: ["context"],
  },
  info: {
    name: "clustermesh_cluster_info",
    help: "Facts of a cluster that could be read; always 1.",
    labelNames: ["context", "cluster", "cluster_id", "version"],
  },
  expiry: {
    name: "clustermesh_certificate_expiry_timestamp_seconds",
    help: "Time at which a certificate of the cluster, or with a peer label one that it has for the peer, expires.",
    labelNames: ["context", "cluster", "peer", "use"],
  },
  findings: {
    name: "clustermesh_findings",
    help: "Findings about the cluster and its peers.",
    labelNames: ["context", "severity", "code"],
  },
} as const satisfies Readonly<Record<string, MetricMeaning>>;

/** A certificate and its role. */
export interface UsedCertificate extends Pick<Expiry, "expiresAt"> {
  use: CertificateUse;
}

const USES = ["client", "server", "ca"] as const satisfies readonly CertificateUse[];

/**
 * Returns the time of expiry for each use, in seconds since 1970: that of the certificate that expires first, but of the CA
 * that expires last, because a bundle contains the old CA too while it is being replaced.
 */
export function expirySamples(labels: Sample["labels"], certificates: readonly UsedCertificate[]): Sample[] {
  return USES.flatMap((use) => {
    const times = certificates.filter((one) => one.use === use).map(({ expiresAt }) => Date.parse(expiresAt) / 1000);
    if (times.length === 0) return [];
    return [{ labels: { ...labels, use }, value: use === "ca" ? Math.max(...times) : Math.min(...times) }];
  });
}

/** Counts values, and those of `known` that do not occur as 0, so that no series vanishes ({@link findingSamples}). */
export function countSamples(
  labels: Sample["labels"],
  label: string,
  known: readonly string[],
  values: readonly string[],
): Sample[] {
  return known.map((value) => ({
    labels: { ...labels, [label]: value },
    value: values.filter((one) => one === value).length,
  }));
}

/** All codes of findings. */
export const ALL_CODES = Object.keys(FINDING_CODES) as Iterable<FindingCode>;

/**
 * Counts findings by code. A code without findings is counted as 0, because an expression over a series that vanishes has no
 * result; Prometheus advises to export every series that is known in advance.
 *
 * @param checked - the codes that would have been found: none if the subject could not be read, because the counts of other
 *   codes are unknown then.
 */
export function findingSamples(
  labels: Sample["labels"],
  findings: readonly Pick<Finding, "code">[],
  checked: Iterable<FindingCode>,
): Sample[] {
  const counts = new Map([...checked].map((code) => [code, 0]));
  for (const { code } of findings) counts.set(code, (counts.get(code) ?? 0) + 1);
  return [...counts].map(([code, value]) => {
    const { severity } = definitionOf(code);
    return { labels: { ...labels, severity, code }, value };
  });
}
