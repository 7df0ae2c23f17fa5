/** Names covered by the server certificate of a clustermesh-apiserver. Pure. */

import { APISERVER, type ClusterFacts, MESH_DOMAIN, versionAtLeast } from "../peer/peer.ts";
import { isAddress, isHostname } from "../util/address.ts";
import { shortAddress, subjectAltNames } from "../x509/names.ts";
import { readCertificates } from "../x509/pem.ts";

/** Returns the names in the server certificate that the chart creates by default, for versions 1.10 to 1.20. */
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
 * Reads the names of a server certificate (PEM).
 *
 * @throws PemError if it cannot be read.
 */
export function readServerNames(pem: string): string[] {
  const [leaf] = readCertificates(pem);
  return leaf ? subjectAltNames(leaf) : [];
}

/**
 * Parses a name that a server certificate can contain: a host name, a wildcard with one leading `*.`, or an IP address.
 *
 * @returns the name in lower case, or the address in its shortest form; undefined if the text is invalid.
 */
export function parseServerName(text: string): string | undefined {
  if (isAddress(text)) return shortAddress(text);
  const name = text.toLowerCase();
  const rest = name.replace(/^\*\./, "");
  return isHostname(rest) && !rest.endsWith(".") && (rest === name || rest.includes(".")) ? name : undefined;
}
