/** Which names the server certificate of a clustermesh-apiserver covers. Pure. */
import { readCertificates, subjectAltNames } from "../peer/certificate.ts";
import { APISERVER, type ClusterFacts, MESH_DOMAIN, versionAtLeast } from "../peer/peer.ts";

/** The names that the chart puts into the server certificate, where nobody asked for others. */
export function chartNames({ version, namespace }: ClusterFacts): string[] {
  return [
    `*.${MESH_DOMAIN}`,
    ...(versionAtLeast(version, "1.20") === true ? [] : ["clustermesh-apiserver.cilium.io"]),
    ...(versionAtLeast(version, "1.14") === false ? [] : [`${APISERVER}.${namespace}.svc`]),
    "127.0.0.1",
    ...(versionAtLeast(version, "1.11") === false ? [] : ["::1"]),
  ];
}

/**
 * The names of a server certificate.
 *
 * @throws PemError where it cannot be read.
 */
export function namesOf(pem: string): string[] {
  const [leaf] = readCertificates(pem);
  return leaf ? subjectAltNames(leaf) : [];
}
