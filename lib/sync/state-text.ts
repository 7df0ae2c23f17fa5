/**
 * The state of `sync` as text. Pure.
 *
 * The text may come from a ConfigMap, so whoever may write that is assumed to be hostile: the parser accepts only what
 * {@link formatState} writes, within bounds, and no time that lies in the future.
 */
import { EXIT, UserError } from "../util/errors.ts";
import { isFields } from "../util/fields.ts";
import type { SyncState } from "./state.ts";
import { authorityName, LIMITS, readSchemaVersion, readState } from "./state-fields.ts";
import { FieldError } from "./strict-fields.ts";

/** A state that was not written by {@link formatState}, or by a later version of it. */
export class StateError extends UserError {
  /** What is wrong with it, without its place. */
  readonly problem: string;

  constructor(problem: string, place?: string) {
    super(`invalid state of sync${place === undefined ? "" : ` in ${place}`}: ${problem}`, EXIT.failed);
    this.name = "StateError";
    this.problem = problem;
  }
}

/** The longest text that is written: an API server refuses ConfigMaps with more than 1 MiB. */
const MAX_BYTES = 900 * 1024;
/** Longer texts are not parsed: 1 MiB. */
export const MAX_STATE_BYTES = 1024 * 1024;
/** Longer than each pause after a contest: a later end was written by somebody else. */
const MAX_PAUSE_MS = 3_600_000;

/**
 * Parses what {@link formatState} has written. Times that have passed by their meaning, such as `absentSince`, are at most
 * `now`: a clock that was set back, or a forged time, delays what is counted from it.
 *
 * @throws StateError for anything else: unknown fields, other types, an unknown `schemaVersion`, two records of one member.
 */
export function parseState(source: string, now: Date): SyncState {
  if (Buffer.byteLength(source) > MAX_STATE_BYTES) throw new StateError("larger than 1 MiB");
  let parsed: unknown;
  try {
    parsed = JSON.parse(source);
  } catch {
    throw new StateError("not JSON");
  }
  try {
    // An older version may not know the fields of a newer one, so the version is judged first.
    readSchemaVersion(
      typeof parsed === "object" && parsed !== null && "schemaVersion" in parsed && parsed.schemaVersion,
      "",
    );
    return withoutFuture(readState(parsed, "state"), now);
  } catch (error) {
    if (error instanceof FieldError) throw new StateError(error.message);
    throw error;
  }
}

function withoutFuture(parsed: SyncState, now: Date): SyncState {
  const past = (time: string) => notAfter(time, now);
  const pause = (time: string) => notAfter(time, new Date(now.getTime() + MAX_PAUSE_MS));
  return {
    ...parsed,
    ...(parsed.stoppedAt !== undefined && { stoppedAt: past(parsed.stoppedAt) }),
    ...(parsed.listFailure && { listFailure: mapFields(parsed.listFailure, { since: past }) }),
    members: parsed.members.map((one) => mapFields(one, { lastContact: past, listedSince: past, absentSince: past })),
    held: parsed.held.map((one) => mapFields(one, { since: past })),
    contested: parsed.contested.map((one) => ({ ...mapFields(one, { until: pause }), resets: one.resets.map(past) })),
    addresses: parsed.addresses.map((one) => mapFields(one, { since: past })),
    authorities: parsed.authorities.map(({ server, ...one }) => ({
      ...one,
      authorities: one.authorities.map((known) => mapFields(known, { since: past, until: past })),
      ...(server && { server: mapFields(server, { since: past }) }),
    })),
  };
}

function notAfter(time: string, limit: Date): string {
  return Date.parse(time) > limit.getTime() ? limit.toISOString() : time;
}

/** Changes the strings of fields that are set. */
function mapFields<T extends object>(record: T, changes: { [K in keyof T]?: (value: string) => string }): T {
  const changed = Object.entries(record).map(([field, value]) => {
    const change = changes[field as keyof T];
    return [field, change && typeof value === "string" ? change(value) : value];
  });
  return Object.fromEntries(changed) as T;
}

