/** Detects other field managers that change back what `sync` writes, and how long it then pauses. Pure. */
import type { V1ManagedFieldsEntry, V1ObjectMeta } from "@kubernetes/client-node";
import { type Change, describeObject } from "../import/plan/change.ts";
import { FIELD_MANAGER } from "../peer/annotations.ts";
import { isEtcdConfig } from "../peer/etcd-config.ts";
import { isClusterName } from "../peer/peer.ts";
import { getField } from "../util/fields.ts";
import { hashText } from "../util/hash.ts";
import type { ContestedKey } from "./state.ts";

/**
 * What was last written, by target, object and key: 32 bits of the SHA-256 of each value. Not saved: the first write after
 * a restart cannot be a repetition.
 */
export type WriteMemory = Map<string, Map<string, Map<string, number>>>;

/** A key that has to be written again, because it was changed back. */
export interface Reset extends Pick<ContestedKey, "target" | "object" | "key" | "manager"> {
  time: Date;
}

/** The manager of a reset that `managedFields` do not show. */
const UNKNOWN_MANAGER = "unknown";

const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;

/** The pauses after the resets from the limit on, in minutes. */
const PAUSES = [1, 2, 4, 8, 16, 30];

/** Of a config in base64. An ordinary one has a few hundred bytes. */
const MAX_CONFIG_LENGTH = 16_384;

/** A key that a change writes. */
interface WrittenKey {
  /** Of the data: as it is. Of metadata and workloads: its path, such as `metadata.annotations.NAME`. */
  key: string;
  path: readonly string[];
  hash: number;
}

/** Remembers changes that were made: keys of data, annotations, labels and host aliases, also those that were removed. */
export function noteWrites(memory: WriteMemory, target: string, changes: readonly Change[]): void {
  const objects = memory.get(target) ?? new Map<string, Map<string, number>>();
  memory.set(target, objects);
  for (const [object, keys] of writtenKeys(changes)) {
    const known = objects.get(object) ?? new Map<string, number>();
    objects.set(object, known);
    for (const { key, hash } of keys.values()) known.set(key, hash);
  }
}

/**
 * Finds the keys that are planned with the value that was last written to them: somebody changed them back. A changed value
 * is not a reset. A key that is found is removed from the memory, so that it is found only once for each write.
 *
 * The manager is the newest other one in `managedFields` that has the key. If only we have it, another process of
 * ours wrote it. A key without a manager was deleted, which `managedFields` do not show: then the manager is the only other
 * one that wrote in the same part of the object, else `unknown`.
 *
 * @param planned - the changes of the first plan of a task.
 * @param metadataOf - returns the current metadata of an object such as `secret/cilium-clustermesh`, if it exists.
 */
export function findResets(
  memory: WriteMemory,
  target: string,
  planned: readonly Change[],
  metadataOf: (object: string) => V1ObjectMeta | undefined,
  now: Date,
): Reset[] {
  const resets: Reset[] = [];
  for (const [object, keys] of writtenKeys(planned)) {
    const known = memory.get(target)?.get(object);
    for (const { key, path, hash } of keys.values()) {
      if (known?.get(key) !== hash) continue;
      known.delete(key);
      resets.push({ target, object, key, manager: managerOf(metadataOf(object), path), time: now });
    }
  }
  return resets;
}

/**
 * Counts resets by key and manager. The `limit`-th reset within an hour pauses the writes of the key for 1 minute, and each
 * further one for twice as long, up to 30 minutes. After an hour without a reset, counting starts over, and the record is removed.
 *
 * @param limit - at least 1.
 * @returns all records that are still needed.
 */
export function countResets(
  contested: readonly ContestedKey[],
  resets: readonly Reset[],
  { limit, now }: { limit: number; now: Date },
): ContestedKey[] {
  const isRecent = (time: string) => now.getTime() - Date.parse(time) < HOUR_MS;
  const records = new Map(
    contested.filter((one) => one.resets.some(isRecent)).map((one): [string, ContestedKey] => [recordKey(one), one]),
  );
  for (const reset of resets) {
    const { target, object, key, manager, time } = reset;
    const before = records.get(recordKey(reset));
    const times = [...(before?.resets ?? []).filter(isRecent), time.toISOString()].slice(-limit);
    const level = before?.level ?? 0;
    const isPaused = level > 0 || times.length >= limit;
    const pause = (PAUSES[Math.min(level, PAUSES.length - 1)] ?? 0) * MINUTE_MS;
    records.set(recordKey(reset), {
      ...{ target, object, key, manager, resets: times },
      level: isPaused ? Math.min(level + 1, PAUSES.length) : 0,
      ...(isPaused && { until: new Date(time.getTime() + pause).toISOString() }),
    });
  }
  return [...records.values()];
}

function recordKey({ target, object, key, manager }: Omit<Reset, "time">): string {
  return JSON.stringify([target, object, key, manager]);
}

/** Returns the keys of a target that are not written now. */
export function heldKeys(contested: readonly ContestedKey[], target: string, now: Date): ContestedKey[] {
  return contested.filter(
    (one) => one.target === target && one.until !== undefined && Date.parse(one.until) > now.getTime(),
  );
}

