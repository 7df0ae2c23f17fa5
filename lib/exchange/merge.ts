/** Merging configs and their TLS files into a Secret: what changes, and nothing else. Pure. */
import { normalizeCa, PemError } from "../peer/certificate.ts";
import { canonicalAliases, canonicalEndpoints, formatEtcdConfig } from "../peer/etcd-config.ts";
import { MOUNT_PATH } from "../peer/peer.ts";
import { type Entry, type LaidOut, type LaidOutFile, readEntries, type SecretFiles } from "../peer/secret.ts";

export type Outcome = "added" | "changed" | "unchanged";

export interface Merged {
  /** The keys that change: their new content, or null where they go. */
  changes: Map<string, Buffer | null>;
  outcomes: Map<string, Outcome>;
  /** All files after the merge. */
  files: Map<string, Buffer>;
}

/**
 * Merges entries into the files of a Secret. An entry that already says the same keeps its bytes, whatever its layout:
 * Cilium compares bytes, and a changed one makes every agent reconnect. Files that an entry which was replaced had
 * named, and that no config names any more, go. Everything else stays.
 */
export function mergeEntries(standing: SecretFiles, wanted: readonly LaidOut[]): Merged {
  const before = new Map(readEntries(standing, {}, "").map((entry) => [entry.name, entry]));
  const files = new Map(standing);
  const outcomes = new Map<string, Outcome>();
  const replaced = new Set<string>();
  /** How often configs name a key. */
  const users = new Map<string, number>();
  for (const key of [...before.values()].flatMap(keysOf)) users.set(key, (users.get(key) ?? 0) + 1);
  const claimed = new Set<string>();

  for (const entry of wanted) {
    const old = before.get(entry.name);
    // Only what nothing but the entry's own config names may be written over.
    const own = (key: string) => old !== undefined && keysOf(old).includes(key) && users.get(key) === 1;
    const mayWrite = (key: string) => !files.has(key) || (own(key) && !before.has(key) && !claimed.has(key));
    const inPlace = old && saysTheSame(old, entry, standing) ? renewal(old, entry) : undefined;
    const writes = inPlace?.every(([key, content]) => mayWrite(key) || sameFile(files.get(key), content))
      ? inPlace
      : relayed(entry, mayWrite, files);
    let changed = false;
    for (const [key, content] of writes) {
      claimed.add(key);
      if (sameFile(files.get(key), content)) continue;
      files.set(key, Buffer.from(content));
      changed = true;
    }
    outcomes.set(entry.name, !standing.has(entry.name) ? "added" : changed ? "changed" : "unchanged");
    if (old) for (const key of keysOf(old)) replaced.add(key);
  }

  const after = readEntries(files, {}, "");
  const named = new Set(after.flatMap((entry) => [entry.name, ...keysOf(entry)]));
  for (const key of replaced) if (!named.has(key)) files.delete(key);

  const changes = new Map<string, Buffer | null>();
  for (const key of [...new Set([...standing.keys(), ...files.keys()])].sort()) {
    const content = files.get(key);
    if (content === undefined) changes.set(key, null);
    else if (!standing.get(key)?.equals(content)) changes.set(key, content);
  }
  return { changes, outcomes, files };
}

function keysOf({ keys: { ca, cert, key } }: Entry): string[] {
  return [ca, cert, key].filter((name) => name !== undefined);
}

function saysTheSame(old: Entry, entry: LaidOut, files: SecretFiles): boolean {
  if (!old.config || !old.peer) return false;
  const { config } = old;
  return (
    JSON.stringify(canonicalEndpoints(config.endpoints)) ===
      JSON.stringify(canonicalEndpoints(entry.config.endpoints)) &&
    JSON.stringify(canonicalAliases(config.hostAliases)) ===
      JSON.stringify(canonicalAliases(entry.config.hostAliases)) &&
    config.otherFields.length === 0 &&
    sameReference(config.certFile, old.keys.cert, entry.config.certFile, entry.cert) &&
    sameReference(config.keyFile, old.keys.key, entry.config.keyFile, entry.key) &&
    sameReference(config.trustedCaFile, old.keys.ca, entry.config.trustedCaFile, entry.ca) &&
    (old.keys.ca === undefined || sameCa(files.get(old.keys.ca)?.toString() ?? "", entry.ca?.content ?? ""))
  );
}

/** Both bring the file themselves, or both name the same file of the cluster's own. */
function sameReference(
  path: string | undefined,
  key: string | undefined,
  wantedPath: string | undefined,
  wanted: LaidOutFile | undefined,
): boolean {
  return wanted ? key !== undefined : key === undefined && path === wantedPath;
}

function sameCa(a: string, b: string): boolean {
  try {
    return a === b || normalizeCa(a) === normalizeCa(b);
  } catch (error) {
    if (error instanceof PemError) return false;
    throw error;
  }
}

function sameFile(standing: Buffer | undefined, content: string): boolean {
  return standing?.equals(Buffer.from(content)) ?? false;
}

/** New certificate and key under the names that the config which stays gives them. */
function renewal(old: Entry, { cert, key }: LaidOut): [string, string][] {
  const writes: [string, string][] = [];
  if (cert && old.keys.cert !== undefined) writes.push([old.keys.cert, cert.content]);
  if (key && old.keys.key !== undefined) writes.push([old.keys.key, key.content]);
  return writes;
}

/**
 * The config in its canonical form and its files, under names that are free. A CA is named by its content, so one that
 * stands there already is shared.
 */
function relayed(
  { name, config, ca, cert, key }: LaidOut,
  mayWrite: (key: string) => boolean,
  files: SecretFiles,
): [string, string][] {
  const writes: [string, string][] = [];
  const place = (file: LaidOutFile | undefined, path: string | undefined) => {
    if (!file) return path;
    let free = file.key;
    for (let n = 2; !mayWrite(free) && !(file === ca && sameFile(files.get(free), file.content)); n++) {
      free = file.key.replace(/(\.\w+)$/, `.${n}$1`);
    }
    writes.push([free, file.content]);
    return MOUNT_PATH + free;
  };
  const text = formatEtcdConfig({
    ...config,
    trustedCaFile: place(ca, config.trustedCaFile),
    certFile: place(cert, config.certFile),
    keyFile: place(key, config.keyFile),
  });
  return [[name, text], ...writes];
}
