/** The etcd client config that Cilium reads for each remote cluster. Pure. */
import { stringify } from "yaml";
import { compareAddresses, isAddress, parseEndpoint } from "../util/address.ts";
import { isFields } from "../util/fields.ts";
import { parseYamlDocuments, YamlError } from "../util/yaml.ts";
import type { HostAlias } from "./peer.ts";

export interface EtcdConfig {
  endpoints: string[];
  hostAliases: HostAlias[];
  /** Paths as in the config; undefined if a field is missing. */
  trustedCaFile?: string | undefined;
  certFile?: string | undefined;
  keyFile?: string | undefined;
  /** Names of unsupported fields, sorted. They are not preserved when a config is written. */
  otherFields: string[];
}

/** Thrown by {@link parseEtcdConfig}. The message is a predicate of the config: `is not YAML`. */
export class EtcdConfigError extends Error {}

/** Larger configs are rejected: an ordinary one has a few hundred bytes and a few endpoints. */
const MAX_BYTES = 65_536;
const MAX_ENDPOINTS = 100;

/** Whether Cilium treats a file in the mounted directory as a cluster's config: it only searches for this string. */
export function isEtcdConfig(content: string): boolean {
  return content.includes("endpoints:");
}

/**
 * Parses a config as Cilium does: unknown fields are ignored, and a field of the wrong type invalidates the whole
 * config.
 *
 * @throws EtcdConfigError
 */
export function parseEtcdConfig(text: string): EtcdConfig {
  if (text.length > MAX_BYTES) throw new EtcdConfigError("is larger than 64 KiB");
  const config = parsePlain(text) ?? parseYaml(text);
  if (config.endpoints.length > MAX_ENDPOINTS) throw new EtcdConfigError(`has more than ${MAX_ENDPOINTS} endpoints`);
  return config;
}

function parseYaml(text: string): EtcdConfig {
  let value: unknown;
  try {
    // As in Go, further documents are ignored.
    value = parseYamlDocuments(text).next().value;
  } catch (error) {
    if (!(error instanceof YamlError)) throw error;
    throw new EtcdConfigError(`is not YAML: ${error.message}`);
  }
  if (!isFields(value)) throw new EtcdConfigError("is not a mapping");
  const {
    endpoints,
    "trusted-ca-file": ca,
    "cert-file": cert,
    "key-file": key,
    "cilium-host-aliases": aliases,
    ...others
  } = value;
  return {
    endpoints: parseStrings(endpoints, "endpoints"),
    hostAliases: parseList(aliases, "cilium-host-aliases").map((entry) => {
      if (!isFields(entry)) throw new EtcdConfigError("has an entry of cilium-host-aliases that is not a mapping");
      return { hostname: parseString(entry.hostname, "hostname") ?? "", ips: parseStrings(entry.ips, "ips") };
    }),
    trustedCaFile: parseString(ca, "trusted-ca-file"),
    certFile: parseString(cert, "cert-file"),
    keyFile: parseString(key, "key-file"),
    otherFields: Object.keys(others).sort(),
  };
}

/**
 * Formats a config canonically: Cilium compares bytes, so any difference makes every agent reconnect.
 */
export function formatEtcdConfig(config: Omit<EtcdConfig, "otherFields">): string {
  const aliases = canonicalAliases(config.hostAliases);
  const plain = formatPlain(config, aliases);
  if (plain !== undefined) return plain;
  return stringify(
    {
      endpoints: canonicalEndpoints(config.endpoints),
      ...(config.trustedCaFile !== undefined && { "trusted-ca-file": config.trustedCaFile }),
      ...(config.certFile !== undefined && { "cert-file": config.certFile }),
      ...(config.keyFile !== undefined && { "key-file": config.keyFile }),
      ...(aliases.length > 0 && { "cilium-host-aliases": aliases }),
    },
    // Go parses YAML 1.1, in which more scalars require quotes.
    { version: "1.1", lineWidth: 0, indentSeq: false },
  );
}

// Nearly all configs are canonical and need no quotes. They are parsed and formatted without the YAML library, which
// would take longer than the rest of planning an import.

/** Scalars that need no quotes in any version of YAML. */
const PLAIN = {
  url: /^https:\/\/[a-z0-9.[\]:-]*[a-z0-9]$/i,
  path: /^\/[\w./-]+$/,
  hostname: /^[a-z][a-z0-9-]*(?:\.[a-z0-9-]+)+$/i,
  ip: /^(?=.{2,39}$)(?:\d+\.\d+\.\d+\.\d+|[0-9a-f:]*::[0-9a-f:]*[0-9a-f])$/,
};

