/** Reads peers from Secrets of any layout, by the paths in their configs, and writes them in ours. Pure. */
import type { V1Secret } from "@kubernetes/client-node";
import { decodeBase64, decodeText } from "../util/content.ts";
import { ParseCache } from "../util/parse-cache.ts";
import { contentHash, normalizeCa, tryReadPem } from "../x509/pem.ts";
import {
  PEERS_ANNOTATION,
  readFacts,
  readPeerRecords,
  recordedFacts,
  SCHEMA_ANNOTATION,
  writeFacts,
} from "./annotations.ts";
import { checkAnnotations } from "./checks/file-annotations.ts";
import { type EtcdConfig, EtcdConfigError, formatEtcdConfig, isEtcdConfig, parseEtcdConfig } from "./etcd-config.ts";
import { type Finding, finding, type Place } from "./findings.ts";
import { type Layout, layoutOf } from "./layout.ts";
import { AGENTS_SECRET, type ClusterFacts, MOUNT_PATH, type Peer } from "./peer.ts";
import { type TargetFacts, writeTargetFacts } from "./target-facts.ts";

/** The decoded files of a Secret, by key. */
export type SecretFiles = ReadonlyMap<string, Buffer>;

/** Files that Cilium's workloads project into the same directory as those of the Secret. */
export const COMMON_FILES = tlsFiles("common-etcd-client");
export const LOCAL_FILES = tlsFiles("local-etcd-client");

/** The paths of the three TLS files in a config. */
export interface TlsPaths {
  trustedCaFile: string;
  certFile: string;
  keyFile: string;
}

function tlsFiles(prefix: string): TlsPaths {
  const path = MOUNT_PATH + prefix;
  return { trustedCaFile: `${path}-ca.crt`, certFile: `${path}.crt`, keyFile: `${path}.key` };
}

/** The decoded data of a Secret. */
export interface SecretContents {
  files: SecretFiles;
  /** Keys of values that cannot be decoded. */
  damaged?: ReadonlySet<string>;
}

/**
 * Decodes the data of a Secret. `stringData` overrides `data`, as in Kubernetes.
 *
 * @returns the contents, with a finding for each value that cannot be decoded.
 */
export function decodeFiles(
  secret: V1Secret,
  place: Place,
  cache = new ParseCache(),
): { files: Map<string, Buffer>; damaged: Set<string>; findings: Finding[] } {
  const files = new Map<string, Buffer>();
  const damaged = new Set<string>();
  const findings: Finding[] = [];
  const report = (key: string, field: "data" | "stringData") => {
    damaged.add(key);
    findings.push(finding("data-invalid", { ...place, key }, { field }));
  };
  const data: Record<string, unknown> = secret.data ?? {};
  for (const [key, value] of Object.entries(data)) {
    const content = typeof value === "string" ? cache.parse(decodeBase64, value) : undefined;
    if (content) files.set(key, content);
    else report(key, "data");
  }
  for (const [key, value] of Object.entries((secret.stringData ?? {}) as Record<string, unknown>)) {
    if (typeof value === "string") files.set(key, Buffer.from(value));
    else report(key, "stringData");
  }
  return { files, damaged, findings };
}

/** A config in a Secret, with the files that it refers to. */
export interface Entry {
  name: string;
  /** Undefined if the config or one of its files is unreadable, which is reported in `findings`. */
  peer: Peer | undefined;
  config: EtcdConfig | undefined;
  /** The keys of the TLS files that the config refers to and that are in the Secret. */
  keys: { ca?: string | undefined; cert?: string | undefined; key?: string | undefined };
  findings: Finding[];
}

/**
 * Reads all configs of a Secret, sorted by name. The findings are about unreadable configs; checkPeer checks the peers.
 */
