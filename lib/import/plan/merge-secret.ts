/** Merges configs and their TLS files into a Secret, with the fewest changes. Pure. */

import { posix } from "node:path";
import { formatEtcdConfig, isSameEndpoint } from "../../peer/etcd-config.ts";
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
 * The result for a peer. `moved`: from the Secret that was in use before KVStoreMesh was switched on or off; `held`: not
 * written yet, because its new host name would not resolve.
 */
export type Outcome = "added" | "changed" | "moved" | "unchanged" | "dropped" | "held";

export interface Merged {
  /** The changed keys with their new content; null for a removed key. */
  changes: Map<string, Buffer | null>;
  outcomes: Map<string, Outcome>;
  /** All files after the merge. */
  files: Map<string, Buffer>;
}

/** The files of a Secret before a merge. */
export interface ExistingFiles {
  files: SecretFiles;
  /** The configs among {@link files}, by name; undefined to parse them. */
  entries?: ReadonlyMap<string, Entry>;
}

export interface MergeOptions {
  /** Names of configs to remove. */
  remove?: ReadonlySet<string>;
  /** Names of unused configs that a later change removes: files that only they reference may be overwritten now. */
  removedLater?: readonly string[];
  /** Rewrite entries that are up to date but have another layout. */
  rewrite?: boolean;
  /** Parsed values, shared with targets and files. */
  cache?: ParseCache;
}

/**
 * Merges entries into the files of a Secret. An entry that is up to date keeps its bytes in any layout, because Cilium
 * compares bytes and every agent reconnects after a change. Files of replaced and removed entries are removed unless another
 * config references them. Everything else stays unchanged.
 */
export function mergeEntries(
  { files: existing, entries }: ExistingFiles,
  wanted: readonly SecretEntry[],
  { remove = new Set(), removedLater = [], rewrite = false, cache = new ParseCache() }: MergeOptions = {},
): Merged {
  if (wanted.length === 0 && remove.size === 0) {
    return { changes: new Map(), outcomes: new Map(), files: new Map(existing) };
  }
  const before =
    entries ?? new Map(readEntries({ files: existing }, {}, "", cache).map((entry) => [entry.name, entry]));
  const toReplace = new Set([...remove, ...removedLater, ...(rewrite ? wanted.map(({ name }) => name) : [])]);
  const files = new Map(existing);
  const outcomes = new Map<string, Outcome>();
  const replaced = new Set<string>();
  const claimed = new Set<string>();
  const mayWrite = writableKeys(before, files, remove, toReplace);
  const hasContent = (key: string, content: string) =>
    files.get(key)?.equals(cache.parse(encodeText, content)) === true;

  for (const name of remove) {
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
    const isCurrent = old && (!rewrite || hasDefaultKeys(old, entry)) && isUpToDate(old, entry, existing, cache);
    const renewal = isCurrent ? inPlaceWrites(old, entry) : undefined;
    const inPlace = renewal?.every(([key, content]) => isFree(key) || hasContent(key, content)) ? renewal : undefined;
    const writes = inPlace ?? rewriteEntry(entry, isFree, hasContent);
    const changing = writes.filter(([key, content]) => !hasContent(key, content));
    for (const [key] of writes) claimed.add(key);
    for (const [key, content] of changing) files.set(key, cache.parse(encodeText, content));
    outcomes.set(name, !existing.has(name) ? "added" : changing.length > 0 ? "changed" : "unchanged");
    // A config whose files are written in place still references all of them.
    if (old && !inPlace && changing.length > 0) for (const key of existingKeys(old)) replaced.add(key);
  }
  removeUnreferenced(files, replaced, cache);
  return { changes: changesOf(existing, files), outcomes, files };
}