/** The lists, the most important one first. */
const LISTS = ["members", "authorities", "contested", "addresses", "held"] as const;

/**
 * Formats a state as JSON with a record a line, which {@link parseState} accepts. The same state always gives the same text.
 * Texts are truncated to 1000 characters. Records that do not fit into 900 KiB are omitted, held ones first, and counted in
 * `omitted`: they are found again, but later.
 */
export function formatState(current: SyncState): string {
  const { omitted: _, ...bounded } = readState(toBounded(current), "state");
  const header = { ...bounded, members: [], authorities: [], contested: [], addresses: [], held: [] };
  // Room for the names of the lists and the count.
  let room = MAX_BYTES - Buffer.byteLength(JSON.stringify(header)) - 100;
  let omitted = 0;
  const lines: Partial<Record<keyof SyncState, string>> = {};
  for (const list of LISTS) {
    const records = bounded[list].map((record) => JSON.stringify(record));
    let fitting = 0;
    for (; fitting < records.length; fitting++) {
      const size = Buffer.byteLength(records[fitting] ?? "") + 2;
      if (size > room) break;
      room -= size;
    }
    omitted += current[list].length - fitting;
    lines[list] = fitting === 0 ? "[]" : `[\n${records.slice(0, fitting).join(",\n")}\n]`;
  }
  const fields = (Object.keys(bounded) as (keyof typeof bounded)[]).map(
    (field) => `${JSON.stringify(field)}: ${lines[field] ?? JSON.stringify(bounded[field])}`,
  );
  if (omitted > 0) fields.push(`"omitted": ${omitted}`);
  return `{\n${fields.join(",\n")}\n}\n`;
}

/** Truncates texts and lists to what the parser accepts, and removes undefined fields and second records of one name. */
function toBounded(current: SyncState): unknown {
  const { members, authorities, contested, addresses, held, counters } = current;
  return truncateTexts({
    ...current,
    members: uniqueBy(members, ({ entry }) => entry)
      .slice(0, LIMITS.records)
      .map((one) => ({ ...one, pruneFrom: one.pruneFrom?.slice(0, LIMITS.clusters) })),
    authorities: uniqueBy(authorities, authorityName)
      .slice(0, LIMITS.records)
      .map((one) => ({ ...one, authorities: uniqueBy(one.authorities, ({ key }) => key).slice(0, LIMITS.parts) })),
    contested: contested.slice(0, LIMITS.records).map((one) => ({ ...one, resets: one.resets.slice(-LIMITS.parts) })),
    addresses: addresses.slice(0, LIMITS.records),
    held: held.slice(0, LIMITS.held),
    counters: {
      reconciliations: counters.reconciliations,
      writes: toBoundedCounts(counters.writes),
      errors: toBoundedCounts(counters.errors),
    },
  });
}

/** Keeps the first of the records whose names are equal after they are truncated. */
function uniqueBy<T>(records: readonly T[], nameOf: (record: T) => string): T[] {
  const byName = new Map<string, T>();
  for (const record of records) {
    const name = nameOf(record).slice(0, LIMITS.text);
    if (!byName.has(name)) byName.set(name, record);
  }
  return [...byName.values()];
}

function toBoundedCounts(record: Record<string, number>): Record<string, number> {
  const entries = Object.entries(record).map(([name, value]) => [name.slice(0, LIMITS.counterName), value] as const);
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)).slice(0, LIMITS.clusters));
}

function truncateTexts(value: unknown): unknown {
  if (typeof value === "string") return value.slice(0, LIMITS.text);
  if (Array.isArray(value)) return value.map(truncateTexts);
  if (!isFields(value)) return value;
  return Object.fromEntries(
    Object.entries(value).flatMap(([field, one]) => (one === undefined ? [] : [[field, truncateTexts(one)]])),
  );
}
