/** The etcd client config: what Cilium reads for one remote cluster. Pure. */
import { stringify } from "yaml";
import { compareAddresses, isAddress, parseEndpoint } from "../util/address.ts";
import { parseYamlDocuments, YamlError } from "../util/yaml.ts";
import type { HostAlias } from "./peer.ts";

export interface EtcdConfig {
  endpoints: string[];
  hostAliases: HostAlias[];
  /** Paths as in the config; undefined if a field is missing. */
  trustedCaFile?: string | undefined;
  certFile?: string | undefined;
  keyFile?: string | undefined;
  /** Fields that are none of the above, and that are not carried over. */
  otherFields: string[];
}

/** Thrown by {@link parseEtcdConfig}. The message is a predicate of the config: `is not YAML`. */
export class EtcdConfigError extends Error {}

/** What is more than this is not read: a config has a few hundred bytes, and few endpoints. */
const MOST_BYTES = 65_536;
const MOST_ENDPOINTS = 100;

/** Cilium takes a file of the mounted folder for a cluster's config if its bytes contain this. */
export function isEtcdConfig(content: string): boolean {
  return content.includes("endpoints:");
}

/**
 * Parses a config as Cilium does: unknown fields are ignored, and a field of the wrong type invalidates the whole config.
 *
 * @throws EtcdConfigError
 */
export function parseEtcdConfig(text: string): EtcdConfig {
  if (text.length > MOST_BYTES) throw new EtcdConfigError("has more than 64 KiB");
  const config = readPlain(text) ?? readYaml(text);
  if (config.endpoints.length > MOST_ENDPOINTS) throw new EtcdConfigError(`has more than ${MOST_ENDPOINTS} endpoints`);
  return config;
}

function readYaml(text: string): EtcdConfig {
  let value: unknown;
  try {
    // Go reads the first document only.
    value = parseYamlDocuments(text).next().value;
  } catch (error) {
    if (!(error instanceof YamlError)) throw error;
    throw new EtcdConfigError(`is not YAML: ${error.message}`);
  }
  if (!isRecord(value)) throw new EtcdConfigError("is not a mapping");
  const {
    endpoints,
    "trusted-ca-file": ca,
    "cert-file": cert,
    "key-file": key,
    "cilium-host-aliases": aliases,
    ...others
  } = value;
  return {
    endpoints: strings(endpoints, "endpoints"),
    hostAliases: list(aliases, "cilium-host-aliases").map((entry) => {
      if (!isRecord(entry)) throw new EtcdConfigError("has an entry of cilium-host-aliases that is not a mapping");
      return { hostname: textOf(entry.hostname, "hostname") ?? "", ips: strings(entry.ips, "ips") };
    }),
    trustedCaFile: textOf(ca, "trusted-ca-file"),
    certFile: textOf(cert, "cert-file"),
    keyFile: textOf(key, "key-file"),
    otherFields: Object.keys(others).sort(),
  };
}

/**
 * Writes a config in its one canonical form: Cilium compares bytes, and a changed byte makes every agent reconnect.
 * `otherFields` are not written.
 */
export function formatEtcdConfig(config: Omit<EtcdConfig, "otherFields">): string {
  const aliases = canonicalAliases(config.hostAliases);
  const plain = writePlain(config, aliases);
  if (plain !== undefined) return plain;
  return stringify(
    {
      endpoints: canonicalEndpoints(config.endpoints),
      ...(config.trustedCaFile !== undefined && { "trusted-ca-file": config.trustedCaFile }),
      ...(config.certFile !== undefined && { "cert-file": config.certFile }),
      ...(config.keyFile !== undefined && { "key-file": config.keyFile }),
      ...(aliases.length > 0 && { "cilium-host-aliases": aliases }),
    },
    // Go reads YAML 1.1, in which more words have to be quoted.
    { version: "1.1", lineWidth: 0, indentSeq: false },
  );
}

// Nearly every config is in our own form and needs no quotes. Reading and writing those takes a YAML library longer than
// all the rest of planning an import does; everything else is left to it.

/** Scalars that need no quotes in any YAML. */
const PLAIN = {
  url: /^https:\/\/[a-z0-9.[\]:-]*[a-z0-9]$/i,
  path: /^\/[\w./-]+$/,
  hostname: /^[a-z][a-z0-9-]*(?:\.[a-z0-9-]+)+$/i,
  ip: /^(?=.{2,39}$)(?:\d+\.\d+\.\d+\.\d+|[0-9a-f:]*::[0-9a-f:]*[0-9a-f])$/,
};