/** Returns a predicate for keys that an entry may write: new ones, and those referenced only by it and by replaced entries. */
function writableKeys(
  before: ReadonlyMap<string, Entry>,
  files: ReadonlyMap<string, Buffer>,
  remove: ReadonlySet<string>,
  toReplace: ReadonlySet<string>,
): (name: string, key: string) => boolean {
  /** The names of the configs that reference a key, including keys without a file. */
  const referrersOf = new Map<string, string[]>();
  for (const entry of before.values()) {
    for (const key of referencedKeys(entry)) referrersOf.set(key, [...(referrersOf.get(key) ?? []), entry.name]);
  }
  return (name, key) => {
    const referrers = referrersOf.get(key);
    if (!referrers && files.has(key)) return false;
    return (
      (referrers ?? []).every((one) => one === name || toReplace.has(one)) && (!before.has(key) || remove.has(key))
    );
  };
}

/** Removes the given keys that no config references. */
function removeUnreferenced(files: Map<string, Buffer>, keys: ReadonlySet<string>, cache: ParseCache): void {
  if (keys.size === 0) return;
  const entries = readEntries({ files }, {}, "", cache);
  const referenced = new Set(
    entries.flatMap((entry) => [entry.name, ...existingKeys(entry), ...referencedKeys(entry)]),
  );
  for (const key of keys) if (!referenced.has(key)) files.delete(key);
}

/** Returns the keys that differ, sorted, with their new content; null for a removed key. */
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

/** Returns the keys that a config references in its Secret, including keys that do not exist. */
function referencedKeys({ config }: Entry): string[] {
  const paths = [config?.trustedCaFile, config?.certFile, config?.keyFile].filter((path) => path !== undefined);
  // Other tools may write a path that is not normalized, or that passes through the ..data link of the kubelet.
  const normalized = paths.map((path) => posix.normalize(path));
  const keys = normalized.filter((path) => path.startsWith(MOUNT_PATH)).map((path) => path.slice(MOUNT_PATH.length));
  return [...new Set(keys.map((key) => key.replace(/^\.\.data\//, "")))];
}

function existingKeys({ keys: { ca, cert, key } }: Entry): string[] {
  return [ca, cert, key].filter((name) => name !== undefined);
}

/** Whether the files of an entry have the keys of our layout. */
function hasDefaultKeys({ keys }: Entry, { ca, cert, key }: SecretEntry): boolean {
  return keys.ca === ca?.key && keys.cert === cert?.key && keys.key === key?.key;
}

function isUpToDate(old: Entry, entry: SecretEntry, files: SecretFiles, cache: ParseCache): boolean {
  if (!old.config || !old.peer) return false;
  const { config } = old;
  return (
    isSameEndpoint(config, entry.config) &&
    config.otherFields.length === 0 &&
    isSameReference(config.certFile, old.keys.cert, entry.config.certFile, entry.cert) &&
    isSameReference(config.keyFile, old.keys.key, entry.config.keyFile, entry.key) &&
    isSameReference(config.trustedCaFile, old.keys.ca, entry.config.trustedCaFile, entry.ca) &&
    (old.keys.ca === undefined || isSameCa(files.get(old.keys.ca)?.toString() ?? "", entry.ca?.content ?? "", cache))
  );
}

/** Whether both configs reference a file in the Secret, or both the same file of the cluster. */
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

/** Returns the writes of a new certificate and key to the files that the unchanged config references. */
function inPlaceWrites(old: Entry, { cert, key }: SecretEntry): [string, string][] {
  const writes: [string, string][] = [];
  if (cert && old.keys.cert !== undefined) writes.push([old.keys.cert, cert.content]);
  if (key && old.keys.key !== undefined) writes.push([old.keys.key, key.content]);
  return writes;
}

/**
 * Returns the writes of a config in canonical form and of its files, to free keys. The key of a CA derives from its content,
 * so an existing file with the same CA is shared.
 */
function rewriteEntry(
  { name, config, ca, cert, key }: SecretEntry,
  mayWrite: (key: string) => boolean,
  hasContent: (key: string, content: string) => boolean,
): [string, string][] {
  const writes: [string, string][] = [];
  const placeFile = (file: SecretEntryFile | undefined, path: string | undefined) => {
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
    trustedCaFile: placeFile(ca, config.trustedCaFile),
    certFile: placeFile(cert, config.certFile),
    keyFile: placeFile(key, config.keyFile),
  });
  return [[name, text], ...writes];
}
