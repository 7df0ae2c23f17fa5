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

/** The maximum number of names in a message. */
const MAX_NAMES = 5;

/**
 * Checks the annotations of a Secret: their schema, the numbers that are compared between clusters, and whether the
 * Secret has an entry for the cluster that they describe.
 *
 * @param names - the keys of the configs, sorted.
 * @param source - the name of the file in findings.
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

/** Checks the numbers that are compared between clusters. Invalid numbers are reported, missing ones are not. */
function checkNumbers(annotations: Readonly<Record<string, string>>, source: string): Finding[] {
  const place = { source, key: readFacts(annotations).name };
  const checkNumber = (fact: "id" | "maxConnectedClusters", code: "id-invalid" | "maximum-differs") => {
    const text = findInvalidFact(annotations, fact);
    return text === undefined ? [] : [finding(code, place, { text })];
  };
  return [...checkNumber("id", "id-invalid"), ...checkNumber("maxConnectedClusters", "maximum-differs")];
}

/**
 * Checks that the facts belong to an entry. They are assigned by cluster name, so facts about a cluster without an
 * entry are ignored. So is their id: offline, it is unknown whether the key was renamed or the config replaced, and an
 * error based on a guess would reject a file that works.
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
  const values = { described, entries: names, ignored, peer: enumerate(names, MAX_NAMES) };
  return [finding("facts-of-other-cluster", { source, key: onlyName(names) }, values)];
}

/**
 * Checks for records of peers without an entry in the Secret of a target, if there are also entries without a record.
 */
function checkRecords(
  annotations: Readonly<Record<string, string>>,
  names: readonly string[],
  source: string,
): Finding[] {
  const records = readPeerRecords(annotations[PEERS_ANNOTATION]);
  const { name: described } = readFacts(annotations);
  const strays = [...records.keys()].filter((name) => !names.includes(name));
  const entries = names.filter((name) => !records.has(name) && name !== described);
  // Only the combination is suspicious: keys may be removed manually, and peers of a chart have no records.
  if (strays.length === 0 || entries.length === 0) return [];
  const values = { strays, entries, peer: enumerate(entries, MAX_NAMES) };
  return [finding("facts-of-other-cluster", { source, key: onlyName(entries) }, values)];
}

function onlyName([only, ...others]: readonly string[]): string | undefined {
  return others.length === 0 ? only : undefined;
}

function describeFacts({ id, maxConnectedClusters: maximum, serverNames, ...others }: Omit<ClusterFacts, "name">) {
  const parts = [
    ...(id === undefined ? [] : [`id ${id} (so duplicates cannot be detected)`]),
    ...(maximum === undefined ? [] : [`max-connected-clusters ${maximum}`]),
    ...(serverNames === undefined ? [] : ["server names"]),
    ...(Object.keys(others).length === 0 ? [] : ["other facts"]),
  ];
  return parts.length === 0 ? undefined : enumerate(parts);
}
