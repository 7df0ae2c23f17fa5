/** Objects that Cilium reads: etcd configs, certificates by subject and expiry, users. Pure. */
import type { V1ConfigMap, V1Secret } from "@kubernetes/client-node";
import { USERS_KEY } from "../peer/peer.ts";
import { decodeFiles, readEntries } from "../peer/secret.ts";
import { formatDate } from "../x509/expiry.ts";
import { commonName, formatName } from "../x509/names.ts";
import { readCertificates, tryReadPem, validity } from "../x509/pem.ts";
import { escapeLine, type Style } from "./style.ts";

/** Describes a Secret: endpoints and TLS files of each peer, then other files. Private keys are never printed. */
export function showSecret(secret: V1Secret, style: Style): string[] {
  const { files } = decodeFiles(secret, { source: "" });
  const entries = readEntries({ files }, {}, "");
  const lines = [`Secret ${style.bold(escapeLine(secret.metadata?.name ?? ""))}`];
  for (const { name, config } of entries) {
    lines.push(
      `  ${style.green(escapeLine(name))}: ${escapeLine(config?.endpoints.join(", ") ?? "unreadable config")}`,
    );
    for (const { hostname, ips } of config?.hostAliases ?? []) {
      lines.push(style.dim(`      ${escapeLine(`host alias ${hostname}: ${ips.join(", ")}`)}`));
    }
    if (config) lines.push(style.dim(`      ${escapeLine(describeTls(config))}`));
  }
  const configs = new Set(entries.map(({ name }) => name));
  for (const [key, content] of files) {
    if (!configs.has(key)) lines.push(style.dim(`  ${escapeLine(`${key}: ${describeFile(content.toString())}`)}`));
  }
  return lines;
}

/** Prints the ConfigMap of etcd users. */
export function showUsers(configMap: V1ConfigMap, style: Style): string[] {
  const text = configMap.data?.[USERS_KEY] ?? "";
  const lines = text.trimEnd().split("\n");
  return [
    `ConfigMap ${style.bold(escapeLine(configMap.metadata?.name ?? ""))}`,
    ...lines.map((line) => style.dim(`  ${escapeLine(line)}`)),
  ];
}

function describeTls({
  trustedCaFile,
  certFile,
}: {
  trustedCaFile?: string | undefined;
  certFile?: string | undefined;
}) {
  const fileName = (path: string | undefined) => path?.slice(path.lastIndexOf("/") + 1) ?? "none";
  return `CA ${fileName(trustedCaFile)}, client certificate ${fileName(certFile)}`;
}

/** Describes a file as a certificate with its expiry, a private key, or a number of bytes. */
export function describeFile(content: string): string {
  if (/PRIVATE KEY-----/.test(content)) return "private key";
  const [certificate, ...others] = tryReadPem(() => readCertificates(content)) ?? [];
  if (!certificate) return `${content.length} bytes`;
  const until = formatDate(validity(certificate).until);
  const more = others.length > 0 ? ` and ${others.length} more` : "";
  return `${certificate.ca ? "CA" : "certificate"} ${commonName(certificate) ?? formatName(certificate.subject)}${more}, until ${until}`;
}
