/** What a member that left the list means for the others. Pure. */
import { shellQuote } from "../util/shell.ts";
import type { MemberRecord } from "./state.ts";

/** Of more members, a command does not name each. */
const MAX_NAMED = 8;

/** What happens to a member that left, and to its config in the others. */
export interface Departure extends Pick<MemberRecord, "cluster" | "keptBecause"> {
  /** The time after which its config is removed, in milliseconds. */
  pruneAfter?: number;
  /** How to remove its config by hand. */
  remedy?: string;
}

/**
 * Describes what happens to a member that left. Nothing is known of its config if its cluster was never read, or is still
 * listed by another name.
 *
 * @param name - its entry.
 */
export function describeDeparture(
  name: string,
  records: readonly MemberRecord[],
  pruneAfter: number | undefined,
): Departure {
  const { cluster, keptBecause } = records.find(({ entry }) => entry === name) ?? {};
  const left = { ...(cluster !== undefined && { cluster }), ...(keptBecause !== undefined && { keptBecause }) };
  const listed = records.filter(({ absentSince }) => absentSince === undefined);
  if (cluster === undefined || listed.length === 0 || listed.some((one) => one.cluster === cluster)) return left;
  if (pruneAfter !== undefined && keptBecause === undefined) return { ...left, pruneAfter };
  const from = listed.length > MAX_NAMED ? ["CONTEXT..."] : listed.map(({ entry }) => shellQuote(entry));
  const command = `clustermesh-secrets disconnect ${shellQuote(cluster)} ${from.map((one) => `--from ${one}`).join(" ")}`;
  const flag = pruneAfter === undefined ? "set --prune-after, or " : "";
  return { ...left, remedy: `to remove it from the others, ${flag}run: ${command}` };
}
