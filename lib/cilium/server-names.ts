/** Which names the server certificate of a clustermesh-apiserver covers. Pure. */

import { APISERVER, type ClusterFacts, MESH_DOMAIN, versionAtLeast } from "../peer/peer.ts";
import { isAddress, isHostname } from "../util/address.ts";
import { shortAddress, subjectAltNames } from "../x509/names.ts";
import { readCertificates } from "../x509/pem.ts";

/** The names that the chart puts into the server certificate, where nobody asked for others. */
export function chartServerNames({ version, namespace }: ClusterFacts): string[] {
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
export function readServerNames(pem: string): string[] {
  const [leaf] = readCertificates(pem);
  return leaf ? subjectAltNames(leaf) : [];
}

/**
 * Reads a name that a server certificate may cover: a host name, a wildcard for its first label, or an address.
 *
 * @returns undefined where it is none of them.
 */
export function parseServerName(text: string): string | undefined {
  if (isAddress(text)) return shortAddress(text);
  const name = text.toLowerCase();
  const rest = name.replace(/^\*\./, "");
  return isHostname(rest) && !rest.endsWith(".") && (rest === name || rest.includes(".")) ? name : undefined;
}
