/** Checks of the annotations of a file with peers. Pure. */

import { enumerate } from "../../util/enumerate.ts";
import {
  findInvalidFact,
  PEERS_ANNOTATION,
  readFacts,
  readPeerRecords,
  SCHEMA_ANNOTATION,
  SCHEMA_VERSION,
} from "../annotations.ts";
import { type Finding, finding } from "../findings.ts";
import type { ClusterFacts } from "../peer.ts";

/** More names than this are counted. */
const MOST_NAMES = 5;

/**
 * Checks the annotations of one Secret: their schema, the two numbers by which clusters are compared, and whether the
 * cluster that they describe is among the entries.
 *
 * @param names - the keys with a config, in order.
 * @param source - how the file is called in findings.
 */
export function checkAnnotations(
  annotations: Readonly<Record<string, string>>,
  names: readonly string[],
  source: string,
): Finding[] {
  return [
    ...checkSchema(annotations, source),
    ...checkNumbers(annotations, source),
    ...checkSubject(annotations, names, source),
    ...checkRecords(annotations, names, source),
  ];
}

function checkSchema(annotations: Readonly<Record<string, string>>, source: string): Finding[] {
  const { [SCHEMA_ANNOTATION]: schema = "" } = annotations;
  return Number(schema) > SCHEMA_VERSION
    ? [finding("schema-newer", { source }, { schema, supported: SCHEMA_VERSION })]
    : [];
}

/** The two numbers by which clusters are compared: one that cannot be read is reported, unlike one that is missing. */
function checkNumbers(annotations: Readonly<Record<string, string>>, source: string): Finding[] {
  const place = { source, key: readFacts(annotations).name };
  const checkNumber = (fact: "id" | "maxConnectedClusters", code: "id-invalid" | "maximum-differs") => {
    const text = findInvalidFact(annotations, fact);
    return text === undefined ? [] : [finding(code, place, { text })];
  };
  return [...checkNumber("id", "id-invalid"), ...checkNumber("maxConnectedClusters", "maximum-differs")];
}

/**
 * Whether the facts are those of an entry. Facts belong to a cluster by its name, so facts of a cluster without an entry
 * are used for none. Their id is not compared either: offline it is unknown whether the key was renamed or the config
 * replaced, and an error on a guess would refuse a file that connects.
 */
function checkSubject(
  annotations: Readonly<Record<string, string>>,
  names: readonly string[],
  source: string,
): Finding[] {
  const { name: described, ...facts } = readFacts(annotations);
  if (names.length === 0 || (described !== undefined && names.includes(described))) return [];
  const ignored = describeFacts(facts);
  if (described === undefined && ignored === undefined) return [];
  const values = { described, entries: names, ignored, peer: enumerate(names, MOST_NAMES) };
  return [finding("facts-of-other-cluster", { source, key: onlyName(names) }, values)];
}

/** Whether records of a target's Secret are of peers without an entry, while entries have no record. */
function checkRecords(
  annotations: Readonly<Record<string, string>>,
  names: readonly string[],
  source: string,
): Finding[] {
  const records = readPeerRecords(annotations[PEERS_ANNOTATION]);
  const { name: described } = readFacts(annotations);
  const strays = [...records.keys()].filter((name) => !names.includes(name));
  const entries = names.filter((name) => !records.has(name) && name !== described);
  // Neither is a problem by itself: a key may have been removed by hand, and a chart's peers have no records.
  if (strays.length === 0 || entries.length === 0) return [];
  const values = { strays, entries, peer: enumerate(entries, MOST_NAMES) };
  return [finding("facts-of-other-cluster", { source, key: onlyName(entries) }, values)];
}

function onlyName([only, ...others]: readonly string[]): string | undefined {
  return others.length === 0 ? only : undefined;
}

function describeFacts({ id, maxConnectedClusters: maximum, serverNames, ...others }: Omit<ClusterFacts, "name">) {
  const parts = [
    ...(id === undefined ? [] : [`id ${id} (a duplicate is not detected)`]),
    ...(maximum === undefined ? [] : [`max-connected-clusters ${maximum}`]),
    ...(serverNames === undefined ? [] : ["server names"]),
    ...(Object.keys(others).length === 0 ? [] : ["other facts"]),
  ];
  return parts.length === 0 ? undefined : enumerate(parts);
}