/** Formats a config without the YAML library; undefined if a scalar may need quotes. */
function formatPlain(config: Omit<EtcdConfig, "otherFields">, aliases: readonly HostAlias[]): string | undefined {
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

/** Parses the output of {@link formatPlain}; undefined for any other text. */
function parsePlain(text: string): EtcdConfig | undefined {
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
  return formatPlain(config, canonicalAliases(config.hostAliases)) === text ? config : undefined;
}

/** Returns the distinct endpoints, sorted: their order does not matter to etcd's client. */
export function canonicalEndpoints(endpoints: readonly string[]): string[] {
  return [...new Set(endpoints)].sort();
}

/** Returns aliases sorted by hostname, with distinct and sorted addresses. */
export function canonicalAliases(aliases: readonly HostAlias[]): HostAlias[] {
  return aliases
    .map(({ hostname, ips }) => ({ hostname, ips: [...new Set(ips)].sort(compareAddresses) }))
    .sort((a, b) => (a.hostname < b.hostname ? -1 : a.hostname > b.hostname ? 1 : 0));
}

/** Describes why Cilium rejects host aliases, and with them the whole config; undefined if they are valid. */
export function aliasProblem(aliases: readonly HostAlias[]): string | undefined {
  const seen = new Set<string>();
  for (const { hostname, ips } of aliases) {
    if (hostname === "") return "a host alias without a hostname";
    if (seen.has(hostname)) return `two host aliases for ${hostname}`;
    seen.add(hostname);
    if (ips.length === 0) return `a host alias for ${hostname} without addresses`;
    const invalid = ips.find((ip) => !isAddress(ip));
    if (invalid !== undefined)
      return `a host alias for ${hostname} with the invalid address ${JSON.stringify(invalid)}`;
  }
  return undefined;
}

/** Returns the distinct host names of endpoints, without IP addresses. Invalid endpoints are skipped. */
export function endpointHostnames(endpoints: readonly string[]): string[] {
  const hosts = endpoints.map((url) => parseEndpoint(url)?.host).filter((host) => host !== undefined);
  return [...new Set(hosts)].filter((host) => !isAddress(host));
}

/** Formats the URLs of a peer, and the addresses in its host aliases: `https://c2.mesh.cilium.io:2379 at 10.0.0.1`. */
export function describeEndpoint({ endpoints, hostAliases }: Pick<EtcdConfig, "endpoints" | "hostAliases">): string {
  const ips = hostAliases.flatMap((alias) => alias.ips);
  return [endpoints.join(", "), ...(ips.length > 0 ? [ips.join(", ")] : [])].join(" at ");
}

/** Whether two endpoints are equal, regardless of order and repetition of URLs and addresses, and of the order of host aliases. */
export function isSameEndpoint(
  one: Pick<EtcdConfig, "endpoints" | "hostAliases">,
  other: Pick<EtcdConfig, "endpoints" | "hostAliases">,
): boolean {
  const canonical = ({ endpoints, hostAliases }: typeof one) =>
    JSON.stringify([canonicalEndpoints(endpoints), canonicalAliases(hostAliases)]);
  // Nearly all have the same order, and sorting addresses is slow.
  return hasSameOrder(one, other) || canonical(one) === canonical(other);
}

function hasSameOrder(one: Pick<EtcdConfig, "endpoints" | "hostAliases">, other: typeof one): boolean {
  return (
    isSameList(one.endpoints, other.endpoints) &&
    one.hostAliases.length === other.hostAliases.length &&
    one.hostAliases.every(({ hostname, ips }, i) => {
      const alias = other.hostAliases[i];
      return alias?.hostname === hostname && isSameList(ips, alias.ips);
    })
  );
}

function isSameList(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((text, i) => text === other[i]);
}

/** Whether an endpoint is the cluster's own KVStoreMesh cache rather than a peer. */
export function isOwnCache(endpoints: readonly string[]): boolean {
  const isOwn = (url: string) => /^clustermesh-apiserver\.[^.]+\.svc(?:\.|$)/.test(parseEndpoint(url)?.host ?? "");
  // Parsing is slow, and nearly all endpoints are those of peers.
  return endpoints.some((url) => url.startsWith("https://clustermesh-apiserver.") && isOwn(url));
}

function parseList(value: unknown, field: string): unknown[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw new EtcdConfigError(`has a field ${field} that is not a list`);
  return value;
}

function parseStrings(value: unknown, field: string): string[] {
  return parseList(value, field).map((entry) => {
    if (typeof entry !== "string") throw new EtcdConfigError(`has an entry in ${field} that is not a string`);
    return entry;
  });
}

function parseString(value: unknown, field: string): string | undefined {
  if (value === undefined || value === null || value === "") return undefined;
  if (typeof value !== "string") throw new EtcdConfigError(`has a field ${field} that is not a string`);
  return value;
}
