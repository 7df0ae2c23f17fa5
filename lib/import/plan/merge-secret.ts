/** Merging configs and their TLS files into a Secret: what changes, and nothing else. Pure. */

import { posix } from "node:path";
import { canonicalAliases, canonicalEndpoints, formatEtcdConfig } from "../../peer/etcd-config.ts";
import { MOUNT_PATH } from "../../peer/peer.ts";
import {
  type Entry,
  readEntries,
  type SecretEntry,
  type SecretEntryFile,
  type SecretFiles,
} from "../../peer/secret.ts";
import { encodeText } from "../../util/content.ts";
import { ParseCache } from "../../util/parse-cache.ts";
import { normalizeCa, tryReadPem } from "../../x509/pem.ts";

/**
 * What becomes of a peer. `moved`: from the Secret where a switch of KVStoreMesh left it; `held`: not written yet, for
 * its new name would not resolve.
 */
export type Outcome = "added" | "changed" | "moved" | "unchanged" | "dropped" | "held";

export interface Merged {
  /** The keys that change: their new content, or null where they go. */
  changes: Map<string, Buffer | null>;
  outcomes: Map<string, Outcome>;
  /** All files after the merge. */
  files: Map<string, Buffer>;
}

export interface MergeOptions {
  /** Names of configs that go. */
  drop?: ReadonlySet<string>;
  /** Names of configs that nothing reads, and that go with a later change: what only they name may be written already. */
  leaving?: readonly string[];
  /** Write in our form what is up to date in another one too. */
  rewrite?: boolean;
  /** Holds what was parsed already. */
  cache?: ParseCache;
}

/**
 * Merges entries into the files of a Secret. An entry that is up to date keeps its bytes, whatever its layout: Cilium
 * compares bytes, and a changed one makes every agent reconnect. Files that an entry which was replaced or removed had named,
 * and that no config names any more, are removed. Everything else stays.
 */
export function mergeEntries(
  existing: SecretFiles,
  wanted: readonly SecretEntry[],
  { drop = new Set(), leaving: later = [], rewrite = false, cache = new ParseCache() }: MergeOptions = {},
): Merged {
  if (wanted.length === 0 && drop.size === 0) {
    return { changes: new Map(), outcomes: new Map(), files: new Map(existing) };
  }
  const before = new Map(readEntries(existing, {}, "", cache).map((entry) => [entry.name, entry]));
  const leaving = new Set([...drop, ...later, ...(rewrite ? wanted.map(({ name }) => name) : [])]);
  const files = new Map(existing);
  const outcomes = new Map<string, Outcome>();
  const replaced = new Set<string>();
  const claimed = new Set<string>();
  const mayWrite = writableKeys(before, files, drop, leaving);
  const hasContent = (key: string, content: string) =>
    files.get(key)?.equals(cache.parse(encodeText, content)) === true;

  for (const name of drop) {
    const old = before.get(name);
    if (!old) continue;
    files.delete(name);
    outcomes.set(name, "dropped");
    for (const key of existingKeys(old)) replaced.add(key);
  }
  for (const entry of wanted) {
    const { name } = entry;
    const old = before.get(name);
    const isFree = (key: string) => mayWrite(name, key) && !claimed.has(key);
    const stays = old && (!rewrite || hasDefaultKeys(old, entry)) && isUpToDate(old, entry, existing, cache);
    const inPlace = stays ? inPlaceWrites(old, entry) : undefined;
    const canStay = inPlace?.every(([key, content]) => isFree(key) || hasContent(key, content));
    const writes = inPlace && canStay ? inPlace : rewriteEntry(entry, isFree, hasContent);
    const changing = writes.filter(([key, content]) => !hasContent(key, content));
    for (const [key] of writes) claimed.add(key);
    for (const [key, content] of changing) files.set(key, cache.parse(encodeText, content));
    outcomes.set(name, !existing.has(name) ? "added" : changing.length > 0 ? "changed" : "unchanged");
    if (old && changing.length > 0) for (const key of existingKeys(old)) replaced.add(key);
  }
  removeUnnamed(files, replaced, cache);
  return { changes: changesOf(existing, files), outcomes, files };
}

/** Whether an entry may write a key: what no other config names, or what all that name it leave. */
function writableKeys(
  before: ReadonlyMap<string, Entry>,
  files: ReadonlyMap<string, Buffer>,
  drop: ReadonlySet<string>,
  leaving: ReadonlySet<string>,
): (name: string, key: string) => boolean {
  /** The configs that name a key, whether there is a file of it or not. */
  const users = new Map<string, string[]>();
  for (const entry of before.values()) {
    for (const key of referencedKeys(entry)) users.set(key, [...(users.get(key) ?? []), entry.name]);
  }
  return (name, key) => {
    const naming = users.get(key);
    if (!naming && files.has(key)) return false;
    return (naming ?? []).every((one) => one === name || leaving.has(one)) && (!before.has(key) || drop.has(key));
  };
}

