/** The objects that Cilium reads, as lines for a person: configs, and certificates by what they are. Pure. */
import type { V1ConfigMap, V1Secret } from "@kubernetes/client-node";
import { USERS_KEY } from "../peer/peer.ts";
import { decodeFiles, readEntries } from "../peer/secret.ts";
import { formatDate } from "../x509/expiry.ts";
import { commonName, formatName } from "../x509/names.ts";
import { readCertificates, tryReadPem, validity } from "../x509/pem.ts";
import { escapeLine, type Style } from "./style.ts";

/** A Secret of peers: its configs with where they lead to, then its other files. Never a key. */
export function showSecret(secret: V1Secret, style: Style): string[] {
  const { files } = decodeFiles(secret, { source: "" });
  const entries = readEntries(files, {}, "");
  const lines = [`Secret ${style.bold(escapeLine(secret.metadata?.name ?? ""))}`];
  for (const { name, config } of entries) {
    lines.push(`  ${style.green(escapeLine(name))}: ${escapeLine(config?.endpoints.join(", ") ?? "cannot be read")}`);
    for (const { hostname, ips } of config?.hostAliases ?? []) {
      lines.push(style.dim(`      ${escapeLine(hostname)} is ${escapeLine(ips.join(", "))}`));
    }
    if (config) lines.push(style.dim(`      ${escapeLine(tlsLine(config))}`));
  }
  const configs = new Set(entries.map(({ name }) => name));
  for (const [key, content] of files) {
    if (!configs.has(key)) lines.push(style.dim(`  ${escapeLine(`${key}: ${describe(content.toString())}`)}`));
  }
  return lines;
}

/** The users ConfigMap. */
export function showUsers(configMap: V1ConfigMap, style: Style): string[] {
  const text = configMap.data?.[USERS_KEY] ?? "";
  const title = `ConfigMap ${style.bold(escapeLine(configMap.metadata?.name ?? ""))}`;
  return [
    title,
    ...text
      .trimEnd()
      .split("\n")
      .map((line) => style.dim(`  ${escapeLine(line)}`)),
  ];
}

function tlsLine({ trustedCaFile, certFile }: { trustedCaFile?: string | undefined; certFile?: string | undefined }) {
  const base = (path: string | undefined) => path?.slice(path.lastIndexOf("/") + 1) ?? "none";
  return `CA ${base(trustedCaFile)}, client certificate ${base(certFile)}`;
}

/** What a file is: a certificate and until when, a private key, or so many bytes. */
export function describe(content: string): string {
  if (/PRIVATE KEY-----/.test(content)) return "private key";
  const [certificate, ...others] = tryReadPem(() => readCertificates(content)) ?? [];
  if (!certificate) return `${content.length} bytes`;
  const until = formatDate(validity(certificate).until);
  const more = others.length > 0 ? ` and ${others.length} more` : "";
  return `${certificate.ca ? "CA" : "certificate"} ${commonName(certificate) ?? formatName(certificate.subject)}${more}, until ${until}`;
}
