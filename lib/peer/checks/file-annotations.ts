/** What is wrong with the annotations of a file that peers come in. Pure. */

import { enumerate } from "../../util/enumerate.ts";
import { PEERS, readFacts, readPeerRecords, SCHEMA, SCHEMA_VERSION, unreadFact } from "../annotations.ts";
import { type Finding, finding } from "../findings.ts";
import type { ClusterFacts } from "../peer.ts";

/** More names than this are counted. */
const MOST_NAMES = 5;

/**
 * Checks the annotations of one Secret: their schema, the two numbers by which clusters are compared, and whether the
 * cluster that they describe is among the entries.
 *
 * @param names the keys with a config, in order.
 * @param source how the file is called in findings.
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
  if (!(Number(annotations[SCHEMA]) > SCHEMA_VERSION)) return [];
  return [
    finding(
      "schema-newer",
      { source },
      `annotations of schema ${annotations[SCHEMA]}; this version knows ${SCHEMA_VERSION}`,
      "update clustermesh-secrets if something is missed",
    ),
  ];
}

/** The two numbers by which clusters are compared: one that cannot be read is not passed over as one that is not there. */
function checkNumbers(annotations: Readonly<Record<string, string>>, source: string): Finding[] {
  const wrong = (fact: "id" | "maxConnectedClusters", code: "id-illegal" | "maximum-differs", message: string) => {
    const text = unreadFact(annotations, fact);
    const place = { source, key: readFacts(annotations).name };
    return text === undefined
      ? []
      : [finding(code, place, `${JSON.stringify(text)} ${message}`, "extract the peer anew")];
  };
  return [
    ...wrong("id", "id-illegal", "is no cluster id: it is a whole number from 1 to 511"),
    ...wrong("maxConnectedClusters", "maximum-differs", "is no max-connected-clusters: it is 255 or 511"),
  ];
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
  const { name, ...facts } = readFacts(annotations);
  if (names.length === 0 || (name !== undefined && names.includes(name))) return [];
  const unused = describeFacts(facts);
  if (name === undefined && unused === undefined) return [];
  const [only, ...others] = names;
  const entries = others.length === 0 ? `the only entry is ${only}` : `the entries are ${enumerate(names, MOST_NAMES)}`;
  const about = name === undefined ? "the annotations name no cluster" : `the annotations describe ${name}`;
  return [
    finding(
      "facts-of-other-cluster",
      { source, key: others.length === 0 ? only : undefined },
      `${about}, but ${entries}${unused === undefined ? "" : `; ignored: ${unused}`}`,
      {
        template: "a key is the name of its cluster and cannot be renamed; extract {peer} again with extract-secret",
        values: { peer: enumerate(names, MOST_NAMES) },
      },
    ),
  ];
}

/** Whether records of a target's Secret are of peers without an entry, while entries have no record. */
function checkRecords(
  annotations: Readonly<Record<string, string>>,
  names: readonly string[],
  source: string,
): Finding[] {
  const records = readPeerRecords(annotations[PEERS]);
  const { name: described } = readFacts(annotations);
  const strays = [...records.keys()].filter((name) => !names.includes(name));
  const unknown = names.filter((name) => !records.has(name) && name !== described);
  // By itself neither says anything: a key may have been removed by hand, and a chart's peers are in no record.
  if (strays.length === 0 || unknown.length === 0) return [];
  return [
    finding(
      "facts-of-other-cluster",
      { source, key: unknown.length === 1 ? unknown[0] : undefined },
      `the Secret has records of ${enumerate(strays, MOST_NAMES)}, which have no entry, and none of ${enumerate(unknown, MOST_NAMES)}; ` +
        "ignored: the ids in them",
      {
        template: "if a key was renamed, extract {peer} again with extract-secret: a key is the name of its cluster",
        values: { peer: enumerate(unknown, MOST_NAMES) },
      },
    ),
  ];
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
