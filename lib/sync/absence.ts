/** Which members have left the list of a `sync`, and which of them are removed from the others. Pure. */
import type { MemberRecord } from "./state.ts";

/** Losses within this time count together: a folder of Secrets is deleted one by one. In milliseconds. */
const LOSS_WINDOW_MS = 600_000;

/** How many former cluster names of an entry are recorded: a cluster may change its name as often as it likes. */
const MAX_FORMER_NAMES = 3;

/** What was read of a member. */
export interface MemberContact {
  /** Its name in the list. */
  entry: string;
  uid?: string | undefined;
  cluster?: string | undefined;
  id?: number | undefined;
  /** Why it cannot be extracted as a peer. */
  error?: string | undefined;
}

/**
 * Records a list of members. A listed entry is not absent, even if its cluster cannot be read. If the list itself cannot be
 * read, nothing is recorded: the caller keeps the records. Absent clusters are no longer to be removed from entries that have
 * left.
 *
 * If more than half of the members leave within ten minutes, or none is left, those that left get `keptBecause`: rather than
 * the clusters, their list was lost. It stays until the cluster is reached again, also in a saved state.
 *
 * @param listed - all entries of the list.
 */
export function noteList(records: readonly MemberRecord[], listed: Iterable<string>, now: Date): MemberRecord[] {
  const names = new Set(listed);
  const entries = new Set(names);
  const time = now.toISOString();
  const next = records.flatMap((record): MemberRecord[] => {
    const { absentSince, pruneFrom, error: _, remedy: __, ...rest } = record;
    if (entries.delete(record.entry)) {
      return [absentSince === undefined ? record : { ...rest, listedSince: time }];
    }
    if (absentSince === undefined) return [{ ...rest, absentSince: time }];
    // An entry that is listed again may be another cluster. An empty list may be an error.
    const left = names.size === 0 ? pruneFrom : pruneFrom?.filter((name) => names.has(name));
    // A cluster whose name was never read is a peer of no other.
    const isOver = record.cluster === undefined || left?.length === 0;
    return isOver && !isRecent(absentSince, now) ? [] : [{ ...record, ...(left && { pruneFrom: left }) }];
  });
  const added = [...entries].map((entry): MemberRecord => ({ entry, listedSince: time }));
  return keepLost([...next, ...added], now);
}

/**
 * Records that a listed member was read; ignored if its entry has left the list meanwhile. Absent members with its cluster
 * name were only renamed, and are deleted. If the entry reached another cluster before, and no other entry does, that
 * cluster has left the list: its record is named `<entry> (<cluster>)`. Of several such records of an entry, the latest three
 * are kept; a cluster without a record is never removed from the others.
 */
export function noteContact(
  records: readonly MemberRecord[],
  { entry, uid, cluster, id, error }: MemberContact,
  now: Date,
): MemberRecord[] {
  const before = records.find((one) => one.entry === entry);
  if (!before || before.absentSince !== undefined) return [...records];
  const time = now.toISOString();
  const record: MemberRecord = {
    entry,
    ...(cluster !== undefined && { cluster }),
    ...(id !== undefined && { id }),
    ...(uid !== undefined && { uid }),
    lastContact: time,
    ...(before.listedSince !== undefined && { listedSince: before.listedSince }),
    ...(error !== undefined && { error }),
  };
  const kept = records.filter(({ absentSince, ...one }) => absentSince === undefined || one.cluster !== cluster);
  const next = kept.map((one) => (one === before ? record : one));
  const { error: _, ...left } = before;
  const isReached = next.some((one) => one.absentSince === undefined && one.cluster === before.cluster);
  if (before.cluster === undefined || before.cluster === cluster) return next;
  if (isReached) return next.map((one) => (one.cluster === before.cluster ? keepAs(before, one) : one));
  const name = uniqueEntry(`${entry} (${before.cluster})`, next);
  return keepLost(
    limitFormerNames([...next, { ...left, entry: name, absentSince: time, formerEntry: entry }], entry),
    now,
  );
}

/** What was lost stays lost, whichever of its entries reaches another cluster first. */
function keepAs({ keptBecause }: MemberRecord, other: MemberRecord): MemberRecord {
  return keptBecause === undefined ? other : { keptBecause, ...other };
}

/** Deletes the oldest former names of an entry. An older record of the same cluster would let it be removed sooner. */
function limitFormerNames(records: readonly MemberRecord[], entry: string): MemberRecord[] {
  const excess = records.filter(({ formerEntry }) => formerEntry === entry).slice(0, -MAX_FORMER_NAMES);
  const clusters = new Set(excess.map(({ cluster }) => cluster));
  return records.filter(({ absentSince, cluster }) => absentSince === undefined || !clusters.has(cluster));
}