export function readEntries(
  contents: SecretContents,
  annotations: Readonly<Record<string, string>>,
  source: string,
  cache = new ParseCache(),
): Entry[] {
  const facts = readFacts(annotations);
  const records = readPeerRecords(annotations[PEERS_ANNOTATION]);
  return [...contents.files]
    .filter(([, content]) => isEtcdConfig(cache.parse(decodeText, content)))
    .map(([name, content]) => {
      const record = records.get(name);
      const recorded = { ...recordedFacts(record), ...(record?.given && { endpointGiven: record.given }) };
      const own: ClusterFacts = facts.name === name ? facts : recorded;
      return readEntry(name, cache.parse(decodeText, content), contents, own, source, cache);
    })
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

function readEntry(
  name: string,
  text: string,
  { files, damaged }: SecretContents,
  facts: ClusterFacts,
  source: string,
  cache: ParseCache,
): Entry {
  const place = { source, key: name };
  const findings: Finding[] = [];
  let isDamaged = false;
  let config: EtcdConfig;
  try {
    config = cache.parse(parseEtcdConfig, text);
  } catch (error) {
    if (!(error instanceof EtcdConfigError)) throw error;
    findings.push(finding("config-invalid", place, { problem: error.message }));
    return { name, peer: undefined, config: undefined, keys: {}, findings };
  }
  const readReferencedFile = (
    field: string,
    path: string | undefined,
  ): { key: string; pem: string } | "importer" | undefined => {
    if (path === undefined) return undefined;
    const key = path.startsWith(MOUNT_PATH) ? path.slice(MOUNT_PATH.length) : undefined;
    if (key?.startsWith("common-etcd-client") || key?.startsWith("local-etcd-client")) return "importer";
    if (key === undefined || key.includes("/")) {
      findings.push(finding("file-elsewhere", place, { field, path }));
      return undefined;
    }
    const content = files.get(key);
    if (content === undefined && damaged?.has(key)) {
      // Already reported by decodeFiles.
      isDamaged = true;
      return undefined;
    }
    if (content === undefined) {
      findings.push(finding("file-missing", place, { field, key }));
      return undefined;
    }
    const pem = cache.parse(decodeText, content);
    // Cilium treats such a file as a cluster's config, even if another config refers to it.
    if (isEtcdConfig(pem)) {
      findings.push(finding("file-missing", place, { field, key, isConfig: true }));
      return undefined;
    }
    return { key, pem };
  };
  const ca = readReferencedFile("trusted-ca-file", config.trustedCaFile);
  const cert = readReferencedFile("cert-file", config.certFile);
  const key = readReferencedFile("key-file", config.keyFile);
  let client: Peer["client"] | undefined;
  if (cert === "importer" && key === "importer") client = "importer";
  else if (typeof cert === "object" && typeof key === "object") client = { cert: cert.pem, key: key.pem };
  else if (findings.length === 0 && !isDamaged) {
    findings.push(finding("no-client-certificate", place, {}));
  }
  const peer: Peer | undefined =
    client === undefined || findings.length > 0 || isDamaged
      ? undefined
      : {
          name,
          endpoints: config.endpoints,
          hostAliases: config.hostAliases,
          ca: ca === undefined ? "system" : ca === "importer" ? ca : { pem: canonicalCa(ca.pem, cache) },
          client,
          facts,
        };
  const keyOf = (file: typeof ca) => (typeof file === "object" ? file.key : undefined);
  return { name, peer, config, keys: { ca: keyOf(ca), cert: keyOf(cert), key: keyOf(key) }, findings };
}

/**
 * Normalizes a CA bundle, so that equal bundles compare equal. Invalid PEM is left unchanged, and reported by checkTls.
 */
function canonicalCa(pem: string, cache: ParseCache): string {
  return tryReadPem(() => normalizeCa(pem, cache)) ?? pem;
}

/**
 * Reads the peers of a file's Secret.
 *
 * @param source - the name of the file in findings.
 */
export function readPeerFile(
  secret: V1Secret,
  source: string,
  cache = new ParseCache(),
): { peers: Peer[]; layouts: Map<string, Layout>; findings: Finding[] } {
  const place = { source };
  const { findings, ...contents } = decodeFiles(secret, place, cache);
  const annotations = secret.metadata?.annotations ?? {};
  const entries = readEntries(contents, annotations, source, cache);
  if (entries.length === 0 && findings.length === 0) findings.push(finding("no-peer", place, {}));
  const names = entries.map(({ name }) => name);
  findings.push(...checkAnnotations(annotations, names, source), ...entries.flatMap((entry) => entry.findings));
  for (const { name, config } of entries) {
    if (!config || config.otherFields.length === 0) continue;
    const fields = config.otherFields.join(", ");
    findings.push(finding("config-fields-ignored", { source, key: name }, { fields }));
  }
  const hasSchema = annotations[SCHEMA_ANNOTATION] !== undefined;
  return {
    peers: entries.map(({ peer }) => peer).filter((peer) => peer !== undefined),
    layouts: new Map(entries.map(({ name, keys }) => [name, layoutOf(name, keys, hasSchema)])),
    findings,
  };
}

/** A config to write, with its TLS files in the same Secret. */
export interface SecretEntry {
  name: string;
  config: Omit<EtcdConfig, "otherFields">;
  ca?: SecretEntryFile | undefined;
  cert?: SecretEntryFile | undefined;
  key?: SecretEntryFile | undefined;
}

export interface SecretEntryFile {
  /** Its key in the Secret. */
  key: string;
  content: string;
}

/**
 * Converts a peer to a config and TLS files.
 *
 * @param layout - `file`: the files are `<name>-ca.crt`, `<name>.crt` and `<name>.key`, as in those of the old scripts.
 *   `target`: the key of a CA is a hash of its content, so that peers share it, and a new CA changes the config and is
 *   therefore loaded; certificate and key are named after the peer, so that their renewal causes no reconnect.
 */
export function toSecretEntry(peer: Peer, layout: "file" | "target"): SecretEntry {
  const { name, endpoints, hostAliases, ca, client } = peer;
  const inFile = layout === "file";
  const files: Pick<SecretEntry, "ca" | "cert" | "key"> = {};
  if (typeof ca === "object") {
    files.ca = { key: inFile ? `${name}-ca.crt` : `ca-${contentHash(ca.pem)}.crt`, content: ca.pem };
  }
  if (client !== "importer") {
    const stem = inFile ? name : `${name}.etcd-client`;
    files.cert = { key: `${stem}.crt`, content: client.cert };
    files.key = { key: `${stem}.key`, content: client.key };
  }
  return {
    name,
    config: {
      endpoints,
      hostAliases,
      trustedCaFile: files.ca ? MOUNT_PATH + files.ca.key : ca === "importer" ? COMMON_FILES.trustedCaFile : undefined,
      certFile: files.cert ? MOUNT_PATH + files.cert.key : COMMON_FILES.certFile,
      keyFile: files.key ? MOUNT_PATH + files.key.key : COMMON_FILES.keyFile,
    },
    ...files,
  };
}

/**
 * Converts a peer to the Secret that `extract-secret` prints and that the old import script can still read: the config
 * under `<name>`, and its TLS files. The output is deterministic.
 *
 * @param targetFacts - what the cluster is like as a target, for `render`.
 */
export function writePeerFile(peer: Peer, targetFacts: TargetFacts = {}): V1Secret {
  const { name, config, ca, cert, key } = toSecretEntry(peer, "file");
  const data: Record<string, string> = { [name]: toBase64(formatEtcdConfig(config)) };
  for (const file of [ca, cert, key]) if (file) data[file.key] = toBase64(file.content);
  return {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name: AGENTS_SECRET, annotations: { ...writeFacts(peer.facts), ...writeTargetFacts(targetFacts) } },
    type: "Opaque",
    data,
  };
}

function toBase64(text: string): string {
  return Buffer.from(text).toString("base64");
}
