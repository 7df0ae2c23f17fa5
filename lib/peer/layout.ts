/** The layouts of peers in Secrets. Pure. */

/**
 * `clustermesh-secrets`: with our annotations; `old-scripts`: as the old scripts wrote it; `chart`: Helm chart, with a
 * certificate per peer; `chart-shared-ca`: Helm chart, with one CA and without keys; `chart-mixed`: Helm chart, with
 * a certificate per peer and a common CA.
 */
export type Layout = "clustermesh-secrets" | "old-scripts" | "chart" | "chart-shared-ca" | "chart-mixed" | "other";

/**
 * Determines the layout of a peer from the keys of the files that its config refers to.
 *
 * @param hasSchema - whether the Secret has annotations of `extract-secret`.
 */
export function layoutOf(
  name: string,
  { ca, cert, key }: { ca?: string | undefined; cert?: string | undefined; key?: string | undefined },
  hasSchema: boolean,
): Layout {
  if (hasSchema) return "clustermesh-secrets";
  if (cert === undefined && key === undefined) return ca === undefined ? "chart-shared-ca" : "other";
  if (cert === `${name}.crt` && key === `${name}.key` && ca === `${name}-ca.crt`) return "old-scripts";
  if (cert === `${name}.etcd-client.crt` && key === `${name}.etcd-client.key`) {
    if (ca === undefined) return "chart-mixed";
    return ca === `${name}.etcd-client-ca.crt` ? "chart" : "other";
  }
  return "other";
}