function uniqueEntry(name: string, records: readonly MemberRecord[]): string {
  return records.some(({ entry }) => entry === name) ? uniqueEntry(`${name}'`, records) : name;
}

/** Marks the members that left recently if they are more than half of those that were listed before, or none is left. */
function keepLost(records: readonly MemberRecord[], now: Date): MemberRecord[] {
  const lost = records.filter(({ absentSince }) => absentSince !== undefined && isRecent(absentSince, now));
  const listed = records.filter(({ absentSince }) => absentSince === undefined);
  const start = Math.min(...lost.map(({ absentSince = "" }) => Date.parse(absentSince)));
  // Members that were added meanwhile do not replace those that left.
  const stayed = listed.filter(({ listedSince }) => listedSince === undefined || Date.parse(listedSince) < start);
  // A cluster that changes its name again and again counts once.
  const { size } = new Set(lost.map(({ formerEntry, entry }) => formerEntry ?? entry));
  if (size === 0 || (listed.length > 0 && size <= stayed.length)) return [...records];
  const before = size + stayed.length;
  const keptBecause =
    listed.length === 0 ? "the list of members was empty" : `${size} of ${before} members left the list at once`;
  return records.map((record) => (lost.includes(record) ? { keptBecause, ...record } : record));
}

function isRecent(time: string, now: Date): boolean {
  return now.getTime() - Date.parse(time) < LOSS_WINDOW_MS;
}

/**
 * Records that absent clusters were removed from the cluster of a listed entry, or were not in it. When no listed
 * cluster is left, their records end with the next list: whoever connects them again by hand has decided so.
 */
export function notePruned(
  records: readonly MemberRecord[],
  entry: string,
  clusters: readonly string[],
): MemberRecord[] {
  const listed = records.filter(({ absentSince }) => absentSince === undefined);
  const pruned = listed.find((one) => one.entry === entry)?.cluster;
  // Several entries may reach the cluster.
  const left = listed.filter((one) => one.entry !== entry && (pruned === undefined || one.cluster !== pruned));
  const entries = left.map((one) => one.entry);
  return records.map((record) => {
    const { cluster, absentSince, pruneFrom } = record;
    if (cluster === undefined || absentSince === undefined || !clusters.includes(cluster)) return record;
    const next = entries.filter((one) => pruneFrom === undefined || pruneFrom.includes(one));
    return { ...record, pruneFrom: next };
  });
}

/**
 * Returns the clusters that are to be removed from another, by cluster name and sorted: those that have been absent for
 * at least `pruneAfter` and are not kept. None while the list is empty. A cluster that a listed entry reaches is not
 * removed, nor one that left while an entry was added that could not be read since: that may be its new name. None is
 * removed twice from one cluster ({@link notePruned}).
 *
 * @param pruneAfter - in milliseconds; undefined for never.
 * @param entry - of the cluster to remove them from.
 */
export function duePrunes(
  records: readonly MemberRecord[],
  pruneAfter: number | undefined,
  now: Date,
  entry: string,
): string[] {
  if (pruneAfter === undefined) return [];
  const listed = records.filter(({ absentSince }) => absentSince === undefined);
  if (listed.length === 0) return [];
  const present = new Set(listed.map(({ cluster }) => cluster));
  const mayBeRenamed = (left: number) =>
    listed.some(
      ({ cluster, listedSince }) =>
        cluster === undefined && (listedSince === undefined || Date.parse(listedSince) >= left - pruneAfter),
    );
  // Several entries may have reached one cluster: it left with the last of them.
  const leftAt = new Map<string, number>();
  for (const { cluster, absentSince, keptBecause, pruneFrom } of records) {
    if (cluster === undefined || absentSince === undefined || present.has(cluster)) continue;
    const stays = keptBecause !== undefined || pruneFrom?.includes(entry) === false;
    const left = stays ? Number.POSITIVE_INFINITY : Date.parse(absentSince);
    leftAt.set(cluster, Math.max(left, leftAt.get(cluster) ?? 0));
  }
  const due = [...leftAt].filter(([, left]) => now.getTime() - left >= pruneAfter && !mayBeRenamed(left));
  return due.map(([cluster]) => cluster).sort();
}

/**
 * Returns when absent members are due to be removed from the others, after a time.
 *
 * @param pruneAfter - in milliseconds; undefined for never.
 */
export function nextPrunes(records: readonly MemberRecord[], pruneAfter: number | undefined, after: Date): Date[] {
  if (pruneAfter === undefined) return [];
  const times = records.flatMap(({ absentSince, keptBecause }) =>
    absentSince === undefined || keptBecause !== undefined ? [] : [new Date(Date.parse(absentSince) + pruneAfter)],
  );
  return times.filter((time) => time > after);
}