/** The canonical form; undefined where something in it may need quotes. */
function writePlain(config: Omit<EtcdConfig, "otherFields">, aliases: readonly HostAlias[]): string | undefined {
  const { trustedCaFile, certFile, keyFile } = config;
  const endpoints = canonicalEndpoints(config.endpoints);
  const files = Object.entries({ "trusted-ca-file": trustedCaFile, "cert-file": certFile, "key-file": keyFile });
  const paths = files.filter((entry): entry is [string, string] => entry[1] !== undefined);
  const plain =
    endpoints.length > 0 &&
    endpoints.every((url) => PLAIN.url.test(url)) &&
    paths.every(([, path]) => PLAIN.path.test(path)) &&
    aliases.every(
      ({ hostname, ips }) => PLAIN.hostname.test(hostname) && ips.length > 0 && ips.every((ip) => PLAIN.ip.test(ip)),
    );
  if (!plain) return undefined;
  const lines = [
    "endpoints:",
    ...endpoints.map((url) => `- ${url}`),
    ...paths.map(([field, path]) => `${field}: ${path}`),
  ];
  if (aliases.length > 0) lines.push("cilium-host-aliases:");
  for (const { hostname, ips } of aliases)
    lines.push(`- hostname: ${hostname}`, "  ips:", ...ips.map((ip) => `  - ${ip}`));
  return `${lines.join("\n")}\n`;
}

/** What was written by {@link writePlain}; undefined for any other text. */
function readPlain(text: string): EtcdConfig | undefined {
  const field = (name: string) => new RegExp(`^${name}: (.*)$`, "m").exec(text)?.[1];
  const [head = "", tail = ""] = text.split("\ncilium-host-aliases:\n");
  const config = {
    endpoints: [...head.matchAll(/^- (.*)$/gm)].map(([, url = ""]) => url),
    hostAliases: tail
      .split(/^- hostname: /m)
      .slice(1)
      .map((entry) => {
        const [hostname = "", , ...ips] = entry.trimEnd().split("\n");
        return { hostname, ips: ips.map((line) => line.slice(4)) };
      }),
    trustedCaFile: field("trusted-ca-file"),
    certFile: field("cert-file"),
    keyFile: field("key-file"),
    otherFields: [],
  };
  return writePlain(config, canonicalAliases(config.hostAliases)) === text ? config : undefined;
}

/** Endpoints, each once, sorted: etcd's client takes them in any order. */
export function canonicalEndpoints(endpoints: readonly string[]): string[] {
  return [...new Set(endpoints)].sort();
}

/** Aliases sorted by name, their addresses sorted and each once. */
export function canonicalAliases(aliases: readonly HostAlias[]): HostAlias[] {
  return aliases
    .map(({ hostname, ips }) => ({ hostname, ips: [...new Set(ips)].sort(compareAddresses) }))
    .sort((a, b) => (a.hostname < b.hostname ? -1 : a.hostname > b.hostname ? 1 : 0));
}

/** What makes Cilium refuse these aliases, and with them the whole config; undefined where it takes them. */
export function aliasProblem(aliases: readonly HostAlias[]): string | undefined {
  const seen = new Set<string>();
  for (const { hostname, ips } of aliases) {
    if (hostname === "") return "a host alias without a hostname";
    if (seen.has(hostname)) return `two host aliases for ${hostname}`;
    seen.add(hostname);
    if (ips.length === 0) return `a host alias for ${hostname} without addresses`;
    const wrong = ips.find((ip) => !isAddress(ip));
    if (wrong !== undefined) return `a host alias for ${hostname} with the invalid address ${JSON.stringify(wrong)}`;
  }
  return undefined;
}

/** The host names (not IP addresses) of these endpoints, without duplicates. Invalid endpoints are skipped. */
export function endpointHostnames(endpoints: readonly string[]): string[] {
  const hosts = endpoints.map((url) => parseEndpoint(url)?.host).filter((host) => host !== undefined);
  return [...new Set(hosts)].filter((host) => !isAddress(host));
}

/** Where a peer is reached, in one text: its URLs, and the addresses that their names stand for. */
export function describeEndpoint({ endpoints, hostAliases }: Pick<EtcdConfig, "endpoints" | "hostAliases">): string {
  const ips = hostAliases.flatMap((alias) => alias.ips);
  return [endpoints.join(", "), ...(ips.length > 0 ? [ips.join(", ")] : [])].join(" at ");
}

/** Whether an endpoint is a cluster's own KVStoreMesh cache, and so not a peer. */
export function isOwnCache(endpoints: readonly string[]): boolean {
  return endpoints.some((url) => /^clustermesh-apiserver\.[^.]+\.svc(?:\.|$)/.test(parseEndpoint(url)?.host ?? ""));
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function list(value: unknown, field: string): unknown[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw new EtcdConfigError(`has ${field} that is not a list`);
  return value;
}

function strings(value: unknown, field: string): string[] {
  return list(value, field).map((entry) => {
    if (typeof entry !== "string") throw new EtcdConfigError(`has an entry of ${field} that is not a text`);
    return entry;
  });
}

function textOf(value: unknown, field: string): string | undefined {
  if (value === undefined || value === null || value === "") return undefined;
  if (typeof value !== "string") throw new EtcdConfigError(`has ${field} that is not a text`);
  return value;
}