/** Removes those of some files that no config names. */
function removeUnnamed(files: Map<string, Buffer>, keys: ReadonlySet<string>, cache: ParseCache): void {
  if (keys.size === 0) return;
  const entries = readEntries(files, {}, "", cache);
  const named = new Set(entries.flatMap((entry) => [entry.name, ...existingKeys(entry), ...referencedKeys(entry)]));
  for (const key of keys) if (!named.has(key)) files.delete(key);
}

/** The keys that differ, sorted: their new content, or null where they are removed. */
function changesOf(before: SecretFiles, after: ReadonlyMap<string, Buffer>): Map<string, Buffer | null> {
  const keys = [...new Set([...before.keys(), ...after.keys()])].sort();
  return new Map(
    keys.flatMap((key): [string, Buffer | null][] => {
      const content = after.get(key);
      if (content === undefined) return [[key, null]];
      return before.get(key)?.equals(content) ? [] : [[key, content]];
    }),
  );
}

/** The keys that a config names in its own Secret, also those that are not there. */
function referencedKeys({ config }: Entry): string[] {
  const paths = [config?.trustedCaFile, config?.certFile, config?.keyFile].filter((path) => path !== undefined);
  // Others may write a path in another way, or through the link that kubelet mounts files behind.
  const written = paths.map((path) => posix.normalize(path));
  const below = written.filter((path) => path.startsWith(MOUNT_PATH)).map((path) => path.slice(MOUNT_PATH.length));
  return [...new Set(below.map((key) => key.replace(/^\.\.data\//, "")))];
}

function existingKeys({ keys: { ca, cert, key } }: Entry): string[] {
  return [ca, cert, key].filter((name) => name !== undefined);
}

/** Whether the files have the names that we give them. */
function hasDefaultKeys({ keys }: Entry, { ca, cert, key }: SecretEntry): boolean {
  return keys.ca === ca?.key && keys.cert === cert?.key && keys.key === key?.key;
}

function isUpToDate(old: Entry, entry: SecretEntry, files: SecretFiles, cache: ParseCache): boolean {
  if (!old.config || !old.peer) return false;
  const { config } = old;
  return (
    JSON.stringify(canonicalEndpoints(config.endpoints)) ===
      JSON.stringify(canonicalEndpoints(entry.config.endpoints)) &&
    JSON.stringify(canonicalAliases(config.hostAliases)) ===
      JSON.stringify(canonicalAliases(entry.config.hostAliases)) &&
    config.otherFields.length === 0 &&
    isSameReference(config.certFile, old.keys.cert, entry.config.certFile, entry.cert) &&
    isSameReference(config.keyFile, old.keys.key, entry.config.keyFile, entry.key) &&
    isSameReference(config.trustedCaFile, old.keys.ca, entry.config.trustedCaFile, entry.ca) &&
    (old.keys.ca === undefined || isSameCa(files.get(old.keys.ca)?.toString() ?? "", entry.ca?.content ?? "", cache))
  );
}

/** Both bring the file themselves, or both name the same file of the cluster's own. */
function isSameReference(
  path: string | undefined,
  key: string | undefined,
  wantedPath: string | undefined,
  wanted: SecretEntryFile | undefined,
): boolean {
  return wanted ? key !== undefined : key === undefined && path === wantedPath;
}

function isSameCa(a: string, b: string, cache: ParseCache): boolean {
  return a === b || tryReadPem(() => normalizeCa(a, cache) === normalizeCa(b, cache)) === true;
}

/** New certificate and key under the names that the config which stays gives them. */
function inPlaceWrites(old: Entry, { cert, key }: SecretEntry): [string, string][] {
  const writes: [string, string][] = [];
  if (cert && old.keys.cert !== undefined) writes.push([old.keys.cert, cert.content]);
  if (key && old.keys.key !== undefined) writes.push([old.keys.key, key.content]);
  return writes;
}

/**
 * The config in its canonical form and its files, under names that are free. A CA is named by its content, so one that
 * stands there already is shared.
 */
function rewriteEntry(
  { name, config, ca, cert, key }: SecretEntry,
  mayWrite: (key: string) => boolean,
  hasContent: (key: string, content: string) => boolean,
): [string, string][] {
  const writes: [string, string][] = [];
  const place = (file: SecretEntryFile | undefined, path: string | undefined) => {
    if (!file) return path;
    let free = file.key;
    for (let n = 2; !mayWrite(free) && !(file === ca && hasContent(free, file.content)); n++) {
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