/** Whether a change writes nothing but keys that are held, such as an annotation that somebody else removes. */
export function writesOnlyHeldKeys(change: Change, held: readonly ContestedKey[]): boolean {
  const keys = [...writtenKeys([change])].flatMap(([object, written]) =>
    [...written.keys()].map((key) => ({ object, key })),
  );
  return (
    keys.length > 0 && keys.every(({ object, key }) => held.some((one) => one.object === object && one.key === key))
  );
}

/** A CA file that several peers share; its name is a hash. */
const SHARED_CA = /^ca-[0-9a-f]{16}(?:\.\d+)?\.crt$/;

/** The config of a peer, and its files in our layout, in those of the charts and in that of the old scripts. */
const PEER_KEY = /^([-a-z0-9]+?)(?:(?:\.etcd-client)?(?:-ca)?(?:\.\d+)?\.crt|(?:\.etcd-client)?(?:\.\d+)?\.key)?$/;

/** Returns the peer that a key of a config Secret belongs to; undefined for users, metadata and CA files that peers share. */
export function peerOfKey(key: string): string | undefined {
  const name = SHARED_CA.test(key) ? undefined : PEER_KEY.exec(key)?.[1];
  return name !== undefined && isClusterName(name) ? name : undefined;
}

/** Returns the keys that changes write, by object; of several changes of one key, the last. */
function writtenKeys(changes: readonly Change[]): Map<string, Map<string, WrittenKey>> {
  const objects = new Map<string, Map<string, WrittenKey>>();
  for (const change of changes) {
    const object = describeObject(change.kind, change.name);
    const keys = objects.get(object) ?? new Map<string, WrittenKey>();
    objects.set(object, keys);
    for (const [path, value] of writtenValues(change)) {
      const key = path[0] === "data" ? path.slice(1).join(".") : path.join(".");
      keys.set(key, { key, path, hash: hashOf(value) });
    }
  }
  return objects;
}

function writtenValues(change: Change): [path: string[], value: unknown][] {
  if (change.verb === "json-patch") {
    const writes = change.patch.filter(({ op }) => op !== "test");
    return writes.map(({ path, value }) => [path.split("/").slice(1), value]);
  }
  const { metadata = {}, data = {} } = change.verb === "create" ? change.object : change.patch;
  const { labels = {}, annotations = {}, ownerReferences } = metadata;
  const below = (path: string[], fields: object): [string[], unknown][] =>
    Object.entries(fields).map(([name, value]) => [[...path, name], value]);
  return [
    ...below(["data"], data),
    ...below(["metadata", "labels"], labels),
    ...below(["metadata", "annotations"], annotations),
    ...(ownerReferences === undefined ? [] : below(["metadata"], { ownerReferences })),
  ];
}

function hashOf(value: unknown): number {
  return hashText(JSON.stringify(typeof value === "string" ? withoutNumbers(value) : value));
}

/**
 * Returns a config without the numbers of its files: if only the config was deleted, its files are not overwritten, since
 * they may be those of somebody else, and the next ones get other numbers. Other values are returned as they are.
 */
function withoutNumbers(value: string): string {
  if (value.length > MAX_CONFIG_LENGTH) return value;
  const text = Buffer.from(value, "base64").toString();
  return isEtcdConfig(text) ? text.replace(/\.\d+(?=\.(?:crt|key)$)/gm, "") : value;
}

function managerOf(metadata: V1ObjectMeta | undefined, path: readonly string[]): string {
  const timeOf = ({ time }: V1ManagedFieldsEntry) => new Date(time ?? 0).getTime();
  const entries = [...(metadata?.managedFields ?? [])].sort((one, other) => timeOf(other) - timeOf(one));
  const nameOf = ({ manager }: V1ManagedFieldsEntry) =>
    typeof manager === "string" && manager !== "" ? manager : UNKNOWN_MANAGER;
  const owners = entries.filter(({ fieldsV1 }) => hasField(fieldsV1, path)).map(nameOf);
  const [owner = owners[0]] = owners.filter((name) => name !== FIELD_MANAGER);
  if (owner !== undefined) return owner;
  const part = path.slice(0, -1);
  const writers = entries.filter(({ fieldsV1 }) => hasField(fieldsV1, part)).map(nameOf);
  const [writer, ...others] = new Set(writers.filter((name) => name !== FIELD_MANAGER));
  return writer !== undefined && others.length === 0 ? writer : UNKNOWN_MANAGER;
}

/** Describes a field manager in messages. */
export function describeManager(manager: string): string {
  return manager === UNKNOWN_MANAGER ? "an unknown client" : `field manager ${JSON.stringify(manager)}`;
}

/** Whether a set of fields (`fieldsV1`) has a field. */
function hasField(fields: object | undefined, path: readonly string[]): boolean {
  return (
    getField(
      fields,
      path.map((name) => `f:${name}`),
    ) !== undefined
  );
}
